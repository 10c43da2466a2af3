"""``jaxor replay``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import jaxor
from tests.cli.conftest import Call


@pytest.fixture
def run(call: Call) -> jaxor.Run:
    """Without traces, some of whose runs will be replayed."""
    return jaxor.simulate("abs1_convergence", 20, out="run", traces="none", lane_width=16)


def test_the_table_and_json(call: Call, run: jaxor.Run):
    said = call("replay", "run", "--seed", 17)
    assert said.exit_code == 0 and said.stderr == ""
    steps = int(run.steps[17])
    assert f"converged after {steps} steps" in said.stdout and "those of the stored run" in said.stdout
    assert said.stdout.endswith("Parameters are those after the step.\n")
    table = json.loads(call("replay", "run", "--seed", 17, "--json").stdout)
    again = jaxor.simulate("abs1_convergence", 20, traces="all", lane_width=16).trace(17)
    assert (table["seed"], table["steps"], table["same_bits"], table["path"]) == (17, steps, True, "run")
    assert_array_equal(np.array(table["params"], np.float32), again.params)
    assert_array_equal(np.array(table["loss"], np.float32), again.loss)
    assert_array_equal(table["params"][-1], run.final_params[17].astype(float))
    assert table["step"] == list(range(steps)) and len(table["param_names"]) == 3


def test_files(call: Call, run: jaxor.Run, tmp_path: Path):
    trace = jaxor.replay_run("run", 3).trace(3)
    for suffix in ("csv", "nc", "parquet"):
        if suffix == "parquet":
            pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
        said = call("replay", "run", "--seed", 3, "--out", f"a.{suffix}")
        assert said.exit_code == 0 and said.stdout.endswith(f"\n\nThe trace is in a.{suffix}.\n"), said.stderr
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert_array_equal([np.float32(row["loss"]) for row in rows], trace.loss)
    assert [int(row["step"]) for row in rows] == trace.step.tolist() and {row["seed"] for row in rows} == {"3"}
    assert_array_equal([np.float32(row["linear1.bias[0]"]) for row in rows], trace.params[:, 2])
    with h5py.File("a.nc") as file:
        params: np.ndarray = np.asarray(file["trace_params"])
    assert_array_equal(params, trace.params)
    import pyarrow.parquet as parquet

    assert_array_equal(parquet.read_table("a.parquet")["loss"].to_numpy(), trace.loss)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.nc", "a.parquet", "run"]


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, "run", "Missing option '--seed'"),
        (2, "run --seed x", "'x' is not a valid integer"),
        (2, "run --seed 20", "seed 20 is not in this run, which holds 20 seeds, from 0 to 19"),
        (2, "run --seed -1", "seeds must be between 0 and 2^32 - 1, got -1"),
        (1, "nosuch --seed 1", "nosuch is not a run directory: it has no manifest.json"),
        (1, "old.csv --seed 1", "old.csv is not a directory"),
        (1, "statistics --seed 1", "statistics holds statistics and no single runs, so no path can be replayed"),
        (1, "run --seed 1 --out old.csv", "old.csv exists already; remove it or choose another name"),
        (2, "run --seed 1 --out a.txt", "the file must end in .nc, .parquet or .csv, got a.txt"),
        (1, "run --seed 1 --out nowhere/a.csv", "nowhere/a.csv: there is no directory"),
    ],
)
def test_wrong_input_is_one_sentence(call: Call, run: jaxor.Run, code: int, arguments: str, message: str):
    Path("old.csv").write_text("precious")
    if arguments.startswith("statistics"):
        call("simulate", "abs1_convergence", "--seeds", 6, "--keep", "statistics", "--out", "statistics")
    said = call("replay", *arguments.split())
    assert (said.exit_code, said.stdout) == (code, "")
    assert said.stderr.startswith("Error: ") and said.stderr.count("\n") == 1 and message in said.stderr
    assert Path("old.csv").read_text() == "precious" and not Path("a.txt").exists()
