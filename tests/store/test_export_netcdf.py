from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import pytest
import xarray
from numpy.testing import assert_array_equal

from jaxor.store import pieces
from jaxor.store.export import export_run
from jaxor.store.run import Run
from tests.store.samples import block, manifest, store

SEEDS = range(40)


@pytest.mark.parametrize(
    "changes",
    [{}, {"traces": "none"}, {"traces": "loss", "parameters": "none"}, {"parameters": "final"}, {"x64": True}],
    ids=["all", "no traces", "losses", "final parameters", "float64"],
)
def test_one_file_with_everything(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = store(tmp_path / "run", range(10), range(10, 40), **changes)
    export_run(path, tmp_path / "run.nc")
    like = manifest(**changes)
    with xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as dataset:
        xarray.testing.assert_identical(dataset.load(), Run.from_block(like, block(SEEDS, like)).to_xarray())
    with netCDF4.Dataset(tmp_path / "run.nc") as dataset:
        assert_array_equal(dataset["final_loss"][:], block(SEEDS, like).final_loss)


def test_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "run", range(10), range(10, 40))
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 500)
    export_run(path, tmp_path / "run.nc")
    with xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as dataset:
        xarray.testing.assert_identical(dataset.load(), Run.from_block(manifest(), block(SEEDS)).to_xarray())


def test_no_runs_yet(tmp_path: Path) -> None:
    export_run(store(tmp_path / "run"), tmp_path / "run.nc")
    with xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"seed": 0, "obs": 0, "param": 3}


def test_a_table_of_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a .nc file holds everything; leave out the table runs"):
        export_run(store(tmp_path / "run", SEEDS), tmp_path / "run.nc", "runs")
