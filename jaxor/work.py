"""Cutting a job into tasks, and having them done: in this process or by several."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import jax
import numpy as np

from jaxor import cluster, workers
from jaxor.compute import compute
from jaxor.engine.block import Floats
from jaxor.engine.seeds import Ranges, expand, number, pieces, split
from jaxor.experiments.experiment import Experiment
from jaxor.job import Job
from jaxor.machine import cores
from jaxor.progress import Progress
from jaxor.store.directory import RunDirectory
from jaxor.until import looks
from jaxor.workers import Answer, Task

SMALL_JOB = 4
"""With fewer blocks than this, starting worker processes costs more than it gains."""

TALLY_SEEDS = 2**24
"""Most seeds in one shard of statistics."""

TALLY_SECONDS = 30.0
"""About so much work goes into one at most."""


@dataclass(frozen=True)
class Where:
    """Who does the work.

    Attributes
    ----------
    devices : int or None
        Worker processes on this machine; None leaves it to the size of the job.
    cluster : str or None
        Address of a Dask cluster that does it instead.
    allow_mixed : bool
        Whether the cluster's versions and machines may differ from ours.
    """

    devices: int | None = None
    cluster: str | None = None
    allow_mixed: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.devices, int | np.integer) and type(self.devices) is not bool
        if self.devices is not None and not (whole and self.devices >= 1):
            raise ValueError(f"devices must be a whole number, 1 or more, got {self.devices!r}")
        if self.cluster is not None:
            cluster.check_address(self.cluster)
        if self.cluster is not None and self.devices is not None:
            raise ValueError("devices are worker processes on this machine; give them or a cluster, not both")


HERE = Where()


class Work:
    """Tasks of a job being performed, here or by worker processes, and what that takes."""

    def __init__(self, job: Job, where: Where, watch: Progress | None) -> None:
        self.job = job
        self.simulated = 0
        self._where = where
        self._watch = watch
        self._pace = 0.0  # runs a second in the last task
        self._compiling: defaultdict[int | str, float] = defaultdict(float)

    @property
    def compile_seconds(self) -> float:
        """Of the worker that took longest."""
        return max(self._compiling.values(), default=0.0)

    def missing(self, directory: RunDirectory | None) -> Ranges:
        """Seeds to compute."""
        missing = self.job.wanted if directory is None else directory.missing(self.job.wanted)
        there = number(self.job.wanted) - number(missing)
        if self._watch is not None and there:
            self._watch(there, 0)
        return missing

    def sizes(self) -> Iterator[int]:
        """How many seeds the next task of statistics may have, whenever one is made; no influence on results."""
        block = self.job.plan.block_seeds
        while True:
            seeds = min(TALLY_SECONDS * self._pace, TALLY_SEEDS)
            yield max(int(seeds) // block, 1) * block

    def perform(self, tasks: Iterator[Task], missing: Ranges, seal: bool) -> Generator[Answer]:
        """Answers, as they come if sealed; in order if a rule may end it, so that no shard lies beyond its end."""
        in_order = not seal or self.job.rule is not None
        with contextlib.closing(self._through(tasks, missing, in_order)) as through:
            for answer in through:
                self.simulated += len(answer)
                self._pace = len(answer) / (answer.seconds - answer.compile_seconds)
                self._compiling[answer.worker] += answer.compile_seconds
                yield answer
                if self._watch is not None:
                    self._watch(len(answer), answer.epochs)

    def _through(self, tasks: Iterator[Task], missing: Ranges, in_order: bool) -> Generator[Answer]:
        if self._where.cluster is not None:
            return cluster.perform(self._where.cluster, tasks, self._where.allow_mixed, in_order)
        blocks = -(-number(missing) // self.job.plan.block_seeds)
        return perform(tasks, self.job.experiment, self._where.devices, blocks, in_order)


def perform(
    tasks: Iterator[Task], experiment: Experiment, devices: int | None, blocks: int, in_order: bool
) -> Generator[Answer]:
    """Have tasks of about so many blocks done on this machine, in their order or as they come."""
    size = _processes(experiment, devices, blocks)
    if size > 1:
        return _through_pool(size, tasks, in_order)
    return (compute(task, experiment) for task in tasks)


def _processes(experiment: Experiment, devices: int | None, blocks: int) -> int:
    """How many worker processes; 1 means that this process does the work."""
    if not experiment.portable or jax.default_backend() != "cpu":
        return 1
    if devices is not None:
        return min(devices, max(blocks, 1))
    return len(cores()) if blocks >= SMALL_JOB else 1


def _through_pool(size: int, tasks: Iterator[Task], in_order: bool) -> Generator[Answer]:
    pool = workers.pool(size)
    try:
        yield from pool.map(tasks, in_order)
    except BaseException:
        workers.discard(pool)
        raise


def run_tasks(job: Job, missing: Ranges, seal: bool) -> Iterator[Task]:
    """A block each, in ascending order of seeds."""
    text, size = replace(job.manifest, seeds=()).to_json(), job.plan.block_seeds
    for seeds in pieces(missing, itertools.repeat(size)):
        yield Task(text, seeds, size, _given(job, seeds), seal)


def _given(job: Job, seeds: Ranges) -> dict[str, Floats]:
    """First parameters of some runs, by ascending seed, if they are given."""
    if job.given is None or job.seeds is None:
        return {}
    order = np.argsort(job.seeds)
    return {"given": job.given[order[np.searchsorted(job.seeds, expand(seeds), sorter=order)]]}


def tally_tasks(work: Work, missing: Ranges, seal: bool) -> Iterator[Task]:
    """Some blocks each, as many as the pace allows; none goes on beyond a look, so that every look finds its runs."""
    text, size = replace(work.job.manifest, seeds=()).to_json(), work.job.plan.block_seeds
    for part in split(missing, looks(size)):
        for seeds in pieces(part, work.sizes()):
            yield Task(text, seeds, size, seal=seal)
