"""Figures of ours, and where a document's own may lie.

A document's figures are of few runs. So ours are made by its own procedure on many samples as large as its own: their
mean says what the procedure gives, with an interval that becomes narrow with many runs, and where nearly all samples
lie is what a printed figure is held against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from jaxor.estimates import Interval

Floats = NDArray[np.float64]

NEARLY_ALL = 0.998
"""Share of samples in the range that a printed figure is held against: of 500 figures of equal laws one is outside."""

EXACT = "exact"

DRAWS = 10_000
"""Samples from which the range is estimated."""


class Figure(NamedTuple):
    """A number of ours.

    What the document's procedure gives on average, where that mean lies with a probability of 95 %, where a sample as
    large as the document's lies with one of `NEARLY_ALL`, and what all that is of: `EXACT` if chance has no part in it.
    """

    value: float
    interval: Interval
    range: Interval
    of: str


class Finding(NamedTuple):
    """Whether something holds, None if that is open, and the figures that say so."""

    holds: bool | None
    figures: str


class Missing(NamedTuple):
    """Why something cannot be measured here."""

    why: str


Measured = Figure | Finding | Missing


def of_samples(statistic: Callable[..., ArrayLike], size: int, *arrays: NDArray[Any], random_state: int = 0) -> Figure:
    """A figure of samples of so many runs.

    Parameters
    ----------
    statistic : callable
        Of arrays (samples, size), as many as given: (samples,) numbers, NaN where there is none.
    size : int
        Runs of a sample.
    *arrays : (n,) arrays
        Of our runs, many times `size`.
    random_state : int

    Returns
    -------
    Figure
        Mean and its interval of the n // size samples that have no run in common; range of `DRAWS` samples drawn with
        replacement.

    Raises
    ------
    ValueError
        Fewer than two samples.

    Examples
    --------
    >>> found = of_samples(lambda x: np.median(x, axis=1), 50, np.arange(10_000.0))
    >>> found.value, found.range.low < 5000 < found.range.high
    (5020.96, True)
    """
    count = len(arrays[0]) // size
    if count < 2:
        raise ValueError(f"{len(arrays[0])} runs are not two samples of {size}")
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(arrays[0]))[: count * size].reshape(count, size)
    apart = np.asarray(statistic(*(array[order] for array in arrays)), np.float64)
    drawn = rng.integers(len(arrays[0]), size=(DRAWS, size))
    spread = np.asarray(statistic(*(array[drawn] for array in arrays)), np.float64)
    return Figure(*mean_of(apart), _between(spread), f"{count:,} samples of {size}")


def mean_of(values: Floats) -> tuple[float, Interval]:
    """Mean of independent values and where it lies with a probability of 95 %; NaN are left out."""
    values = values[~np.isnan(values)]
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = float(stdtrit(len(values) - 1, 0.975)) * error
    return mean, Interval(mean - reach, mean + reach)


def _between(values: Floats) -> Interval:
    outside = (1 - NEARLY_ALL) / 2
    return Interval(*np.nanquantile(values, [outside, 1 - outside]).tolist())


def of_few(values: ArrayLike) -> Figure:
    """A figure of a procedure that was carried out a few times: where another would come out, were they normal.

    Examples
    --------
    >>> found = of_few([0.964, 0.966, 0.967, 0.965])
    >>> round(found.value, 4), found.range.low < 0.96 < found.range.high
    (0.9655, True)
    """
    array = np.asarray(values, np.float64)
    return Figure(*mean_of(array), _next(array), f"{len(array)} times")


def r2_of_few(values: ArrayLike) -> Figure:
    """The same of R2, the logarithm of 1 - R2 being normal, so that nothing is above 1.

    Examples
    --------
    >>> found = r2_of_few([0.964, 0.966, 0.967, 0.965])
    >>> round(found.value, 4), 0.94 < found.range.low < found.range.high < 0.98
    (0.9655, True)
    """
    array = np.asarray(values, np.float64)
    low, high = _next(np.log(np.maximum(1 - array, np.finfo(np.float32).eps)))
    return Figure(*mean_of(array), Interval(1 - float(np.exp(high)), 1 - float(np.exp(low))), f"{len(array)} times")


def above(figure: Figure, limit: float) -> bool | None:
    """Whether the mean of a figure is above a limit; None if its interval holds the limit.

    Examples
    --------
    >>> found = of_few([0.964, 0.966, 0.967, 0.965])
    >>> above(found, 0.9), above(found, 0.97), above(found, 0.966)
    (True, False, None)
    """
    low, high = figure.interval
    return None if low <= limit <= high else low > limit


def rest(figure: Figure) -> Figure:
    """What a share leaves of 1, such as the variance that a model does not explain.

    Examples
    --------
    >>> rest(Figure(0.75, Interval(0.5, 0.875), Interval(0.0, 1.0), "4 times"))
    Figure(value=0.25, interval=Interval(low=0.125, high=0.5), range=Interval(low=0.0, high=1.0), of='4 times')
    """
    inside, spread = (Interval(1 - span.high, 1 - span.low) for span in (figure.interval, figure.range))
    return Figure(1 - figure.value, inside, spread, figure.of)


def _next(values: Floats) -> Interval:
    """Where one more of some normal values lies with a probability of `NEARLY_ALL`."""
    quantile = float(stdtrit(len(values) - 1, (1 + NEARLY_ALL) / 2))
    reach = quantile * float(values.std(ddof=1) * np.sqrt(1 + 1 / len(values)))
    return Interval(float(values.mean()) - reach, float(values.mean()) + reach)


def exactly(value: float) -> Figure:
    """A figure that chance has no part in.

    Examples
    --------
    >>> exactly(12).range
    Interval(low=12, high=12)
    """
    return Figure(value, Interval(value, value), Interval(value, value), EXACT)
