"""Runs once more, to measure them: one program takes the steps, another looks at them.

A compiled program that also measures has other bits than one that does not (its sums are fused in another way), and
training carries such differences on. So the very program of the first pass takes the steps and hands out parameters, a
few steps at a time, and a second one computes from these what is asked. Nothing is kept but what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from jaxor.engine.plan import plan
from jaxor.engine.simulate import Worker, precision
from jaxor.engine.status import Status
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.model import Params


class Moment(NamedTuple):
    """One step of one run: number `step`, from 0, takes the parameters from `before` to `after`."""

    initial: Params
    before: Params
    after: Params
    step: Array


Measure = Callable[[Moment], Mapping[str, Array]]
"""What to know of a step, by name: arrays of any shape, traced once."""


@dataclass(frozen=True, eq=False)
class Replayed:
    """What was measured of some runs.

    Attributes
    ----------
    seeds : (n,) int64
    steps : (n,) int32
        Steps of each run.
    status : (n,) int8
    final_params : (n, P) float
    measured : mapping of name to (n, T, ...) array
        T is the number of steps of the longest run; beyond a run's own last step NaN, or 0 where numbers are whole.
    """

    seeds: NDArray[np.int64]
    steps: NDArray[np.int32]
    status: NDArray[np.int8]
    final_params: NDArray[Any]
    measured: Mapping[str, NDArray[Any]]


def replay(
    experiment: Experiment,
    seeds: NDArray[np.int64],
    measure: Measure,
    *,
    lane_width: int | None = None,
    x64: bool = False,
    watch: Callable[[int], Any] | None = None,
) -> Replayed:
    """Run seeds and measure every step of each.

    Parameters
    ----------
    experiment : Experiment
    seeds : (n,) int64
        One at least.
    measure : callable
    lane_width : int, optional
        As in the simulation whose bits are to be had again.
    x64 : bool
    watch : callable, optional
        Told the number of runs done, now and then.

    Raises
    ------
    ValueError
        Impossible lane width.

    Examples
    --------
    >>> from jaxor.experiments.catalog import get_experiment
    >>> def moved(moment):
    ...     return {"moved": abs(moment.after["linear1.weight"] - moment.before["linear1.weight"]).max()}
    >>> replayed = replay(get_experiment("abs1_convergence"), np.arange(2), moved)
    >>> replayed.steps, replayed.measured["moved"].shape
    (array([31, 34], dtype=int32), (2, 34))
    """
    with precision(x64):
        worker = Worker(experiment, plan(experiment, lane_width, "none").lane_width, x64)
        look = jax.jit(_looking(worker, measure))
        parts = []
        for start in range(0, len(seeds), worker.lane_width):
            parts.append(_some(worker, seeds[start : start + worker.lane_width], look))
            if watch is not None:
                watch(min(start + worker.lane_width, len(seeds)))
    longest = max(int(part.steps.max()) for part in parts)
    return Replayed(
        seeds=np.asarray(seeds, np.int64),
        steps=np.concatenate([part.steps for part in parts]),
        status=np.concatenate([part.status for part in parts]),
        final_params=np.concatenate([part.final_params for part in parts]),
        measured={
            name: np.concatenate([_longer(part.measured[name], longest) for part in parts])
            for name in parts[0].measured
        },
    )


def _looking(worker: Worker, measure: Measure) -> Callable[..., tuple[Array, Mapping[str, Array]]]:
    """From first parameters and some steps of all lanes to the last parameters and what is measured (T, lanes, ...)."""
    unflatten = worker.program.dynamics.order.unflatten

    def one(initial: Array, before: Array, after: Array, step: Array) -> Mapping[str, Array]:
        return measure(Moment(unflatten(initial), unflatten(before), unflatten(after), step))

    def look(initial: Array, before: Array, after: Array, step: Array) -> tuple[Array, Mapping[str, Array]]:
        def row(before: Array, now: tuple[Array, Array]) -> tuple[Array, Mapping[str, Array]]:
            return now[0], jax.vmap(one)(initial, before, *now)

        return lax.scan(row, before, (after, step))

    return look


def _some(worker: Worker, seeds: NDArray[np.int64], look: Callable[..., Any], careful: bool = False) -> Replayed:
    """At most a lane width of runs; carefully if one turns out to diverge."""
    count, initial, before, carry = len(seeds), None, None, None
    parts: list[Mapping[str, NDArray[Any]]] = []
    for carry, rows in worker.follow(seeds, careful):
        if initial is None:
            initial = before = carry.initial + 0  # the carry's own is given to the next call
        before, measured = look(initial, before, rows.params, rows.step - 1)
        parts.append({name: np.moveaxis(np.asarray(array), 0, 1)[:count] for name, array in measured.items()})
    assert carry is not None  # noqa: S101 (there are seeds)
    results = [np.asarray(a)[:count] for a in (carry.results.step, carry.results.status, carry.results.params)]
    if not careful and (results[1] == Status.DIVERGED).any():
        return _some(worker, seeds, look, careful=True)
    joined = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    steps = results[0].astype(np.int32)
    cut = {name: _ended(array[:, : steps.max()], steps) for name, array in joined.items()}
    return Replayed(seeds, steps, results[1].astype(np.int8), results[2], cut)


def _ended(array: NDArray[Any], steps: NDArray[np.int32]) -> NDArray[Any]:
    """Nothing beyond the last step of each run."""
    beyond = np.arange(array.shape[1]) >= steps[:, None]
    filled = array.copy()
    filled[beyond] = _nothing(array)
    return filled


def _longer(array: NDArray[Any], longest: int) -> NDArray[Any]:
    shape = (len(array), longest - array.shape[1], *array.shape[2:])
    return np.concatenate([array, np.full(shape, _nothing(array), array.dtype)], axis=1)


def _nothing(array: NDArray[Any]) -> float | int:
    return np.nan if array.dtype.kind == "f" else 0
