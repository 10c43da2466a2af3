"""Simulations: seeds in, a `Run` or a `Population` out, in memory or in a run directory."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.engine.block import Block, gather
from jaxor.engine.seeds import number
from jaxor.engine.tally import Tally
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError
from jaxor.job import Job, Seeds, prepare
from jaxor.progress import Progress, progress_bar
from jaxor.store.directory import RunDirectory
from jaxor.store.population import Population, read_population
from jaxor.store.run import Run
from jaxor.store.shard import decode_tally
from jaxor.store.sources import Shards
from jaxor.until import Monitor, looks
from jaxor.work import HERE, Where, Work, run_tasks, tally_tasks


@dataclass(frozen=True)
class Outcome:
    """A finished simulation and what it took.

    `run` is a `Run`, or a `Population` of statistics. `simulated` are the runs computed now (a resumed simulation has
    more), `wall_seconds` from start to end, `compile_seconds` the part of it that went into compiling.
    """

    run: Any
    simulated: int
    wall_seconds: float
    compile_seconds: float


@overload
def simulate(
    experiment: str | Experiment, seeds: Seeds | None = None, *, initial_params: ArrayLike | None = None,
    traces: bool | str | None = None, out: str | Path | None = None, lane_width: int | None = None,
    devices: int | None = None, x64: bool = False, resume: bool = False, progress: bool = False,
    parameters: str | None = None, keep: Literal["runs"] = "runs", until: None = None,
    cluster: str | None = None, allow_mixed: bool = False,
) -> Run: ...  # fmt: skip
@overload
def simulate(
    experiment: str | Experiment, seeds: Seeds | None = None, *, out: str | Path | None = None,
    lane_width: int | None = None, devices: int | None = None, x64: bool = False, resume: bool = False,
    progress: bool = False, keep: Literal["statistics"], until: str | None = None, cluster: str | None = None,
    allow_mixed: bool = False,
) -> Population: ...  # fmt: skip
def simulate(
    experiment: str | Experiment,
    seeds: Seeds | None = None,
    *,
    initial_params: ArrayLike | None = None,
    traces: bool | str | None = None,
    out: str | Path | None = None,
    lane_width: int | None = None,
    devices: int | None = None,
    x64: bool = False,
    resume: bool = False,
    progress: bool = False,
    parameters: str | None = None,
    keep: str = "runs",
    until: str | None = None,
    cluster: str | None = None,
    allow_mixed: bool = False,
) -> Run | Population:
    """Train one run per seed until each is done.

    Parameters
    ----------
    experiment : str or Experiment
        A name of the catalogue or an experiment.
    seeds : int, range or (n,) array_like of int
        10_000 means 0 to 9999. With `initial_params` it may be left out and is then 0 to n - 1; with `until` it is the
        largest number of seeds and may be left out.
    initial_params : (n, P) array_like, optional
        First parameters in flat order, in place of drawn ones; the seeds key everything else that is random.
    traces : bool or str, optional
        True or ``"all"``, ``"loss"``, False or ``"none"``, ``"every=K"``. Default: all up to 256 parameters, else
        losses.
    out : path, optional
        Run directory to write; nothing is written without it.
    lane_width : int, optional
        Runs per compiled step. The bits of results depend on it; the default depends on the experiment alone.
    devices : int, optional
        Worker processes on CPU. Default: one process for small jobs, else one per core.
    x64 : bool
        Compute in float64.
    resume : bool
        Go on with the simulation that is in `out`, or extend it by more seeds.
    progress : bool
        Show a progress bar if standard error is a terminal.
    parameters : {"both", "final", "none"}, optional
        Which of each run's parameters to keep. Default: both up to 10^6 parameters, else none.
    keep : {"runs", "statistics"}
        Every run, or only counts of runs by status, success, epochs and losses, in the same memory for a billion seeds
        as for a thousand.
    until : str, optional
        ``"halfwidth(success)<=X"`` or ``<X``, with statistics: go on, from seed 0, until the 95 % confidence sequence
        of the success share is that narrow. Equal rules end at equal numbers of seeds.
    cluster : str, optional
        Have the work done by a Dask cluster, whose scheduler is at ``"tcp://host:8786"``; ``"local:2"`` starts one with
        two processes on this machine. Results are the same.
    allow_mixed : bool
        Resume, or use a cluster, even if versions or kinds of machines differ. Each shard says what made it; bits may
        differ.

    Returns
    -------
    Run
        Arrays in the order of `seeds`.
    Population
        With ``keep="statistics"``.

    Raises
    ------
    ValueError
        Impossible experiment, seeds, parameters or options.
    StoreError
        `out` holds something else or cannot be written.
    WorkerError
        A worker process or the cluster failed.

    Examples
    --------
    >>> run = simulate("abs1_convergence", seeds=100)
    >>> len(run), int(run.status.max())
    (100, 0)
    >>> run.trace(7).loss.shape == (run.epochs[7],)
    True
    >>> population = simulate("abs1_convergence", keep="statistics", until="halfwidth(success)<=0.01", seeds=10**6)
    >>> population.success.share, population.epochs.quantile(0.5)
    (1.0, 35.0)
    """
    job = prepare(
        experiment,
        seeds,
        initial_params=initial_params,
        traces=traces,
        lane_width=lane_width,
        x64=x64,
        parameters=parameters,
        keep=keep,
        until=until,
    )
    where = Where(devices, cluster, allow_mixed)
    bar = contextlib.nullcontext(None) if not progress else progress_bar(job.total)
    with bar as watch:
        return execute(job, out=out, where=where, resume=resume, watch=watch).run


def execute(
    job: Job,
    *,
    out: str | Path | None = None,
    where: Where = HERE,
    resume: bool = False,
    watch: Progress | None = None,
) -> Outcome:
    """Run a checked simulation; see `simulate`.

    Raises
    ------
    StoreError, ValueError
        As `simulate`.
    """
    started = time.perf_counter()
    if where.cluster is not None and not job.experiment.portable:
        raise ExperimentError(
            f"{job.experiment.name} has parts made in Python, which cannot be sent to a cluster; use the catalogue "
            "or TOML, or leave out the cluster"
        )
    work = Work(job, where, watch)
    finish = _runs if job.manifest.kind == "runs" else _statistics
    if out is None:
        if resume:
            raise ValueError("resume needs out, the run directory to go on with")
        run = finish(work, None)
    else:
        _check_repeatable(job.experiment)
        with RunDirectory.create_or_open(out, job.manifest, resume, where.allow_mixed) as directory:
            run = finish(work, directory)
    return Outcome(run, work.simulated, time.perf_counter() - started, work.compile_seconds)


def _check_repeatable(experiment: Experiment) -> None:
    if not experiment.portable and experiment.source is None:
        raise ExperimentError(
            f"{experiment.name} has parts made in Python, so a stored run could not be repeated; "
            "put it into a Python file and read it with jaxor.load_experiment"
        )


def _runs(work: Work, directory: RunDirectory | None) -> Run:
    """Every run, sealed block by block if there is a directory."""
    job = work.job
    assert job.seeds is not None  # noqa: S101 (where runs are kept, seeds are listed)
    missing, seal = work.missing(directory), directory is not None
    left = number(missing)
    if directory is not None:
        directory.check_space(left * job.manifest.row_bytes["seed"])
    with contextlib.closing(work.perform(run_tasks(job, missing, seal), missing, seal)) as answers:
        if directory is None:
            block = gather((answer.result for answer in answers), left)
            return Run.from_block(job.manifest, _in_order(block, job.seeds), job.experiment)
        for answer in answers:
            directory.add(answer.seeds, answer.result)
            if left == number(missing):  # the length of traces is known now
                left -= len(answer)
                directory.check_space(len(answer.result) / len(answer) * left)
    source = Shards(directory.manifest, directory.shards(), job.seeds)
    return Run(directory.manifest, source, directory.path, job.experiment)


def _statistics(work: Work, directory: RunDirectory | None) -> Population:
    """Counts of runs, up to the look at which the rule holds if there is one."""
    job, total = work.job, Tally.empty()
    monitor = job.rule and Monitor(job.rule, _looks(job))
    if monitor and directory:
        for shard in directory.listing().shards:
            monitor.add(decode_tally(shard.path))
    missing, seal = () if monitor and monitor.stop else work.missing(directory), directory is not None
    with contextlib.closing(work.perform(tally_tasks(work, missing, seal), missing, seal)) as answers:
        for answer in answers:
            if directory is None:
                total += answer.result
            else:
                directory.add(answer.seeds, answer.result)
            if monitor:
                monitor.add(decode_tally(answer.result) if isinstance(answer.result, bytes) else answer.result)
                if monitor.stop:
                    break
    stop = monitor and monitor.stop
    if directory is None:
        return Population(replace(job.manifest, seeds=total.seeds), total, experiment=job.experiment)
    directory.ask_for(((0, stop),) if stop else job.wanted)
    return read_population(directory, stop, job.experiment)


def _looks(job: Job) -> tuple[int, ...]:
    """The looks at a rule, as far as the seeds go."""
    return tuple(look for look in looks(job.plan.block_seeds) if look <= job.wanted[-1][1])


def _in_order(block: Block, seeds: NDArray[np.int64]) -> Block:
    """Runs with ascending seeds in the order of `seeds`."""
    return block if np.array_equal(block.seeds, seeds) else block.take(np.searchsorted(block.seeds, seeds))
