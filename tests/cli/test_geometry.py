"""``jaxor geometry``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxor
from jaxor.analysis import path_work
from jaxor.engine.geometry import Geometry
from tests.cli.conftest import Call
from tests.numpy_paths import quadratics

PYTHON = """
import jax.numpy as jnp
import jaxor
from jaxor.experiments.model import plain

model = plain({"w": (1, 2), "b": (1,)}, lambda p, x: jnp.abs((x @ p["w"].T + p["b"])[:, 0]))
experiment = jaxor.Experiment(
    "mine", task="xor", model=model, init="normal", optimizer={"name": "sgd", "learning_rate": 0.1}, max_epochs=12,
)
"""
STUDY = """
title = "Two rates"
factor = "learning rate"
base = "digits_mlp"
seeds = 33
arms = [{label = "slow", changes = {"optimizer.learning_rate" = 0.01}}, {label = "fast"}]
"""
KEYS = {
    "experiment", "reference", "seeds", "parameters", "steps", "status", "difference", "other_lengths", "null",
    "tenths", "looks", "verdicts",
}  # fmt: skip


def simulated(seeds: int = 6, **options: Any) -> None:
    jaxor.simulate("abs1_convergence", seeds, out="run", traces="none", **options)


def test_runs_of_a_directory(call: Call, tmp_path: Path):
    """Tables, then JSON of some of the runs; what was measured is read."""
    simulated()
    said = call("geometry", "run", "--plots")
    assert said.exit_code == 0, said.stderr
    folder = tmp_path / "run/derived/geometry/final"
    assert said.stderr == "" and "abs1_convergence: 3 parameters" in said.stdout
    assert "bit for bit the runs themselves" in said.stdout
    assert said.stdout.endswith(f"\n\nKept in {folder}: measurements, paths.json, bands.svg.\n")
    kept = json.loads((folder / "paths.json").read_text())
    before = sorted(folder.glob("*.h5"))
    table = json.loads(call("geometry", "run", "--json").stdout)
    assert table == {"path": str(tmp_path / "run")} | kept and kept.keys() == KEYS
    some = json.loads(call("geometry", "run", "--json", "--seeds", "2:5").stdout)
    assert (table["seeds"], some["seeds"]) == (6, 3)
    assert sorted(folder.glob("*.h5")) == before and len(before) == 1
    exact = json.loads(call("geometry", "run", "--reference", "exact", "--json").stdout)
    assert exact["reference"] == "exact" and (folder.parent / "exact/paths.json").exists()
    beyond = json.loads(call("geometry", "run", "--reference", "extra", "--extra", 4, "--seeds", 2, "--json").stdout)
    assert beyond["reference"] == "extra4"


def test_an_experiment_is_trained_first(call: Call, tmp_path: Path):
    arguments = ["geometry", "abs1_convergence", "--seeds", 4, "--set", "max_epochs=5", "--quiet"]
    said = call(*arguments, "--out", "there")
    assert said.exit_code == 0 and "4 seeds, 5 steps; 4 epoch cap" in said.stdout
    assert len(jaxor.open_run(tmp_path / "there")) == 4
    more = call(*arguments[:3], 6, *arguments[4:], "--out", "there")
    assert "6 seeds, 5 steps" in more.stdout and len(jaxor.open_run(tmp_path / "there")) == 6
    assert len(list((tmp_path / "there/derived/geometry/final").glob("*.h5"))) == 2


def test_parts_made_in_python(call: Call, tmp_path: Path):
    Path("mine.py").write_text(PYTHON)
    assert call("simulate", "mine.py", "--seeds", 3, "--out", "mine").exit_code == 0
    said = call("geometry", "mine", "--experiment", "mine.py", "--json")
    assert said.exit_code == 0 and json.loads(said.stdout)["seeds"] == 3
    again = call("replay", "mine", "--seed", 2, "--experiment", "mine.py", "--json")
    assert json.loads(again.stdout)["same_bits"] is True
    for command in (["geometry", "mine"], ["replay", "mine", "--seed", 1]):
        refused = call(*command)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr == "Error: mine has parts made in Python; load it from its file mine.py and hand it in\n"
    none = call("geometry", "mine", "--experiment", "mine.py", "--reference", "exact")
    assert (none.exit_code, none.stderr) == (
        2, "Error: no exact minimum is known for mine; take reference final or extra\n",
    )  # fmt: skip
    Path("mine.py").write_text(PYTHON.replace("0.1", "0.2"))
    other = call("geometry", "mine", "--experiment", "mine.py")
    assert other.exit_code == 2 and "holds runs of another experiment than mine as it is now" in other.stderr


class MadeUp(path_work.Paths):
    """Paths of another landscape, without any training."""

    def measure(self, experiment: Any, seeds: int, measuring: Any) -> Geometry:
        return quadratics(seeds)


def test_a_study_from_a_file(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(path_work, "Paths", MadeUp)
    Path("mine.toml").write_text(STUDY)
    said = call("geometry", "--study", "mine.toml")
    assert said.exit_code == 0, said.stderr
    assert "mine: Two rates" in said.stdout and said.stdout.endswith("Kept in outputs/geometry-mine.\n")
    kept = json.loads((tmp_path / "outputs/geometry-mine/study.json").read_text())
    assert json.loads(call("geometry", "--study", "mine.toml", "--json", "--out", "there").stdout) == kept
    assert (tmp_path / "there/study.json").exists() and list(kept["arms"]) == ["slow", "fast"]


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, "", "give a run directory, an experiment or --study NAME, one of them"),
        (2, "nosuch", "nosuch is no directory, so it is taken for an experiment: unknown experiment 'nosuch'; known:"),
        (2, "runs", "runs is no directory, so it is taken for an experiment: unknown experiment 'runs'"),
        (2, "gone.toml", "gone.toml is no directory, so it is taken for an experiment: cannot read the experiment"),
        (2, "broken.toml", "broken.toml: title is not a key of an experiment"),
        (1, ".", "is not a run directory: it has no manifest.json"),
        (1, "statistics", "statistics holds statistics and no single runs, so no path can be replayed; simulate runs"),
        (1, "bare --reference exact", "exact minima are those nearest to final parameters; simulate with --parameters"),
        (2, "run --seeds 5:9", "seed 6 is not in this run, which holds 6 seeds, from 0 to 5"),
        (2, "run --seeds 0", "the number of seeds must be at least 1, got 0"),
        (2, "run --extra 5", "extra, a number of steps above 0, goes with reference extra and with no other"),
        (
            2,
            "run --reference extra",
            "--reference extra is where a run is K steps after its end; give --extra K with it",
        ),
        (2, "run --reference extra --extra -1", "extra must be a whole number of steps, got -1"),
        (2, "run --reference end", "'end' is not one of 'final', 'exact', 'extra'"),
        (2, "run --set max_epochs=3", "--set and --out go with an experiment; what is in a directory is fixed"),
        (2, "run --out there", "--set and --out go with an experiment; what is in a directory is fixed"),
        (2, "abs1_convergence --experiment a.py", "--experiment goes with a run directory, which abs1_convergence is"),
        (2, "abs1_convergence --set nosuch=1", "nosuch is not a key of an experiment"),
        (2, "abs1_convergence --devices 0", "0 is not in the range x>=1"),
        (2, "run --study digits", "give a run directory, an experiment or --study NAME, one of them"),
        (2, "--study nosuch", "unknown study 'nosuch'; known: architecture,"),
        (2, "--study gone.toml", "cannot read the study gone.toml: No such file or directory"),
        (2, "--study nosuch.txt", "the name of a study's file must end in .toml, got nosuch.txt"),
        (2, "--study broken.toml", "broken.toml: arms is missing"),
        (2, "--study digits --seeds 3", "--seeds does not go with --study; the study's file says what is measured"),
        (2, "--study digits --reference exact", "--reference does not go with --study"),
        (2, "--study digits --extra 3", "--extra does not go with --study"),
        (2, "--study digits --plots", "--plots does not go with --study"),
        (2, "--study digits --set max_epochs=3", "--set does not go with --study"),
    ],
)
def test_wrong_input_is_one_sentence(call: Call, code: int, arguments: str, message: str):
    Path("broken.toml").write_text('title = "Two rates"')
    words = arguments.split()
    if "run" in words:
        simulated()
    if "bare" in words:
        jaxor.simulate("abs1_convergence", 6, out="bare", traces="none", parameters="none")
    if "statistics" in words:
        call("simulate", "abs1_convergence", "--seeds", 6, "--keep", "statistics", "--out", "statistics")
    said = call("geometry", *words)
    assert (said.exit_code, said.stdout) == (code, "")
    assert said.stderr.startswith("Error: ") and said.stderr.count("\n") == 1 and message in said.stderr
    assert not Path("run/derived").exists() and not Path("outputs").exists()


def test_plots_need_matplotlib(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Which is said before anything is trained."""
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    said = call("geometry", "abs1_convergence", "--seeds", 4, "--plots")
    assert (said.exit_code, said.stdout) == (1, "") and "pip install 'jaxor[plot]'" in said.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["paths.json", "bands.svg"])
def test_the_report_is_printed_before_it_is_kept(call: Call, tmp_path: Path, name: str):
    """Here no file can take the place of a directory."""
    simulated()
    file = tmp_path / "run/derived/geometry/final" / name
    file.mkdir(parents=True)
    said = call("geometry", "run", "--plots")
    assert said.exit_code == 1 and "abs1_convergence: 3 parameters" in said.stdout and "Kept" not in said.stdout
    assert said.stderr == (
        f"Error: cannot write {file}: Is a directory; the report was printed, and measurements are untouched\n"
    )
    assert len(list(file.parent.glob("*.h5"))) == 1
    table = call("geometry", "run", "--plots", "--json")
    assert table.exit_code == 1 and json.loads(table.stdout)["seeds"] == 6


def test_the_report_of_a_study_is_printed_before_it_is_kept(call: Call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(path_work, "Paths", MadeUp)
    Path("mine.toml").write_text(STUDY)
    file = Path("outputs/geometry-mine/study.json")
    file.mkdir(parents=True)
    said = call("geometry", "--study", "mine.toml")
    assert said.exit_code == 1 and "mine: Two rates" in said.stdout
    assert said.stderr.startswith(f"Error: cannot write {file}: Is a directory; the report was printed")


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["simulation.execute", "analysis.measure.measure", "analysis.path_results.look_at"])
def test_an_interrupted_one_says_how_to_go_on(call: Call, monkeypatch: pytest.MonkeyPatch, place: str):
    """While training, measuring and judging."""
    arguments = ["geometry", "abs1_convergence", "--seeds", "4", "--out", "there", "--quiet"]
    jaxor.simulate("abs1_convergence", 2, out="there", traces="none")
    with monkeypatch.context() as patched:
        patched.setattr(f"jaxor.{place}", interrupt)
        said = call(*arguments)
    assert (said.exit_code, said.stdout) == (130, "")
    head, command = said.stderr.removesuffix("\n").split("; go on with: jaxor ")
    assert head.removeprefix("Error: interrupted; what was trained and measured is safe in ").endswith("there")
    assert command.split() == arguments
    assert call(*arguments).exit_code == 0


def test_an_interrupted_study_says_how_to_go_on(call: Call, monkeypatch: pytest.MonkeyPatch):
    """Before anything is stored, and after its first arm."""
    Path("mine.toml").write_text(STUDY)
    monkeypatch.setattr("jaxor.analysis.path_work.Paths.measure", interrupt)
    arguments = ["geometry", "--study", "mine.toml"]
    assert call(*arguments).stderr == "Error: interrupted; nothing is stored\n"
    Path("outputs/geometry-mine/mine_slow").mkdir(parents=True)
    assert call(*arguments).stderr == (
        "Error: interrupted; what was trained and measured is safe in outputs/geometry-mine; go on with: jaxor "
        "geometry --study mine.toml\n"
    )


def test_no_runs_yet(call: Call, tmp_path: Path):
    """A simulation that was stopped before its first shard, without measurements and with those of lost runs."""
    simulated()
    assert call("geometry", "run").exit_code == 0
    for shard in (tmp_path / "run/shards").iterdir():
        shard.unlink()
    shutil.copytree("run", "half", ignore=shutil.ignore_patterns("shards", "derived"))
    for path in ("run", "half"):
        for command in (["geometry", path], ["geometry", path, "--seeds", 2], ["replay", path, "--seed", 1]):
            said = call(*command)
            assert (said.exit_code, said.stdout) == (1, "")
            assert said.stderr == (
                f"Error: nothing can be replayed, since {tmp_path / path} holds 0 seeds; first repeat the jaxor "
                "simulate ... that began it, with --resume\n"
            )


def test_a_damaged_file_is_named(call: Call, tmp_path: Path):
    simulated()
    assert call("geometry", "run").exit_code == 0
    (path,) = (tmp_path / "run/derived/geometry/final").glob("*.h5")
    path.write_bytes(path.read_bytes()[:-9])
    said = call("geometry", "run")
    assert (said.exit_code, said.stdout) == (1, "") and f"{path.name} is damaged; delete it" in said.stderr
    path.unlink()
    assert call("geometry", "run").exit_code == 0


def test_numbers_are_those_of_measure_run(call: Call):
    """The share of gamma above 0 towards another seed's end, from the command and by hand."""
    simulated()
    positive = json.loads(call("geometry", "run", "--json").stdout)["tenths"]["positive"]
    found = jaxor.measure_run("run")
    first = [slice(0, int(np.ceil(0.95 * steps))) for steps in found.steps]
    shares = [np.mean(row[part] > 0) for row, part in zip(found.padded("other_dot"), first, strict=True)]
    assert positive["all"] == 1 and positive["other"] == pytest.approx(np.mean(shares), abs=0.02)
