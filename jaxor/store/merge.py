"""Putting run directories of one simulation together, such as those of a job array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jaxor.engine.block import Block
from jaxor.engine.seeds import Ranges, difference, expand, number, union
from jaxor.store import shard
from jaxor.store.directory import RunDirectory, differences
from jaxor.store.errors import StoreError
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.schema import columns
from jaxor.store.sources import Shards


@dataclass(frozen=True)
class Merged:
    """What came together: all seeds in the directory, how many of them came now, how many were there more than once."""

    seeds: Ranges
    added: int
    repeated: int


def merge_runs(
    sources: Sequence[str | Path], out: str | Path, *, resume: bool = False, allow_mixed: bool = False
) -> Merged:
    """Put the shards of several run directories of one simulation into a new one.

    Shards are copied as they are. Runs that are in several directories must be equal to the last bit and are kept once.
    Only overlapping shards are looked into, one at a time. The directories themselves stay as they are.

    Parameters
    ----------
    sources : sequence of str or Path
        Run directories.
    out : str or Path
        Run directory to write.
    resume : bool
        Add to the same simulation if it is there already, as after an interruption.
    allow_mixed : bool
        Even if they come from different versions or kinds of machines; each shard says what made it.

    Returns
    -------
    Merged

    Raises
    ------
    StoreError
        They are not of one simulation, one of them is damaged, the same seed has different runs, or `out` cannot be
        written. What was copied until then stays.
    """
    directories = [RunDirectory.open(source) for source in sources]
    if not directories:
        raise ValueError("there is nothing to merge; name at least one run directory")
    manifest = directories[0].manifest
    for directory in directories[1:]:
        _check_alike(directories[0], directory, allow_mixed)
    shards = [found for directory in directories for found in directory.shards()]
    if not allow_mixed:
        for found in shards:
            _check_origin(found, manifest)
    asked = union(*(directory.manifest.seeds for directory in directories), *(found.seeds for found in shards))
    manifest = replace(manifest, seeds=asked, until=None)
    added = repeated = 0
    with RunDirectory.create_or_open(out, manifest, resume, allow_mixed) as target:
        held = target.listing().seeds
        target.check_space(sum(found.path.stat().st_size for found in shards if difference(found.seeds, held)))
        names = {found.path.name for found in target.listing().shards}
        for found in shards:
            new = difference(found.seeds, held)
            if new != found.seeds and found.path.name not in names:
                _check_equal(found, difference(found.seeds, new), target)
            if new:
                names.add(target.add(new, _bytes(found, new, manifest)).name)
                held = union(held, new)
            added, repeated = added + number(new), repeated + number(found.seeds) - number(new)
    return Merged(held, added, repeated)


def _check_alike(one: RunDirectory, other: RunDirectory, allow_mixed: bool) -> None:
    """Refuse directories that differ in more than the seeds."""
    for name in ("identity", "kind", "traces", "parameters", "draws", "layout", "versions", "platform"):
        ours, theirs = getattr(one.manifest, name), getattr(other.manifest, name)
        mixable = name in ("versions", "platform")
        if ours == theirs or mixable and allow_mixed:
            continue
        what = f"{name} ({ours} and {theirs})"
        if name == "identity":
            what = f"{', '.join(differences(one.manifest, other.manifest))}: they hold different simulations"
        advice = "; --allow-mixed takes them all the same, though bits may differ" if mixable else ""
        raise StoreError(f"{one.path} and {other.path} cannot be merged, since they differ in {what}{advice}")


def _check_origin(found: Shard, manifest: Manifest) -> None:
    """Refuse a shard that was made by other versions or elsewhere than the manifest says."""
    itself, said = shard.attributes(found.path, manifest), manifest.attributes()
    if (itself["source"], itself["platform"]) != (said["source"], said["platform"]):
        raise StoreError(
            f"{found.path} was made by {itself['source']} on {itself['platform']}, others by {said['source']} on "
            f"{said['platform']}; --allow-mixed takes them all the same, though bits may differ"
        )


def _bytes(found: Shard, seeds: Ranges, manifest: Manifest) -> bytes:
    """A shard with those of its seeds."""
    if seeds != found.seeds:
        block = _runs(found, seeds)
        return shard.encode(block, manifest.param_names, shard.attributes(found.path, manifest))
    data = found.path.read_bytes()
    if shard.shard_name(seeds, data) != found.path.name:
        raise StoreError(f"{found.path} has changed while it was read; try again")
    return data


def _runs(found: Shard, seeds: Ranges) -> Block:
    block = shard.decode(found.path)
    return block.take(np.searchsorted(block.seeds, expand(seeds)))


def _check_equal(found: Shard, seeds: Ranges, target: RunDirectory) -> None:
    """Refuse a shard that says something else of seeds that are there already."""
    there = [held for held in target.listing().shards if difference(seeds, held.seeds) != seeds]
    if target.manifest.kind == "statistics":
        raise StoreError(
            f"{found.path} and {there[0].path} count some of the same seeds, and counts cannot be taken apart; merge "
            "directories whose seeds differ"
        )
    ours = columns(Shards(target.manifest, there, expand(seeds)).block(0, number(seeds)))
    for name, array in columns(_runs(found, seeds)).items():
        if array.tobytes() != ours[name].tobytes():
            raise StoreError(
                f"{found.path} has other {name} for seeds {seeds[0][0]} to {seeds[-1][1] - 1} than {there[0].path}; "
                "jaxor verify says what made them: on the same versions and kind of machine one of them must be wrong"
            )
