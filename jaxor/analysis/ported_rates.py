"""P8: learning rates read off the paths of some runs, and used on others.

The locally optimal rate of a step is known once its path has ended. "No Wrong Turns" reads it off runs and finds that
it resembles schedules in use (abstract). Whether such a schedule is any good on a fresh run was a reviewer's question.
It is tried here; that it is, is our extension and not the paper's claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.geometry import local_rate, pooled
from jaxor.analysis.over_seeds import figure, finite, median
from jaxor.analysis.path_claims import UNREAD, Thresholds, Verdict
from jaxor.engine.geometry import Geometry
from jaxor.engine.status import Status
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError
from jaxor.store.run import Run

PARTS = 20
"""A schedule is a broken line through the rates of so many equal parts of the steps."""

WARM_UP = 0.05
"""Part of the steps in which the rate of the usual schedule rises from 0, before it falls as a cosine."""

_UNEQUAL = "a schedule is read off runs with equally many steps; leave out their stop rules"

Train = Callable[[Experiment, range], Run]
"""Runs of some seeds of an experiment."""


@dataclass(frozen=True, eq=False)
class PortedRates:
    """What became of runs by schedule.

    Attributes
    ----------
    factors : (PARTS + 1,) float
        Of the schedule read off, in units of the constant rate, at equally spaced steps.
    losses : mapping of str to (n,) float
        Final losses over the whole task of the same fresh seeds: ``constant``, ``warm-up and cosine``, ``read off``;
        infinite of runs that diverged.
    verdict : Verdict
    """

    factors: NDArray[np.float64]
    losses: Mapping[str, NDArray[np.float64]]
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        medians = {name: finite(float(np.median(losses))) for name, losses in self.losses.items()}
        return {"factors": self.factors.tolist(), "median_final_loss": medians}


def rate_factors(geometry: Geometry, rate: float) -> NDArray[np.float64]:
    """Locally optimal rates along paths, in units of a rate, as a schedule.

    In each of `PARTS` parts of the steps: mean RSI over mean squared EB of all steps and seeds (T4 of the theory in its
    form for many batches; a mean of ratios would be another thing), not below 0. Steps at the reference itself have
    none, and a part of such steps is passed over.

    Parameters
    ----------
    geometry : Geometry
        Of runs with equally many steps.
    rate : float

    Raises
    ------
    ValueError
        The runs are not equally long, or none of them moves.

    Examples
    --------
    >>> from jaxor.analysis.measure import measure_run
    >>> from jaxor.simulation import simulate
    >>> from jaxor.experiments.catalog import get_experiment
    >>> bowl = get_experiment("abs1_convergence").replace(stop={}, max_epochs=30)
    >>> measured = measure_run(simulate(bowl, seeds=4), reference="exact")
    >>> rate_factors(measured, rate=0.1)[:3].round(3)  # half of the curvature's inverse, 1/2, is best
    array([5., 5., 5.])
    """
    if np.ptp(geometry.steps) or not geometry.steps.all():
        raise ValueError(_UNEQUAL)
    along = [geometry.padded(name) for name in ("dot", "distance2", "gradient2")]
    parts = zip(*(np.array_split(values, min(PARTS, values.shape[1]), axis=1) for values in along), strict=True)
    best = np.array([local_rate(*pooled(*part, axis=None)) for part in parts])
    known = np.isfinite(best)
    if not known.any():
        raise ValueError("no rate can be read off runs that stand still")
    centres = (np.arange(len(best)) + 0.5) / len(best)
    return np.interp(np.linspace(0, 1, PARTS + 1), centres[known], np.maximum(best[known], 0) / rate)


def check_ported(experiment: Experiment) -> None:
    """Refuse an experiment whose runs no schedule can be read off, before any is trained.

    Raises
    ------
    ExperimentError
        Not plain SGD at a constant rate, or stop rules, with which runs are not equally long.
    """
    optimizer = experiment.to_dict()["optimizer"]
    if optimizer.get("name") != "sgd" or optimizer["schedule"] != {"name": "constant"}:
        raise ExperimentError(f"rates are read off plain SGD at a constant rate, got {optimizer.get('name')}")
    if experiment.stop.loss is not None or experiment.stop.patience is not None:
        raise ExperimentError(_UNEQUAL)


def ported_rates(experiment: Experiment, geometry: Geometry, train: Train, thresholds: Thresholds) -> PortedRates:
    """Train fresh seeds with rates read off other runs, with constant ones, and with warm-up and cosine.

    All take equally many steps; the highest rate of the cosine is the constant one.

    Parameters
    ----------
    experiment : Experiment
        With plain SGD at a constant rate and no stop rules.
    geometry : Geometry
        Along runs of seeds 0, 1, ...; as many seeds after the last of them are the fresh ones.
    train : callable
    thresholds : Thresholds

    Raises
    ------
    ExperimentError
        Another optimizer, or stop rules.
    ValueError
        Runs that are not equally long all the same, since some diverged.
    """
    check_ported(experiment)
    steps, first = int(geometry.steps.max()), int(geometry.seeds.max()) + 1
    factors = rate_factors(geometry, experiment.to_dict()["optimizer"]["learning_rate"])
    schedules = {
        "constant": {"name": "constant"},
        "warm-up and cosine": {"name": "cosine", "steps": steps, "warmup": max(int(WARM_UP * steps), 1)},
        "read off": {"name": "piecewise", "steps": steps, "factors": factors.tolist()},
    }
    losses = {}
    for name, schedule in schedules.items():
        made = experiment.replace(
            name=f"{experiment.name}.{name.replace(' ', '_')}", **{"optimizer.schedule": schedule}
        )
        losses[name] = _final_losses(train(made, range(first, first + len(geometry))))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {name: losses["read off"] / losses[name] for name in ("constant", "warm-up and cosine")}
    return PortedRates(factors, losses, _verdict(ratios, thresholds))


def _final_losses(run: Run) -> NDArray[np.float64]:
    return np.where(run.status == Status.DIVERGED, np.inf, np.asarray(run.final_loss, np.float64))


def _verdict(ratios: Mapping[str, NDArray[np.float64]], thresholds: Thresholds) -> Verdict:
    return Verdict(
        "P8", "locally optimal rates read off some runs train others to a lower loss than usual schedules",
        f"rates are read off the runs themselves [ABS, REV]; that fresh runs profit is not claimed; {UNREAD}",
        tuple(
            figure(f"final loss / that of {name}", median, ratio, thresholds.ported, "<", {})
            for name, ratio in ratios.items()
        ),
        thresholds.seeds,
        "",
    )  # fmt: skip
