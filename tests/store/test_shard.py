from __future__ import annotations

import hashlib
import io
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from jaxor.engine.block import Block
from jaxor.engine.seeds import compress
from jaxor.store import shard
from jaxor.store.errors import StoreError
from jaxor.store.manifest import Manifest
from jaxor.store.schema import SCHEMA
from tests.store.samples import assert_equal_blocks, block, manifest

KINDS: dict[str, dict[str, Any]] = {
    "all": {},
    "every": {"traces": "every=3"},
    "losses": {"traces": "loss"},
    "no traces": {"traces": "none"},
    "final": {"parameters": "final"},
    "numbers": {"traces": "none", "parameters": "none"},
    "float64": {"x64": True},
    "one parameter": {"param_names": ("b",)},
    "wide": {"param_names": tuple(f"w[{k}]" for k in range(5000))},
}


def encode(runs: Block, like: Manifest) -> bytes:
    return shard.encode(runs, like.param_names, like.attributes())


def save(directory: Path, runs: Block, like: Manifest) -> Path:
    data = encode(runs, like)
    path = directory / shard.shard_name(compress(runs.seeds), data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [range(1, 30), [7], [5], [3, 2**40]], ids=["many", "one", "no steps", "large"])
def test_round_trip(tmp_path: Path, kind: str, seeds: Any) -> None:
    like = manifest(**KINDS[kind])
    runs = block(seeds, like)
    assert_equal_blocks(shard.decode(encode(runs, like)), runs)
    assert_equal_blocks(shard.decode(save(tmp_path, runs, like)), runs)


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_some_rows_only(seeds: list[int], start: int, stop: int) -> None:
    runs = block(sorted(seeds))
    part = shard.decode(encode(runs, manifest()), slice(start, stop))
    assert_equal_blocks(part, runs.take(np.arange(len(runs))[start:stop]))


def test_single_variables(tmp_path: Path) -> None:
    path = save(tmp_path, block(range(9)), manifest())
    epochs, params = shard.read(path, ["epochs", "final_params"])
    assert_array_equal(epochs, block(range(9)).epochs)
    assert_array_equal(params, block(range(9)).final_params)
    with pytest.raises(StoreError, match="final_perplexity"):
        shard.read(path, ["final_perplexity"])


@pytest.mark.parametrize("kind", KINDS)
def test_equal_runs_are_equal_bytes(kind: str) -> None:
    like = manifest(**KINDS[kind])
    first = encode(block(range(50), like), like)
    if kind == "all":
        time.sleep(1.1)  # HDF5's own time stamps have a resolution of a second
    assert encode(block(range(50), like), like) == first


@pytest.mark.parametrize("seeds", [[], [3, 2], [4, 4]])
def test_seeds_must_ascend(seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        encode(block(seeds), manifest())


def test_a_long_description_fits() -> None:
    like = manifest(experiment={"name": "long", "task": "x" * 200_000})
    with h5py.File(io.BytesIO(encode(block([1]), like))) as file:
        assert len(str(file.attrs["experiment"])) > 200_000


def test_names_tell_seeds_and_hash(tmp_path: Path) -> None:
    data = encode(block([3, 17]), manifest())
    name = shard.shard_name(((3, 4), (17, 18)), data)
    assert name == f"s000000000003-000000000017.{hashlib.sha256(data).hexdigest()[:16]}.h5"
    assert shard.seed_range(tmp_path / name) == (3, 17)
    assert shard.seed_range(Path("s3-17.ab.h5")) is None


def test_verify_gives_the_seeds(tmp_path: Path) -> None:
    path = save(tmp_path, block([3, 5, 8]), manifest())
    assert shard.verify(path, manifest()) == ((3, 4), (5, 6), (8, 9))


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = save(tmp_path, block(range(1, 5)), manifest())
    data = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, 8 * len(data), 300):
        broken = bytearray(data)
        broken[place // 8] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(StoreError, match=f"{path.name} is damaged.*resume"):
            shard.verify(path, manifest())


def test_every_truncation_is_found(tmp_path: Path) -> None:
    path = save(tmp_path, block(range(1, 5)), manifest())
    data = path.read_bytes()
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        with pytest.raises(StoreError, match="is damaged"):
            shard.verify(path, manifest())
        with pytest.raises(StoreError, match="cannot be read"):
            shard.decode(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, block([3, 5]), manifest())
    with pytest.raises(StoreError, match="another simulation"):
        shard.verify(path, manifest(lane_width=1))
    renamed = path.with_name(path.name.replace("003-", "002-"))
    path.rename(renamed)
    with pytest.raises(StoreError, match="was renamed"):
        shard.verify(renamed, manifest())
    foreign = tmp_path / "results.h5"
    renamed.rename(foreign)
    with pytest.raises(StoreError, match="is not a shard"):
        shard.verify(foreign, manifest())
    with pytest.raises(StoreError, match=r"cannot be read: No such file"):
        shard.verify(renamed, manifest())


def test_newer_files_are_refused() -> None:
    attributes = {**manifest().attributes(), "jaxor_schema": SCHEMA + 1}
    data = shard.encode(block([1]), manifest().param_names, attributes)
    with pytest.raises(StoreError, match=r"newer jaxor .*upgrade"):
        shard.decode(data)
