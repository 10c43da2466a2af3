"""Shards and exports as the tools of others see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray
from numpy.testing import assert_array_equal

from jaxor.store import shard
from jaxor.store.manifest import Manifest
from jaxor.store.run import Run
from jaxor.store.schema import columns
from tests.store.samples import block, manifest

SEEDS = range(3, 12)
FEW: dict[str, Any] = {"traces": "none", "parameters": "none"}


def save(directory: Path, like: Manifest, seeds: Any = SEEDS) -> Path:
    path = directory / "shard.nc"
    path.write_bytes(shard.encode(block(seeds, like), like.param_names, like.attributes()))
    return path


@pytest.mark.parametrize("seeds", [SEEDS, [5]], ids=["many", "no steps"])
@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray(tmp_path: Path, engine: Any, seeds: Any) -> None:
    like = manifest()
    with xarray.open_dataset(save(tmp_path, like, seeds), engine=engine) as dataset:
        assert set(dataset.sizes) == {"seed", "obs", "param"}
        assert_array_equal(dataset.param, like.param_names)
        assert set(dataset.coords) == {"seed", "param"}
        for name, array in columns(block(seeds)).items():
            assert dataset[name].dims == like.variables[name].dims
            assert dataset[name].dtype == array.dtype
            assert_array_equal(dataset[name], array)
        assert dataset.attrs == like.attributes()
        assert dataset.row_size.attrs["sample_dimension"] == "obs"
        assert dataset.status.attrs["flag_meanings"] == "converged stalled epoch_cap diverged unstarted"
        assert_array_equal(dataset.status.attrs["flag_values"], np.arange(5, dtype=np.int8))
        xarray.testing.assert_identical(dataset.load(), Run.from_block(like, block(seeds)).to_xarray())
        assert dataset.final_params.sel(seed=seeds[-1], param="β") == block(seeds).final_params[-1, 1]  # pyright: ignore[reportOptionalSubscript]


def test_xarray_without_traces_and_parameters(tmp_path: Path) -> None:
    with xarray.open_dataset(save(tmp_path, manifest(**FEW)), engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"seed": len(SEEDS)}
        assert_array_equal(dataset.epochs, block(SEEDS).epochs)


@pytest.mark.parametrize("seeds", [SEEDS, [5]], ids=["many", "no steps"])
def test_netcdf(tmp_path: Path, seeds: Any) -> None:
    like = manifest()
    with netCDF4.Dataset(save(tmp_path, like, seeds)) as dataset:
        assert dataset["param"][:].tolist() == list(like.param_names)
        assert list(dataset.dimensions) == ["seed", "obs", "param", "strlen"]
        assert list(dataset.variables) == [*like.variables, "param"]
        for name, array in columns(block(seeds)).items():
            assert dataset[name].dimensions == like.variables[name].dims
            assert_array_equal(dataset[name][:], array)
        assert {name: dataset.getncattr(name) for name in dataset.ncattrs()} == like.attributes()
        assert dataset["trace_loss"].units == "1"


def test_only_what_every_build_reads(tmp_path: Path) -> None:
    with h5py.File(save(tmp_path, manifest())) as file:
        for name in manifest().variables:
            dataset: Any = file[name]
            compressed = dataset.dtype.kind != "f"
            assert (dataset.compression, dataset.shuffle) == (("gzip", True) if compressed else (None, False))
            assert dataset.fletcher32
            for attribute in set(dataset.attrs) - {"DIMENSION_LIST", "REFERENCE_LIST"}:
                assert dataset.attrs.get_id(attribute).dtype.kind in "Sif"
        assert {file.attrs.get_id(name).dtype.kind for name in file.attrs} == {"S", "i"}
