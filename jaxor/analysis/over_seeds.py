"""A number over seeds beside a threshold: its interval, and whether that is enough to decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.geometry import Floats
from jaxor.estimates import Interval, wilson

RESAMPLES = 999
CHUNK = 2**22
"""Numbers that are resampled at a time."""

Over = Callable[[Floats], NDArray[Any]]
"""A statistic over seeds: of numbers (..., n, k) the statistic (...)."""


@dataclass(frozen=True)
class Figure:
    """A number that a claim is about.

    Attributes
    ----------
    name : str
    value : float
        NaN if there is none.
    interval : Interval
        95 %.
    spread : Interval or None
        5 and 95 % of the seeds.
    threshold : float
    relation : {">=", "<=", ">", "<"}
        How the value has to stand to the threshold.
    seeds : int
        That have a number.
    beside : dict of str to float
        The same number over all steps, of the null and of the controls.
    """

    name: str
    value: float
    interval: Interval
    spread: Interval | None
    threshold: float
    relation: str
    seeds: int
    beside: dict[str, float]

    @property
    def answer(self) -> str:
        """Supported or not if the whole interval says so; else undecided."""
        if np.isnan(self.interval).any():
            return "undecided"
        ends = [_RELATIONS[self.relation](end, self.threshold) for end in self.interval]
        return "supported" if all(ends) else "undecided" if any(ends) else "not"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; numbers that are not finite as None."""
        return {
            "name": self.name, "value": finite(self.value), "interval": [finite(end) for end in self.interval],
            "spread": self.spread and [finite(end) for end in self.spread], "threshold": self.threshold,
            "relation": self.relation, "seeds": self.seeds, "answer": self.answer,
            "beside": {name: finite(value) for name, value in self.beside.items()},
        }  # fmt: skip


_RELATIONS: dict[str, Callable[[float, float], Any]] = {
    ">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less,
}  # fmt: skip


def finite(value: float) -> float | None:
    """A number for JSON, which has neither NaN nor infinities."""
    return float(value) if np.isfinite(value) else None


def median(values: Floats) -> NDArray[Any]:
    """Over seeds."""
    return np.median(values[..., 0], axis=-1)


def mean(values: Floats) -> NDArray[Any]:
    """Over seeds."""
    return values[..., 0].mean(axis=-1)


def number(over: Over, values: Floats) -> float:
    """A statistic over the seeds of (n,) or (n, k) that have all their numbers; NaN of none.

    Examples
    --------
    >>> number(median, np.array([1.0, np.nan, 4.0, 3.0]))
    3.0
    """
    kept = _kept(values)
    return float(over(kept)) if len(kept) else float("nan")


def figure(name: str, over: Over, values: Floats, threshold: float, relation: str, beside: dict[str, Floats]) -> Figure:
    """Hold a statistic over seeds against a threshold; seeds are resampled for its interval (percentiles).

    Parameters
    ----------
    name : str
    over : callable
    values : (n,) or (n, k) float
        By seed; seeds without a number are left out.
    threshold : float
    relation : {">=", "<=", ">", "<"}
    beside : dict of str to float arrays
        Of which the same statistic is taken.

    Examples
    --------
    >>> found = figure("epochs", median, np.arange(64.0), 20.0, ">", {})
    >>> found.value, found.spread, found.answer
    (31.5, Interval(low=3.0, high=60.0), 'supported')
    """
    kept = _kept(values)
    spread = _between(kept[:, 0], 0.05, 0.95) if kept.size and kept.shape[1] == 1 else None
    others = {label: number(over, array) for label, array in beside.items()}
    value = number(over, values)
    return Figure(name, value, _resampled(over, kept), spread, threshold, relation, len(kept), others)


def share_figure(name: str, holds: Floats, threshold: float, beside: dict[str, Floats]) -> Figure:
    """The same for a share of the seeds, which has to be at least the threshold; its interval is Wilson's.

    A resample of seeds that all agree agrees, too, so that resampling would take any number of them for certainty.

    Examples
    --------
    >>> [share_figure("grows", np.ones(n), 0.95, {}).answer for n in (64, 80)]
    ['undecided', 'supported']
    """
    kept = _kept(holds)[:, 0]
    interval = wilson(int(kept.sum()), len(kept)) if len(kept) else Interval(float("nan"), float("nan"))
    others = {label: number(mean, array) for label, array in beside.items()}
    return Figure(name, number(mean, holds), interval, None, threshold, ">=", len(kept), others)


def _kept(values: Floats) -> Floats:
    """(n, k) without the seeds that lack a number."""
    values = np.asarray(values, np.float64)
    values = values.reshape(len(values), math.prod(values.shape[1:]))
    return values[~np.isnan(values).any(axis=1)]


def _resampled(over: Over, kept: Floats) -> Interval:
    seeds = len(kept)
    if seeds < 2:
        return Interval(float("nan"), float("nan"))
    rng, rows = np.random.default_rng(0), max(CHUNK // kept.size, 1)
    chunks = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    found = np.concatenate([over(kept[rng.integers(seeds, size=(chunk, seeds))]) for chunk in chunks])
    return _between(found, 0.025, 0.975)


def _between(values: Floats, low: float, high: float) -> Interval:
    """Quantiles that occur: between infinities there is nothing."""
    return Interval(*np.quantile(values, (low, high), method="inverted_cdf").tolist())
