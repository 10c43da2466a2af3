"""`jaxor simulate`: what it computes, stores and prints."""

from __future__ import annotations

import csv
import json
import os
import pty
import termios
from pathlib import Path

import h5py
import numpy as np
import pytest

import jaxor
from jaxor.analysis.statistics import Draws, Losses, Summary
from jaxor.engine.status import Status
from jaxor.estimates import Quantiles, Share, wilson
from jaxor.report.summaries import summary_table
from tests.cli.conftest import Call, Process

FILE = """
from jaxor import get_experiment
print("reading the file")
experiment = get_experiment("abs1_normal").replace(name="mine", max_epochs=20)
"""


def simulated(call: Call, *arguments: object) -> jaxor.Run:
    """Run `jaxor simulate` into the directory ``run`` and open that."""
    result = call("simulate", *arguments, "--out", "run", "--json")
    assert result.exit_code == 0, result.stderr
    return jaxor.open_run("run")


def test_json_has_the_promised_keys_and_is_all_that_is_printed(call: Call):
    result = call("simulate", "relu1_normal", "--seeds", 60, "--out", "run", "--json")
    table = json.loads(result.stdout)
    assert result.stderr == ""
    run, quantiles = jaxor.open_run("run"), {"min", "q25", "q50", "q75", "max", "mean"}
    assert (table["path"], table["experiment"], table["identity"]) == ("run", "relu1_normal", run.identity)
    assert table["seeds"] == 60
    assert list(table["status"]) == ["converged", "stalled", "epoch_cap", "diverged"] and "draws" not in table
    assert list(table["status"].values()) == np.bincount(run.status, minlength=4).tolist()
    count = int((run.final_accuracy == 1).sum())
    low, high = wilson(count, 60)
    assert table["success"] == {"count": count, "share": count / 60, "low": low, "high": high}
    assert set(table["epochs"]) == {"all", "converged"}
    assert set(table["epochs"]["all"]) == set(table["epochs"]["converged"]) == quantiles
    assert table["epochs"]["all"]["mean"] == pytest.approx(run.epochs.mean())
    assert table["epochs"]["converged"]["max"] == run.epochs[run.status == 0].max()
    assert table["final_loss"]["q50"] == pytest.approx(np.median(run.final_loss))
    assert table["runs_per_s"] >= table["runs_per_s_with_compile"] > 0
    files = [*Path("run", "shards").iterdir(), Path("run", "manifest.json")]
    assert table["bytes"] == sum(file.stat().st_size for file in files)
    assert table["runs_per_s_with_compile"] == pytest.approx(60 / table["wall_s"])


def test_default_experiment_directory_and_table(call: Call):
    result = call("simulate", "--seeds", 200)
    (path,) = Path("outputs").iterdir()
    run = jaxor.open_run(path)
    assert path.name == f"abs1_convergence-{run.identity[:8]}"
    lines = result.stdout.splitlines()
    assert result.stderr == "" and max(map(len, lines)) <= 80
    assert lines[0] == "abs1_convergence: 200 runs, seeds 0 to 199"
    assert [line.split()[:2] for line in lines[2:7]] == [
        ["converged", "200"], ["stalled", "0"], ["epoch", "cap"], ["diverged", "0"], ["success", "200"]
    ]  # fmt: skip
    assert "Wilson 95 %: 98.1 % to 100.0 %" in lines[6]  # 200 / (200 + 1.96^2)
    epochs = next(line for line in lines if line.startswith("epochs, all")).split()
    assert epochs[-1] == f"{run.epochs.mean():.2f}" and epochs[2] == str(run.epochs.min())
    assert str(path) in result.stdout and "runs/s without compilation" in result.stdout


def test_the_table_says_how_many_are_censored(call: Call):
    run_text = call("simulate", "relu1_normal", "--seeds", 60, "--traces", "none").stdout
    (path,) = Path("outputs").iterdir()
    censored = int((jaxor.open_run(path).status != 0).sum())
    assert f"over all 60 runs, of which {censored} ended without converging (censored)" in " ".join(run_text.split())


def test_runs_that_did_not_start(call: Call):
    """Told by every command, and kept as they are when the rest is computed."""
    arguments = ["relu1_reinit_25th", "--set", "init.max_draws=2", "--out", "run"]
    assert call("simulate", *arguments, "--seeds", 40).exit_code == 0
    result = call("simulate", *arguments, "--seeds", 100, "--resume", "--json")
    table, run = json.loads(result.stdout), jaxor.open_run("run")
    unstarted = run.status == jaxor.Status.UNSTARTED
    assert table["status"]["unstarted"] == unstarted.sum() > 10 and sum(table["status"].values()) == 100
    assert table["epochs"]["all"]["min"] == run.epochs[~unstarted].min() > 0
    assert table["draws"]["total"] == run.draws.sum() and table["draws"]["max"] == 2
    text = call("info", "run").stdout
    assert f"unstarted  {unstarted.sum()}" in text and f"over the {(~unstarted).sum()} runs that started" in text
    words = " ".join(text.split())
    assert f"Draws of first parameters: {run.draws.sum()} for all 100 runs. The initializer found no" in words
    assert (
        f"no acceptable draw for {unstarted.sum()} runs: without epochs, losses and accuracy, and no success." in words
    )
    assert call("verify", "run").exit_code == 0
    for name in ("run.csv", "run.nc"):
        assert call("export", "run", name).exit_code == 0
    rows = list(csv.DictReader(Path("run.csv").read_text().splitlines()))
    assert [row["status"] == "unstarted" for row in rows] == unstarted.tolist()
    assert [int(row["draws"]) for row in rows] == run.draws.tolist()
    assert all((row["final_loss"] == "nan") == (row["status"] == "unstarted") for row in rows)
    with h5py.File("run.nc") as file:
        assert np.asarray(file["draws"]).tolist() == run.draws.tolist()
        assert np.asarray(file["status"]).tolist() == run.status.tolist()


def test_a_simulation_in_which_no_run_started(call: Call):
    arguments = ["relu1_reinit_25th", "--set", "init.max_draws=1000", "--set", "init.threshold=1e-9"]
    result = call("simulate", *arguments, "--seeds", 5)
    assert result.exit_code == 0 and "unstarted  5  100.0 %" in result.stdout
    words = " ".join(result.stdout.split())
    assert "As none was acceptable, the probability of one that is lies below 0.0006 (95 %); relax" in words


def test_ranges_of_seeds_and_options(call: Call):
    run = simulated(
        call, "--seeds", "5:12", "--traces", "every=4", "--parameters", "final", "--lane-width", 16, "--x64"
    )  # fmt: skip
    assert run.seeds.tolist() == list(range(5, 12))
    last = int(run.steps[0]) - 1
    assert run.trace(5).step.tolist() == sorted({*range(0, last, 4), last})
    assert run.final_params.dtype == run.final_loss.dtype == np.float64
    assert run.lane_width == 16 and run.x64
    with pytest.raises(jaxor.StoreError, match="initial_params were not stored"):
        _ = run.initial_params


@pytest.mark.parametrize("traces", ["all", "loss", "none"])
def test_traces(call: Call, traces: str):
    run = simulated(call, "--seeds", 3, "--traces", traces)
    if traces == "none":
        with pytest.raises(jaxor.TraceNotStored):
            run.trace(0)
    else:
        assert len(run.trace(0).loss) == run.steps[0]


def test_settings_are_toml_values_numbers_none_or_texts(call: Call):
    run = simulated(
        call, "relu1_normal", "--seeds", 2, "--set", "optimizer.learning_rate=.02", "--set", "init=kaiming",
        "--set", "stop.patience=none", "--set", 'name="other"', "--set", 'interventions=["bounds"]',
        "--set", "model.units = 3", "--set", "optimizer.schedule={name = 'linear', steps = 9}",
    )  # fmt: skip
    changes = {
        "optimizer.learning_rate": 0.02, "init": "kaiming", "stop.patience": None, "name": "other",
        "interventions": ["bounds"], "model.units": 3, "optimizer.schedule": {"name": "linear", "steps": 9},
    }  # fmt: skip
    assert run.experiment == jaxor.get_experiment("relu1_normal").replace(**changes)


def test_none_is_the_name_of_an_optimizer_too(call: Call):
    run = simulated(call, "--seeds", 2, "--set", "optimizer=none", "--set", "max_epochs=3")
    assert np.array_equal(run.initial_params, run.final_params)


def test_a_python_file(call: Call, tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    result = call("simulate", "mine.py", "--seeds", 5, "--json")
    assert json.loads(result.stdout)["experiment"] == "mine"
    assert result.stderr == "reading the file\n"
    run = jaxor.open_run(json.loads(result.stdout)["path"])
    assert run.epochs.max() <= 20 and run.experiment.source and run.experiment.source.file == "mine.py"


def test_a_toml_file_is_the_experiment_that_it_describes(call: Call, tmp_path):
    (tmp_path / "mine.toml").write_text(call("experiments", "abs1_normal").stdout)
    run = simulated(call, "mine.toml", "--seeds", 5)
    assert run.experiment == jaxor.get_experiment("abs1_normal")


def test_resume_extends_and_then_has_nothing_to_do(call: Call):
    whole = jaxor.simulate("abs1_convergence", seeds=30)
    run = simulated(call, "--seeds", 10)
    more = call("simulate", "--seeds", 30, "--out", "run", "--resume")
    assert more.exit_code == 0 and "30 runs, seeds 0 to 29" in more.stdout and "computed    20 runs in" in more.stdout
    run = jaxor.open_run("run")
    assert np.array_equal(run.final_params, whole.final_params) and np.array_equal(run.epochs, whole.epochs)
    again = call("simulate", "--seeds", 30, "--out", "run", "--resume")
    assert again.exit_code == 0 and "nothing left to compute" in again.stdout
    part = json.loads(call("simulate", "--seeds", "3:7", "--out", "run", "--resume", "--json").stdout)
    assert (part["seeds"], part["runs_per_s"], part["runs_per_s_with_compile"]) == (4, None, None)


@pytest.mark.parametrize("x64", [False, pytest.param(True, marks=pytest.mark.full)])
def test_an_absurd_learning_rate_diverges_and_is_no_error(call: Call, x64: bool):
    arguments = ["--seeds", 20, "--set", "optimizer.learning_rate=1e30", *(["--x64"] if x64 else [])]
    table = json.loads(call("simulate", *arguments, "--json").stdout)
    assert table["status"] == {"converged": 0, "stalled": 0, "epoch_cap": 0, "diverged": 20}
    assert table["epochs"]["converged"] == dict.fromkeys(table["epochs"]["all"])
    run = jaxor.open_run(table["path"])
    assert table["final_loss"]["nonfinite"] == int((~np.isfinite(run.final_loss)).sum()) > 0
    text = call("simulate", *arguments, "--resume").stdout
    assert f"{table['final_loss']['nonfinite']} final are not finite and left out" in " ".join(text.split())


def test_progress_is_shown_on_a_terminal_only(process: Process):
    again = ["simulate", "--seeds", "5", "--out", "run", "--resume"]

    def shown(*arguments: str, first: str = "") -> bytes:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        command = process(*again, *arguments, first=first, stderr=theirs)
        os.close(theirs)
        printed = b""
        with os.fdopen(ours, "rb") as screen:
            try:
                while part := screen.read1():
                    printed += part
            except OSError:  # Linux says so when the other side is closed
                pass
        command.communicate()
        assert command.returncode == 0
        return printed

    assert b"5.00/5.00 runs" in shown()
    quiet = f"from jaxor.cli import main\nmain({[*again, '--quiet']}, standalone_mode=False)"
    assert shown("--json", first=quiet) == b""
    command = process(*again)
    assert command.communicate()[1] == ""


def test_the_table_of_a_million_runs_fits_into_80_columns():
    epochs, losses = Quantiles(10, 20_000.25, 30_000, 40_000, 50_000, 30_000.75), Quantiles(*[1.23e-10] * 6)
    figures = Summary(
        1_000_000, dict.fromkeys(Status, 200_000), Share.of(1_000_000, 1_000_000), epochs, epochs,
        Losses(losses, 0), Losses(losses, 123_456), Draws(10**12, epochs),
    )  # fmt: skip
    assert max(map(len, summary_table(figures).splitlines())) <= 80


def test_cache_keeps_compiled_programs_for_the_next_process(process: Process, tmp_path: Path) -> None:
    """The second process adds none, finds what it needs, and stores the same bytes."""
    kept = []
    for out in ("first", "second"):
        command = process("simulate", "--seeds", 100, "--cache", "kept", "--out", out, "--json")
        stdout, stderr = command.communicate()
        assert (command.returncode, stderr) == (0, "")
        assert json.loads(stdout)["status"]["converged"] == 100
        kept.append({file.name for file in tmp_path.glob("kept/*/*") if file.name.endswith("-cache")})
    assert len(kept[0]) > 2
    assert kept[1] == kept[0]
    (folder,) = (tmp_path / "kept").iterdir()
    assert folder.name.startswith("jaxlib-")
    first, second = ({f.name: f.read_bytes() for f in tmp_path.glob(f"{out}/shards/*")} for out in ("first", "second"))
    assert first == second
