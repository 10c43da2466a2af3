"""How good a model is on runs that it has not seen, with intervals; rows of one run are never on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.model_selection import GroupKFold, KFold

from jaxor.analysis.design import Design
from jaxor.estimates import Interval

Numbers = NDArray[np.float64]
Index = NDArray[np.intp]

RESAMPLES = 999
CHUNK = 2**16
"""Rows that are forecast at a time."""

_TOO_LARGE = 1e150
"""Forecasts beyond it are taken for none: scores are made of their squares."""


@dataclass(frozen=True)
class Candidate:
    """A model, and what it is given.

    Attributes
    ----------
    name : str
    face : {"published", "sound", "law", "causal"}
        The article's procedure, a well-posed estimator of the same family, a law, or one that sees no final parameters.
    estimator : scikit-learn regressor
    columns : tuple of str
    limit : int or None
        At most so many rows to learn from.
    """

    name: str
    face: str
    estimator: Any
    columns: tuple[str, ...]
    limit: int | None = None


class Failed(RegressorMixin, BaseEstimator):
    """Stands for a model that could not be fitted; forecasts nothing.

    Parameters
    ----------
    reason : str
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason

    def predict(self, X: ArrayLike) -> Numbers:
        """NaN for each row."""
        return np.full(len(np.asarray(X)), np.nan)


class Errors:
    """Sums over the rows of each run, from which scores of any resample of runs follow.

    Parameters
    ----------
    actual, predicted : (n,) array_like
    groups : (n,) array_like of int
        The run of each row.
    """

    def __init__(self, actual: ArrayLike, predicted: ArrayLike, groups: ArrayLike) -> None:
        actual, error = np.asarray(actual, np.float64), np.subtract(predicted, actual, dtype=np.float64)
        self.runs, owner = np.unique(groups, return_inverse=True)
        centred = actual - actual.mean()  # R2 does not change, and squares do not cancel
        self.sums = per_run(owner, np.ones_like(error), centred, centred**2, error**2, np.abs(error))

    def r2(self) -> float:
        """Coefficient of determination over all rows."""
        return float(_r2(self.sums.sum(axis=-1)))

    def mae(self) -> float:
        """Mean absolute error over all rows, in epochs."""
        return float(_mae(self.sums.sum(axis=-1)))

    def r2_interval(self, random_state: int = 0) -> Interval:
        """95 % interval, runs resampled."""
        return bootstrap(_r2, self.sums, random_state)

    def mae_interval(self, random_state: int = 0) -> Interval:
        """95 % interval, runs resampled."""
        return bootstrap(_mae, self.sums, random_state)

    def mae_difference(self, other: Errors, random_state: int = 0) -> tuple[float, Interval]:
        """By how much this error is the larger, with a 95 % interval from resampling runs for both at once."""
        both = np.vstack([self.sums[[0, 4]], other.sums[4]])

        def difference(sums: Numbers) -> Numbers:
            return (sums[1] - sums[2]) / sums[0]

        return float(difference(both.sum(axis=-1))), bootstrap(difference, both, random_state)


def per_run(owner: Index, *values: Numbers) -> Numbers:
    """Sums (k, runs) of k quantities over the rows of each run; `owner` has the number of each row's run."""
    return np.array([np.bincount(owner, value) for value in values], np.float64)


def _r2(sums: Numbers) -> Numbers:
    n, y, yy, ee, _ = sums
    spread = yy - y**2 / n
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 1 - ee / spread, np.nan)


def _mae(sums: Numbers) -> Numbers:
    return sums[4] / sums[0]


def bootstrap(statistic: Callable[[Numbers], Any], sums: Numbers, random_state: int = 0) -> Interval:
    """95 % interval of a statistic of sums over runs, runs resampled (percentiles of `RESAMPLES`).

    Parameters
    ----------
    statistic : callable
        Of the sums (k, ...) over a resample; gives numbers of shape (...).
    sums : (k, runs) array
        One column a run.
    random_state : int

    Examples
    --------
    >>> heads = np.array([[1.0] * 100, [0.0, 1.0] * 50])
    >>> low, high = bootstrap(lambda sums: sums[1] / sums[0], heads)
    >>> round(low, 1), round(high, 1)
    (0.4, 0.6)
    """
    from scipy.stats import bootstrap as resample  # takes a second to import

    runs = sums.shape[1]
    if runs < 2 or not np.isfinite(statistic(sums.sum(axis=1))):  # scipy would warn of it
        return Interval(float("nan"), float("nan"))

    def of(numbers: Any, axis: int = -1) -> Any:
        return statistic(sums[:, numbers.astype(np.intp)].sum(axis=axis))

    found = resample(
        (np.arange(runs),), of, n_resamples=RESAMPLES, batch=max(2**22 // runs, 1), vectorized=True,
        method="percentile", rng=np.random.default_rng(random_state),
    ).confidence_interval  # fmt: skip
    return Interval(float(found.low), float(found.high))


def verdict(interval: Interval) -> str:
    """Whether a difference is below 0 (yes), above (no) or may be either (undecided).

    Examples
    --------
    >>> verdict(Interval(-2.0, -1.0)), verdict(Interval(-1.0, 1.0))
    ('yes', 'undecided')
    """
    return "yes" if interval.high < 0 else "no" if interval.low > 0 else "undecided"


def whole_runs(groups: NDArray[Any], limit: int | None, random_state: int = 0) -> Index:
    """Rows of as many whole runs, drawn at random, as have together at most `limit` rows, but of two runs at least.

    Models that choose on whole runs learn from some and look at others.

    Examples
    --------
    >>> whole_runs(np.array([7, 7, 8, 8, 9, 9]), limit=5)
    array([0, 1, 4, 5])
    """
    if limit is None or len(groups) <= limit:
        return np.arange(len(groups))
    runs, owner, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(random_state).permutation(len(runs))
    fits = np.cumsum(sizes[order]) <= limit
    fits[:2] = True
    chosen = np.zeros(len(runs), bool)
    chosen[order[fits]] = True
    return np.flatnonzero(chosen[owner])


def held_out(groups: NDArray[Any], share: float, random_state: int = 0) -> NDArray[np.bool_]:
    """Mark the rows of a share of the runs, drawn at random."""
    runs, owner = np.unique(groups, return_inverse=True)
    chosen = np.zeros(len(runs), bool)
    chosen[np.random.default_rng(random_state).permutation(len(runs))[: round(share * len(runs))]] = True
    return chosen[owner]


def group_folds(groups: NDArray[Any], folds: int) -> Iterator[tuple[Index, Index]]:
    """Pairs of rows to learn from and rows to forecast, cut between runs; folds have about equally many rows."""
    return GroupKFold(folds).split(groups, groups=groups)


def row_folds(rows: int, folds: int, random_state: int = 0) -> Iterator[tuple[Index, Index]]:
    """The same, cut between rows, so that rows of one run are on both sides, as in the article."""
    return KFold(folds, shuffle=True, random_state=random_state).split(np.empty(rows))


def fitted(candidate: Candidate, design: Design, index: Index, random_state: int = 0) -> tuple[Any, Index]:
    """Fit a fresh copy to some rows, of which at most `limit` in whole runs; also which they were.

    What cannot be fitted becomes `Failed`: the other models are judged all the same.
    """
    groups = design.rows.seed[index]
    some = index[whole_runs(groups, candidate.limit, random_state)]
    X, y = design.matrix(candidate.columns, some), design.rows.remaining[some]
    with config_context(enable_metadata_routing=True):
        estimator: Any = clone(candidate.estimator)
        needs = "groups" in _requests(estimator)
        try:
            estimator.fit(X, y, **({"groups": design.rows.seed[some]} if needs else {}))
        except (ValueError, FloatingPointError, np.linalg.LinAlgError, MemoryError) as error:
            return Failed(
                str(error) or type(error).__name__
            ), some  # such as training that diverged, kernels of all rows
    return estimator, some


def _requests(estimator: Any) -> set[str]:
    """What `fit` and what it calls ask for besides X and y."""
    from sklearn.utils.metadata_routing import get_routing_for_object

    return set(get_routing_for_object(estimator).consumes("fit", ["groups"]))


def forecast(estimator: Any, candidate: Candidate, design: Design, index: Index) -> Numbers:
    """Epochs (n,) for some rows; NaN where a model gives no number whose square is finite."""
    parts = [index[start : start + CHUNK] for start in range(0, len(index), CHUNK)]
    found = [
        np.asarray(estimator.predict(design.matrix(candidate.columns, part)), np.float64).ravel() for part in parts
    ]
    epochs = np.concatenate(found) if found else np.empty(0)
    return np.where(np.abs(epochs) < _TOO_LARGE, epochs, np.nan)


def out_of_fold(
    candidate: Candidate, design: Design, index: Index, folds: Iterable[tuple[Index, Index]], random_state: int = 0
) -> Numbers:
    """Forecasts (n,) of the rows `index`, each by a model that has not seen its fold.

    Parameters
    ----------
    candidate : Candidate
    design : Design
    index : (n,) int
    folds : iterable of (train, test)
        Numbers of places in `index`.
    random_state : int
    """
    found = np.full(len(index), np.nan)
    for train, test in folds:
        estimator, _ = fitted(candidate, design, index[train], random_state)
        found[test] = forecast(estimator, candidate, design, index[test])
    return found
