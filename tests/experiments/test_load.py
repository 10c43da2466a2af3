"""Experiments from files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import jaxor
from jaxor.experiments.registry import ExperimentError

TOML = """
name = "mine"
task = "xor"
model = {name = "relu1", activation = "elu"}
max_epochs = 5

[optimizer]
name = "sgd"
learning_rate = 0.1
"""
PYTHON = """
from jaxor import Experiment

experiment = Experiment(
    "mine", task="xor", model="relu1", optimizer={"name": "sgd", "learning_rate": 0.1}, max_epochs=5
)
again = experiment
"""
MADE = """
import jax.numpy as jnp
import numpy as np
import optax

from jaxor import Experiment, Task
from jaxor.experiments.model import plain
from jaxor.experiments.task import threshold_accuracy

OFFSET = 0.25


def forward(params, inputs):
    return jnp.abs(inputs @ params["weight"][0]) + helper(params)


def helper(params):
    return OFFSET * params["bias"][0]


mine = Experiment(
    "made",
    task=Task(np.eye(2, dtype=np.float32), np.array([0, 1], np.float32), threshold_accuracy),
    model=plain({"weight": (1, 2), "bias": (1,)}, forward),
    optimizer=optax.sgd(0.1),
    max_epochs=5,
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(TOML)
    (tmp_path / "mine.py").write_text(PYTHON)
    (tmp_path / "made.py").write_text(MADE)
    return tmp_path


def test_toml(folder: Path) -> None:
    for path in (folder / "mine.toml", str(folder / "mine.toml")):
        experiment = jaxor.load_experiment(path)
        assert experiment == jaxor.Experiment.from_toml(TOML)
        assert experiment.source is None  # everything is in the experiment itself


def test_python_file_is_known_by_name_and_hash(folder: Path) -> None:
    experiment = jaxor.load_experiment(folder / "mine.py")
    assert experiment.source is not None
    assert experiment.source.file == "mine.py"
    assert experiment.source.sha256 == hashlib.sha256(PYTHON.encode()).hexdigest()
    assert experiment.named
    assert experiment.to_dict() == jaxor.Experiment.from_dict(experiment.to_dict()).to_dict()
    (folder / "mine.py").write_text(PYTHON + "\n")
    assert jaxor.load_experiment(folder / "mine.py").identity != experiment.identity


def test_parts_made_in_python_train_and_are_stored(folder: Path) -> None:
    experiment = jaxor.load_experiment(folder / "made.py")
    assert not experiment.named
    run = jaxor.simulate(experiment, 4, out=folder / "run")
    assert run.param_names == ("weight[0,0]", "weight[0,1]", "bias[0]")
    assert (run.epochs == 5).all()
    stored = jaxor.open_run(folder / "run")
    with pytest.raises(ExperimentError, match=r"made has parts made in Python; load it from its file made\.py"):
        _ = stored.experiment
    same = jaxor.load_experiment(folder / "made.py")
    assert same.identity == experiment.identity
    assert jaxor.open_run(folder / "run", experiment=same).experiment is same


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("none.py", b"x = 1", r"none\.py must define exactly one Experiment, found 0$"),
        (
            "two.py",
            PYTHON.encode() + b'\nother = experiment.replace(name="other")',
            r"two\.py must define exactly one Experiment, found 2: experiment, again, other",
        ),
        ("fails.py", b"1 / 0", r"fails\.py failed with ZeroDivisionError: division by zero"),
        ("exits.py", b"raise SystemExit('enough')", r"exits\.py failed with SystemExit: enough"),
        ("wrong.py", b"def", r"wrong\.py failed with SyntaxError"),
        ("latin.py", "# é\nx = 'é'".encode("latin-1"), r"latin\.py failed with SyntaxError"),
        (
            "mistake.py",
            PYTHON.replace('"xor"', "None").encode(),
            r"mistake\.py failed with ExperimentError: task must",
        ),
        ("helper.py", b"import no_such_module_here", r"helper\.py failed with ModuleNotFoundError"),
        (
            "mistake.toml",
            TOML.replace("relu1", "relu").encode(),
            r"mistake\.toml: model names the unknown",
        ),
        ("wrong.toml", b"name = ", r"wrong\.toml: not valid TOML"),
        ("latin.toml", TOML.replace("mine", "é").encode("latin-1"), r"latin\.toml is not a text file in UTF-8"),
        ("mine.json", b"{}", r"an experiment file ends in \.toml or \.py, got .*mine\.json"),
        ("mine", b"{}", r"an experiment file ends in \.toml or \.py"),
    ],
)
def test_files_that_hold_no_experiment(folder: Path, file: str, content: bytes, message: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(ExperimentError, match=message):
        jaxor.load_experiment(folder / file)


def test_files_that_cannot_be_read(folder: Path) -> None:
    for name in ("absent.toml", "absent.py"):
        with pytest.raises(ExperimentError, match=r"cannot read the experiment .*absent.*: No such file"):
            jaxor.load_experiment(folder / name)
    (folder / "folder.toml").mkdir()
    with pytest.raises(ExperimentError, match=r"cannot read the experiment .*folder\.toml: Is a directory"):
        jaxor.load_experiment(folder / "folder.toml")


def test_an_interruption_is_not_swallowed(folder: Path) -> None:
    (folder / "stop.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        jaxor.load_experiment(folder / "stop.py")


def test_the_main_part_of_a_script_is_left_alone(folder: Path) -> None:
    (folder / "script.py").write_text(PYTHON + '\nif __name__ == "__main__":\n    raise SystemExit(1)\n')
    assert jaxor.load_experiment(folder / "script.py").name == "mine"
