"""The runs of a directory by ascending seed, in pieces that do not depend on how its shards are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.store import shard
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.run import interleaved, stream
from jaxor.store.schema import columns
from jaxor.store.sources import Shards

Arrays = dict[str, NDArray[Any]]
"""Variables of some runs, as `schema.columns` names them."""

_PIECE_BYTES = 2**24


def everything(manifest: Manifest, shards: Sequence[Shard]) -> Iterator[Arrays]:
    """Read all variables of all runs, some runs at a time.

    Parameters
    ----------
    manifest : Manifest
    shards : sequence of Shard
        Disjoint.

    Yields
    ------
    Arrays
        By variable; of at least one run.
    """
    return _cut((columns(block) for block in stream(manifest, shards)), manifest)


def without_traces(manifest: Manifest, shards: Sequence[Shard]) -> Iterator[Arrays]:
    """Read what there is one of for each run, as `everything` does; traces are not read."""
    names = [name for name, variable in manifest.variables.items() if variable.dims[0] == "seed"]
    sources = (Shards(manifest, group) for group in interleaved(shards))
    return _cut(({name: source.column(name) for name in names} for source in sources), manifest)


def count_records(shards: Iterable[Shard]) -> int:
    """Count the recorded steps of all runs, one shard at a time."""
    return sum(int(shard.read(found.path, ["row_size"])[0].sum(dtype=np.int64)) for found in shards)


def _cut(parts: Iterable[Arrays], manifest: Manifest) -> Iterator[Arrays]:
    """Cut runs anew where the bytes of all that came before say so, and nothing else."""
    held: list[Arrays] = []
    number, total = 0, 0
    for part in parts:
        ends = total + np.cumsum(_sizes(part, manifest.row_bytes))
        total = int(ends[-1])
        of_run = (ends - 1) // _PIECE_BYTES
        first = np.flatnonzero(np.diff(of_run, prepend=-1))
        for start, stop in zip(first.tolist(), [*first[1:].tolist(), len(ends)], strict=True):
            if held and of_run[start] != number:
                yield _join(held)
                held = []
            number = of_run[start]
            held.append(_slice(part, manifest, start, stop))
    if held:
        yield _join(held)


def _sizes(part: Arrays, row_bytes: dict[str, int]) -> NDArray[np.int64]:
    """Bytes of each run's floats."""
    sizes = np.full(len(part["seed"]), row_bytes["seed"], np.int64)
    return sizes + np.int64(row_bytes["obs"]) * part["row_size"] if "trace_step" in part else sizes


def _slice(part: Arrays, manifest: Manifest, start: int, stop: int) -> Arrays:
    """Runs numbered `start` up to `stop`, not copied."""
    rows = {"seed": slice(start, stop)}
    if "trace_step" in part:
        before, inside = (int(part["row_size"][a:b].sum(dtype=np.int64)) for a, b in ((0, start), (start, stop)))
        rows["obs"] = slice(before, before + inside)
    return {name: array[rows[manifest.variables[name].dims[0]]] for name, array in part.items()}


def _join(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
