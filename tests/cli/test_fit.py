"""`jaxor fit` and `jaxor predict`: what is printed and kept, and the sentence when something is wrong."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

import jaxor
from jaxor.analysis.loaded import load
from jaxor.analysis.predict import predict
from jaxor.cli import main
from jaxor.store.run import open_run
from tests.cli.conftest import Call, Process

LAWS = ["--models", "law", "--folds", "4", "--quiet"]
FIT = Path("derived") / "fits" / "default.json"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories of runs; `fitted` has a fit. Tests write nothing into the others."""
    folder = tmp_path_factory.mktemp("runs")
    experiment = jaxor.get_experiment("abs1_convergence")
    jaxor.simulate(experiment, seeds=40, out=folder / "fitted", devices=1)
    jaxor.simulate(experiment.replace(**{"optimizer.learning_rate": 0.2}), seeds=40, out=folder / "fast", devices=1)
    jaxor.simulate(experiment, seeds=5, out=folder / "losses", traces="loss", devices=1)
    jaxor.simulate(experiment, seeds=5, out=folder / "untraced", traces="none", devices=1)
    jaxor.simulate(experiment.replace(max_epochs=3), seeds=20, out=folder / "cut", devices=1)
    jaxor.simulate(experiment.replace(**{"optimizer.learning_rate": 0.5}), seeds=20, out=folder / "alike", devices=1)
    jaxor.simulate(experiment, seeds=5, out=folder / "statistics", keep="statistics", devices=1)
    jaxor.simulate("relu1_normal", seeds=40, out=folder / "relu1", devices=1)
    result = CliRunner().invoke(main, ["fit", str(folder / "fitted"), *LAWS])
    assert result.exit_code == 0, result.output
    return folder


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def refused(call: Call, code: int, *arguments: object) -> str:
    """The one sentence on standard error; nothing is printed, and nothing written."""
    before = contents(Path())
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert "unexpected" not in result.stderr and contents(Path()) == before
    return result.stderr


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("nothing", 1, "is not a run directory"),
        ("statistics", 2, "holds statistics and no single runs; simulate with --keep runs"),
        ("untraced", 1, "simulate with --traces all"),
        ("losses", 1, "simulate with --traces all"),
        ("cut", 1, "none of the 20 runs converged (20 epoch_cap)"),
        ("alike", 1, "every row has 1 epochs to go, so there is nothing to explain"),
    ],
)
def test_directories_that_cannot_be_fitted(call: Call, runs: Path, name: str, code: int, sentence: str):
    assert sentence in refused(call, code, "fit", runs / name, *LAWS)
    assert not (runs / name / "derived").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--folds", "1"], 2, "folds must be at least 2, got 1"),
        (["--folds", "33"], 1, "33 folds need at least as many runs to learn from, and two outside of each; got 32"),
        (["--held-out", "1"], 2, "at least 0 and below 1, got 1.0"),
        (["--held-out", "nan"], 2, "at least 0 and below 1, got nan"),
        (["--level", "1"], 2, "level must be between 0 and 1"),
        (["--random-state", "-1"], 2, "between 0 and 2^32 - 1, got -1"),
        (["--name", "../a"], 2, "a name has letters, digits, '.', '_' and '-', at most 64, got '../a'"),
        (["--name", "x.json"], 2, "must not end in .json, got 'x.json'"),
        (["--models", "laws"], 2, "'laws' is not one of 'law', 'published', 'sound', 'causal'"),
    ],
)
def test_options_that_make_no_sense(call: Call, runs: Path, options: list[str], code: int, sentence: str):
    assert sentence in refused(call, code, "fit", runs / "fitted", *LAWS, *options)


def test_the_exact_minimum_has_to_be_known(call: Call, runs: Path):
    assert "(--reference final)" in refused(call, 1, "fit", runs / "relu1", *LAWS, "--reference", "exact")


@pytest.mark.parametrize(
    ("name", "options", "code", "sentence"),
    [
        ("nothing", [], 1, "is not a run directory"),
        ("statistics", [], 2, "simulate with --keep runs"),
        ("losses", ["--fit", "{fit}"], 1, "simulate with --traces all"),
        ("fast", [], 1, "make one with: jaxor fit"),
        ("fitted", ["--fit", "../x"], 2, "a name has letters"),
        ("fitted", ["--fit", "none.json"], 1, "there is no fit none.json"),
        ("fitted", ["--model", "cubic"], 2, "keeps no model cubic; it keeps law/distance, "),
        ("cut", ["--fit", "{fit}", "--model", "distance"], 1, "none of the 20 runs converged"),
        ("relu1", ["--fit", "{fit}", "--model", "exact"], 2, "looks at L2 to the minimum, which this simulation"),
        ("fitted", ["--out", "a.nc"], 2, "the file must end in .parquet or .csv, got a.nc"),
        ("fitted", ["--out", "a/b.csv"], 1, "a/b.csv: there is no directory"),
    ],
)  # fmt: skip
def test_forecasts_that_cannot_be_made(call: Call, runs: Path, name: str, options: list[str], code: int, sentence: str):
    options = [option.format(fit=runs / "fitted" / FIT) for option in options]
    assert sentence in refused(call, code, "predict", runs / name, *options)


def test_files_are_not_overwritten(call: Call, runs: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("mine")
    assert "exists already" in refused(call, 1, "predict", runs / "fitted", "--out", "mine.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_to(call: Call, runs: Path):
    (runs / "fast").chmod(0o500)
    try:
        assert "Permission denied" in refused(call, 1, "fit", runs / "fast", *LAWS)
    finally:
        (runs / "fast").chmod(0o700)


def test_what_stands_in_the_way_is_named(call: Call, tmp_path: Path):
    """Also as root, whom no permission stops."""
    jaxor.simulate("abs1_convergence", seeds=10, out=tmp_path / "run", devices=1)
    (tmp_path / "run" / "derived").write_text("a file")
    assert "derived" in refused(call, 1, "fit", "run", *LAWS)


def test_an_interrupted_fit_leaves_what_was_there(call: Call, runs: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    before = contents(runs / "fast")
    monkeypatch.setattr("jaxor.analysis.saved.to_dict", interrupt)
    result = call("fit", runs / "fast", *LAWS)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Error: interrupted\n")
    assert contents(runs / "fast") == before


def test_nothing_but_the_report_is_printed(process: Process, runs: Path, tmp_path: Path):
    """No warnings of the packages below, as seen in a process of its own: a forecast, then a fit."""
    forecast = ["predict", str(runs / "alike"), "--fit", str(runs / "fitted" / FIT)]
    first = f"from jaxor.cli import main\nmain({forecast}, standalone_mode=False)\nprint('END')"
    command = process("fit", runs / "relu1", *LAWS[:-1], "--name", "quiet", first=first)
    printed, err = command.communicate()
    assert (command.returncode, err) == (0, "")
    forecast, fit = printed.split("END\n")
    assert "learned from another simulation" in forecast
    assert max(map(len, fit.splitlines())) <= 102
    assert fit.endswith(f"Kept in {runs / 'relu1' / 'derived' / 'fits' / 'quiet.json'}.\n")


def test_json_is_what_is_kept(call: Call, runs: Path):
    result = call("fit", runs / "fitted", *LAWS, "--name", "again", "--json")
    table = json.loads(result.stdout)
    assert table.pop("path") == str(runs / "fitted") and result.stderr == ""
    kept = (runs / "fitted" / FIT).read_text()
    assert table == json.loads(kept) == json.loads((runs / "fitted" / FIT.with_name("again.json")).read_text())


def test_several_directories_are_rows_of_one_table(call: Call, runs: Path):
    names = [runs / "fitted", runs / "fast"]
    result = call("fit", *names, "--folds", "4", "--quiet", "--name", "both")
    head, slow, fast = (line.split() for line in result.stdout.splitlines()[:3])
    assert head[0] == "optimizer.learning_rate" and (slow[0], fast[0]) == ("0.1", "0.2")
    assert head[-8:] == ["to", "minimum", "within", "theory", "R2", "line", "R2", "law"]
    for row, rate in ((slow, 0.1), (fast, 0.2)):
        to_minimum, within, theory = map(float, row[-5:-2])
        assert theory == pytest.approx(1 / np.log(1 / (1 - 2 * rate)), rel=1e-3)
        assert to_minimum == pytest.approx(theory, rel=0.05) and within == pytest.approx(theory, rel=1e-3)
    assert all((name / FIT.with_name("both.json")).exists() for name in names)
    tables = json.loads(call("fit", *names, *LAWS, "--name", "laws", "--json").stdout)
    assert [table["path"] for table in tables] == [*map(str, names)]


@pytest.mark.parametrize(("name", "sentence"), [("cut", "none of the 20 runs converged"), ("losses", "--traces all")])
def test_of_several_directories_the_one_that_cannot_be_fitted_is_named(
    call: Call, runs: Path, name: str, sentence: str
):
    error = refused(call, 1, "fit", runs / name, runs / "fast", *LAWS)
    assert f"{runs / name}: " in error and sentence in error


def test_forecasts_are_written_as_they_are(call: Call, runs: Path):
    path = runs / "fitted"
    run = open_run(path)
    assert isinstance(run, jaxor.Run)
    found = predict(run, load(path / FIT, "log_shifted"))
    expected = {
        "seed": found.rows.seed, "step": found.rows.step, "forecast": found.epochs, "low": found.low,
        "high": found.high, "remaining": found.rows.remaining,
    }  # fmt: skip
    for name in ("all.csv", "all.parquet"):
        assert call("predict", path, "--model", "log_shifted", "--out", name).exit_code == 0
    table = pyarrow.parquet.read_table("all.parquet")
    assert table.column_names == [*expected]
    with open("all.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == [*expected]
    for name, values in expected.items():
        assert_array_equal(table[name].to_numpy(), values)
        assert_allclose([float(row[name]) for row in rows], values, rtol=0, atol=0)


def test_the_figures_of_a_forecast_are_printed(call: Call, runs: Path):
    path = runs / "fitted"
    table = json.loads(call("predict", path, "--model", "law/log_shifted", "--json").stdout)
    run = open_run(path)
    assert isinstance(run, jaxor.Run)
    found = predict(run, load(path / FIT, "log_shifted"))
    assert found.errors is not None
    assert table == {
        "path": str(path), "fit": str(path / FIT), "model": "law/log_shifted", "causal": False, "rows": len(found.rows),
        "level": 0.9, "runs": 40, "converged_runs": 40, "learned_from_these_runs": True, "same_simulation": True,
        "r2": found.errors.r2(), "mae": found.errors.mae(), "coverage": found.coverage,
    }  # fmt: skip
    text = call("predict", path, "--model", "log_shifted").stdout
    assert "looks at the final parameters" in text and "also those that the model learned from" in " ".join(
        text.split()
    )
    assert "also those" not in call("predict", runs / "fast", "--fit", path / FIT).stdout


def test_a_score_that_is_not_known_is_null_in_json(call: Call, runs: Path):
    def strict(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    for name in ("alike", "cut"):
        text = call("predict", runs / name, "--fit", runs / "fitted" / FIT, "--json").stdout
        table = json.loads(text, parse_constant=strict)
        assert table["r2"] is None and not table["learned_from_these_runs"] and not table["same_simulation"]
        assert (table["runs"], table["converged_runs"]) == (20, 20 if name == "alike" else 0)


def test_forecasts_say_how_many_runs_never_come_to_what_is_forecast(call: Call, runs: Path):
    options = ["--fit", runs / "fitted" / FIT, "--model", "loss_slope"]
    text = " ".join(call("predict", runs / "cut", *options).stdout.split())
    assert "20 runs did not converge; forecasts and intervals are of when a run converges if it does" in text
    assert "did not converge" not in call("predict", runs / "fast", *options).stdout
