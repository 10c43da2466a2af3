"""Runs once more: measuring along the paths of stored runs, or one run with its whole trace."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.exact import exact_reference
from jaxor.engine.geometry import STEPS, Geometry, Measuring
from jaxor.engine.plan import plan
from jaxor.engine.seeds import Ranges, check_seeds, compress, difference, expand, number, pieces
from jaxor.experiments.experiment import Experiment
from jaxor.progress import Progress, progress_bar
from jaxor.simulation import simulate
from jaxor.store.errors import StoreError
from jaxor.store.paths import GeometryDirectory, held, select
from jaxor.store.run import Run, open_run
from jaxor.work import perform
from jaxor.workers import Answer, Task

BLOCK_BYTES = 2**26
"""Measurements of one block of runs take about so much at most."""

Minima = Callable[[NDArray[Any]], NDArray[Any]]
"""From parameters (n, P) to the exact minimum that belongs to each."""


def measure_run(
    run: Run | str | Path,
    seeds: ArrayLike | range | None = None,
    *,
    reference: str = "final",
    extra: int = 0,
    minima: Minima | None = None,
    devices: int | None = None,
    progress: bool = False,
) -> Geometry:
    """Replay runs and measure gradients, distances and steps along their paths.

    Nothing but the manifest and the seeds is needed: the program of the first pass takes the steps again, bit for bit.
    What is measured along runs of a directory is kept there, in ``derived/geometry``, and found there the next time.

    Parameters
    ----------
    run : Run or path of a run directory
    seeds : (n,) array_like of int, optional
        Which of the runs. Default: all.
    reference : {"final", "exact", "extra"}
        What distances are taken to: a run's own final parameters (what the paper does), the exact minimum that belongs
        to them, or where the run is `extra` steps after its end.
    extra : int
    minima : callable, optional
        Exact minima for parameters (n, P), for reference ``"exact"`` where jaxor knows none.
    devices : int, optional
        Worker processes on CPU. Default: one process for small jobs, else one per core.
    progress : bool
        Show a progress bar if standard error is a terminal.

    Returns
    -------
    Geometry
        In the order of the seeds.

    Raises
    ------
    ValueError
        Impossible options, runs that cannot be continued, or no minimum is known.
    KeyError
        One of the seeds is not stored.
    StoreError
        Not a run directory, damaged, it lacks the parameters that are needed, or it cannot be written.
    WorkerError
        A worker process failed.

    Examples
    --------
    >>> geometry = measure_run(simulate("abs1_convergence", seeds=3), reference="exact")
    >>> rsi = geometry.dot / geometry.distance2
    >>> bool(np.allclose(rsi, 2, rtol=1e-3))  # the gradient is 2 (w - w*)
    True
    """
    source = opened(run)
    ids = wanted(source, seeds)
    with contextlib.nullcontext() if not progress else progress_bar(len(ids)) as watch:
        return measure(source, ids, Measuring(reference, extra), minima=minima, devices=devices, watch=watch)


def measure(
    run: Run,
    seeds: NDArray[np.int64],
    measuring: Measuring,
    *,
    minima: Minima | None = None,
    devices: int | None = None,
    watch: Progress | None = None,
) -> Geometry:
    """Measure along some of the runs, as `measure_run`; `watch` is told of runs as they are done."""
    if run.path is None:
        return select(
            [answer.result for answer in _answers(run, compress(seeds), measuring, minima, devices, watch)], seeds
        )
    directory = GeometryDirectory.of(run.path, measuring, run.manifest)
    parts = directory.parts()
    missing = difference(compress(seeds), held(parts))
    if watch is not None and number(missing) < len(seeds):
        watch(len(seeds) - number(missing), 0)
    if missing:
        with directory.writing():
            for answer in _answers(run, missing, measuring, minima, devices, watch):
                directory.add(answer.seeds, answer.result)
        parts = directory.parts()
    return select(parts, seeds)


def replay_run(run: Run | str | Path, seed: int, out: str | Path | None = None) -> Run:
    """One of the runs again, with everything that can be recorded of it.

    Parameters
    ----------
    run : Run or path of a run directory
    seed : int
    out : path, optional
        Run directory to write.

    Returns
    -------
    Run
        Of this seed, with all traces. On the machine and with the versions that made the first one its bits
        are the same.

    Raises
    ------
    KeyError
        The seed is not among the runs.
    StoreError
        Not a run directory, or first parameters were given and not stored.

    Examples
    --------
    >>> stored = simulate("relu1_normal", seeds=20, traces="none")
    >>> again = replay_run(stored, 7)
    >>> again.trace(7).params.shape == (stored.steps[7], 6), same_bits(again, stored)
    (True, True)
    """
    source = opened(run)
    seeds = wanted(source, [seed])
    return simulate(
        source.experiment, seeds, initial_params=_given(source, source.places(seeds)), traces="all",
        lane_width=source.lane_width, x64=source.x64, out=out, devices=1,
    )  # fmt: skip


def same_bits(again: Run, stored: Run) -> bool:
    """Whether a replay ended as the stored run did: status, steps, losses, accuracy and parameters as far as stored."""
    places = stored.places(again.seeds)
    names = ["status", "steps", "initial_loss", "final_loss", "final_accuracy"]
    names += ["final_params"] if stored.manifest.parameters != "none" else []
    return all(np.array_equal(getattr(again, name), getattr(stored, name)[places], equal_nan=True) for name in names)


def opened(run: Run | str | Path, experiment: Experiment | None = None) -> Run:
    """Runs that can be replayed.

    Parameters
    ----------
    run : Run or path of a run directory
    experiment : Experiment, optional
        Needed if it has parts made in Python.

    Raises
    ------
    StoreError
        There are none.
    ValueError
        They are of another experiment.
    """
    source = run if isinstance(run, Run) else open_run(run, experiment=experiment)
    if not isinstance(source, Run):
        raise StoreError(f"{run} holds statistics and no single runs, so no path can be replayed; simulate runs")
    if experiment is not None and experiment.to_dict() != source.manifest.experiment:
        raise ValueError(
            f"{run} holds runs of another experiment than {experiment.name} as it is now; give the one of old"
        )
    return source


def wanted(run: Run, seeds: Any) -> NDArray[np.int64]:
    """Seeds (n,) of all runs, or those asked for.

    Raises
    ------
    StoreError
        There are no runs yet.
    KeyError
        One of them is not stored.
    ValueError
        They are no seeds.
    """
    if not len(run):
        raise StoreError(
            f"nothing can be replayed, since {run.path} holds 0 seeds; first repeat the jaxor simulate ... that began "
            "it, with --resume"
        )
    if seeds is None:
        return run.seeds
    ids = check_seeds(seeds)
    if not len(ids):
        raise ValueError("seeds must not be empty; give some of the runs, or leave them out for all")
    run.places(ids)
    return ids


def _given(run: Run, places: NDArray[np.intp]) -> NDArray[Any] | None:
    """First parameters that were given and not drawn."""
    if run.manifest.initial_params_hash is None:
        return None
    if run.manifest.parameters != "both":
        raise StoreError("the runs began with given parameters, which were not stored; simulate with --parameters both")
    return run.initial_params[places]


def _answers(
    run: Run, seeds: Ranges, measuring: Measuring, minima: Minima | None, devices: int | None, watch: Progress | None
) -> Iterator[Answer]:
    """Measurements along runs, a block each, as they come."""
    made = plan(run.experiment, run.lane_width, "none")
    longest = max(int(run.steps.max(initial=1)), 1)
    block = min(made.block_seeds, BLOCK_BYTES // (len(STEPS) * run.manifest.floats.itemsize * longest))
    block = max(block // run.lane_width, 1) * run.lane_width
    exact = _minima(run, measuring, minima)
    seal = run.path is not None
    text = replace(run.manifest, seeds=()).to_json()

    def tasks() -> Iterator[Task]:
        for some in pieces(seeds, itertools.repeat(block)):
            places = run.places(expand(some))
            yield Task(text, some, block, _arrays(run, places, exact), seal, str(measuring))

    with contextlib.closing(perform(tasks(), run.experiment, devices, -(-number(seeds) // block), not seal)) as answers:
        for answer in answers:
            yield answer
            if watch is not None:
                watch(len(answer), answer.epochs)


def _arrays(run: Run, places: NDArray[np.intp], exact: Minima | None) -> dict[str, NDArray[Any]]:
    """What is known of some runs."""
    arrays: dict[str, Any] = {}
    given = _given(run, places)
    if given is not None:
        arrays["given"] = given
    if run.manifest.parameters != "none":
        arrays |= {"steps": run.steps[places], "status": run.status[places], "params": run.final_params[places]}
    if exact is not None:
        arrays["exact"] = np.asarray(exact(arrays["params"]), run.manifest.floats)
    return arrays


def minima_of(experiment: Experiment) -> Minima:
    """What gives the exact minima of an experiment.

    Raises
    ------
    ValueError
        None are known.
    """
    minima = exact_reference(experiment.to_dict())
    if minima is None:
        raise ValueError(f"no exact minimum is known for {experiment.name}; take reference final or extra")
    return minima


def _minima(run: Run, measuring: Measuring, minima: Minima | None) -> Minima | None:
    """What gives exact minima, if they are wanted."""
    if measuring.reference != "exact":
        return None
    if run.manifest.parameters == "none":
        raise StoreError("exact minima are those nearest to final parameters; simulate with --parameters final")
    return minima or minima_of(run.experiment)
