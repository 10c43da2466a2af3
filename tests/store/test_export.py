"""What holds for exports of every kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxor.engine.block import Block, Traces
from jaxor.store import pieces
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.export import export_run
from tests.store.samples import add, block, manifest, store

SEEDS = range(40)
MANY = {"param_names": tuple(f"w{k}" for k in range(500))}
KINDS = pytest.mark.parametrize(
    ("suffix", "table"),
    [(".nc", None), (".parquet", "runs"), (".parquet", "records"), (".csv", "runs"), (".csv", "records")],
)

# A process for each: one kind of table tells what holds for both.
FEWER_KINDS = pytest.mark.parametrize(
    ("suffix", "table"),
    [
        (".nc", None),
        (".parquet", "runs"),
        (".csv", "records"),
        pytest.param(".parquet", "records", marks=pytest.mark.full),
        pytest.param(".csv", "runs", marks=pytest.mark.full),
    ],
)


def run_python(script: str) -> str:
    # Without coverage: interrupted where it holds its lock, it waits for that for ever at the end of the process.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=plain)
    assert done.returncode == 0, done.stderr
    return done.stdout


@KINDS
@pytest.mark.parametrize(  # all runs at a time, as exports are elsewhere; some; and each alone
    "piece", [pytest.param(2**24, marks=pytest.mark.full), 2**14, 1]
)
def test_bytes_depend_on_the_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, table: str | None, piece: int
) -> None:
    monkeypatch.setattr(pieces, "_PIECE_BYTES", piece)
    partitions = {
        "whole": [range(40)],
        "again": [range(40)],
        "halves": [range(17), range(17, 40)],
        "mixed": [range(1, 30, 2), range(0, 30, 2), [30], range(31, 40)],
    }
    found = set()
    for name, parts in partitions.items():
        store(tmp_path / name, *parts, param_names=MANY["param_names"][:100])
        export_run(tmp_path / name, tmp_path / f"{name}{suffix}", table)
        found.add((tmp_path / f"{name}{suffix}").read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize("piece", [2**24, 3000, 1])
def test_pieces_are_cut_by_the_bytes_of_the_runs_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """A plain loop over the runs says which of them go together."""
    monkeypatch.setattr(pieces, "_PIECE_BYTES", piece)
    whole, row = block(SEEDS), manifest().row_bytes
    assert whole.traces is not None
    expected: dict[int, list[int]] = {}
    total = 0
    for seed, records in zip(SEEDS, whole.traces.row_size.tolist(), strict=True):
        total += row["seed"] + records * row["obs"]
        expected.setdefault((total - 1) // piece, []).append(seed)
    directory = RunDirectory.open(store(tmp_path, range(1, 40, 2), range(0, 40, 2)))
    found = [part["seed"].tolist() for part in pieces.everything(manifest(), directory.shards())]
    assert found == [*expected.values()]


@KINDS
def test_never_overwrites(tmp_path: Path, suffix: str, table: str | None) -> None:
    path = store(tmp_path / "run", SEEDS)
    target = tmp_path / f"run{suffix}"
    target.write_text("precious")
    with pytest.raises(StoreError, match=f"run{suffix} exists already"):
        export_run(path, target, table)
    assert target.read_text() == "precious"


@KINDS
def test_what_cannot_be_exported_leaves_nothing(tmp_path: Path, suffix: str, table: str | None) -> None:
    path = store(tmp_path / "run", SEEDS)
    with pytest.raises(StoreError, match="cannot write .*: there is no directory"):
        export_run(path, tmp_path / "missing" / f"run{suffix}", table)
    (shard,) = (path / "shards").iterdir()
    shard.write_bytes(b"")
    with pytest.raises(StoreError, match="is damaged"):
        export_run(path, tmp_path / f"run{suffix}", table)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def changed(finished: Block, name: str, value: int) -> Block:
    array = finished.status if name == "status" else finished.traces.row_size  # pyright: ignore[reportOptionalMemberAccess]
    array[0] = value
    return finished


@KINDS
@pytest.mark.parametrize(("name", "value"), [("status", 5), ("status", -1), ("row_size", -1)])
def test_values_that_there_are_not(tmp_path: Path, suffix: str, table: str | None, name: str, value: int) -> None:
    with RunDirectory.create_or_open(tmp_path / "run", manifest(SEEDS)) as directory:
        add(directory, changed(block(SEEDS), name, value))
    with pytest.raises(StoreError, match="seed 0 has a status that there is not|claim other numbers of recorded steps"):
        export_run(tmp_path / "run", tmp_path / f"run{suffix}", table)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@KINDS
def test_shards_of_another_layout(tmp_path: Path, suffix: str, table: str | None) -> None:
    with RunDirectory.create_or_open(tmp_path / "run", manifest(SEEDS)) as directory:
        add(directory, block(SEEDS, manifest(x64=True)))
    with pytest.raises(StoreError, match="has initial_loss of type float64; move it away"):
        export_run(tmp_path / "run", tmp_path / f"run{suffix}", table)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["run", "run.txt", "run.csv.gz", ".csv"])
def test_other_suffixes(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"must end in .nc, .parquet or .csv, got {name}"):
        export_run(store(tmp_path / "dir", SEEDS), tmp_path / name)


@FEWER_KINDS
def test_full_disk_at_any_point_ends_in_a_sentence(tmp_path: Path, suffix: str, table: str | None) -> None:
    path, target = store(tmp_path / "run", range(40), **MANY), tmp_path / f"run{suffix}"
    export_run(path, tmp_path / f"whole{suffix}", table)
    size = (tmp_path / f"whole{suffix}").stat().st_size
    printed = run_python(f"""
import resource
from jaxor.store.errors import StoreError
from jaxor.store.export import export_run
for limit in range(0, {size}, {size // 12}):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        export_run({str(path)!r}, {str(target)!r}, {table!r})
    except StoreError as error:
        print(error)
""")
    assert len(printed.splitlines()) >= 12
    assert set(printed.splitlines()) == {f"cannot write {target}: File too large"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", f"whole{suffix}"]


@FEWER_KINDS
def test_interrupted_at_any_moment(tmp_path: Path, suffix: str, table: str | None) -> None:
    """What comes while h5py tidies up is lost to Python, so some exports may end after all; then they are whole."""
    path, target = store(tmp_path / "run", range(0, 60, 2), range(1, 60, 2), **MANY), tmp_path / f"run{suffix}"
    printed = run_python(f"""
import os, signal, time
from pathlib import Path
from jaxor.store.export import export_run

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored above us
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
target, found, seconds = Path({str(target)!r}), [], 60.0
for _ in range(4):  # the first one imports
    target.unlink(missing_ok=True)
    begin = time.perf_counter()
    export_run({str(path)!r}, target, {table!r})
    seconds = min(seconds, time.perf_counter() - begin)
whole = target.read_bytes()
for k in range(1, 11):
    target.unlink(missing_ok=True)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.9 * seconds * k / 10)
        export_run({str(path)!r}, target, {table!r})
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(0.001)  # a signal that has just come
    except KeyboardInterrupt:
        found.append(target.exists())
    assert not target.exists() or target.read_bytes() == whole, k
print(found.count(False))
""")
    assert int(printed) >= 3


def bulk(seeds: range, steps: int) -> Block:
    """Runs of so many steps with 6 parameters: 36 bytes a step."""
    runs = len(seeds)
    rows, zero = np.full(runs, steps, np.int32), np.zeros(runs, np.float32)
    losses = np.random.default_rng(seeds[0]).random(runs * steps, np.float32)
    traces = Traces(rows, np.tile(np.arange(steps, dtype=np.int32), runs), losses, np.tile(losses[:, None], 6))
    params = np.zeros((runs, 6), np.float32)
    return Block(np.array(seeds), np.zeros(runs, np.int8), rows, rows, zero, zero, zero, params, params, traces)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One with 4 shards of 18 MB and one with 12; pairs of them interleave."""
    paths = [tmp_path_factory.mktemp("few"), tmp_path_factory.mktemp("many")]
    like = manifest(range(12_000), param_names=tuple(f"w{k}" for k in range(6)))
    for path, shards in zip(paths, (4, 12), strict=True):
        with RunDirectory.create_or_open(path, like) as directory:
            for first in range(0, 1000 * shards, 2000):
                add(directory, bulk(range(first, first + 2000, 2), 500))
                add(directory, bulk(range(first + 1, first + 2000, 2), 500))
    return paths


@pytest.mark.parametrize(("suffix", "table"), [(".nc", None), (".parquet", "records"), (".csv", "runs")])
@pytest.mark.slow
def test_memory_does_not_grow_with_the_directory(directories: list[Path], suffix: str, table: str | None) -> None:
    peaks = []
    for path in directories:
        printed = run_python(f"""
import resource
from jaxor.store.export import export_run
export_run({str(path)!r}, {str(path / f"run{suffix}")!r}, {table!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
""")
        (path / f"run{suffix}").unlink()
        peaks.append(int(printed) * 1024)
    assert peaks[1] < peaks[0] + 80e6  # the directory has 145 MB more
