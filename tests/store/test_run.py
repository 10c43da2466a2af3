from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from jaxor.engine.block import Block, concatenate
from jaxor.store import shard
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError, TraceNotStored
from jaxor.store.run import Run, open_run
from tests.examples import examples
from tests.store.samples import add, assert_equal_blocks, block, manifest

ARRAYS = ["status", "steps", "epochs", "initial_loss", "final_loss", "final_accuracy", "initial_params", "final_params"]
PARTS = [[0, 1, 2, 3], [4, 6, 8, 10, 40], [5, 7, 9], [11]]
SEEDS = sorted(sum(PARTS, []))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("runs") / "run")


def store(path: Path, **changes: Any) -> Path:
    with RunDirectory.create_or_open(path, manifest(SEEDS, **changes)) as directory:
        for part in reversed(PARTS):
            add(directory, block(part, directory.manifest))
    return path


def check(run: Run, expected: Block) -> None:
    assert len(run) == len(expected)
    assert_array_equal(run.seeds, expected.seeds)
    for name in ARRAYS:
        array = getattr(run, name)
        assert array.dtype == getattr(expected, name).dtype
        assert_array_equal(array, getattr(expected, name))
    assert expected.traces is not None and expected.traces.params is not None
    assert_array_equal(run.row_size, expected.traces.row_size)
    for index, seed in enumerate(run.seeds):
        rows = expected.traces.rows(index)
        trace = run.trace(seed)
        assert_array_equal(trace.step, expected.traces.step[rows])
        assert_array_equal(trace.loss, expected.traces.loss[rows])
        assert_array_equal(trace.params, expected.traces.params[rows])


def test_of_some_seeds_no_other_shards_are_read(tmp_path: Path) -> None:
    path = store(tmp_path / "run")
    run = open_run(path, [9, 4])
    for file in (path / "shards").glob("s*.h5"):
        if (shard.seed_range(file) or (0, 0))[0] not in (4, 5):
            file.unlink()
    assert_array_equal(run.final_params, block([9, 4]).final_params)


@pytest.mark.parametrize("seeds", [SEEDS, [9, 0, 40, 5], [5], []], ids=["all", "some", "one", "none"])
def test_in_memory_and_stored_runs_are_the_same(stored: Path, seeds: list[int]) -> None:
    expected = block(seeds)
    check(Run.from_block(manifest(), expected), expected)
    check(open_run(stored, seeds), expected)


def test_all_ascending_if_not_told(stored: Path) -> None:
    check(open_run(stored), block(SEEDS))


def test_what_it_says_of_itself(stored: Path) -> None:
    memory, disk = Run.from_block(manifest(), block(SEEDS)), open_run(stored)
    for run in (memory, disk):
        assert run.identity == manifest().identity
        assert run.param_names == manifest().param_names
        assert (run.lane_width, run.x64) == (64, False)
    assert memory.path is None
    assert disk.path == stored
    counts = np.bincount(block(SEEDS).status, minlength=4)
    ends = ", ".join(
        f"{n} {s}" for s, n in zip(["converged", "stalled", "epoch_cap", "diverged"], counts, strict=True) if n
    )
    assert repr(memory) == f"<Run of zwei_geraden_ä: 13 seeds ({ends}), 3 parameters, traces all, in memory>"
    assert repr(disk).endswith(f"traces all, {stored}>")
    assert "0 seeds (none)" in repr(open_run(stored, []))


def test_seeds_must_be_known_and_given_once(stored: Path) -> None:
    with pytest.raises(KeyError, match="seed 12 is not in this run, which holds 13 seeds, from 0 to 40"):
        open_run(stored, [3, 12])
    with pytest.raises(ValueError, match="more than once"):
        open_run(stored, [3, 4, 3])
    for run in (open_run(stored), Run.from_block(manifest(), block(SEEDS))):
        for seed in (12, -1, 41):
            with pytest.raises(KeyError, match=f"seed {seed} is not in this run"):
                run.trace(seed)
    with pytest.raises(KeyError, match="seed 3 is not in this run, which holds 0 seeds'"):
        Run.from_block(manifest(), block([])).trace(3)


def test_traces_that_were_not_recorded(tmp_path: Path) -> None:
    none, losses = manifest(traces="none"), manifest(traces="loss")
    for run in (Run.from_block(none, block(SEEDS, none)), open_run(store(tmp_path / "none", traces="none"))):
        with pytest.raises(TraceNotStored, match="--traces all"):
            run.trace(3)
        with pytest.raises(TraceNotStored, match="--traces all"):
            _ = run.row_size
        assert [part.traces for part in run.blocks()] == [None]
    for run in (Run.from_block(losses, block(SEEDS, losses)), open_run(store(tmp_path / "loss", traces="loss"))):
        assert_array_equal(run.trace(6).loss, Run.from_block(losses, block([6], losses)).trace(6).loss)
        with pytest.raises(TraceNotStored, match="--traces all"):
            _ = run.trace(6).params


def test_parameters_that_were_not_stored(tmp_path: Path) -> None:
    final = open_run(store(tmp_path / "final", parameters="final"))
    assert_array_equal(final.final_params, Run.from_block(final.manifest, block(SEEDS, final.manifest)).final_params)
    with pytest.raises(StoreError, match="initial_params were not stored.*--parameters both"):
        _ = final.initial_params
    with pytest.raises(StoreError, match="final_params were not stored.*--parameters"):
        _ = open_run(store(tmp_path / "none", parameters="none")).final_params
    assert "initial_params" not in final.to_xarray()


def test_float64(tmp_path: Path) -> None:
    run = open_run(store(tmp_path / "run", x64=True))
    assert run.x64
    check(run, block(SEEDS, manifest(x64=True)))
    assert run.trace(6).params.dtype == np.float64


@settings(max_examples=examples(40), deadline=None)
@given(order=st.permutations(SEEDS), count=st.integers(0, len(SEEDS)), max_bytes=st.sampled_from([1, 300, 1000, 2**26]))
def test_blocks_are_all_runs_in_order(stored: Path, order: list[int], count: int, max_bytes: int) -> None:
    seeds = order[:count]
    for run in (open_run(stored, seeds), Run.from_block(manifest(), block(seeds))):
        parts = [*run.blocks(max_bytes)]
        assert_equal_blocks(concatenate([block([]), *parts]), block(seeds))
        assert all(len(part) for part in parts)
        if max_bytes == 1:
            assert len(parts) == count
        if max_bytes == 2**26:
            assert len(parts) <= 1


def test_arrays_are_read_once_and_only_when_asked_for(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr("jaxor.store.sources.read", lambda path, names: read.append(names) or shard.read(path, names))
    run = open_run(stored)
    assert read == []
    assert run.epochs is run.epochs
    _ = run.status, run.final_loss, run.row_size
    assert len(read) == len(PARTS)
    assert not any("params" in name for names in read for name in names)
    _ = run.final_params
    assert read[len(PARTS) :] == [["final_params"]] * len(PARTS)


def test_neighbouring_traces_are_read_together(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr("jaxor.store.sources.decode", lambda path, rows: read.append(path) or shard.decode(path, rows))
    run = open_run(stored)
    for seed in SEEDS:
        run.trace(seed)
    assert len(read) == len(PARTS)


def test_to_xarray(stored: Path) -> None:
    order = [9, 0, 40, 5]
    dataset = open_run(stored, order).to_xarray()
    assert dataset.identical(Run.from_block(manifest(), block(order)).to_xarray())
    assert_array_equal(dataset.seed, order)
    for name in ARRAYS:
        assert_array_equal(dataset[name], getattr(block(order), name))
    assert dataset.attrs["Conventions"] == "CF-1.11"
    assert set(dataset.dims) == {"seed", "obs", "param"}


def test_to_xarray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxor\[xarray\]'"):
        Run.from_block(manifest(), block(SEEDS)).to_xarray()


def test_the_experiment_may_be_handed_in(stored: Path) -> None:
    ready: Any = object()
    assert open_run(stored, experiment=ready).experiment is ready
    assert Run.from_block(manifest(), block([1]), ready).experiment is ready


def test_arrays_need_no_jax(stored: Path) -> None:
    script = f"""
import sys
from jaxor.store.run import open_run
run = open_run({str(stored)!r})
run.final_params, run.trace(3).params
print("jax" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
