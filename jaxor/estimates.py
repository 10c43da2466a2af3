"""Estimates from samples and from counts: shares with intervals, quantiles, moments. Knows nothing of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """Confidence interval."""

    low: float
    high: float


def wilson(count: float, total: float, confidence: float = 0.95) -> Interval:
    """Score interval of a probability (Wilson 1927, J. Amer. Statist. Assoc. 22, 209-212).

    Parameters
    ----------
    count, total : float
        Successes among independent trials; of weighted trials the effective numbers. No trials: every probability is
        possible.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        Impossible numbers.

    Examples
    --------
    >>> low, high = wilson(29, 50)
    >>> round(low, 4), round(high, 4)
    (0.4423, 0.7062)
    >>> wilson(0, 50).low, wilson(50, 50).high
    (0.0, 1.0)
    """
    _check_trials(count, total, confidence)
    if total == 0:
        return Interval(0.0, 1.0)
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), count / total
    centre = share + z**2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    scale = 1 + z**2 / total
    # Two ends are exact where rounding would miss them.
    return Interval(0.0 if count == 0 else (centre - half) / scale, 1.0 if count == total else (centre + half) / scale)


def confidence_sequence(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Interval of a probability that stays valid however often, and whenever, one looks.

    With the stated confidence the intervals after 1, 2, 3, ... trials all hold the probability, so trials may go on
    until the interval is as narrow as one wants; Wilson's would then miss too often. It is Robbins' beta-binomial
    mixture, all p with ``B(a + s, b + n - s) / (B(a, b) p^s (1 - p)^(n - s)) < 1 / alpha``, here with a = b = 1/2
    (Robbins 1970, Ann. Math. Statist. 41, 1397-1409; Lai 1976, Ann. Statist. 4, 265-280; Howard, Ramdas, McAuliffe and
    Sekhon 2021, Ann. Statist. 49, 1055-1080).

    Parameters
    ----------
    count, total : int
        Successes among the first `total` of independent trials.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        Impossible numbers.

    Examples
    --------
    >>> low, high = confidence_sequence(29, 50)
    >>> round(low, 4), round(high, 4)
    (0.3559, 0.7833)
    """
    _check_trials(count, total, confidence)
    if total == 0:
        return Interval(0.0, 1.0)
    failures = total - count
    limit = _log_beta(count + 0.5, failures + 0.5) - _log_beta(0.5, 0.5) + math.log(1 - confidence)

    def outside(p: float) -> bool:
        return (count * math.log(p) if count else 0.0) + (failures * math.log1p(-p) if failures else 0.0) <= limit

    share = count / total
    low = _boundary(outside, 0.0, share) if count else 0.0
    high = _boundary(outside, 1.0, share) if failures else 1.0
    return Interval(low, high)


def _boundary(outside: Callable[[float], bool], far: float, near: float) -> float:
    """The last number outside on the way from `far`, which is, to `near`, which is not; by bisection."""
    while (middle := (far + near) / 2) not in (far, near):
        far, near = (middle, near) if outside(middle) else (far, middle)
    return far


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _check_trials(count: float, total: float, confidence: float) -> None:
    if not 0 <= count <= total:
        raise ValueError(f"count must be between 0 and total, got {count} of {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")


@dataclass(frozen=True)
class Share:
    """How many of all, with Wilson's 95 % interval; `share` is None if there are none at all."""

    count: int
    share: float | None
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int) -> Share:
        """Share of `count` in `total`."""
        return cls(count, count / total if total else None, *wilson(count, total))


class Quantiles(NamedTuple):
    """Extremes, quartiles and mean of a sample."""

    min: float
    q25: float
    q50: float
    q75: float
    max: float
    mean: float


def quantiles(values: ArrayLike) -> Quantiles | None:
    """Extremes, quartiles (linear between neighbours) and mean, in float64.

    Parameters
    ----------
    values : (n,) array_like
        Finite.

    Returns
    -------
    Quantiles or None
        None if there are no values.

    Examples
    --------
    >>> quantiles([4, 1, 2, 3])
    Quantiles(min=1.0, q25=1.75, q50=2.5, q75=3.25, max=4.0, mean=2.5)
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return None
    with np.errstate(over="ignore"):
        mean = array.mean()
    if np.isinf(mean):  # the sum is too large for a float64, the mean is not
        mean = (array / array.size).sum()
    low, q25, q50, q75, high = np.quantile(array, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return Quantiles(low, q25, q50, q75, high, float(mean))


@dataclass(frozen=True, eq=False)
class Distribution:
    """A sample as distinct values with how often each occurs; every figure is exact until it is rounded at the end.

    Attributes
    ----------
    values : (n,) int or float
        Finite, ascending.
    counts : (n,) int64
        At least 1 each.

    Examples
    --------
    >>> dice = Distribution(np.array([1, 2, 6]), np.array([2, 1, 1]))
    >>> dice.size, dice.mean, dice.quantile(0.5), dice.variance
    (4, 2.5, 1.5, 5.666666666666667)
    """

    values: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, sample: ArrayLike) -> Distribution:
        """That of a sample (m,); values that are not finite are left out.

        Examples
        --------
        >>> Distribution.of([3.0, 1.0, np.nan, 3.0])
        Distribution(values=array([1., 3.]), counts=array([1, 2]))
        """
        array = np.asarray(sample)
        return cls(*np.unique(array[np.isfinite(array)], return_counts=True))

    @cached_property
    def size(self) -> int:
        """How many values there are, equal ones included."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> float:
        """Quantile, linear between neighbours as NumPy's default.

        Raises
        ------
        ValueError
            `q` is not between 0 and 1, or there are no values.
        """
        if not 0 <= q <= 1 or not self.size:
            raise ValueError(f"a quantile needs at least one value and q between 0 and 1, got {self.size} and {q}")
        place = Fraction(q) * (self.size - 1)
        below = math.floor(place)
        low, high = (Fraction(self._at(min(rank, self.size - 1))) for rank in (below, below + 1))
        return float(low + (place - below) * (high - low))

    @cached_property
    def mean(self) -> float:
        """Arithmetic mean; NaN of no values."""
        return float(self._moments[0]) if self.size else math.nan

    @cached_property
    def variance(self) -> float:
        """Unbiased variance; NaN of fewer than two values."""
        mean, square = self._moments
        return float((square - mean**2) * self.size / (self.size - 1)) if self.size > 1 else math.nan

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN of fewer than two values."""
        return math.sqrt(self.variance / self.size) if self.size > 1 else math.nan

    @cached_property
    def quantiles(self) -> Quantiles | None:
        """Extremes, quartiles and mean; None of no values."""
        if not self.size:
            return None
        low, q25, q50, q75, high = (self.quantile(k / 4) for k in range(5))
        return Quantiles(low, q25, q50, q75, high, self.mean)

    def _at(self, rank: int) -> int | float:
        """The value of that rank, from 0."""
        return self.values[np.searchsorted(self._ends, rank, side="right")].item()

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.counts)

    @cached_property
    def _moments(self) -> tuple[Fraction, Fraction]:
        """Means of the values and of their squares."""
        pairs = [(Fraction(v), c) for v, c in zip(self.values.tolist(), self.counts.tolist(), strict=True)]
        size = max(self.size, 1)
        return sum((v * c for v, c in pairs), Fraction()) / size, sum((v * v * c for v, c in pairs), Fraction()) / size
