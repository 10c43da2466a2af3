"""What is stored is data: nothing in the package can turn it into code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import jaxor
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError
from tests.store.samples import manifest

MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "skops",
    "yaml",
    "code",
}
CALLS = {"eval", "exec", "compile", "__import__", "allow_pickle", "read_pickle", "to_pickle", "os.system", "os.popen"}
PACKAGE = Path(jaxor.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# skops reads models only with the types that are named to it; tests/analysis/test_saved.py tries others.
ALLOWED = {"analysis/saved.py": {"skops"}, "analysis/loaded.py": {"skops"}}


def suspicious(source: str) -> set[str]:
    """Modules that a program imports and names that it calls or passes, as far as they could execute data."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= MODULES & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= MODULES & {(node.module or "").partition(".")[0], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Call):
            found |= CALLS & {ast.unparse(node.func), *(str(keyword.arg) for keyword in node.keywords)}
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle as p", {"pickle"}),
        ("from joblib.numpy_pickle import load", {"joblib"}),
        ("def f():\n    from marshal import loads", {"marshal"}),
        ("numpy.load(path, allow_pickle=True)", {"allow_pickle"}),
        ("eval('1')", {"eval"}),
        ("os.system('ls')", {"os.system"}),
        ("jax.jit(f).lower(x).compile()", set()),
        ("re.compile('a')", set()),
    ],
)
def test_what_is_suspicious(source: str, found: set[str]) -> None:
    assert suspicious(source) == found


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(PACKAGE).as_posix() for path in FILES])
def test_nothing_executes_data(path: Path) -> None:
    allowed = ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())
    assert suspicious(path.read_text(encoding="utf-8")) == allowed


def test_models_are_loaded_only_with_the_types_that_are_trusted() -> None:
    tree = ast.parse((PACKAGE / "analysis/loaded.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "io.loads"]
    assert [[ast.unparse(keyword) for keyword in call.keywords] for call in calls] == [["trusted=list(TRUSTED)"]]


@pytest.mark.parametrize("named", ["os:system", "builtins:exec", "payload:Model", "../payload.py", "payload.py:Model"])
def test_the_experiment_of_a_manifest_names_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "payload.py").write_text("open('executed', 'w').close()\nModel = print\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    table = manifest().experiment | {"optimizer": "sgd", "source": {"file": "payload.py", "sha256": "0" * 64}}
    for model in (named, {"name": named}, {"python": named}):
        with pytest.raises(ExperimentError):
            Experiment.from_dict(table | {"model": model})
    assert [path.name for path in tmp_path.iterdir()] == ["payload.py"]
