"""One shard: an immutable file with runs or a tally of them; its name says of which seeds and what it hashes to."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block
from jaxor.engine.seeds import MAX_SEED, Ranges, compress, ranges_of
from jaxor.engine.status import Status
from jaxor.engine.tally import Tally
from jaxor.store import hdf5
from jaxor.store.errors import Damaged, StoreError
from jaxor.store.interrupts import held_back
from jaxor.store.manifest import Manifest
from jaxor.store.schema import COUNTS, VARIABLES, Attributes, block_of, characters, columns, counts, stored, tally_of

_REQUIRED = stored("none", "none")
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
    return hdf5.packed(VARIABLES, columns(block), block.final_loss.dtype, attributes, param_names)


def encode_tally(tally: Tally, attributes: Attributes) -> bytes:
    """Turn counts of runs into the bytes of a shard; equal tallies give equal bytes."""
    return hdf5.packed(COUNTS, counts(tally), np.dtype(np.float32), attributes)


def seal(finished: Block | Tally, manifest: Manifest) -> bytes:
    """Turn finished runs, or counts of them, into the bytes of a shard of their simulation.

    Raises
    ------
    ValueError
        If the runs have other arrays than the manifest says.
    """
    expected = list(manifest.variables)
    if (found := list(counts(finished) if isinstance(finished, Tally) else columns(finished))) != expected:
        raise ValueError(f"this simulation stores {expected}, but the runs have {found}")
    if isinstance(finished, Tally):
        return encode_tally(finished, manifest.attributes())
    return encode(finished, manifest.param_names, manifest.attributes())


def decode_tally(source: bytes | Path) -> Tally:
    """Read the counts in a shard.

    Raises
    ------
    StoreError
        If the file is damaged or not a shard of statistics.
    """
    with hdf5.reading(source, COUNTS, COUNTS) as file:
        return tally_of({name: file[name][...] for name in COUNTS})


@held_back()  # else an interrupt may end up where h5py tidies up, and be lost
def decode(source: bytes | Path, rows: slice = slice(None)) -> Block:
    """Read the runs of a shard, or those numbered by the slice `rows` and nothing else.

    Raises
    ------
    StoreError
        If the file is damaged or not a shard.
    """
    with hdf5.reading(source, VARIABLES, _REQUIRED) as file:
        arrays = {name: file[name][rows] for name in _stored(file, "seed")}
        if "row_size" in arrays:
            sizes = _row_sizes(file)
            start = int(np.sum(sizes[: rows.start or 0], dtype=np.int64))
            stop = start + int(np.sum(sizes[rows], dtype=np.int64))
            arrays |= {name: file[name][start:stop] for name in _stored(file, "obs")}
    return block_of(arrays)


@held_back()
def read(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Read some variables of a shard.

    Raises
    ------
    StoreError
        If the file is damaged, not a shard, or lacks one of them.
    """
    with hdf5.reading(path, VARIABLES, _REQUIRED) as file:
        return [file[name][...] for name in names]


def shard_name(seeds: Ranges, data: bytes) -> str:
    """Name a shard: lowest and highest seed, and the beginning of the SHA-256 of its bytes.

    Examples
    --------
    >>> shard_name(((0, 1), (7, 1000)), b"...")
    's000000000000-000000000999.ab5df625bc76dbd4.h5'
    """
    return f"s{seeds[0][0]:012d}-{seeds[-1][1] - 1:012d}.{hashlib.sha256(data).hexdigest()[:16]}.h5"


def attributes(path: Path, manifest: Manifest) -> dict[str, str | int]:
    """Read what a shard says about itself: versions and platform may be others than those of the manifest.

    Raises
    ------
    StoreError
        If the file is damaged or not a shard.
    """
    with hdf5.reading(path, VARIABLES if manifest.kind == "runs" else COUNTS, ()) as file:
        return {
            name: (hdf5.text if isinstance(value, str) else hdf5.number)(file, name)
            for name, value in manifest.attributes().items()
        }


def made_by(path: Path, manifest: Manifest) -> str:
    """Tell what computed the runs in a shard: versions, and the machine as far as bits depend on it.

    Raises
    ------
    StoreError
        If the file is damaged or not a shard.
    """
    itself = attributes(path, manifest)
    return f"{itself['source']} on {itself['platform']}"


def seed_range(path: Path) -> tuple[int, int] | None:
    """Tell lowest and highest seed by the name of a shard; None if it is not such a name.

    Examples
    --------
    >>> seed_range(Path("s000000000000-000000000999.ab5df625bc76dbd4.h5"))
    (0, 999)
    """
    match = _NAME.fullmatch(path.name)
    return match and (int(match[1]), int(match[2]))


def verify(path: Path, manifest: Manifest) -> Ranges:
    """Check a shard's name, hash, simulation and layout, and that it can be read at all.

    Parameters
    ----------
    path : Path
    manifest : Manifest
        Of the simulation.

    Returns
    -------
    seeds : Ranges

    Raises
    ------
    StoreError
        Naming the file and what is wrong with it.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        shown = path if str(path).isprintable() else repr(str(path))  # a terminal might obey the name
        raise StoreError(f"{shown} is not a shard of jaxor by its name; move it out of the run directory")
    if not _digest(path).startswith(match[3]):
        raise Damaged(
            f"{path} is damaged: its content does not match the hash in its name; resume the simulation to compute "
            "its runs again"
        )
    with hdf5.reading(path, VARIABLES if manifest.kind == "runs" else COUNTS, ()) as file:
        if hdf5.text(file, "identity") != manifest.identity:
            raise StoreError(f"{path} belongs to another simulation; move it out of the run directory")
        _check_layout(path, file, manifest)
        seeds = _seeds(file, manifest.kind)
        if manifest.kind == "runs":
            _check_status(path, file)
        if "row_size" in manifest.variables:
            _row_sizes(file)
    if (seeds[0][0], seeds[-1][1] - 1) != seed_range(path):
        raise StoreError(f"{path} was renamed: it does not hold the seeds in its name; give it its old name")
    return seeds


def _digest(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # reading a pipe would wait for ever, a link leads elsewhere
            raise StoreError(f"{path} is a link or not a file; move it out of the run directory")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


def _check_layout(path: Path, file: hdf5.File, manifest: Manifest) -> None:
    """Refuse a shard with other variables, types or names than its simulation has."""
    wanted = manifest.variables
    known = VARIABLES if manifest.kind == "runs" else COUNTS
    named = any("param" in variable.dims for variable in wanted.values())
    expected = [*wanted, "param"] if named else [*wanted]
    if lacking := [name for name in expected if name not in file]:
        raise StoreError(f"{path} lacks {', '.join(lacking)}, which its simulation stores; move it away")
    if extra := [name for name in (*known, "param") if name in file and name not in expected]:
        raise StoreError(f"{path} has {', '.join(extra)}, which its simulation does not store; move it away")
    for name, variable in wanted.items():
        if file[name].dtype != variable.type(manifest.floats):
            raise StoreError(f"{path} has {name} of type {file[name].dtype}; move it away")
    names = characters(manifest.param_names) if named else None
    if names is None or file["param"].shape == names.shape:  # else it might be large
        hdf5.check_chunks(file, expected)
        if names is None or np.array_equal(file["param"][...], names):
            return
    raise StoreError(f"{path} names other parameters than its simulation has; move it away")


def _seeds(file: hdf5.File, kind: str) -> Ranges:
    if kind == "statistics":
        seeds = ranges_of(file["seed_ranges"][...])
    else:
        listed = file["seed"][...]
        seeds = compress(listed) if np.all(listed[1:] > listed[:-1]) else ()
    if not seeds or seeds[0][0] < 0 or seeds[-1][1] - 1 > MAX_SEED:
        raise ValueError("its seeds are not between 0 and 2^32 - 1 in ascending order")
    return seeds


def _check_status(path: Path, file: hdf5.File) -> None:
    known = np.isin(file["status"][...], [*Status])
    if not known.all():
        seed = file["seed"][np.argmin(known)]
        raise StoreError(
            f"{path} cannot be right: seed {seed} has a status that there is not; move it away and resume the "
            "simulation"
        )


def _row_sizes(file: hdf5.File) -> NDArray[np.int32]:
    """How many recorded steps each run has; together as many as there are."""
    sizes = file["row_size"][...]
    if np.any(sizes < 0) or np.sum(sizes, dtype=np.int64) != len(file["trace_step"]):
        raise ValueError("its runs claim other numbers of recorded steps than it holds")
    return sizes


def _stored(file: hdf5.File, dim: str) -> list[str]:
    return [name for name, variable in VARIABLES.items() if variable.dims[0] == dim and name in file]
