"""Simulations: seeds in, a `Run` out, in memory or in a run directory."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor import workers
from jaxor.engine.block import Block, Floats, concatenate
from jaxor.engine.keys import IMPLEMENTATION
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Plan, Worker, plan
from jaxor.experiments.catalog import get_experiment
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError
from jaxor.store.directory import RunDirectory
from jaxor.store.manifest import Manifest, check_seeds, compress
from jaxor.store.run import Run, open_run

Seeds = int | range | ArrayLike
Progress = Callable[[int, int], None]
"""Called with the runs and the epochs that a block adds."""

SMALL_JOB = 4
"""With fewer blocks than this, starting worker processes costs more than it gains."""

PARAMETERS_UP_TO = 10**6
"""Models with more parameters keep none by default."""


@dataclass(frozen=True)
class Outcome:
    """A finished simulation and what it took.

    `simulated` are the runs computed now (a resumed simulation has more), `wall_seconds` from start to end,
    `compile_seconds` the part of it that went into compiling.
    """

    run: Run
    simulated: int
    wall_seconds: float
    compile_seconds: float


@dataclass(frozen=True)
class Job:
    """A simulation that has been checked and can be run.

    `seeds` are as the user ordered them; `given` first parameters (n, P) in that order or None.
    """

    experiment: Experiment
    manifest: Manifest
    plan: Plan
    seeds: NDArray[np.int64]
    given: Floats | None

    @property
    def default_out(self) -> Path:
        """Where the command line puts it: ``outputs/<experiment>-<first 8 of identity>``."""
        return Path("outputs") / f"{self.experiment.name}-{self.manifest.identity[:8]}"


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
) -> Run:
    """Train one run per seed until each is done.

    Parameters
    ----------
    experiment : str or Experiment
        A name of the catalogue or an experiment.
    seeds : int, range or (n,) array_like of int
        10_000 means 0 to 9999. With `initial_params` it may be left out and is then 0 to n - 1.
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

    Returns
    -------
    Run
        Arrays in the order of `seeds`.

    Raises
    ------
    ValueError
        Impossible experiment, seeds, parameters or options.
    StoreError
        `out` holds something else or cannot be written.

    Examples
    --------
    >>> run = simulate("abs1_convergence", seeds=100)
    >>> len(run), int(run.status.max())
    (100, 0)
    >>> run.trace(7).loss.shape == (run.epochs[7],)
    True
    """
    job = prepare(
        experiment,
        seeds,
        initial_params=initial_params,
        traces=traces,
        lane_width=lane_width,
        x64=x64,
        parameters=parameters,
    )
    bar = contextlib.nullcontext(None) if not progress else progress_bar(len(job.seeds))
    with bar as watch:
        return execute(job, out=out, devices=devices, resume=resume, watch=watch).run


def prepare(
    experiment: str | Experiment,
    seeds: Seeds | None = None,
    *,
    initial_params: ArrayLike | None = None,
    traces: bool | str | None = None,
    lane_width: int | None = None,
    x64: bool = False,
    parameters: str | None = None,
) -> Job:
    """Check a simulation without running it; see `simulate` for the parameters.

    Raises
    ------
    ValueError
        As `simulate`.
    """
    if isinstance(experiment, str):
        experiment = get_experiment(experiment)
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"experiment must be a name of the catalogue or an Experiment, got {experiment!r:.60}; "
            "a file is read with jaxor.load_experiment"
        )
    if not isinstance(x64, bool | np.bool_):
        raise ValueError(f"x64 must be True or False, got {x64!r}")
    how = plan(experiment, lane_width, traces)
    floats = np.float64 if x64 else np.float32
    given = None if initial_params is None else _check_params(initial_params, how.param_names, floats)
    ids = _check_seeds(seeds, given)
    if parameters is None:
        parameters = "both" if len(how.param_names) <= PARAMETERS_UP_TO else "none"
    if parameters not in ("both", "final", "none"):
        raise ValueError(f"parameters must be both, final or none, got {parameters!r}")
    manifest = Manifest(
        experiment=experiment.to_dict(),
        seeds=compress(ids),
        lane_width=how.lane_width,
        x64=bool(x64),
        traces=str(how.recording),
        parameters=parameters,
        layout=how.layout,
        prng=IMPLEMENTATION,
        versions={name: importlib.metadata.version(name) for name in ("jaxor", "jax", "jaxlib", "optax")},
        platform=_platform(),
        param_names=how.param_names,
        initial_params_hash=None if given is None else _hash_params(ids, given),
    )
    return Job(experiment, manifest, how, ids, given)


def execute(
    job: Job,
    *,
    out: str | Path | None = None,
    devices: int | None = None,
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
    if devices is not None and (type(devices) is bool or not isinstance(devices, int | np.integer) or devices < 1):
        raise ValueError(f"devices must be a whole number, 1 or more, got {devices!r}")
    if out is None:
        if resume:
            raise ValueError("resume needs out, the run directory to go on with")
        parts: list[Block] = []

        def collect(part: Block | workers.Answer) -> None:
            parts.append(workers.unpack(part.data) if isinstance(part, workers.Answer) else part)

        compiling = _compute_all(job, job.seeds, devices, watch, collect, seal=False)
        run = Run.from_block(job.manifest, _in_order(concatenate(parts), job.seeds), job.experiment)
        return Outcome(run, len(job.seeds), time.perf_counter() - started, compiling)
    if not job.experiment.portable and job.experiment.source is None:
        raise ExperimentError(
            f"{job.experiment.name} has parts made in Python, so a stored run could not be repeated; "
            "put it into a Python file and read it with jaxor.load_experiment"
        )
    with RunDirectory.create_or_open(out, job.manifest, resume) as directory:

        def keep(part: Block | workers.Answer) -> None:
            directory.add_sealed(part.seeds, part.data) if isinstance(part, workers.Answer) else directory.add(part)

        missing = directory.missing(job.seeds)
        if watch is not None and len(missing) < len(job.seeds):
            watch(len(job.seeds) - len(missing), 0)
        compiling = _compute_all(job, missing, devices, watch, keep, seal=True)
    run = open_run(out, job.seeds, job.experiment)
    return Outcome(run, len(missing), time.perf_counter() - started, compiling)


def compute(
    manifest: Manifest, seeds: NDArray[np.int64], given: Floats | None, experiment: Experiment | None = None
) -> tuple[Block, float]:
    """Runs of some seeds of the simulation that a manifest describes: the task that every worker performs.

    Parameters
    ----------
    manifest : Manifest
    seeds : (n,) int64
    given : (n, P) float or None
    experiment : Experiment, optional
        Needed if it has parts made in Python.

    Returns
    -------
    block : Block
    compile_seconds : float
        Spent on compiling in this call.
    """
    worker = _worker(experiment or Experiment.from_dict(manifest.experiment), manifest.lane_width, manifest.x64)
    before = worker.compile_seconds
    block = worker.run(seeds, Recording.parse(manifest.traces), given)
    if manifest.parameters != "both":
        block = replace(block, initial_params=None)
    if manifest.parameters == "none":
        block = replace(block, final_params=None)
    return block, worker.compile_seconds - before


@lru_cache(maxsize=8)
def _worker(experiment: Experiment, lane_width: int, x64: bool) -> Worker:
    """Compiled programs, kept for the next call."""
    return Worker(experiment, lane_width, x64)


def _compute_all(
    job: Job,
    seeds: NDArray[np.int64],
    devices: int | None,
    watch: Progress | None,
    keep: Callable[[Block | workers.Answer], None],
    seal: bool,
) -> float:
    """Hand all runs, block by block in ascending order of seeds, to `keep`; the seconds spent on compiling."""
    tasks = list(_tasks(job, np.sort(seeds), seal))
    size = _processes(job, devices, len(tasks))
    seconds: defaultdict[int, float] = defaultdict(float)
    for worker, part, compiling in _through_pool(size, tasks) if size > 1 else _here(job, tasks):
        keep(part)
        seconds[worker] += compiling
        if watch is not None:
            epochs = part.epochs if isinstance(part, workers.Answer) else int(part.epochs.sum())
            watch(len(part.seeds), epochs)
    return max(seconds.values(), default=0.0)


def _tasks(job: Job, ascending: NDArray[np.int64], seal: bool) -> Iterator[workers.Task]:
    text = job.manifest.to_json()
    order = np.argsort(job.seeds)
    for start in range(0, len(ascending), job.plan.block_seeds):
        seeds = ascending[start : start + job.plan.block_seeds]
        rows = order[np.searchsorted(job.seeds, seeds, sorter=order)]
        yield workers.Task(text, seeds, None if job.given is None else job.given[rows], seal)


def _processes(job: Job, devices: int | None, tasks: int) -> int:
    """How many worker processes; 1 means that this process does the work."""
    if not job.experiment.portable or jax.default_backend() != "cpu":
        return 1
    if devices is not None:
        return min(devices, max(tasks, 1))
    return len(workers.cores()) if tasks >= SMALL_JOB else 1


def _here(job: Job, tasks: list[workers.Task]) -> Iterator[tuple[int, Block, float]]:
    """Worker, runs and seconds of compiling of each task, done in this process."""
    for task in tasks:
        yield 0, *compute(job.manifest, task.seeds, task.given, job.experiment)


def _through_pool(size: int, tasks: list[workers.Task]) -> Iterator[tuple[int, workers.Answer, float]]:
    """The same, done by worker processes."""
    pool = workers.pool(size)
    try:
        for answer in pool.map(tasks):
            yield answer.worker, answer, answer.compile_seconds
    except BaseException:
        workers.discard(pool)
        raise


def _in_order(block: Block, seeds: NDArray[np.int64]) -> Block:
    """Runs with ascending seeds in the order of `seeds`."""
    return block if np.array_equal(block.seeds, seeds) else block.take(np.searchsorted(block.seeds, seeds))


def _check_seeds(seeds: Seeds | None, given: Floats | None) -> NDArray[np.int64]:
    if seeds is None:
        if given is None:
            raise ValueError("seeds are missing: give a number, a range or an array of seeds, or initial_params")
        seeds = len(given)
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ValueError(f"the number of seeds must be at least 1, got {seeds}")
        seeds = range(int(seeds))
    ids = check_seeds(seeds)
    if len(ids) == 0:
        raise ValueError("seeds must not be empty; give a number, a range or an array of seeds")
    if given is not None and len(given) != len(ids):
        raise ValueError(f"initial_params has {len(given)} rows for {len(ids)} seeds; give one row a seed")
    return ids


def _check_params(params: ArrayLike, names: tuple[str, ...], floats: Any) -> Floats:
    try:
        array = np.asarray(params)
    except ValueError as error:
        raise ValueError(f"initial_params must be an array of numbers (n, {len(names)}): {error}") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"initial_params must be an array of numbers (n, {len(names)}), got type {array.dtype}")
    if array.ndim != 2 or array.shape[1] != len(names) or len(array) == 0:
        raise ValueError(
            f"initial_params must have shape (n, {len(names)}) for the parameters {', '.join(names[:8])}"
            f"{', ...' if len(names) > 8 else ''}; got {array.shape}"
        )
    bad = np.flatnonzero(~(np.abs(array) <= np.finfo(floats).max).all(axis=1))
    if len(bad):
        raise ValueError(f"initial_params must be finite in {np.dtype(floats)}, but row {bad[0]} is {array[bad[0]]}")
    return array.astype(floats)


def _platform() -> dict[str, str]:
    """The machine, as far as XLA's bits depend on it."""
    found = {"system": platform.system(), "machine": platform.machine(), "backend": jax.default_backend()}
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text().split()
        found["simd"] = next((name for name in ("avx512f", "avx2", "avx", "asimd") if name in flags), "")
    return found


def _hash_params(seeds: NDArray[np.int64], given: Floats) -> str:
    """SHA-256 of first parameters with the seeds that they belong to, whatever their order."""
    order = np.argsort(seeds)
    return hashlib.sha256(seeds[order].tobytes() + np.ascontiguousarray(given[order]).tobytes()).hexdigest()


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[Progress]:
    """A bar on standard error with runs done, runs/s, epochs/s and time left; silent if that is no terminal."""
    from tqdm import tqdm

    layout = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} runs, {rate_fmt}{postfix}, {remaining} left"
    with tqdm(total=total, unit="run", unit_scale=True, file=sys.stderr, disable=None, bar_format=layout) as bar:
        started, done = time.perf_counter(), 0

        def watch(runs: int, epochs: int) -> None:
            nonlocal done
            done += epochs
            rate = tqdm.format_sizeof(done / (time.perf_counter() - started))
            bar.set_postfix_str(f"{rate}epoch/s", refresh=False)
            bar.update(runs)

        yield watch
