"""What lies among the shards of a run directory: good ones, and files that are no good."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from jaxor.engine.seeds import Ranges, difference, union
from jaxor.store import shard
from jaxor.store.errors import Damaged, NewerFormat, StoreError
from jaxor.store.manifest import Manifest


@dataclass(frozen=True)
class Shard:
    """A shard whose content was checked."""

    path: Path
    seeds: Ranges


@dataclass(frozen=True)
class Listing:
    """What was found among the shards.

    Attributes
    ----------
    shards : list of Shard
        The good ones, by lowest seed.
    damaged : dict of Path to str
        Files that are no good, each with a sentence why; they are ignored, never deleted.
    overlaps : list of str
        Sentences about good shards that hold the same seed.
    """

    shards: list[Shard]
    damaged: dict[Path, str]
    overlaps: list[str]

    @property
    def seeds(self) -> Ranges:
        """Seeds of the good shards."""
        return union(*(good.seeds for good in self.shards))

    def missing(self, seeds: Ranges) -> Ranges:
        """Select the seeds that are in no good shard.

        Raises
        ------
        StoreError
            If a file is not a shard at all, or two good shards hold the same seed.
        """
        for reason in self.overlaps:
            raise StoreError(reason)
        for path, reason in self.damaged.items():
            if shard.seed_range(path) is None:
                raise StoreError(reason)
        return difference(seeds, self.seeds)


def inspect_shards(path: Path, manifest: Manifest) -> Listing:
    """Check every file in a directory (name, hash, simulation) and say which are good.

    Raises
    ------
    StoreError
        If the directory is a link, or a file of a newer format: its runs may be good, and must not be computed again
        beside it.
    """
    shards, damaged, altered = [], {}, []
    if path.is_symlink():
        raise StoreError(f"{path} is a link to elsewhere; put the shards themselves there")
    for file in sorted(path.glob("[!.]*")):
        try:
            shards.append(Shard(file, shard.verify(file, manifest)))
        except NewerFormat:
            raise
        except StoreError as error:
            damaged[file] = str(error)
            altered += [file] * isinstance(error, Damaged)
    held = union(*(good.seeds for good in shards))
    for file in altered:
        low, high = shard.seed_range(file) or (0, -1)
        if low <= high and not difference(((low, high + 1),), held):
            damaged[file] = f"{file} is damaged, but runs of all its seeds are in other shards; delete it"
    return Listing(sorted(shards, key=lambda good: good.seeds[0]), damaged, _overlaps(shards))


def _overlaps(shards: list[Shard]) -> list[str]:
    ends = sorted((start, stop, good.path) for good in shards for start, stop in good.seeds)
    return [
        f"{one} and {other} both hold seed {start}; move one of them away"
        for (_, stop, one), (start, _, other) in pairwise(ends)
        if start < stop
    ]
