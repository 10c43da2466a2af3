"""`jaxor experiments`, `info` and `export`."""

from __future__ import annotations

import json
import os
import sys

import netCDF4
import pytest
from pyarrow import parquet

import jaxor
from jaxor.experiments.catalog import get_entry
from tests.cli.conftest import Call, Process


def test_experiments_lists_the_catalogue(call: Call):
    lines = call("experiments").stdout.splitlines()
    assert lines[0].split() == ["name", "model", "init", "optimizer", "epochs"]
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


def test_export_writes_tables(call: Call, tmp_path):
    call("simulate", "relu1_normal", "--seeds", 50, "--out", "run", "--traces", "loss")
    run = jaxor.open_run("run")
    for name, rows in (("runs", 50), ("records", run.row_size.sum())):
        for file in (f"{name}.csv", f"{name}.parquet"):
            result = call("export", "run", file, "--table", name)
            assert (result.exit_code, result.stderr) == (0, "") and result.stdout.startswith(f"{file}: ")
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) == 1 + rows
        assert parquet.read_metadata(tmp_path / f"{name}.parquet").num_rows == rows


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["runs.txt"], 2, "the file must end in .nc, .parquet or .csv, got runs.txt"),
        (["runs.nc", "--table", "runs"], 2, "a .nc file holds everything; leave out the table runs"),
        (["runs.csv", "--table", "epochs"], 2, "a directory of runs has the tables runs, records, got 'epochs'"),
        (["runs.csv", "--table", "steps"], 2, "'steps' is not one of 'runs', 'records'"),
        (["runs.csv", "--table", "records"], 1, "simulate with traces='all' or 'loss' (--traces all|loss)"),
        (["no/runs.csv"], 1, "no/runs.csv: there is no directory"),
    ],
)
def test_wrong_exports(call: Call, tmp_path, arguments: list[str], code: int, sentence: str):
    call("simulate", "--seeds", 5, "--out", "run", "--traces", "none")
    result = call("export", "run", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ") and sentence in result.stderr and result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("suffix", [".nc", ".parquet", ".csv"])
@pytest.mark.parametrize("limit", [0, 5000])
def test_a_full_disk_ends_an_export(call: Call, process: Process, tmp_path, suffix: str, limit: int):
    call("simulate", "--seeds", 50, "--out", "run")
    first = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # it would write too
    command = process("export", "run", f"runs{suffix}", first=first, env=plain)
    printed, said = command.communicate()
    assert (command.returncode, printed) == (1, "")
    assert said == f"Error: cannot write {tmp_path / f'runs{suffix}'}: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# After the first piece of many.
INTERRUPT = """
import os, signal
from jaxor.store import pieces

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored above us
pieces._PIECE_BYTES = 1
cut = pieces._cut

def cut_and_interrupt(*arguments):
    for k, piece in enumerate(cut(*arguments)):
        if k == 1:
            os.kill(os.getpid(), signal.{signal})
        yield piece

pieces._cut = cut_and_interrupt
"""


@pytest.mark.parametrize("suffix", [".nc", ".parquet", ".csv"])
@pytest.mark.parametrize(("signal", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_an_interrupted_export_leaves_nothing(
    call: Call, process: Process, tmp_path, suffix: str, signal: str, code: int, word: str
):
    call("simulate", "--seeds", 50, "--out", "run")
    command = process("export", "run", f"runs{suffix}", first=INTERRUPT.format(signal=signal))
    assert (*command.communicate(), command.returncode) == ("", f"Error: {word}\n", code)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on Windows")
@pytest.mark.parametrize("suffix", [".nc", ".parquet", ".csv"])
def test_an_isolated_export(call: Call, process: Process, tmp_path, suffix: str):
    call("simulate", "--seeds", 50, "--out", "run")
    plain = call("export", "run", f"plain{suffix}")
    command = process("export", "run", f"isolated{suffix}", "--isolated")
    assert (command.communicate()[0], command.returncode) == (plain.stdout.replace("plain", "isolated"), 0)
    assert (tmp_path / f"isolated{suffix}").read_bytes() == (tmp_path / f"plain{suffix}").read_bytes()
