"""How far the loss falls in so many steps: L(0) - L(T) of many seeds, beside what a theorem promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.statements import Bound
from jaxor.engine.status import Status
from jaxor.estimates import Interval, Share
from jaxor.experiments.experiment import Experiment
from jaxor.simulation import simulate

Watch = Callable[[str], Any] | None
"""Told what is being simulated."""


@dataclass(frozen=True, eq=False)
class Descents:
    """Falls of the loss from before the first step to after step T.

    Attributes
    ----------
    experiment : Experiment
    values : (n,) float64
        By seed; NaN of runs that diverged.
    bound : Bound or None
        What a theorem says of them.
    """

    experiment: Experiment
    values: NDArray[np.float64]
    bound: Bound | None = None

    @property
    def steps(self) -> int:
        """T."""
        return self.experiment.max_epochs * self.experiment.steps_per_epoch

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(self.values.mean())

    @property
    def sd(self) -> float:
        """Standard deviation over seeds; NaN of a single one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else math.nan

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of the mean over all seeds there could be, by Student's t; NaN of a single one."""
        from scipy.stats import t  # takes a second to import

        half = float(t.ppf(0.975, len(self.values) - 1)) * self.sd / math.sqrt(len(self.values))
        return Interval(self.mean - half, self.mean + half)

    @property
    def kept(self) -> Share | None:
        """How many seeds fell at least as far as the bound says; None without one."""
        if self.bound is None or self.bound.bound is None:
            return None
        return Share.of(int(np.sum(self.values >= self.bound.bound)), len(self.values))

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        table: dict[str, Any] = {
            "experiment": self.experiment.to_dict(),
            "steps": self.steps,
            "values": [value if math.isfinite(value) else None for value in self.values.tolist()],
        }
        for name, value in (
            ("mean", self.mean),
            ("sd", self.sd),
            ("low", self.interval.low),
            ("high", self.interval.high),
        ):
            table[name] = value if math.isfinite(value) else None
        return table | {"bound": None if self.bound is None else bound_table(self.bound)}


def bound_table(bound: Bound) -> Mapping[str, Any]:
    """A theorem's answer for JSON."""
    table = {name: getattr(bound, name) for name in bound.__dataclass_fields__}
    return table | {
        "premises": dict(bound.premises), "provenance": dict(bound.provenance), "holds": bound.holds,
        "vacuous": bound.vacuous,
    }  # fmt: skip


def descents(experiment: Experiment, seeds: int, bound: Bound | None = None, *, x64: bool = False) -> Descents:
    """Train seeds 0 to n - 1 up to the epoch cap.

    Raises
    ------
    ValueError
        No seeds.

    Examples
    --------
    >>> from jaxor.experiments.catalog import get_experiment
    >>> found = descents(get_experiment("abs1_convergence").replace(max_epochs=10), 100)
    >>> found.steps, len(found.values), bool(found.mean > 0)
    (10, 100, True)
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    run = simulate(experiment, seeds, traces="none", parameters="none", x64=x64)
    fallen = np.asarray(run.initial_loss, np.float64) - run.final_loss
    return Descents(experiment, np.where(run.status == Status.DIVERGED, np.nan, fallen), bound)
