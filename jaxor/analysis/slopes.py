"""Epochs for each e-fold of distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.design import Design
from jaxor.analysis.exact import exact_law
from jaxor.analysis.judge import Judge
from jaxor.analysis.laws import ShiftedLogLaw
from jaxor.analysis.paths import slope
from jaxor.estimates import Interval

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Slopes:
    """Epochs for each e-fold of distance.

    Attributes
    ----------
    log_distance, log_shifted, log_to_minimum : float or None
        Of ln(distance to the reference), ln(1 + that / shift), and ln(distance to the exact minimum).
    within_runs : float
        Of the last one where it is known, else of the second, as deviations from the means of each run. Epochs are
        whole numbers; at large learning rates, where runs take few, that bends the slope over all runs, not those
        within them.
    shift : float
    intervals : dict of str to Interval
        95 % intervals of those slopes, by resampling runs; the shift is kept.
    theory : float or None
        1 / ln(1 / (1 - 2 eta)) where the exact law holds.
    """

    log_distance: float
    log_shifted: float
    shift: float
    log_to_minimum: float | None
    within_runs: float
    theory: float | None
    intervals: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"intervals": {name: ends._asdict() for name, ends in self.intervals.items()}}


def slopes(design: Design, judge: Judge, experiment: Mapping[str, Any]) -> Slopes:
    """Laws fitted to all rows that are not held out."""
    y, state = judge.actual, judge.random_state
    distance = design.matrix(("L2",), judge.inside)
    shift = ShiftedLogLaw().fit(distance, y).shift_
    axes = {"log_distance": np.log(np.maximum(distance[:, 0], np.finfo(np.float64).tiny))}
    axes["log_shifted"] = np.log1p(distance[:, 0] / shift)
    if "L2 to the minimum" in design.columns:
        axes["log_to_minimum"] = np.log(design.matrix(("L2 to the minimum",), judge.inside)[:, 0])
    found = {name: slope(x, y, judge.groups, state) for name, x in axes.items()}
    best = [*axes.values()][-1]
    found["within_runs"] = slope(_within(best, judge.groups), _within(y, judge.groups), judge.groups, state)
    law = exact_law(experiment)
    return Slopes(
        log_distance=found["log_distance"][0], log_shifted=found["log_shifted"][0], shift=shift,
        log_to_minimum=found["log_to_minimum"][0] if "log_to_minimum" in found else None,
        within_runs=found["within_runs"][0], theory=law.slope if law else None,
        intervals={name: interval for name, (_, interval) in found.items()},
    )  # fmt: skip


def _within(values: Numbers, groups: NDArray[Any]) -> Numbers:
    """Deviations from the mean of each run."""
    _, owner = np.unique(groups, return_inverse=True)
    return values - (np.bincount(owner, values) / np.bincount(owner))[owner]
