"""Checking a whole run directory: every file, every array, every count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block, Traces
from jaxor.engine.recording import Recording
from jaxor.engine.seeds import Ranges, difference, union
from jaxor.engine.status import Status
from jaxor.engine.tally import Tally
from jaxor.engine.threshold import at_least
from jaxor.store import shard
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.run import stream
from jaxor.store.schema import columns, counts


@dataclass(frozen=True)
class Verification:
    """What came of a check.

    Attributes
    ----------
    path : Path
    manifest : Manifest
    shards : int
        Sound ones.
    seeds : Ranges
        Those in them.
    problems : list of str
        A sentence for each file that is no good and for each seed that lies in two files.
    made_by : list of str
        Versions and platforms that computed the sound shards.
    digest : str or None
        SHA-256 of all values by ascending seed, however they are cut into shards; None if there are problems.
    """

    path: Path
    manifest: Manifest
    shards: int
    seeds: Ranges
    problems: list[str]
    made_by: list[str]
    digest: str | None

    @property
    def missing(self) -> Ranges:
        """Seeds that were asked for and are in no sound shard."""
        return difference(self.manifest.seeds, self.seeds)


def verify_run(path: str | Path) -> Verification:
    """Check a run directory: names, hashes, simulation, variables and accounting of all shards.

    Nothing is changed, and only one shard at a time is in memory.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Verification

    Raises
    ------
    StoreError
        If it is not a run directory, or its manifest cannot be used.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from jaxor import simulate
    >>> with TemporaryDirectory() as out:
    ...     simulate("abs1_convergence", seeds=100, out=out)  # doctest: +ELLIPSIS
    ...     found = verify_run(out)
    <Run of abs1_convergence: ...>
    >>> found.problems, found.seeds, found.missing
    ([], ((0, 100),), ())
    """
    directory = RunDirectory.open(path)
    listing = directory.inspect()
    problems, sound, made_by = [*listing.damaged.values(), *listing.overlaps], [], set()
    for found in listing.shards:
        try:
            _check(found.path, directory.manifest)
            made_by.add(shard.made_by(found.path, directory.manifest))
            sound.append(found)
        except StoreError as error:
            problems.append(str(error))
    seeds = union(*(found.seeds for found in sound))
    whole = None if problems else _digest(directory.manifest, sound)
    return Verification(directory.path, directory.manifest, len(sound), seeds, problems, sorted(made_by), whole)


def _digest(manifest: Manifest, shards: list[Shard]) -> str:
    if manifest.kind == "statistics":
        return digest([counts(sum((shard.decode_tally(found.path) for found in shards), Tally.empty()))])
    return digest(columns(block) for block in stream(manifest, shards))


def digest(parts: Iterable[dict[str, NDArray[Any]]]) -> str:
    """SHA-256 of arrays that come in parts: of each variable, then of these together."""
    hashes: dict[str, Any] = {}
    for arrays in parts:
        for name, array in arrays.items():
            hashes.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(array).data)
    together = "".join(f"{name} {found.hexdigest()}\n" for name, found in sorted(hashes.items()))
    return hashlib.sha256(together.encode()).hexdigest()


def _check(path: Path, manifest: Manifest) -> None:
    """Raise what is wrong with a shard that can be read."""
    if manifest.kind == "statistics":
        wrong = _inconsistent(shard.decode_tally(path), manifest)
    else:
        wrong = next(_inconsistencies(shard.decode(path), manifest), None)
    if wrong:
        raise StoreError(f"{path} cannot be right: {wrong}; move it away and resume the simulation")


def _inconsistent(tally: Tally, manifest: Manifest) -> str | None:
    """What does not fit together in counts of runs."""
    epochs, cap = tally.epochs.values, manifest.experiment.get("max_epochs", np.inf)
    if len(bad := epochs[(epochs < 0) | (epochs > cap)]):
        return f"a run has {bad[0]} epochs, the experiment at most {cap}"
    if tally.epochs.counts[epochs != cap, Status.EPOCH_CAP].any():
        return "a run ended at the cap before it"
    if tally.epochs.counts[epochs != 0, Status.UNSTARTED].any() or tally.runs[Status.UNSTARTED, 1]:
        return "a run without first parameters took steps or succeeded"
    impossible = [status.name.lower() for status in _impossible(manifest) if tally.runs[status].any()]
    return f"a run has status {impossible[0]}, for which the experiment has no rule" if impossible else None


def _impossible(manifest: Manifest) -> list[Status]:
    """Statuses for which there is no stop rule."""
    rules = {Status.CONVERGED: "loss", Status.STALLED: "patience"}
    return [status for status, rule in rules.items() if manifest.experiment.get("stop", {}).get(rule) is None]


def _inconsistencies(block: Block, manifest: Manifest) -> Iterator[str]:
    """What does not fit together in finished runs; each run is accounted for by itself."""

    def first(bad: NDArray[np.bool_], words: str) -> Iterator[str]:
        if bad.any():
            yield f"seed {block.seeds[np.argmax(bad)]} {words}"

    cap, capped = manifest.experiment.get("max_epochs", np.inf), block.status == Status.EPOCH_CAP
    started = block.status != Status.UNSTARTED
    yield from first((block.epochs < 0) | (block.epochs > cap), f"has more than {cap} epochs or less than 0")
    yield from first(np.isin(block.status, _impossible(manifest)), "has a status for which there is no rule")
    yield from first(capped & (block.epochs != cap), "ended at the cap before it")
    yield from first(block.steps < block.epochs, "took fewer steps than it began epochs")
    yield from first(~started & (block.steps != 0), "took steps without first parameters")
    if manifest.experiment.get("batch", {}).get("mode") == "full":
        yield from first(block.steps != block.epochs, "has not a step for each epoch")
    if manifest.experiment.get("source") is None:  # else the task may have an accuracy of its own
        possible = (block.final_accuracy >= 0) & (block.final_accuracy <= 1)
        yield from first(possible != started, "has an impossible accuracy")
    for name in ("initial_params", "final_params"):
        params = getattr(block, name)
        if params is not None:
            yield from first(started & ~np.isfinite(params).all(axis=1), f"has {name} that are not finite")
            yield from first(~started & ~np.isnan(params).all(axis=1), f"has {name} though it did not start")
    if block.draws is not None:
        yield from first(block.draws < 1, "has parameters that were not drawn")
    if block.traces is not None:
        yield from _wrong_traces(block, block.traces, manifest, first)


def _wrong_traces(block: Block, traces: Traces, manifest: Manifest, first: Any) -> Iterator[str]:
    """Every step that was to be recorded must be there once, in order, and the last one must end the run."""
    recording = Recording.parse(manifest.traces)
    sizes = recording.sizes(block.steps)
    yield from first(traces.row_size != sizes, "has another number of records than its steps ask for")
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    owner = np.repeat(np.arange(len(sizes)), sizes)
    expected = np.minimum((np.arange(len(owner)) - starts[owner]) * recording.every, block.steps[owner] - 1)

    def runs_with(records: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.bincount(owner[records], minlength=len(sizes)) > 0

    yield from first(runs_with(traces.step != expected), "has records of other steps than it took")
    yield from first(runs_with(~np.isfinite(traces.loss)), "took a step with a loss that is not finite")
    some = sizes > 0
    last = (starts + sizes - 1)[some]
    threshold = manifest.experiment.get("stop", {}).get("loss")
    if threshold is not None:
        ends = np.zeros(len(owner), bool)
        ends[last] = (block.status == Status.CONVERGED)[some]
        below = traces.loss < at_least(threshold, traces.loss.dtype)
        yield from first(runs_with(ends != below), "did not converge at its first loss below the threshold")
    if traces.params is not None and block.final_params is not None:
        bad = np.zeros(len(sizes), bool)
        bad[some] = (traces.params[last] != block.final_params[some]).any(axis=1)
        yield from first(bad, "has other final_params than after its last step")
