"""Where a `Run` has its arrays from: memory, or shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block, concatenate
from jaxor.engine.seeds import expand, number
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.schema import block_of, columns
from jaxor.store.shard import decode, read


class Source(Protocol):
    """Runs in a fixed order."""

    seeds: NDArray[np.int64]

    def column(self, name: str) -> NDArray[Any]:
        """Give one variable of all runs."""
        ...

    def block(self, start: int, stop: int) -> Block:
        """Give the runs numbered `start` up to `stop`, with their traces."""
        ...


class Memory:
    """Runs of a block, in its order."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._columns = columns(block)
        self.seeds = block.seeds

    def column(self, name: str) -> NDArray[Any]:
        """Give one variable of all runs."""
        return self._columns[name]

    def block(self, start: int, stop: int) -> Block:
        """Give the runs numbered `start` up to `stop`, with their traces."""
        return _take(self._block, np.arange(start, stop))


class Shards:
    """Runs of verified shards, read when asked for.

    Parameters
    ----------
    manifest : Manifest
    shards : sequence of Shard
        Disjoint.
    seeds : (n,) int64 or None
        Which, in which order; None is all, ascending.

    Raises
    ------
    KeyError
        If no shard holds one of the seeds.
    """

    def __init__(self, manifest: Manifest, shards: Sequence[Shard], seeds: NDArray[np.int64] | None = None) -> None:
        self._variables = manifest.variables
        self._empty = _empty(manifest)
        self._paths = [shard.path for shard in shards]
        self._ends = np.cumsum([number(shard.seeds) for shard in shards], dtype=np.int64)
        self._columns: dict[str, NDArray[Any]] = {}
        # Runs are numbered as they lie in the shards, one shard after the other; _order says how they are wanted.
        as_they_lie = np.concatenate([self._empty.seeds, *(expand(shard.seeds) for shard in shards)])
        self._order = np.argsort(as_they_lie, kind="stable")
        if seeds is not None:
            self._order = self._order[find(as_they_lie[self._order], seeds)]
        self.seeds = as_they_lie[self._order]

    def column(self, name: str) -> NDArray[Any]:
        """Read one variable of all runs, once."""
        if name not in self._columns:
            # Opening a shard costs more than a number per run, so all of those are read at once.
            small = [other for other, variable in self._variables.items() if variable.dims == ("seed",)]
            names = small if name in small else [name]
            places, shards = self._locate(self._order)
            parts = [[columns(self._empty)[name] for name in names]]
            parts += ([array[rows] for array in read(path, names)] for path, rows in shards)
            for name_, arrays in zip(names, zip(*parts, strict=True), strict=True):
                self._columns[name_] = np.concatenate(arrays)[places]
        return self._columns[name]

    def block(self, start: int, stop: int) -> Block:
        """Read the runs numbered `start` up to `stop`, with their traces."""
        places, shards = self._locate(self._order[start:stop])
        parts = [self._empty]
        for path, rows in shards:
            low = int(rows.min())
            parts.append(_take(decode(path, slice(low, int(rows.max()) + 1)), rows - low))
        return _take(concatenate(parts), places)

    def _locate(self, wanted: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[tuple[Path, NDArray[np.intp]]]]:
        """The shards that hold runs of certain numbers, with the rows there, and where in those rows each run is."""
        holder = np.searchsorted(self._ends, wanted, side="right")
        by_shard = np.argsort(holder, kind="stable")
        shards = [
            (self._paths[k], wanted[by_shard[first:last]] - (self._ends[k - 1] if k else 0))
            for k, first, last in _stretches(holder[by_shard])
        ]
        return np.argsort(by_shard), shards


def find(ascending: NDArray[np.int64], seeds: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where the seeds are; KeyError if one is not there."""
    places = np.searchsorted(ascending, seeds)
    known = places < len(ascending)
    known[known] = ascending[places[known]] == seeds[known]
    if not known.all():
        extent = f", from {ascending[0]} to {ascending[-1]}" if len(ascending) else ""
        raise KeyError(f"seed {seeds[~known][0]} is not in this run, which holds {len(ascending)} seeds{extent}")
    return places


def _stretches(numbers: NDArray[np.intp]) -> Iterator[tuple[int, int, int]]:
    """Each number of an ascending array, with where its stretch begins and ends."""
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    last = np.flatnonzero(np.diff(numbers, append=-1)) + 1
    yield from zip(numbers[first].tolist(), first.tolist(), last.tolist(), strict=True)


def _empty(manifest: Manifest) -> Block:
    """No runs, with the arrays that the simulation stores."""
    count = len(manifest.param_names)
    return block_of(
        {
            name: np.empty((0, *(count for _ in variable.dims[1:])), variable.type(manifest.floats))
            for name, variable in manifest.variables.items()
        }
    )


def _take(block: Block, order: NDArray[np.intp]) -> Block:
    """Take runs without a copy if it is all of them in order."""
    return block if np.array_equal(order, np.arange(len(block))) else block.take(order)
