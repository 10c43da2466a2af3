"""`jaxor simulate` when something is wrong: the sentence, the exit code, and what is left on disk."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import jaxor
from jaxor.store.directory import RunDirectory
from jaxor.store.population import read_population
from tests.cli.conftest import Call, Process

TOML = """
name = "mine"
task = "xor"
model = "abs1"
optimizer = {name = "sgd", learning_rate = 0.1}
max_epochs = 10
"""

# Ctrl-C in a terminal goes to all processes of the group, so to the workers too; here after the third shard.
INTERRUPT = """
import os, signal
from jaxor.store.directory import RunDirectory

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored above us
keep = RunDirectory.add

def keep_or_interrupt(self, *arguments):
    path = keep(self, *arguments)
    if len(list(path.parent.iterdir())) == 3:
        os.killpg(0, signal.SIGINT)
    return path

RunDirectory.add = keep_or_interrupt
"""

# Many small shards, so that there is something to interrupt.
MANY = ["simulate", "--seeds", "3000", "--set", "max_epochs=100000", "--lane-width", "64", "--traces", "loss"]


@pytest.fixture(scope="module")
def whole() -> jaxor.Run:
    experiment = jaxor.get_experiment("abs1_convergence").replace(max_epochs=100_000)
    return jaxor.simulate(experiment, seeds=3000, lane_width=64, traces="loss", devices=1)


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def refused(call: Call, code: int, *arguments: object) -> str:
    """The sentence with which `jaxor simulate` refuses; nothing is touched."""
    before = contents(Path())
    result = call("simulate", *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert contents(Path()) == before
    return result.stderr


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ("0", "the number of seeds must be at least 1, got 0"),
        ("-1", "the number of seeds must be at least 1, got -1"),
        ("5:5", "5:5 holds no seeds"),
        ("7:3", "A must be below B"),
        ("abc", "'abc' is neither a number of seeds (10000) nor a range (500:600)"),
        ("1:x", "neither"),
        ("-3:4", "between 0 and 2^32 - 1, got -3 to 3"),
        ("4294967297", "between 0 and 2^32 - 1"),
    ],
)
def test_bad_seeds(call: Call, seeds: str, sentence: str):
    assert sentence in refused(call, 2, "--seeds", seeds)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "learning_rate"], "'learning_rate' is not of the form key=value"),
        (["--set", "=3"], "not of the form key=value"),
        (["--set", "optimizer.learning_rat=1"], "optimizer.learning_rat is not an option of the optimizer 'sgd'"),
        (["--set", "max_epoch=1"], "did you mean max_epochs?"),
        (["--set", "max_epochs=many"], "max_epochs must be a whole number, got 'many'"),
        (["--set", "max_epochs=none"], "max_epochs must be a whole number, got 'none'"),
        (["--set", "stop.loss=-1"], "stop.loss must be positive, got -1"),
        (["--set", "self=1"], "self is not a key of an experiment"),
        (["--set", "source=x"], "source"),
        (["--traces", "some"], "traces must be all, loss, none or every=K with K from 1 to 2^31 - 1, got 'some'"),
        (["--traces", "every=0"], "every=K"),
        (["--parameters", "some"], "'some' is not one of"),
        (["--lane-width", "0"], "the lane width must be 1 or a multiple of 16 up to 2^20, got 0"),
        (["--devices", "0"], "--devices"),
        (["--keep", "everything"], "'everything' is not one of"),
        (["--keep", "statistics", "--traces", "all"], "statistics keep no traces; leave out --traces"),
        (["--keep", "statistics", "--parameters", "final"], "statistics keep no parameters; leave out --parameters"),
        (["--until", "halfwidth(success)<=0.01"], "until goes with statistics only; add --keep statistics"),
        (["--keep", "statistics", "--until", "soon"], "must be of the form halfwidth(success)<=0.001, got 'soon'"),
        (["--keep", "statistics", "--until", "halfwidth(success)<=7"], "between 0 and 0.5, got 7"),
    ],
)
def test_bad_options(call: Call, arguments: list[str], sentence: str):
    assert sentence in refused(call, 2, "--seeds", 3, *arguments)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("learning_rate = 0.1->learning_rte = 0.1", "optimizer.learning_rte is not an option of the optimizer 'sgd'"),
        ("max_epochs->max_epoch", "max_epoch is not a key of an experiment; did you mean max_epochs?"),
        ("= 0.1->= 'fast'", "optimizer.learning_rate must be a number, got 'fast'"),
        ("= 10->= 1.5", "max_epochs must be a whole number, got 1.5"),
        ("= 10->= -1", "max_epochs must be 0 or positive, got -1"),
        ('"abs1"->{name = "mlp", widths = [2]}', "model.widths must be at least two positive numbers"),
        ("max_epochs = 10->", "max_epochs is missing"),
        ("= 10->=", "not valid TOML"),
    ],
)
def test_bad_toml_names_the_file_and_the_key(call: Call, tmp_path, change: str, sentence: str):
    old, new = change.split("->")
    assert old in TOML
    (tmp_path / "mine.toml").write_text(TOML.replace(old, new))
    said = refused(call, 2, "mine.toml", "--seeds", 3)
    assert "mine.toml" in said and sentence in said


def test_bad_python_files(call: Call, tmp_path):
    assert "cannot read the experiment no.py" in refused(call, 2, "no.py", "--seeds", 3)
    (tmp_path / "mine.py").write_text("1 / 0")
    assert "mine.py failed with ZeroDivisionError" in refused(call, 2, "mine.py", "--seeds", 3)
    (tmp_path / "mine.py").write_text("x = 1")
    assert "exactly one Experiment, found 0" in refused(call, 2, "mine.py", "--seeds", 3)


def test_another_simulation_is_left_alone(call: Call):
    assert call("simulate", "--seeds", 5, "--out", "run").exit_code == 0
    for resume in ([], ["--resume"]):
        said = refused(call, 1, "abs1_normal", "--seeds", 5, "--out", "run", *resume)
        assert "holds another simulation" in said and "name" in said


def test_the_same_simulation_asks_for_resume(call: Call):
    assert call("simulate", "--seeds", 5, "--out", "run").exit_code == 0
    assert "add --resume" in refused(call, 1, "--seeds", 50, "--out", "run")


def test_runs_and_statistics_are_kept_apart(call: Call):
    for kept, other in (("runs", "statistics"), ("statistics", "runs")):
        assert call("simulate", "--seeds", 5, "--out", kept, "--keep", kept).exit_code == 0
        for resume in ([], ["--resume"]):
            said = refused(call, 1, "--seeds", 5, "--out", kept, "--keep", other, *resume)
            assert f"holds {kept} of this simulation, not {other}; choose another directory" in said


def test_a_rule_for_other_seeds_than_the_first(call: Call):
    said = refused(call, 2, "--seeds", "5:9", "--keep", "statistics", "--until", "halfwidth(success)<=0.1")
    assert "start at 0" in said


def test_a_directory_that_cannot_be(call: Call, tmp_path):
    (tmp_path / "file").write_text("")
    for out in ("file", "file/below", "/proc/jaxor"):
        assert "Errno" not in refused(call, 1, "--seeds", 3, "--out", out)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(call: Call, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "Permission denied" in refused(call, 1, "--seeds", 3, "--out", "closed/run")


def test_an_initializer_that_finds_nothing(call: Call):
    changes = ["--set", "init.threshold=1e-9", "--set", "init.max_draws=10000"]
    said = call("simulate", "relu1_reinit_0th", "--seeds", 200, *changes)
    assert said.exit_code == 1 and said.stderr.count("\n") == 1
    assert "draws acceptable, so the probability of one that is lies below 3e-06 (95 %)" in said.stderr
    assert "raise init.max_draws; 0 of 200 runs are safe in" in said.stderr


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_too_little_memory_names_the_lane_width(call: Call, monkeypatch: pytest.MonkeyPatch, error: Exception):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("jaxor.simulation.execute", fail)
    assert "--lane-width" in refused(call, 1, "--seeds", 3)


def test_debug_shows_where(call: Call):
    result = call("--debug", "simulate", "nothing", "--seeds", 3)
    assert result.exit_code == 2 and "Traceback" in result.stderr


def again(said: str) -> list[str]:
    """Arguments of the command with which a sentence says to go on."""
    command = re.search(r"go on with: jaxor (.*)", said)
    assert command, said
    return shlex.split(command[1])


def assert_equal(one: jaxor.Run, other: jaxor.Run) -> None:
    for name in ("seeds", "status", "epochs", "initial_params", "final_params", "final_loss", "final_accuracy"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert all(np.array_equal(one.trace(seed).loss, other.trace(seed).loss) for seed in one.seeds[::300])


def test_a_full_disk(call: Call, process: Process, tmp_path, whole: jaxor.Run):
    assert call(*MANY[:2], "0:100", *MANY[3:], "--out", "run").exit_code == 0
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    command = process(*MANY, "--devices", 1, "--out", "run", "--resume", first=limit)
    printed, said = command.communicate()
    assert (command.returncode, printed) == (1, "")
    assert said.startswith("Error: File too large; 100 of 3,000 runs are safe in run; go on with: ")
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert call(*again(said)).exit_code == 0
    assert_equal(jaxor.open_run("run"), whole)


@pytest.mark.parametrize("devices", ["1", "2"])
def test_interrupted_then_resumed_is_as_if_uninterrupted(
    call: Call, process: Process, tmp_path, whole: jaxor.Run, devices: str
):
    command = process(*MANY, "--devices", devices, "--out", "run", first=INTERRUPT)
    printed, said = command.communicate(timeout=60)
    assert (command.returncode, printed) == (130, "")
    safe = len(jaxor.open_run(tmp_path / "run"))
    assert said.startswith(f"Error: interrupted; {safe:,} of 3,000 runs are safe in run; go on with: ")
    assert 0 < safe < 3000 and said.count("\n") == 1

    arguments = again(said)
    assert arguments == [*MANY, "--devices", devices, "--out", "run", "--resume"]
    assert call(*arguments, "--devices", 1, "--json").exit_code == 0
    assert_equal(jaxor.open_run("run"), whole)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(["--seeds", "3000"], id="seeds", marks=pytest.mark.full),
        pytest.param(["--until", "halfwidth(success)<=0.05"], id="until"),
    ],
)
def test_interrupted_statistics_go_on(call: Call, process: Process, asked: list[str]):
    options = [
        "relu1_normal",
        "--set",
        "max_epochs=2000000",
        "--lane-width",
        "64",
        "--keep",
        "statistics",
        "--devices",
        "1",
    ]
    command = process("simulate", *asked, *options, "--out", "run", first=INTERRUPT)
    printed, said = command.communicate(timeout=60)
    assert (command.returncode, printed) == (130, "")
    safe = len(jaxor.open_run("run"))
    of = " of 3,000" if "--seeds" in asked else ""
    assert safe and said.startswith(f"Error: interrupted; {safe:,}{of} runs are safe in run; go on with: ")
    going_on = json.loads(call(*again(said), "--devices", 1, "--json").stdout)
    whole = json.loads(call("simulate", *asked, *options, "--devices", 1, "--out", "whole", "--json").stdout)
    one, other = (read_population(RunDirectory.open(name)) for name in ("run", "whole"))
    assert one.tally == other.tally
    speed = ("path", "runs_per_s", "runs_per_s_with_compile", "wall_s", "bytes")
    assert all(going_on[name] == whole[name] for name in whole.keys() - speed)


def test_sigterm_is_like_ctrl_c(call: Call, process: Process, whole: jaxor.Run):
    """Only the process itself gets the signal; its workers go with it."""
    terminate = INTERRUPT.replace("os.killpg(0, signal.SIGINT)", "os.kill(os.getpid(), signal.SIGTERM)")
    command = process(*MANY, "--devices", 2, "--out", "run", first=terminate)
    printed, said = command.communicate(timeout=60)
    assert (command.returncode, printed) == (143, "")
    assert said.startswith("Error: terminated; ") and said.count("\n") == 1
    assert call(*again(said), "--devices", 1).exit_code == 0
    assert_equal(jaxor.open_run("run"), whole)


def test_interrupted_before_anything_is_stored(call: Call, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxor.simulation.execute", fail)
    assert refused(call, 130, "--seeds", 3) == "Error: interrupted; nothing is stored\n"


def test_interrupted_when_all_is_stored(call: Call, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxor.cli.simulate._report", fail)
    result = call("simulate", "--seeds", 3, "--out", "run")
    said = "Error: interrupted; 3 of 3 runs are safe in run; go on with: jaxor simulate --seeds 3 --out run --resume\n"
    assert (result.exit_code, result.stderr) == (130, said)
