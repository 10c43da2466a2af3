"""A strategy's runs summed up: success, epochs, draws, and what they began with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.findings import dead_at_start
from jaxor.analysis.mechanism import Gain, Group, by_state, gain, states
from jaxor.analysis.strategies import Strategy, Threshold
from jaxor.analysis.subject import NotKnown, Subject
from jaxor.engine.status import Status
from jaxor.estimates import Interval, Quantiles, Share, quantiles
from jaxor.store.run import Run

RESAMPLES = 999


class Ratio(NamedTuple):
    """A ratio with its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Arm:
    """One strategy's runs.

    Attributes
    ----------
    name : str
    init : dict
        The initializer.
    threshold : Threshold or None
        If it was estimated.
    runs, unstarted : int
        Runs, and those of them that found nothing to start with.
    success : Share
        Of all runs.
    epochs, epochs_of_successes : Quantiles or None
        Over all runs that started, failures included, and over successes.
    converged : int
        Successes that ended below the loss threshold; the patience or the cap ended the others.
    steps : float
        Mean of all runs.
    draws : float
        Mean draws of first parameters.
    speedup : Ratio or None
        Median epochs of the control's successes divided by those here.
    initial_loss, final_loss : Quantiles or None
        Over all runs that started, final ones that are not finite left out.
    states : tuple of Group or None
        By what was dead at the start.
    gain : Gain or None
    """

    name: str
    init: Any
    threshold: Threshold | None
    runs: int
    unstarted: int
    success: Share
    epochs: Quantiles | None
    epochs_of_successes: Quantiles | None
    converged: int
    steps: float
    draws: float
    speedup: Ratio | None
    initial_loss: Quantiles | None
    final_loss: Quantiles | None
    states: tuple[Group, ...] | None
    gain: Gain | None

    def cost(self, draw: float) -> float:
        """Steps that a success costs if a draw costs as much as `draw` steps."""
        share = self.success.share
        return (self.draws * draw + self.steps) / share if share else float("inf")

    @property
    def draws_of_a_success(self) -> float:
        """All draws, which are forward passes, for each success."""
        return self.draws / self.success.share if self.success.share else float("inf")


def arm_of(one: Strategy, run: Run, control: tuple[Arm, Run] | None) -> Arm:
    """Sum up a strategy's runs, beside those of the control if there is one."""
    success, started = run.final_accuracy == 1, run.status != Status.UNSTARTED
    state = states_of(run)
    groups = None if isinstance(state, str) else by_state(state, success[started])
    speedup = apart = None
    if control is not None:
        arm, other = control
        speedup = ratio_of_medians(other.epochs[other.final_accuracy == 1], run.epochs[success])
        apart = None if groups is None or arm.states is None else gain(arm.states, groups)
    return Arm(
        name=one.name,
        init=one.experiment.to_dict()["init"],
        threshold=one.threshold,
        runs=len(run),
        unstarted=int(np.count_nonzero(~started)),
        success=Share.of(int(success.sum()), len(run)),
        epochs=quantiles(run.epochs[started]),
        epochs_of_successes=quantiles(run.epochs[success]),
        converged=int(np.count_nonzero(success & (run.status == Status.CONVERGED))),
        steps=float(run.steps.mean()),
        draws=float(run.draws.mean()),
        speedup=speedup,
        initial_loss=quantiles(run.initial_loss[started]),
        final_loss=quantiles(run.final_loss[np.isfinite(run.final_loss)]),
        states=groups,
        gain=apart,
    )


def ratio_of_medians(one: ArrayLike, other: ArrayLike, random_state: int = 0) -> Ratio | None:
    """Median of whole numbers divided by that of others, with a 95 % interval from resampling both.

    Returns
    -------
    Ratio or None
        None if one of them is empty, or if medians may be 0.

    Examples
    --------
    >>> ratio = ratio_of_medians([20] * 99 + [30], [10] * 99 + [5])
    >>> ratio.value, ratio.interval
    (2.0, Interval(low=2.0, high=2.0))
    """
    a, b = np.asarray(one), np.asarray(other)
    if not a.size or not b.size:
        return None
    rng = np.random.default_rng(random_state)
    above, below = (_resampled_medians(sample, rng) for sample in (a, b))
    middle = float(np.median(b))
    if middle == 0 or not below.all():
        return None
    ends = np.percentile(above / below, [2.5, 97.5])
    return Ratio(float(np.median(a)) / middle, Interval(*ends.tolist()))


def _resampled_medians(sample: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    """Medians of resamples; counts of each value are multinomial, so a million numbers cost no more than a few."""
    values, counts = np.unique(sample, return_counts=True)
    ends = np.cumsum(rng.multinomial(len(sample), counts / len(sample), RESAMPLES), axis=1)
    low, high = (len(sample) - 1) // 2, len(sample) // 2
    return (values[(ends <= low).sum(axis=1)] + values[(ends <= high).sum(axis=1)]) / 2


def states_of(run: Run) -> NDArray[np.int64] | str:
    """What is dead at the start of each run that started, see `jaxor.analysis.mechanism.states`; or why not known."""
    subject = Subject(run)
    try:
        return states(dead_at_start(subject), subject.positive)
    except NotKnown as reason:
        return str(reason)
