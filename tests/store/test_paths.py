"""Measurements on disk: what is there is not measured again, what is damaged is said to be."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from numpy.testing import assert_array_equal

import jaxor
from jaxor.analysis import measure as measuring
from jaxor.engine.geometry import Geometry, Measuring, join
from jaxor.engine.seeds import Ranges, compress
from jaxor.store import atomic
from jaxor.store.errors import StoreError
from jaxor.store.manifest import Manifest
from jaxor.store.paths import GEOMETRY, GeometryDirectory, held, seal_geometry, select
from jaxor.store.verify import verify_run
from tests.numpy_paths import random_walks
from tests.store.samples import manifest

FINAL = Measuring()
Changed = Callable[[GeometryDirectory], Any]


def some(seeds: list[int], steps: int = 12) -> Geometry:
    """Made-up measurements, of each seed always the same."""
    runs = random_walks(10, steps, 5)
    geometry = join([runs.take(np.array([seed % 10])) for seed in seeds])
    return replace(geometry, seeds=np.array(seeds, np.int64))


def stored(folder: Path, *parts: list[int], like: Manifest | None = None) -> GeometryDirectory:
    directory = GeometryDirectory.of(folder, FINAL, like or manifest(x64=True))
    with directory.writing():
        for seeds in parts:
            data = seal_geometry(some(seeds), FINAL, directory.manifest)
            directory.add(compress(np.array(seeds)), data)
    return directory


def files(directory: GeometryDirectory) -> list[Path]:
    return sorted(directory.path.glob("s*.h5"))


def same(one: Geometry, other: Geometry) -> None:
    for (name, array), (_, wanted) in zip(one.arrays(), other.arrays(), strict=True):
        assert array.dtype == wanted.dtype, name
        assert_array_equal(array, wanted, name)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    directory = stored(tmp_path, [0, 1, 5], [2, 3])
    parts = directory.parts()
    assert held(parts) == ((0, 4), (5, 6))
    same(select(parts, np.array([5, 0, 3])), some([5, 0, 3]))
    same(select(parts, np.arange(4)), some([0, 1, 2, 3]))


def test_of_the_lowest_seeds_no_other_files_are_read(tmp_path: Path) -> None:
    directory = stored(tmp_path, [0, 2, 6], [1, 5], [7, 8])
    files(directory)[-1].write_bytes(b"cannot be read")
    for most in (1, 4):
        assert_array_equal(sorted(join(directory.parts(most)).seeds)[:most], [0, 1, 2, 5][:most])
    with pytest.raises(StoreError, match="is damaged"):
        directory.parts(6)


def test_equal_measurements_are_equal_bytes(tmp_path: Path) -> None:
    one, other = (stored(tmp_path / name, [0, 1, 5]) for name in "ab")
    assert [path.name for path in files(one)] == [path.name for path in files(other)]
    assert files(one)[0].read_bytes() == files(other)[0].read_bytes()


def test_files_open_as_they_are(tmp_path: Path) -> None:
    """In netCDF and xarray, with names, units and dimensions."""
    xarray = pytest.importorskip("xarray", reason="the extra xarray is not installed")
    path = files(stored(tmp_path, [0, 1, 5]))[0]
    geometry = some([0, 1, 5])
    with xarray.open_dataset(path) as data:
        assert dict(data.sizes) == {"seed": 3, "obs": 36, "look": 10, "batch": 10, "lag": 6, "fraction": 11}
        assert set(data.variables) == set(GEOMETRY)
        for name, array in geometry.arrays():
            assert_array_equal(data["seed" if name == "seeds" else name].values, array, name)
        assert all(data[name].attrs["long_name"] for name in GEOMETRY)
        assert data.attrs["measuring"] == "final" and data.attrs["title"] == "zwei_geraden_ä: geometry of paths"
        assert data["steps"].attrs["sample_dimension"] == "obs"
    netcdf = pytest.importorskip("netCDF4", reason="netCDF4 is not installed")
    with netcdf.Dataset(path) as data:
        assert_array_equal(data["batch_dot"][:], geometry.batch_dot)


def damaged(directory: GeometryDirectory) -> None:
    data = bytearray(files(directory)[0].read_bytes())
    data[len(data) // 2] ^= 1
    files(directory)[0].write_bytes(data)


def truncated(directory: GeometryDirectory) -> None:
    files(directory)[0].write_bytes(files(directory)[0].read_bytes()[:-100])


def empty(directory: GeometryDirectory) -> None:
    files(directory)[0].write_bytes(b"")


def renamed(directory: GeometryDirectory) -> None:
    path = files(directory)[0]
    path.rename(path.with_name(path.name.replace("s000000000000", "s000000000001")))


def of_other_runs(directory: GeometryDirectory) -> None:
    other = stored(directory.path.parents[2] / "other", [0, 1], like=manifest(x64=True, lane_width=16))
    shutil.copy(files(other)[0], directory.path)


def of_another_reference(directory: GeometryDirectory) -> None:
    data = seal_geometry(some([7]), Measuring("exact"), directory.manifest)
    directory.add(((7, 8),), data)


def nonsense(directory: GeometryDirectory) -> None:
    directory.add(((0, 2),), b"nonsense")


def no_file(directory: GeometryDirectory) -> None:
    (directory.path / "s000000000007-000000000007.0123456789abcdef.h5").mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, r"s000000000000-000000000005\.\w+\.h5 is damaged; delete it and measure again"),
        (truncated, "is damaged"),
        (empty, "is damaged"),
        (renamed, r"s000000000001-000000000005\.\w+\.h5 is damaged; delete it and measure again"),
        (of_other_runs, "holds measurements of something else; delete it and measure again"),
        (of_another_reference, "holds measurements of something else; delete it and measure again"),
        (no_file, r"s000000000007-000000000007\.\w+\.h5 is a link or not a file; remove it and measure again"),
        (nonsense, r"s000000000000-000000000001\.\w+\.h5 cannot be read as a file of jaxor"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, change: Changed, message: str) -> None:
    directory = stored(tmp_path, [0, 1, 5])
    change(directory)
    with pytest.raises(StoreError, match=message):
        directory.parts()


@pytest.mark.parametrize("link", ["derived", "derived/geometry", "derived/geometry/final"])
def test_links_are_refused(tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    run = tmp_path / "run"
    (run / link).parent.mkdir(parents=True)
    (run / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link, which a run directory must not hold; remove it"):
        stored(run, [0])
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    directory = stored(tmp_path / "run", [0, 1])
    path = files(directory)[0]
    path.rename(tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    with pytest.raises(StoreError, match="is a link or not a file"):
        directory.parts()


def _hold(path: str, ready: Any, done: Any) -> None:
    with FileLock(path):
        ready.set()
        done.wait(60)


def test_two_writers(tmp_path: Path) -> None:
    """One process measures; what it has written can be read meanwhile."""
    directory = stored(tmp_path, [0, 1])
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(str(directory.path / ".lock"), ready, done))
    other.start()
    assert ready.wait(60)
    try:
        with pytest.raises(StoreError, match="another process is measuring into .*; wait for it"), directory.writing():
            pytest.fail("both write")
        assert held(directory.parts()) == ((0, 2),)
    finally:
        done.set()
        other.join()
    with directory.writing():
        pass


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions hold nobody back here")
def test_no_permission(tmp_path: Path) -> None:
    directory = GeometryDirectory.of(tmp_path, FINAL, manifest(x64=True))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="cannot write to .*: Permission denied"), directory.writing():
            pytest.fail("it can be written")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "derived").write_text("mine")
    directory = GeometryDirectory.of(tmp_path, FINAL, manifest(x64=True))
    with pytest.raises(StoreError, match="cannot write to .*: (Not a directory|File exists)"), directory.writing():
        pytest.fail("it can be written")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(StoreError, match="cannot write to .*final: No space left on device"):
        stored(tmp_path, [0, 1])
    monkeypatch.undo()
    assert files(stored(tmp_path)) == []


def test_what_a_killed_writer_left(tmp_path: Path) -> None:
    directory = stored(tmp_path, [0, 1])
    left = directory.path / ".s000000000002-000000000003.0123456789abcdef.h5.4711.tmp"
    left.write_bytes(b"half a file")
    assert held(directory.parts()) == ((0, 2),) and left.exists()
    with directory.writing():
        assert not left.exists()


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seeds first, then others, then all; and the same bytes as from all at once."""
    asked: list[Ranges] = []
    answers = measuring._answers

    def counted(run: Any, seeds: Any, *arguments: Any) -> Any:
        asked.append(seeds)
        return answers(run, seeds, *arguments)

    monkeypatch.setattr(measuring, "_answers", counted)
    run = jaxor.simulate("abs1_convergence", 20, lane_width=16, out=tmp_path / "run", traces="none", x64=True)
    some = jaxor.measure_run(run, [3, 5, 4])
    assert_array_equal(some.seeds, [3, 5, 4])
    jaxor.measure_run(tmp_path / "run", [4])
    whole = jaxor.measure_run(tmp_path / "run")
    same(jaxor.measure_run(run), whole)
    assert asked == [((3, 6),), ((0, 3), (6, 20))]
    same(whole.take(np.array([3, 5, 4])), some)
    in_memory = jaxor.measure_run(jaxor.simulate("abs1_convergence", 20, lane_width=16, traces="none", x64=True))
    same(in_memory, whole)
    exact = jaxor.measure_run(run, [3], reference="exact")
    assert exact.distance2[0] != some.distance2[0] and len(asked) == 4
    assert sorted(path.name for path in (tmp_path / "run/derived/geometry").iterdir()) == ["exact", "final"]
    assert verify_run(tmp_path / "run").problems == []
