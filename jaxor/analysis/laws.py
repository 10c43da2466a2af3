"""Laws of convergence time as estimators: a column or two in, epochs out, with no more freedom than the law has."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, RegressorMixin

from jaxor.analysis.exact import ExactLaw

Numbers = NDArray[np.float64]

_SOME = 20_000
"""Rows that a first search looks at."""


def _column(X: ArrayLike, columns: int = 1) -> Numbers:
    X = np.asarray(X, np.float64)
    if X.ndim != 2 or X.shape[1] != columns:
        raise ValueError(f"X must have {columns} column{'s' * (columns > 1)}, got shape {X.shape}")
    return X


def _line(x: Numbers, y: Numbers) -> tuple[float, float, float]:
    """Slope, intercept and sum of squared errors of the least-squares line."""
    x_mean, y_mean = x.mean(), y.mean()
    spread = float(np.square(x - x_mean).sum())
    slope = float(((x - x_mean) * (y - y_mean)).sum() / spread) if spread > 0 else 0.0
    return slope, float(y_mean - slope * x_mean), float(np.square(y - y_mean - slope * (x - x_mean)).sum())


class Line(RegressorMixin, BaseEstimator):
    """Epochs = slope * distance + intercept: what the article concludes.

    Attributes
    ----------
    slope_, intercept_ : float

    Examples
    --------
    >>> Line().fit([[1.0], [2.0]], [5.0, 7.0]).predict([[3.0]])
    array([9.])
    """

    freedom = 2
    """Numbers that are learned."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from distances (n, 1) and epochs (n,)."""
        self.slope_, self.intercept_, _ = _line(self._axis(_column(X)[:, 0]), np.asarray(y, np.float64))
        return self

    def predict(self, X: ArrayLike) -> Numbers:
        """Epochs (n,) at distances (n, 1)."""
        return self.slope_ * self._axis(_column(X)[:, 0]) + self.intercept_

    def _axis(self, distance: Numbers) -> Numbers:
        return distance


class LogLaw(Line):
    """Epochs = slope * ln(distance) + intercept: a constant relative rate, distances to the exact goal.

    A rate of contraction rho per epoch gives the slope 1 / ln(1 / rho).

    Examples
    --------
    >>> law = LogLaw().fit(np.exp([[0.0], [1.0]]), [2.0, 5.0])
    >>> round(law.slope_, 6), round(law.intercept_, 6)
    (3.0, 2.0)
    """

    def _axis(self, distance: Numbers) -> Numbers:
        return np.log(np.maximum(distance, np.finfo(np.float64).tiny))


class ShiftedLogLaw(RegressorMixin, BaseEstimator):
    """Epochs = slope * ln(1 + distance / shift) + intercept: the same law, distances to where the run stopped.

    On a straight path distances to the final state are shorter by what is left at the end, about `shift`.
    Source: reference derivation in docs/convergence.md; for |w x + b| the slope is 1 / ln(1 / (1 - 2 eta)).

    Attributes
    ----------
    slope_, intercept_, shift_ : float
    """

    freedom = 3

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from distances (n, 1) and epochs (n,); the shift by a search on a logarithmic scale."""
        distance, y = _column(X)[:, 0], np.asarray(y, np.float64)
        positive = distance[distance > 0]
        if not len(positive):
            raise ValueError("all distances are 0, so there is nothing to learn from them")
        low, high = np.log(positive.min()) - 7, np.log(positive.max()) + 2

        def error(log_shift: float, every: int = 1) -> float:
            return _line(np.log1p(distance[::every] / np.exp(log_shift)), y[::every])[2]

        # The error has its minimum in a valley of unknown place: find the best of a grid with some rows, then go down.
        grid = np.linspace(low, high, 30)
        best = int(np.argmin([error(point, every=-(-len(y) // _SOME)) for point in grid]))
        bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        found: Any = minimize_scalar(error, bounds=bounds, method="bounded", options={"xatol": 1e-4})
        self.shift_ = float(np.exp(found.x))
        self.slope_, self.intercept_, _ = _line(np.log1p(distance / self.shift_), y)
        return self

    def predict(self, X: ArrayLike) -> Numbers:
        """Epochs (n,) at distances (n, 1)."""
        return self.slope_ * np.log1p(_column(X)[:, 0] / self.shift_) + self.intercept_


class _Forecast(RegressorMixin, BaseEstimator):
    """Extrapolates the present pace; where there is none, or it is slow, says the longest time seen."""

    longest_: float

    def _capped(self, epochs: Numbers) -> Numbers:
        return np.clip(np.where(np.isfinite(epochs), epochs, self.longest_), 0, self.longest_)


class RateForecast(_Forecast):
    """Epochs until the distance is down to `goal_` if it goes on shrinking as it does in the step now taken.

    The contraction of a step is sqrt(1 - 2 eta RSI + eta^2 EB^2) exactly (see path geometry), so this is the forecast
    from RSI and EB; the goal is learned as the median that the training rows imply.

    Attributes
    ----------
    goal_, longest_ : float

    Examples
    --------
    >>> distance = 0.5 ** np.arange(5.0)
    >>> forecast = RateForecast().fit(np.column_stack([distance, np.full(5, 0.5)]), np.arange(5)[::-1])
    >>> round(forecast.goal_, 4), forecast.predict([[0.25, 0.5]]).round(6)
    (0.0625, array([2.]))
    """

    freedom = 1

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from distance and contraction (n, 2) and epochs (n,)."""
        X, y = _column(X, 2), np.asarray(y, np.float64)
        self.longest_ = float(y.max())
        pace = _pace(X[:, 1])
        known = np.isfinite(pace) & (pace > 0) & (X[:, 0] > 0)
        self.goal_ = float(np.exp(np.median(np.log(X[known, 0]) - y[known] * pace[known]))) if known.any() else 1.0
        return self

    def predict(self, X: ArrayLike) -> Numbers:
        """Epochs (n,) from distance and contraction (n, 2)."""
        X = _column(X, 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            folds = np.maximum(np.log(X[:, 0] / self.goal_), 0)
            pace = _pace(X[:, 1])
            return self._capped(np.where(pace > 0, folds / pace, np.where(folds > 0, np.inf, 0.0)))


def _pace(contraction: Numbers) -> Numbers:
    """E-folds per epoch."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(contraction)


class SlopeForecast(_Forecast):
    """Epochs until the loss is below `tolerance` if its logarithm goes on falling as in the last few steps.

    Looks at nothing but past losses, so it can be asked while a run is under way.

    Parameters
    ----------
    tolerance : float
        The loss at which runs stop.

    Examples
    --------
    >>> forecast = SlopeForecast(tolerance=1e-4).fit([[1.0, 1.0]], [9.0])
    >>> forecast.predict([[1e-2, np.log(10)], [1.0, 0.0]]).round(6)
    array([2., 9.])
    """

    freedom = 0

    def __init__(self, tolerance: float = 1e-7) -> None:
        self.tolerance = tolerance

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Keep the longest time of the training rows; nothing else is learned."""
        _column(X, 2)
        self.longest_ = float(np.max(np.asarray(y, np.float64)))
        return self

    def predict(self, X: ArrayLike) -> Numbers:
        """Epochs (n,) from the last loss and its decline per epoch (n, 2)."""
        X = _column(X, 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            folds = np.maximum(np.log(X[:, 0] / self.tolerance), 0)
            return self._capped(np.where(X[:, 1] > 0, folds / X[:, 1], np.where(folds > 0, np.inf, 0.0)))


class Exact(RegressorMixin, BaseEstimator):
    """The exact law of |w x + b|, from the distance to the nearest global minimum; learns nothing.

    Parameters
    ----------
    learning_rate, tolerance : float
        See `jaxor.analysis.exact.ExactLaw`.
    """

    freedom = 0

    def __init__(self, learning_rate: float = 0.1, tolerance: float = 1e-7) -> None:
        self.learning_rate = learning_rate
        self.tolerance = tolerance

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Check the shape."""
        self.n_features_in_ = _column(X).shape[1]
        return self

    def predict(self, X: ArrayLike) -> Numbers:
        """Epochs (n,) at distances (n, 1)."""
        return ExactLaw(self.learning_rate, self.tolerance).remaining(_column(X)[:, 0])


LAWS = {kind.__name__: kind for kind in (Line, LogLaw, ShiftedLogLaw, RateForecast, SlopeForecast, Exact)}
"""All of them by name."""
