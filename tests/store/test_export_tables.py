"""Tables as pyarrow and a reader of text see them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from pyarrow import parquet

import jaxor.store
from jaxor.engine.status import Status
from jaxor.engine.tally import Tally, loss_of
from jaxor.store import pieces
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError, TraceNotStored
from jaxor.store.export import export_run
from jaxor.store.run import Run, open_run
from tests.engine.test_tally import block as counted_block
from tests.store.samples import add, block, manifest, store

KINDS = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"traces": "every=3"},
        {"traces": "loss", "parameters": "none"},
        {"traces": "none"},
        {"parameters": "final"},
        {"x64": True},
    ],
    ids=["all", "every", "losses", "no traces", "final parameters", "float64"],
)
Columns = dict[str, NDArray[Any]]


def table(run: Path, suffix: str, name: str | None = None) -> Path:
    target = run.parent / f"{name}{suffix}"
    export_run(run, target, name)
    return target


def read_parquet(path: Path) -> Columns:
    found = parquet.read_table(path)
    return {name: found[name].to_numpy() for name in found.column_names}


def read_csv(path: Path, types: dict[str, Any]) -> Columns:
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    assert names == [*types]
    texts = [*zip(*rows, strict=True)] or [()] * len(names)
    return {name: np.array(text, types[name]) for name, text in zip(names, texts, strict=True)}


def expected_runs(run: Run) -> Columns:
    """As a plain loop over the names makes them."""
    numbers = ["steps", "epochs", "initial_loss", "final_loss", "final_accuracy"]
    found = {"seed": run.seeds, "status": np.array([Status(k).name.lower() for k in run.status])}
    found |= {name: getattr(run, name) for name in numbers}
    for end in {"both": ["initial", "final"], "final": ["final"], "none": []}[run.manifest.parameters]:
        for k, name in enumerate(run.param_names):
            found[f"{end} {name}"] = getattr(run, f"{end}_params")[:, k]
    return found if run.manifest.traces == "none" else found | {"row_size": run.row_size}


def expected_records(run: Run) -> Columns:
    """One trace after the other."""
    traces = [run.trace(int(seed)) for seed in run.seeds]
    found = {"seed": np.repeat(run.seeds, [len(trace.step) for trace in traces])}
    found |= {name: np.concatenate([getattr(trace, name) for trace in traces]) for name in ("step", "loss")}
    if run.manifest.traces != "loss":
        params = np.concatenate([trace.params for trace in traces])
        found |= {name: params[:, k] for k, name in enumerate(run.param_names)}
    return found


def assert_equal(found: Columns, expected: Columns) -> None:
    assert [*found] == [*expected]
    for name, values in expected.items():
        if name != "status":
            assert found[name].dtype == values.dtype, name
            assert found[name].tobytes() == np.ascontiguousarray(values).tobytes(), name  # -0.0 and 0.0 differ
        assert_array_equal(found[name], values, err_msg=name)


@KINDS
@pytest.mark.parametrize("piece", [pytest.param(2**24, marks=pytest.mark.full), 200])  # floats, below, come in one
def test_values_and_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], piece: int) -> None:
    monkeypatch.setattr(pieces, "_PIECE_BYTES", piece)
    path = store(tmp_path / "run", range(7, 20), range(1, 7), [0, *range(20, 40, 2)], range(21, 40, 2), **changes)
    run = open_run(path)
    tables = {"runs": expected_runs(run)}
    if run.manifest.traces != "none":
        tables["records"] = expected_records(run)
    for name, expected in tables.items():
        stored = table(path, ".parquet", name)
        assert (parquet.ParquetFile(stored).num_row_groups > 1) == (piece == 200)
        assert_equal(read_parquet(stored), expected)
        types = {column: values.dtype for column, values in expected.items()}
        assert_equal(read_csv(table(path, ".csv", name), types), expected)


def test_the_table_of_runs_is_the_default(tmp_path: Path) -> None:
    path = store(tmp_path / "run", range(9))
    for suffix in (".parquet", ".csv"):
        export_run(path, tmp_path / f"default{suffix}")
        assert (tmp_path / f"default{suffix}").read_bytes() == table(path, suffix, "runs").read_bytes()


def test_the_schema_says_what_it_is(tmp_path: Path) -> None:
    schema = parquet.read_schema(table(store(tmp_path / "run", range(9)), ".parquet", "runs"))
    assert schema.field("status").type == pyarrow.dictionary(pyarrow.int8(), pyarrow.string())
    assert not any(field.nullable for field in schema)
    said = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    assert said == {name: str(value) for name, value in manifest().attributes().items() if name != "Conventions"}


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 100.0, 1e22, -1.5e-7, 0.1, 1 / 3, 123456789.0, 16777216.0]


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_floats_come_back_and_are_as_short_as_can_be(tmp_path: Path, x64: bool) -> None:
    floats = np.dtype(np.float64 if x64 else np.float32)
    limits = np.finfo(floats)
    random = np.random.default_rng(0).integers(0, 256, 900 * floats.itemsize, np.uint8).view(floats)
    special = np.array([*SPECIAL, limits.max, limits.smallest_normal, limits.smallest_subnormal], floats)
    losses = np.concatenate([special, random[~np.isnan(random)]])
    finished = block(range(len(losses)), like := manifest(range(1000), x64=x64))
    finished.final_loss[:] = losses
    with RunDirectory.create_or_open(tmp_path / "run", like) as directory:
        add(directory, finished)

    stored = read_parquet(table(tmp_path / "run", ".parquet", "runs"))["final_loss"]
    assert stored.tobytes() == losses.tobytes()
    with table(tmp_path / "run", ".csv", "runs").open(encoding="utf-8") as file:
        texts = [row["final_loss"] for row in csv.DictReader(file)]
    assert texts[:3] == ["nan", "inf", "-inf"]
    assert np.array(texts, floats).tobytes() == losses.tobytes()
    for text, loss in zip(texts[3:], losses[3:], strict=True):
        digits = text.lower().split("e")[0].lstrip("-").replace(".", "").strip("0")
        if len(digits) > 1:  # one digit less is another number
            with np.errstate(over="ignore"):
                assert floats.type(f"{loss:.{len(digits) - 2}e}") != loss, text


def test_no_runs_yet(tmp_path: Path) -> None:
    path = store(tmp_path / "run")
    for name, expected in (("runs", expected_runs(open_run(path))), ("records", None)):
        found = read_parquet(table(path, ".parquet", name))
        assert not any(map(len, found.values()))
        assert expected is None or {k: v.dtype for k, v in found.items() if k != "status"} == {
            k: v.dtype for k, v in expected.items() if k != "status"
        }
        assert len(table(path, ".csv", name).read_text().splitlines()) == 1


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_names_that_are_taken(tmp_path: Path, suffix: str) -> None:
    path = store(tmp_path / "run", range(9), param_names=("loss", "w"))
    assert table(path, suffix, "runs").exists()
    with pytest.raises(StoreError, match="two columns would be called 'loss'; export to a .nc file"):
        table(path, suffix, "records")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_wrong_tables(tmp_path: Path, suffix: str) -> None:
    path = store(tmp_path / "run", range(9), traces="none")
    with pytest.raises(TraceNotStored, match="--traces all"):
        table(path, suffix, "records")
    with pytest.raises(ValueError, match="a directory of runs has the tables runs, records, got 'epochs'"):
        table(path, suffix, "epochs")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(jaxor.store, "parquet", raising=False)
    monkeypatch.delitem(sys.modules, "jaxor.store.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = store(tmp_path / "run", range(9))
    with pytest.raises(ImportError, match=r"needs pyarrow; install it with: pip install 'jaxor\[parquet\]'"):
        table(path, ".parquet", "runs")
    assert table(path, ".csv", "runs").exists()


@pytest.mark.parametrize("name", ["epochs", "initial_loss", "final_loss"])
def test_statistics(tmp_path: Path, name: str) -> None:
    like = manifest(range(50), kind="statistics", traces="none", parameters="none")
    for run, parts in (("run", [range(20), range(20, 50)]), ("other", [range(1, 50, 2), range(0, 50, 2)])):
        with RunDirectory.create_or_open(tmp_path / run / "it", like) as directory:
            for part in parts:
                add(directory, Tally.of(counted_block(part)))
    histogram = getattr(Tally.of(counted_block(range(50))), name)
    values = histogram.values if name == "epochs" else loss_of(histogram.values)
    rows = [
        (values[k], status.name.lower(), success == 1, histogram.counts[k, status, success])
        for k in range(len(values))
        for status in Status
        for success in (0, 1)
        if histogram.counts[k, status, success]
    ]
    found = parquet.read_table(table(tmp_path / "run" / "it", ".parquet", name))
    assert found.column_names == [name, "status", "success", "runs"]
    assert found[name].to_numpy().dtype == values.dtype
    assert_array_equal(found[name].to_numpy(), [row[0] for row in rows])
    for column, other in (("status", 1), ("success", 2), ("runs", 3)):
        assert found[column].to_pylist() == [row[other] for row in rows]
    assert sum(found["runs"].to_pylist()) == 50
    lines = table(tmp_path / "run" / "it", ".csv", name).read_text().splitlines()
    assert lines[1:] == [f"{value!s},{status},{str(success).lower()},{runs}" for value, status, success, runs in rows]
    for suffix in (".parquet", ".csv"):
        same = table(tmp_path / "other" / "it", suffix, name).read_bytes()
        assert (tmp_path / "run" / f"{name}{suffix}").read_bytes() == same
    default = tmp_path / "default.csv"
    export_run(tmp_path / "run" / "it", default)
    assert default.read_text().startswith("epochs,status,success,runs\n")
    with pytest.raises(ValueError, match="a directory of statistics has the tables epochs, initial_loss, final_loss"):
        table(tmp_path / "run" / "it", ".csv", "runs")
