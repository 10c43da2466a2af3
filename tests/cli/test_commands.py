"""`jaxor experiments`, `info` and `export`."""

from __future__ import annotations

import json

import netCDF4
import pytest

import jaxor
from jaxor.experiments.catalog import get_entry
from tests.cli.conftest import Call


def test_experiments_lists_the_catalogue(call: Call):
    lines = call("experiments").stdout.splitlines()
    assert lines[0].split() == ["name", "model", "init", "optimizer", "max", "epochs"]
    assert [line.split()[0] for line in lines[1:]] == jaxor.list_experiments()
    row = next(line for line in lines if line.startswith("relu1_leaky_-1e-2 "))
    assert row.split() == ["relu1_leaky_-1e-2", "relu1", "leaky_relu", "kaiming", "adam", "0.01", "5,000"]
    assert max(map(len, lines)) <= 80


def test_experiments_as_json(call: Call):
    tables = json.loads(call("experiments", "--json").stdout)
    assert [table["name"] for table in tables] == jaxor.list_experiments()
    assert json.loads(call("experiments", "digits_mlp", "--json").stdout) in tables


@pytest.mark.parametrize("name", ["relu1_bhs", "digits_mlp", "abs1_convergence"])
def test_what_experiments_shows_is_a_toml_file_with_its_provenance(call: Call, name: str):
    text = call("experiments", name).stdout
    entry = get_entry(name)
    assert jaxor.Experiment.from_toml(text) == entry.experiment
    comments = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert entry.provenance in comments and entry.note in comments
    assert max(map(len, text.splitlines())) <= 80


def test_an_unknown_experiment_names_the_nearest(call: Call):
    for arguments in (["experiments", "relu1_norml"], ["simulate", "relu1_norml", "--seeds", 3]):
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "'relu1_norml'" in result.stderr and "relu1_normal" in result.stderr


def test_info_says_what_a_directory_holds(call: Call):
    call("simulate", "relu1_normal", "--seeds", "5:65", "--out", "run", "--traces", "loss", "--lane-width", 64)
    text = call("info", "run").stdout
    run = jaxor.open_run("run")
    for part in (
        "relu1_normal",
        run.identity,
        "60 asked for (5 to 64), 60 done, 0 missing",
        "lane width 64",
        "traces loss",
    ):
        assert part in text
    assert f"jax {run.manifest.versions['jax']}" in text and "backend cpu" in text
    assert max(map(len, text.splitlines())) <= 80

    table = json.loads(call("info", "run", "--json").stdout)
    assert (table["path"], table["experiment"], table["identity"]) == ("run", "relu1_normal", run.identity)
    assert (table["seeds"], table["seeds_asked"], table["seeds_missing"]) == (60, [[5, 65]], 0)
    assert table["definition"] == run.experiment.to_dict()


def test_info_counts_what_is_missing(call: Call, tmp_path):
    call("simulate", "--seeds", 50, "--out", "run")
    for shard in (tmp_path / "run" / "shards").iterdir():
        shard.unlink()
    result = call("info", "run")
    assert result.exit_code == 0 and "0 done, 50 missing" in result.stdout and "No runs yet." in result.stdout
    table = json.loads(call("info", "run", "--json").stdout)
    assert (table["seeds"], table["seeds_missing"], table["success"]["share"]) == (0, 50, None)


@pytest.mark.parametrize("command", [["info", "nowhere"], ["export", "nowhere", "runs.nc"]])
def test_a_directory_without_runs_is_an_error(call: Call, tmp_path, command: list[str]):
    result = call(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nowhere is not a run directory" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_export_writes_one_file(call: Call, tmp_path):
    call("simulate", "--seeds", 50, "--out", "run")
    assert call("export", "run", "runs.nc").exit_code == 0
    with netCDF4.Dataset(tmp_path / "runs.nc") as file:
        assert file["seed"][:].tolist() == list(range(50))
    again = call("export", "run", "runs.nc")
    assert again.exit_code == 1 and "exists already" in again.stderr
    other = call("export", "run", "runs.csv")
    assert other.exit_code == 2 and ".nc" in other.stderr and not (tmp_path / "runs.csv").exists()
