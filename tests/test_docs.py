"""What the documentation shows is so: its code runs, its output comes out, its tables are those of the code."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner

from jaxor.analysis.path_claims import Thresholds
from jaxor.analysis.path_study import list_studies, load_study, parse_study
from jaxor.cli import COMMANDS, main
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.initialize import INITIALIZERS
from jaxor.experiments.intervention import INTERVENTIONS
from jaxor.experiments.load import load_experiment
from jaxor.experiments.loss import LOSSES
from jaxor.experiments.model import MODELS
from jaxor.experiments.optimizer import OPTIMIZERS, SCHEDULES
from jaxor.experiments.registry import Registry
from jaxor.experiments.task import TASKS
from jaxor.store.paths import GEOMETRY

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [*(DOCS.parent / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")), *sorted(DOCS.glob("*.md"))]
GALLERY = sorted(DOCS.glob("gallery/*.py"))
NOT_RUN = {
    "sh": "needs other machines, a job scheduler or an accelerator; that its options exist is tested",
    "r": "needs R",
    "julia": "needs Julia",
}
"""Languages of blocks that are shown and not run, and why."""

TABLES: dict[str, Registry[Any]] = {
    "Tasks": TASKS,
    "Models": MODELS,
    "Initializers": INITIALIZERS,
    "Losses": LOSSES,
    "Optimizers": OPTIMIZERS,
    "Schedules": SCHEDULES,
    "Interventions": INTERVENTIONS,
}


class Fence(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    text: str


def fences(page: Path) -> Iterator[Fence]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Fence(text.count("\n", 0, match.start()) + 2, match[1], match[2])


def pages_with(*languages: str) -> list[Any]:
    return [
        pytest.param(page, id=page.name) for page in PAGES if any(fence.language in languages for fence in fences(page))
    ]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the example files, as the pages assume it."""
    for file in (DOCS / "examples").iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def is_study(text: str) -> bool:
    """Whether TOML is a study of paths and not an experiment."""
    return "[[arms]]" in text


def alike(shown: str, got: str) -> bool:
    """Equal words; numbers, whose last digits depend on the machine, agree to a tenth."""
    words, others = shown.split(), got.split()
    return len(words) == len(others) and all(map(_alike, words, others))


def _alike(word: str, other: str) -> bool:
    numbers = [part.strip("(),%").replace(",", "") for part in (word, other)]
    with contextlib.suppress(ValueError):
        return math.isclose(float(numbers[0]), float(numbers[1]), rel_tol=0.1)
    return word == other


def assert_shown(shown: str, got: str, where: str) -> None:
    """Every line shown is in the output, in that order."""
    lines = iter(got.splitlines())
    for line in shown.splitlines():
        if line.strip():
            assert any(alike(line, other) for other in lines), f"{where}: not in the output: {line!r}\n{got}"


@pytest.mark.parametrize("page", pages_with("python", "text"))
def test_python(page: Path, workplace: Path) -> None:
    """In one namespace a page; a block of text that follows is what was printed."""
    namespace: dict[str, Any] = {"__name__": "docs"}
    printed = ""
    for fence in fences(page):
        where = f"{page.name}:{fence.line}"
        if fence.language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile("\n" * (fence.line - 1) + fence.text, str(page), "exec"), namespace)  # noqa: S102
            printed = output.getvalue()
        elif fence.language == "text":
            assert printed, f"{where}: nothing was printed before it"
            assert_shown(fence.text, printed, where)
            printed = ""


@pytest.mark.parametrize("page", pages_with("toml"))
def test_toml(page: Path) -> None:
    for fence in fences(page):
        if fence.language == "toml" and is_study(fence.text):
            assert parse_study(page.stem, fence.text).arms
        elif fence.language == "toml":
            experiment = Experiment.from_toml(fence.text)
            assert Experiment.from_toml(experiment.to_toml()) == experiment
            experiment.build()


@pytest.mark.parametrize("page", pages_with("console"))
def test_commands(page: Path, workplace: Path) -> None:
    for fence in fences(page):
        if fence.language != "console":
            continue
        for part in re.split(r"^\$ jaxor ", fence.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            result = CliRunner().invoke(main, shlex.split(command))
            assert result.exit_code == (2 if shown.startswith("Error:") else 0), result.output
            assert_shown(shown, result.output, f"{page.name}:{fence.line}: {command}")


@pytest.mark.parametrize("file", sorted((DOCS / "examples").glob("*.*")), ids=lambda file: file.name)
def test_examples(file: Path) -> None:
    """Every example can be loaded and is printed in a page as it is."""
    text = file.read_text(encoding="utf-8")
    assert load_study(file).arms if is_study(text) else load_experiment(file).build()
    assert any(fence.text == text for page in PAGES for fence in fences(page))


@pytest.mark.parametrize("heading", TABLES)
def test_tables_of_experiments(heading: str) -> None:
    """Names, options and defaults are those of the code."""
    text = (DOCS / "experiments.md").read_text(encoding="utf-8")
    section = text.split(f"\n### {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    registry = TABLES[heading]
    assert sorted(row[0].strip(" `") for row in rows) == registry.names()
    for name, options, _ in rows:
        assert re.findall("`(.*?)`", options) == expected_options(registry, name.strip(" `"))


def expected_options(registry: Registry[Any], name: str) -> list[str]:
    defaults = {option: default for option, (_, default) in registry._options(name).items()}
    empty = inspect.Parameter.empty
    return [option if default is empty else f"{option} = {json.dumps(default)}" for option, default in defaults.items()]


def test_keys_of_an_experiment() -> None:
    text = (DOCS / "experiments.md").read_text(encoding="utf-8").split("\n## Keys\n")[1].split("\n### ")[0]
    keys = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    assert keys == [
        "name", "task", "model", "init", "loss", "optimizer", "batch.mode", "batch.size", "batch.steps", "batch.order",
        "stop.loss", "stop.patience", "stop.min_improvement", "max_epochs", "interventions", "root_seed",
    ]  # fmt: skip


def test_tables_of_geometry() -> None:
    """Stored variables with their dimensions, thresholds and studies are those of the code."""
    text = (DOCS / "geometry.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\w, ]+) \|", text, re.MULTILINE)
    stored = {name: tuple(dims.split(", ")) for names, dims in rows for name in re.findall(r"\w+", names)}
    assert {name: dims for name, dims in stored.items() if name in GEOMETRY} == {
        name: variable.dims for name, variable in GEOMETRY.items()
    }
    given = dict(re.findall(r"`(\w+) = (-?[\d.]+)`", text))
    assert {name: float(value) for name, value in given.items()} == asdict(Thresholds())
    listed = re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", text, re.MULTILINE)
    assert dict(listed) == {name: str(load_study(name).seeds) for name in list_studies()}


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links(page: Path) -> None:
    """Links within the project lead somewhere, to a heading if they name one."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page, as GitHub and the built documentation have them."""
    headings = re.findall("^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_listed() -> None:
    """The built documentation leaves no page, module or script out."""
    listed = re.findall("^[a-z]+[\\w/-]*$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    reference = {f"reference/{page.stem}" for page in DOCS.glob("reference/*.rst")}
    assert set(listed) == pages | reference | {f"generated/gallery/{script.stem}" for script in GALLERY}


def test_reference_has_what_pages_import() -> None:
    """Beside the names of `jaxor` itself: the function, or all of its module."""
    reference = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("reference/*.rst"))
    documented = set(re.findall(r"^\.\. auto\w+:: (\S+)", reference, re.MULTILINE))
    code = "".join(fence.text for page in PAGES for fence in fences(page) if fence.language == "python")
    for module, names in re.findall(r"^from (jaxor\.\S+) import (.*)", code, re.MULTILINE):
        for name in names.split(", "):
            assert documented & {module, f"{module}.{name}"}, f"{module}.{name}"


def test_reference_has_all_commands() -> None:
    """In the order of `jaxor --help`; left to itself Sphinx would sort them."""
    text = (DOCS / "reference" / "command-line.rst").read_text(encoding="utf-8")
    assert f":commands: {', '.join(COMMANDS)}\n" in text


@pytest.mark.parametrize("folder", ["experiments", "engine", "store", "analysis", "report"])
def test_architecture_names_every_module(folder: str) -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    found = re.search(rf"^ {{6}}{folder}/(.*?)^ {{6}}\w", text, re.MULTILINE | re.DOTALL)
    assert found
    modules = {module.stem for module in (DOCS.parent / "jaxor" / folder).glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"\w+", found[1]))


def test_blocks_are_run() -> None:
    """Or there is a reason."""
    languages = {fence.language for page in PAGES for fence in fences(page)}
    assert languages <= {"python", "text", "toml", "console", *NOT_RUN}


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_options_exist(page: Path) -> None:
    """Commands that are shown and not run, in blocks and in lines of prose, have the options that are shown."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, rest in re.findall(rf"\bjaxor ({'|'.join(COMMANDS)})\b([^`\n]*)", text):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        shown = re.split(r" {3,}", rest)[0]
        assert set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", shown)) <= known | {"--help"}, f"jaxor {name}{shown}"


@pytest.mark.parametrize("script", GALLERY, ids=lambda script: script.stem)
def test_gallery(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each script runs; with fewer seeds, and along the paths of a small net, since pictures are made by the build."""
    import matplotlib.pyplot as plt

    short = 'jaxor.get_experiment("abs1_convergence").replace(max_epochs=30, **{"stop.loss": None})'
    source = script.read_text(encoding="utf-8")
    shorter = source.replace("seeds = 10_000", "seeds = 500").replace('"digits_mlp"', short)
    assert shorter != source
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    with plt.rc_context({"backend": "agg"}), contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(shorter, str(script), "exec"), {"__name__": "gallery"})  # noqa: S102
    assert output.getvalue()


def test_check_of_the_site(tmp_path: Path) -> None:
    """`make docs` finds links that lead nowhere, and whatever a page would load from elsewhere."""
    found = runpy.run_path(str(DOCS / "check_site.py"))["problems"]
    (tmp_path / "fine.html").write_text(
        '<h1 id="here"></h1><a href="#here"></a><a href="https://example.org"></a><img src="data:image/png;base64,">'
    )
    assert found(tmp_path) == []
    (tmp_path / "bad.html").write_text(
        '<a href="fine.html#gone"></a><img src="gone.png"><script src="https://example.org/x.js"></script>'
    )
    (tmp_path / "bad.css").write_text("@import url(https://example.org/font.css);")
    assert found(tmp_path) == [
        "bad.html links to fine.html#gone, an anchor that is not there",
        "bad.html links to gone.png, which is not there",
        "bad.html loads https://example.org/x.js",
        "bad.css loads https://example.org/font.css",
    ]
