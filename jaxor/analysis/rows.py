"""Rows of the regression: a state on the way of a run, where the run ended, and how many epochs were still to go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.exact import has_exact_minimum, nearest_minimum
from jaxor.engine.block import Block, Floats
from jaxor.engine.status import Status
from jaxor.store.errors import TraceNotStored
from jaxor.store.run import Run

Reference = Literal["final", "exact"]
Which = Literal["converged", "successful", "all"]

WINDOW = 10
"""Recorded losses over which the decline of the loss is fitted."""

MAX_NUMBERS = 2 * 10**8
"""Numbers that the rows may have in all; of more runs some are left out."""


class NoRows(ValueError):
    """A run directory has nothing to learn convergence times from."""


@dataclass(frozen=True, eq=False)
class Rows:
    """States of several runs, one run after the other, ascending in time.

    Attributes
    ----------
    seed : (n,) int64
        Of the run; rows of one run depend on one another.
    step : (n,) int32
        After which step the state is; -1 before the first.
    remaining : (n,) float64
        Epochs still to go.
    state, reference : (n, P) float
        Parameters now, and those that distances are measured to.
    loss : (n,) float64
        Before the last step, of the initial state before the first.
    decline : (n,) float64
        By how much the logarithm of the loss fell per epoch over the last `WINDOW` records; 0 where there is one
        record only.
    contraction : (n,) float64
        Distance to the reference after the next record divided by the distance now, per epoch.
    update : (n, P) float
        The last step's change of the parameters; zero in rows of initial states. Without columns if not every step
        was recorded.
    """

    seed: NDArray[np.int64]
    step: NDArray[np.int32]
    remaining: NDArray[np.float64]
    state: Floats
    reference: Floats
    loss: NDArray[np.float64]
    decline: NDArray[np.float64]
    contraction: NDArray[np.float64]
    update: Floats

    def __len__(self) -> int:
        return len(self.seed)

    def take(self, index: Any) -> Rows:
        """Some of the rows: a slice, numbers or a mask."""
        return Rows(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def rows_of(
    run: Run, *, reference: Reference = "final", initial: bool = False, which: Which = "converged",
    max_numbers: int | None = MAX_NUMBERS,
) -> Rows:  # fmt: skip
    """Make the rows of a simulation's runs, as the article does: every recorded state but a run's last.

    Source: convergence-time article, "Experimental Design"; its code drops the last state, starts after the first step
    and measures distances to the last state of the same run.

    Parameters
    ----------
    run : Run
        With traces of parameters.
    reference : {"final", "exact"}
        Distances are to the run's final parameters, or to the nearest exact minimum where that is known.
    initial : bool
        The state before the first step is a row too.
    which : {"converged", "successful", "all"}
        Runs that converged, or those with accuracy 1 at their end however they stopped (the article's code), or all:
        then `remaining` is NaN for those that did not converge.
    max_numbers : int or None
        About so many numbers are kept at most; of more runs an evenly spaced part is used. None: no limit.

    Raises
    ------
    TraceNotStored
        Without traces of parameters.
    NoRows
        No run is left, or no exact minimum is known.

    Examples
    --------
    >>> from jaxor import simulate
    >>> rows = rows_of(simulate("abs1_convergence", seeds=3))
    >>> len(rows), rows.remaining[:3], rows.state.shape
    (99, array([30., 29., 28.]), (99, 3))
    """
    if not str(run.manifest.traces).startswith(("all", "every")):
        raise TraceNotStored(
            "convergence times are learned from parameters along the way, which were not recorded; simulate with "
            "--traces all, or --traces every=K for large models"
        )
    if reference == "exact" and not has_exact_minimum(run.manifest.experiment):
        raise NoRows(
            "the exact minimum is known of |w x + b| (abs1) with the mean squared error on xor only; "
            "measure distances to the final parameters (--reference final)"
        )
    chosen = _chosen(run, which, max_numbers)
    parts = [_rows(block, run, reference, initial) for block in _blocks(run, chosen)]
    whole = Rows(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)})
    if which == "all":
        whole.remaining[~np.isin(whole.seed, run.seeds[run.status == Status.CONVERGED])] = np.nan
    if not len(whole):
        raise NoRows("no run took more than one recorded step; record more steps or choose a smaller learning rate")
    return whole


def _chosen(run: Run, which: Which, max_numbers: int | None) -> NDArray[np.bool_]:
    """Which runs to use."""
    kinds = {"converged": run.status == Status.CONVERGED, "successful": run.final_accuracy == 1}
    ended = kinds.get(which, np.ones(len(run), bool))
    if not ended.any():
        names = ", ".join(
            f"{count:,} {status.name.lower()}"
            for status, count in zip(Status, np.bincount(run.status, minlength=len(Status)), strict=True)
            if count
        )
        words = "reached accuracy 1" if which == "successful" else "converged"
        raise NoRows(
            f"none of the {len(run):,} runs {words} ({names}), so there is no time to convergence to "
            "learn from; train for more epochs or with a larger stop.loss"
        )
    chosen = np.flatnonzero(ended)
    numbers = np.cumsum(run.row_size[chosen], dtype=np.int64) * (3 * len(run.param_names) + 6)
    if max_numbers is not None and numbers[-1] > max_numbers:
        chosen = chosen[:: -(-int(numbers[-1]) // max_numbers)]
    mask = np.zeros(len(run), bool)
    mask[chosen] = True
    return mask


def _blocks(run: Run, chosen: NDArray[np.bool_]) -> Iterator[Block]:
    places = iter(chosen)
    for block in run.blocks():
        mask = np.fromiter(islice(places, len(block)), bool, len(block))
        yield block.take(np.flatnonzero(mask))


def _rows(block: Block, run: Run, reference: Reference, initial: bool) -> Rows:
    """All rows of some runs."""
    traces = block.traces
    assert traces is not None and traces.params is not None  # noqa: S101 (checked by the caller)
    per_epoch = _steps_per_epoch(run)
    sizes = traces.row_size.astype(np.int64)
    ends = np.cumsum(sizes)
    start, last = np.repeat(ends - sizes, sizes), np.repeat(ends - 1, sizes)
    here = np.arange(len(start))
    owner = np.repeat(np.arange(len(block)), sizes)
    reference_of = nearest_minimum(traces.params) if reference == "exact" else traces.params[last]
    distance = np.linalg.norm(np.subtract(traces.params, reference_of, dtype=np.float64), axis=1)
    following = np.minimum(here + 1, last)
    gap = np.maximum(traces.step[following] - traces.step, 1) / per_epoch
    with np.errstate(divide="ignore", invalid="ignore"):
        contraction = (distance[following] / distance) ** (1 / gap)
    states = Rows(
        seed=block.seeds[owner],
        step=traces.step,
        remaining=(traces.step[last] - traces.step) / per_epoch,
        state=traces.params,
        reference=reference_of,
        loss=traces.loss.astype(np.float64),
        decline=_decline(traces.loss, traces.step / per_epoch, start),
        contraction=contraction,
        update=_update(block, start, here, every=str(run.manifest.traces) == "all"),
    ).take(here < last)
    if not initial:
        return states
    first = _initial(block, per_epoch, reference, states.update.shape[1])
    both = Rows(**{f.name: np.concatenate([getattr(first, f.name), getattr(states, f.name)]) for f in fields(Rows)})
    return both.take(np.lexsort((both.step, both.seed)))


def _steps_per_epoch(run: Run) -> int:
    if run.manifest.experiment["batch"]["mode"] == "full":
        return 1
    return run.experiment.steps_per_epoch  # looks at the task and needs JAX for it


def _decline(loss: Floats, epoch: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.float64]:
    """Minus the slope of the least-squares line through the last `WINDOW` points (epoch, ln loss) of the same run."""
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.log(loss.astype(np.float64))
    here = np.arange(len(loss))
    count, sums = np.zeros(len(loss)), np.zeros((4, len(loss)))
    for lag in range(WINDOW):
        there = here - lag
        inside = there >= start
        there = np.where(inside, there, here)
        with np.errstate(invalid="ignore"):  # a loss of 0
            t, h = epoch[there] - epoch, height[there] - height  # from the last point on, so that nothing cancels
        count += inside
        sums += np.where(inside, (t, h, t * t, t * h), 0.0)
    t, h, tt, th = sums
    spread = tt - t * t / count
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(spread > 0, (th - t * h / count) / spread, 0.0)
    return np.where(np.isfinite(slope), -slope, 0.0)


def _update(block: Block, start: NDArray[np.int64], here: NDArray[np.intp], every: bool) -> Floats:
    """What the last step changed; (rows, 0) where that is not known."""
    traces, before = block.traces, block.initial_params
    assert traces is not None and traces.params is not None  # noqa: S101 (checked by the caller)
    if not every or before is None:
        return np.empty((len(here), 0), traces.params.dtype)
    previous = traces.params[np.maximum(here - 1, 0)]
    first = np.flatnonzero(here == start)
    previous[first] = before[traces.row_size > 0]
    return traces.params - previous


def _initial(block: Block, per_epoch: int, reference: Reference, updates: int) -> Rows:
    """Rows of the states before the first step."""
    traces, before = block.traces, block.initial_params
    assert traces is not None and traces.params is not None  # noqa: S101 (checked by the caller)
    if before is None:
        raise NoRows("initial parameters were not stored; simulate with --parameters both, or leave out --initial")
    used = np.flatnonzero(traces.row_size > 1)
    ends = np.cumsum(traces.row_size, dtype=np.int64)
    first, last = (ends - traces.row_size)[used], (ends - 1)[used]
    goal = nearest_minimum(before[used]) if reference == "exact" else traces.params[last]
    now, then = (
        np.linalg.norm(np.subtract(at, goal, dtype=np.float64), axis=1) for at in (before[used], traces.params[first])
    )
    zeros = np.zeros(len(used))
    with np.errstate(divide="ignore", invalid="ignore"):
        contraction = (then / now) ** (per_epoch / (traces.step[first] + 1))
    return Rows(
        seed=block.seeds[used],
        step=np.full(len(used), -1, np.int32),
        remaining=(traces.step[last] + 1) / per_epoch,
        state=before[used],
        reference=goal,
        loss=block.initial_loss[used].astype(np.float64),
        decline=zeros,
        contraction=contraction,
        update=np.zeros((len(used), updates), before.dtype),
    )
