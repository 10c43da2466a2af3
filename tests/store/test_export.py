from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import netCDF4
import pytest
import xarray
from numpy.testing import assert_array_equal

from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.export import export_run
from jaxor.store.run import Run, open_run
from tests.store.samples import add, block, manifest

SEEDS = range(40)


def store(path: Path, *parts: Any, **changes: Any) -> Path:
    with RunDirectory.create_or_open(path, manifest(SEEDS, **changes)) as directory:
        for part in parts:
            add(directory, block(part, directory.manifest))
    return path


@pytest.mark.parametrize(
    "changes",
    [{}, {"traces": "none"}, {"traces": "loss", "parameters": "none"}, {"x64": True}],
    ids=["all", "no traces", "losses", "float64"],
)
def test_one_file_with_everything(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = store(tmp_path / "run", range(10), range(10, 40), **changes)
    export_run(path, tmp_path / "run.nc")
    like = manifest(**changes)
    with xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as dataset:
        xarray.testing.assert_identical(dataset.load(), Run.from_block(like, block(SEEDS, like)).to_xarray())
    with netCDF4.Dataset(tmp_path / "run.nc") as dataset:
        assert_array_equal(dataset["final_loss"][:], block(SEEDS, like).final_loss)


def test_bytes_depend_on_the_runs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_run(store(tmp_path / "a", range(40)), tmp_path / "a.nc")
    export_run(tmp_path / "a", tmp_path / "again.nc")
    export_run(store(tmp_path / "b", range(1, 40, 2), range(0, 40, 2)), tmp_path / "b.nc")
    first = (tmp_path / "a.nc").read_bytes()
    assert (tmp_path / "again.nc").read_bytes() == first
    assert (tmp_path / "b.nc").read_bytes() == first


def test_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "run", range(10), range(10, 40))
    monkeypatch.setattr(Run.blocks, "__defaults__", (500,))
    assert len([*open_run(path).blocks()]) > 5
    export_run(path, tmp_path / "run.nc")
    with xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as dataset:
        xarray.testing.assert_identical(dataset.load(), Run.from_block(manifest(), block(SEEDS)).to_xarray())


def test_no_runs_yet(tmp_path: Path) -> None:
    export_run(store(tmp_path / "run"), tmp_path / "run.nc")
    with xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"seed": 0, "obs": 0, "param": 3}


def test_never_overwrites(tmp_path: Path) -> None:
    path = store(tmp_path / "run", SEEDS)
    (tmp_path / "run.nc").write_text("precious")
    with pytest.raises(StoreError, match="run.nc exists already"):
        export_run(path, tmp_path / "run.nc")
    assert (tmp_path / "run.nc").read_text() == "precious"


def test_what_cannot_be_exported_leaves_nothing(tmp_path: Path) -> None:
    path = store(tmp_path / "run", SEEDS)
    with pytest.raises(StoreError, match="cannot write .*: No such file or directory"):
        export_run(path, tmp_path / "missing" / "run.nc")
    (shard,) = (path / "shards").iterdir()
    shard.write_bytes(b"")
    with pytest.raises(StoreError, match="is damaged"):
        export_run(path, tmp_path / "run.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


class Interrupted(BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() > 2000:
            raise KeyboardInterrupt
        return super().write(data)


def test_interrupts_wait_for_hdf5(tmp_path: Path) -> None:
    run = open_run(store(tmp_path / "run", SEEDS))
    sink = _Sink(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        _write(run, sink)


def test_full_disk_at_any_point_ends_in_a_sentence(tmp_path: Path) -> None:
    path = store(tmp_path / "run", range(40), param_names=tuple(f"w{k}" for k in range(500)))
    export_run(path, tmp_path / "whole.nc")
    size = (tmp_path / "whole.nc").stat().st_size
    script = f"""
import resource
from jaxor.store.errors import StoreError
from jaxor.store.export import export_run
for limit in range(0, {size}, {size // 50}):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        export_run({str(path)!r}, {str(tmp_path / "run.nc")!r})
    except StoreError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 50
    assert set(lines) == {f"cannot write {tmp_path / 'run.nc'}: File too large"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "whole.nc"]
