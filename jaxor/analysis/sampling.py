"""What choosing first parameters does to success, speed and cost: a control and strategies side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np

from jaxor.analysis.arms import Arm, arm_of, states_of
from jaxor.analysis.findings import Failures, failures
from jaxor.analysis.mechanism import (
    Exceptions,
    Step,
    by_loss,
    exceptions,
    rank_correlation,
)
from jaxor.analysis.ranking import LEAST, Outcome, Ranking, Recommendation, ThresholdError, recommend, threshold_error
from jaxor.analysis.solutions import solution_distance
from jaxor.analysis.strategies import Strategy, Threshold, strategy, threshold_of
from jaxor.analysis.subject import Subject
from jaxor.engine.choice import NoAcceptableDraw
from jaxor.engine.status import Status
from jaxor.estimates import Quantiles, Share, quantiles
from jaxor.experiments.experiment import Experiment
from jaxor.simulation import simulate
from jaxor.store.run import Run

DEFAULT = ("below:50%", "below:25%", "below:1%", "above:50%")
COSTS = (0.0, 1 / 3, 1.0, 10.0, 100.0)
"""Of a draw, in steps. A third: a forward pass, where a step is that and a backward pass of twice the work."""

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
SHARES = (1.0, 0.7, 0.5, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001)
SAMPLES = (100, 300, 1000)
PARTS = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class InitialLaw:
    """The control's law of initial losses: quantiles, percentiles with intervals, and runs by initial accuracy."""

    losses: Quantiles | None
    percentiles: tuple[Threshold, ...]
    accuracy: tuple[tuple[float, Share], ...]


@dataclass(frozen=True)
class Study:
    """What strategies do to an experiment; see `study`.

    Attributes
    ----------
    control : Experiment
    seeds : int
        Runs of each strategy.
    law : InitialLaw
    arms, arms_without_patience : tuple of Arm
        The control first; the second are empty if the experiment has no patience.
    best_of, below : tuple of (number, Outcome)
        For several k and several shares of the law, computed from the control's runs.
    recommendations : tuple of Recommendation
    threshold_errors : tuple of ThresholdError
    by_loss : tuple of Step
        Of the control.
    exceptions : Exceptions or None
        Of the control.
    distance : float or None
        Rank correlation of initial loss and distance to the nearest solution.
    failures : Failures
        Where failed runs of the control ended.
    left_out : dict
        Names of what could not be said, with the reason.
    """

    control: Experiment
    seeds: int
    law: InitialLaw
    arms: tuple[Arm, ...]
    arms_without_patience: tuple[Arm, ...]
    best_of: tuple[tuple[int, Outcome], ...]
    below: tuple[tuple[float, Outcome], ...]
    recommendations: tuple[Recommendation, ...]
    threshold_errors: tuple[ThresholdError, ...]
    by_loss: tuple[Step, ...]
    exceptions: Exceptions | None
    distance: float | None
    failures: Failures
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return _plain(self)


def study(
    control: Experiment, names: Sequence[str] = DEFAULT, seeds: int = 10_000, *, draws: int = 100_000,
    devices: int | None = None, watch: Callable[[str], Any] | None = None,
) -> Study:  # fmt: skip
    """Measure what strategies of initialisation do.

    Source: loss-sampling results, sections 3 to 5; what it leaves open is computed too.

    Parameters
    ----------
    control : Experiment
    names : sequence of str
        Strategies, see `jaxor.analysis.strategies.strategy`.
    seeds : int
        Runs of each.
    draws : int
        From which percentiles of the initial loss are estimated.
    devices : int, optional
        Worker processes.
    watch : callable, optional
        Called with the name of what is simulated next.

    Raises
    ------
    ValueError
        Impossible strategies or numbers.
    NoAcceptableDraw
        No run of a strategy found parameters to start with.

    Examples
    --------
    >>> from jaxor import get_experiment
    >>> control = get_experiment("relu1_normal").replace(**{"stop.patience": None})
    >>> found = study(control, ["best:10"], seeds=500, draws=500)
    >>> alone, best = found.arms
    >>> best.success.share > alone.success.share, best.draws
    (True, 10.0)
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
        raise ValueError(f"a study needs at least 2 seeds, got {seeds!r}")
    strategies = [Strategy("control", control), *(strategy(name, control, draws) for name in names)]

    def simulated(one: Strategy, **changes: Any) -> Run:
        if watch:
            watch(one.name + " without patience" * bool(changes))
        run = simulate(one.experiment.replace(**changes), seeds, traces="none", devices=devices)
        if (run.status == Status.UNSTARTED).all():
            raise NoAcceptableDraw(f"the strategy {one.name}", int(run.draws.sum()), int(run.draws.max()))
        return run

    first = simulated(strategies[0])
    arms = _arms(strategies, first, simulated)
    without: tuple[Arm, ...] = ()
    if control.stop.patience is not None:
        impatient = partial(simulated, **{"stop.patience": None})
        without = _arms(strategies, impatient(strategies[0]), impatient)
    success = first.final_accuracy == 1
    ranking = Ranking.of(first.initial_loss, success, first.steps, first.epochs, float(first.draws.mean()))
    ks = [k for k in KS if k == 1 or k * LEAST <= seeds]
    shares = [share for share in SHARES if share == 1 or share * seeds >= LEAST]
    state, started = states_of(first), first.status != Status.UNSTARTED
    known = None if isinstance(state, str) else state
    distance = solution_distance(first.initial_params, first.param_names, control.to_dict())
    return Study(
        control=control,
        seeds=seeds,
        law=_law(control, draws, devices),
        arms=arms,
        arms_without_patience=without,
        best_of=tuple((k, ranking.best_of(k)) for k in ks),
        below=tuple((share, ranking.below(share)) for share in shares),
        recommendations=tuple(recommend(ranking, COSTS, ks, shares)),
        threshold_errors=tuple(threshold_error(ranking, n, part) for n in SAMPLES for part in PARTS),
        by_loss=by_loss(
            first.initial_loss[started], success[started], known, None if distance is None else distance[started]
        ),
        exceptions=None if known is None else exceptions(known, success[started]),
        distance=None if distance is None else rank_correlation(first.initial_loss, distance),
        failures=failures(Subject(first)),
        left_out={
            **({"dead points": state} if isinstance(state, str) else {}),
            **({"distances to solutions": _NO_DISTANCE} if distance is None else {}),
        },
    )


_NO_DISTANCE = "no closed form is known for this model"


def _arms(strategies: Sequence[Strategy], control: Run, simulated: Callable[[Strategy], Run]) -> tuple[Arm, ...]:
    """All strategies beside the control, the first of them."""
    base = arm_of(strategies[0], control, None)
    return (base, *(arm_of(one, simulated(one), (base, control)) for one in strategies[1:]))


def _law(control: Experiment, draws: int, devices: int | None) -> InitialLaw:
    start = simulate(control.replace(max_epochs=0), draws, traces="none", parameters="none", devices=devices)
    accuracy = start.final_accuracy[start.status != Status.UNSTARTED]
    levels, counts = np.unique(accuracy, return_counts=True)
    shares = [Share.of(int(count), len(accuracy)) for count in counts]
    return InitialLaw(
        losses=quantiles(start.initial_loss[np.isfinite(start.initial_loss)]),
        percentiles=tuple(threshold_of(start.initial_loss, percent) for percent in (1, 5, 10, 25, 50, 75)),
        accuracy=tuple(zip(levels.tolist(), shares, strict=True)) if len(levels) <= 10 else (),
    )


def _plain(value: Any) -> Any:
    """Tables, lists and numbers; what is not finite is None."""
    if isinstance(value, Experiment):
        return value.to_dict()
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
