"""One shard: an immutable file with whole runs, whose name says which and what its content hashes to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block
from jaxor.store import hdf5
from jaxor.store.errors import StoreError
from jaxor.store.schema import VARIABLES, Attributes, block_of, columns

_NAME = re.compile(r"s([0-9]{12,})-([0-9]{12,})\.([0-9a-f]{16})\.h5")


def encode(block: Block, param_names: tuple[str, ...], attributes: Attributes) -> bytes:
    """Turn finished runs into the bytes of a shard; equal runs give equal bytes.

    Parameters
    ----------
    block : Block
        At least one run, seeds ascending.
    param_names : tuple of str
        In flat order.
    attributes : mapping
        Of the file.

    Raises
    ------
    ValueError
        If the seeds are not strictly ascending.
    """
    if not len(block) or np.any(np.diff(block.seeds) <= 0):
        raise ValueError("a shard needs runs with strictly ascending seeds")
    arrays = columns(block)
    sizes = {"seed": len(block), "obs": 0 if block.traces is None else len(block.traces.step)}
    data = BytesIO()
    with hdf5.create(data) as file:
        hdf5.define(file, arrays, sizes, block.final_loss.dtype, param_names, attributes)
        for name, array in arrays.items():
            file[name][...] = array
    return data.getvalue()


def decode(source: bytes | Path, rows: slice = slice(None)) -> Block:
    """Read the runs of a shard, or those numbered by the slice `rows` and nothing else.

    Raises
    ------
    StoreError
        If the file is damaged or not a shard.
    """
    with hdf5.reading(source) as file:
        arrays = {name: file[name][rows] for name in _stored(file, "seed")}
        if "row_size" in arrays:
            start = int(np.sum(file["row_size"][: rows.start or 0], dtype=np.int64))
            stop = start + int(np.sum(arrays["row_size"], dtype=np.int64))
            if stop > len(file["trace_step"]):
                raise ValueError("it holds fewer recorded steps than its runs claim")
            arrays |= {name: file[name][start:stop] for name in _stored(file, "obs")}
    return block_of(arrays)


def read(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Read some variables of a shard.

    Raises
    ------
    StoreError
        If the file is damaged, not a shard, or lacks one of them.
    """
    with hdf5.reading(path) as file:
        return [file[name][...] for name in names]


def shard_name(seeds: NDArray[np.int64], data: bytes) -> str:
    """Name a shard: lowest and highest seed, and the beginning of the SHA-256 of its bytes.

    Examples
    --------
    >>> shard_name(np.array([0, 7, 999]), b"...")
    's000000000000-000000000999.ab5df625bc76dbd4.h5'
    """
    return f"s{seeds.min():012d}-{seeds.max():012d}.{hashlib.sha256(data).hexdigest()[:16]}.h5"


def seed_range(path: Path) -> tuple[int, int] | None:
    """Tell lowest and highest seed by the name of a shard; None if it is not such a name.

    Examples
    --------
    >>> seed_range(Path("s000000000000-000000000999.ab5df625bc76dbd4.h5"))
    (0, 999)
    """
    match = _NAME.fullmatch(path.name)
    return match and (int(match[1]), int(match[2]))


def verify(path: Path, identity: str) -> NDArray[np.int64]:
    """Check a shard's name, hash and simulation.

    Returns
    -------
    seeds : (n,) int64
        Ascending.

    Raises
    ------
    StoreError
        Naming the file and what is wrong with it.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise StoreError(f"{path} is not a shard of jaxor by its name; move it out of the run directory")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    if not digest.startswith(match[3]):
        raise StoreError(
            f"{path} is damaged: its content does not match the hash in its name; resume the simulation to compute "
            "its runs again"
        )
    with hdf5.reading(path) as file:
        if bytes(file.attrs["identity"]) != identity.encode():
            raise StoreError(f"{path} belongs to another simulation; move it out of the run directory")
        seeds = file["seed"][...]
    if seed_range(path) != (*seeds[:1], *seeds[-1:]) or np.any(np.diff(seeds) <= 0):
        raise StoreError(f"{path} was renamed: it does not hold the seeds in its name; give it its old name")
    return seeds


def _stored(file: hdf5.File, dim: str) -> list[str]:
    return [name for name, variable in VARIABLES.items() if variable.dims[0] == dim and name in file]
