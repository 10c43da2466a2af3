"""Shards of statistics, and populations read from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray
from numpy.testing import assert_array_equal

from jaxor.engine.status import Status
from jaxor.engine.tally import Tally
from jaxor.store import shard
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.export import export_run
from jaxor.store.population import Population, read_population
from jaxor.store.run import open_run
from jaxor.store.schema import COUNTS, counts
from tests.engine.test_tally import block
from tests.store.samples import add, manifest

STATISTICS: dict[str, Any] = {"kind": "statistics", "traces": "none", "parameters": "none"}
PARTS = [range(20), range(30, 50), range(20, 30)]


def tally(seeds: Any = range(50)) -> Tally:
    return Tally.of(block(seeds))


def encode(counted: Tally) -> bytes:
    return shard.encode_tally(counted, manifest(**STATISTICS).attributes())


def start(path: Path, *parts: Any) -> list[Path]:
    with RunDirectory.create_or_open(path, manifest(range(50), **STATISTICS)) as directory:
        return [add(directory, tally(part)) for part in parts]


def opened(path: Path) -> Any:
    return open_run(path)


@pytest.mark.parametrize("seeds", [range(50), [3, 7, 8], [2**32 - 1]], ids=["many", "holes", "last"])
def test_round_trip(tmp_path: Path, seeds: Any) -> None:
    data = encode(tally(seeds))
    assert shard.decode_tally(data) == tally(seeds)
    assert encode(tally(seeds)) == data
    (path,) = start(tmp_path, seeds)
    assert path.name == shard.shard_name(tally(seeds).seeds, data)
    assert shard.verify(path, manifest(kind="statistics")) == tally(seeds).seeds


def test_no_runs_can_be_written() -> None:
    assert shard.decode_tally(encode(Tally.empty())) == Tally.empty()


def test_unstarted_runs_have_a_place_only_if_there_are_any() -> None:
    """So counts without them are the arrays, and have the digest, that they had before there were any."""
    runs = block(range(50))
    assert counts(Tally.of(runs))["runs_by_epochs"].shape[1:] == (4, 2)
    runs = replace(runs, status=np.where(runs.seeds % 10 == 3, np.int8(Status.UNSTARTED), runs.status))
    counted = Tally.of(runs)
    assert counts(counted)["status"].tolist() == [0, 1, 2, 3, 4]
    assert shard.decode_tally(encode(counted)) == counted
    population = Population(manifest(**STATISTICS), counted)
    assert population.status[Status.UNSTARTED] == 5
    assert population.epochs.size == 45 and population.distribution("epochs", Status.UNSTARTED).size == 5


def test_shards_add_up(tmp_path: Path) -> None:
    start(tmp_path, *PARTS)
    population = open_run(tmp_path)
    assert isinstance(population, Population)
    assert population.tally == tally() and population.seeds == ((0, 50),) and len(population) == 50
    assert population.path == tmp_path and population.identity == manifest().identity
    with pytest.raises(ValueError, match="no single runs"):
        open_run(tmp_path, [1])


def test_resuming_adds_what_is_missing(tmp_path: Path) -> None:
    start(tmp_path, PARTS[0])
    with RunDirectory.create_or_open(tmp_path, manifest(range(60), **STATISTICS), resume=True) as directory:
        assert directory.missing(((0, 60),)) == ((20, 60),)
        add(directory, tally(range(20, 50)))
        assert directory.missing(((0, 60),)) == ((50, 60),)
    assert opened(tmp_path).tally == tally()


def test_a_population_of_the_first_seeds(tmp_path: Path) -> None:
    start(tmp_path, *PARTS)
    assert read_population(RunDirectory.open(tmp_path), 30).tally == tally(range(30))
    with pytest.raises(StoreError, match="both sides of seed 25"):
        read_population(RunDirectory.open(tmp_path), 25)


def test_damage_is_found_and_repaired(tmp_path: Path) -> None:
    paths = start(tmp_path, *PARTS)
    whole = paths[0].read_bytes()
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), 30):
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        paths[0].write_bytes(broken)
        with pytest.raises(StoreError, match=f"{paths[0]} is damaged.*resume"):
            open_run(tmp_path)
    with RunDirectory.create_or_open(tmp_path, manifest(range(50), **STATISTICS), resume=True) as directory:
        assert directory.missing(((0, 50),)) == ((0, 20),)
        assert add(directory, tally(range(20))) == paths[0]
    assert opened(tmp_path).tally == tally()


def test_seeds_in_two_shards_name_both(tmp_path: Path) -> None:
    one, other = start(tmp_path, range(20), range(19, 30))
    with pytest.raises(StoreError, match=f"{one} and {other} both hold seed 19"):
        open_run(tmp_path)


def test_shards_of_runs_do_not_count(tmp_path: Path) -> None:
    from tests.store import samples

    start(tmp_path / "counts", range(20))
    with RunDirectory.create_or_open(tmp_path / "runs", manifest(range(20, 25))) as directory:
        stranger = add(directory, samples.block(range(20, 25)))
    stranger.rename(tmp_path / "counts" / "shards" / stranger.name)
    listing = RunDirectory.open(tmp_path / "counts").inspect()
    assert listing.seeds == ((0, 20),) and "refused" in next(iter(listing.damaged.values()))


def spoil(name: str, change: Any) -> Any:
    def crime(file: h5py.File) -> None:
        values: Any = file[name]
        values[...] = change(values[...])

    return crime


def external(file: h5py.File) -> None:
    del file["seed_ranges"]
    file["seed_ranges"] = h5py.ExternalLink("/etc/passwd", "/x")


def stranger(file: h5py.File) -> None:
    file.create_dataset("payload", (4,), "f4")


@pytest.mark.parametrize(
    ("crime", "sentence"),
    [
        (spoil("runs_by_epochs", lambda a: a * 2), "not those of its seeds"),
        (spoil("runs_by_final_loss", lambda a: -a), "not those of its seeds"),
        (spoil("epochs", lambda a: a[::-1]), "do not ascend"),
        (spoil("seed_ranges", lambda a: a[:, ::-1]), "do not ascend|not those"),
        (external, "link to elsewhere"),
        (stranger, "'payload' is unknown"),
        (lambda file: file.pop("success"), "lacks success"),
    ],
)
def test_crafted_files_are_refused(tmp_path: Path, crime: Any, sentence: str) -> None:
    path = tmp_path / "shard.h5"
    path.write_bytes(encode(tally()))
    with h5py.File(path, "r+") as file:
        crime(file)
    with pytest.raises(StoreError, match=sentence):
        shard.decode_tally(path)


def test_other_tools_read_the_counts(tmp_path: Path) -> None:
    (path,) = start(tmp_path, range(50))
    like = manifest(**STATISTICS)
    for engine in ("h5netcdf", "netcdf4"):
        with xarray.open_dataset(path, engine=engine) as dataset:  # type: ignore[arg-type]
            assert set(dataset.coords) == {"status", "success", "epochs", "initial_loss", "final_loss"}
            for name, array in counts(tally()).items():
                assert dataset[name].dims == COUNTS[name].dims and dataset[name].dtype == array.dtype
                assert_array_equal(dataset[name], array)
            assert dataset.attrs == like.attributes()
            xarray.testing.assert_identical(dataset.load(), Population(like, tally()).to_xarray())
            assert int(dataset.runs_by_epochs.sel(success=1).sum()) == tally().successes
    with netCDF4.Dataset(path) as dataset:
        assert list(dataset.variables) == list(COUNTS)


def test_export_is_one_file_with_the_sum(tmp_path: Path) -> None:
    start(tmp_path / "run", *PARTS)
    start(tmp_path / "other", range(50))
    for name in ("run", "other"):
        export_run(tmp_path / name, tmp_path / f"{name}.nc")
    assert shard.decode_tally(tmp_path / "run.nc") == tally()
    assert (tmp_path / "run.nc").read_bytes() == (tmp_path / "other.nc").read_bytes()
