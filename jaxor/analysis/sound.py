"""The article's families of regressors as well-posed estimators: scaled, regularised, chosen on whole runs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, PoissonRegressor, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxor.analysis.networks import Network

Numbers = NDArray[np.float64]

LANDMARKS = 200
"""Rows that stand for all in the kernel of many (Nystroem); with no more rows the kernel is exact."""

_FAR = 4.0
"""Standard deviations; what lies further out is moved there, or powers and exponentials of outliers would rule."""


class Powers(TransformerMixin, BaseEstimator):
    """Standardised columns and their powers, each on its own as in the article: no cross terms.

    Parameters
    ----------
    degree : int

    Examples
    --------
    >>> Powers(2).fit_transform([[0.0], [2.0]]).tolist()
    [[-1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, degree: int = 1) -> None:
        self.degree = degree

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn means and standard deviations of (n, F) columns."""
        self.scaler_ = StandardScaler().fit(X)
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X: ArrayLike) -> Numbers:
        """Columns (n, F * degree)."""
        scaled = np.clip(self.scaler_.transform(np.asarray(X, np.float64)), -_FAR, _FAR)
        return np.hstack([scaled**power for power in range(1, self.degree + 1)])


class Landmarks(TransformerMixin, BaseEstimator):
    """Features whose inner products are a Gaussian kernel, exactly up to `LANDMARKS` rows, else by Nystroem's method.

    Parameters
    ----------
    gamma : float
        Of the kernel exp(-gamma distance^2).
    random_state : int
        Of the rows that stand for all.
    """

    def __init__(self, gamma: float = 0.03, random_state: int = 0) -> None:
        self.gamma = gamma
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Choose landmarks among rows (n, F)."""
        number = min(LANDMARKS, len(np.asarray(X)))
        self.kernel_ = Nystroem(gamma=self.gamma, n_components=number, random_state=self.random_state).fit(X)
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X: ArrayLike) -> Numbers:
        """Features (n, landmarks)."""
        return self.kernel_.transform(X)


class LogLinear(RegressorMixin, BaseEstimator):
    """Least squares for ln(epochs + 1), brought back by Duan's smearing (1983, J. Amer. Statist. Assoc. 78, 605-610).

    Forecasts stay within the range of the training targets.

    Attributes
    ----------
    coef_, intercept_ : as of `LinearRegression`
    smear_ : float
        Mean of exp(residual).

    Examples
    --------
    >>> model = LogLinear().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 7.0])
    >>> model.predict([[1.0]]).round(6), round(model.smear_, 6)
    (array([3.]), 1.0)
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from columns (n, F) and epochs (n,)."""
        X, target = np.asarray(X, np.float64), np.log1p(np.asarray(y, np.float64))
        line = LinearRegression().fit(X, target)
        self.coef_, self.intercept_ = line.coef_, float(line.intercept_)
        self.range_ = float(target.min()), float(target.max())
        self.smear_ = float(np.exp(target - self._log(X)).mean())
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: ArrayLike) -> Numbers:
        """Epochs (n,)."""
        return np.exp(self._log(np.asarray(X, np.float64))) * self.smear_ - 1

    def _log(self, X: Numbers) -> Numbers:
        return np.clip(X @ self.coef_ + self.intercept_, *self.range_)


class WholeRuns(GroupKFold):
    """Folds cut between runs, fewer if there are fewer runs."""

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds of some rows."""
        return min(self.n_splits, len(np.unique(groups)))

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        """Pairs of rows to learn from and rows to judge by."""
        return GroupKFold(self.get_n_splits(groups=groups)).split(X, y, groups)


def sound(random_state: int = 0) -> dict[str, Any]:
    """All of them, unfitted, by name; `fit` takes `groups`, the seed of each row, where a choice is made on whole runs.

    Parameters
    ----------
    random_state : int
    """
    with config_context(enable_metadata_routing=True):  # `groups` find their way to who asked for them
        return {
            "linear": make_pipeline(StandardScaler(), LinearRegression()),
            "poly_2": make_pipeline(Powers(2), StandardScaler(), _ridge()),
            "poly_3": make_pipeline(Powers(3), StandardScaler(), _ridge()),
            "log_linear": make_pipeline(Powers(), LogLinear()),
            "exponential": make_pipeline(
                Powers(), PoissonRegressor(alpha=1e-4, solver="newton-cholesky", max_iter=100)
            ),
            "kernel_rbf": _kernel(random_state),
            "kernel_linear": make_pipeline(Powers(), _ridge()),
            "nn_2layer": _network((32, 16), random_state),
            "nn_3layer": _network((64, 32, 16), random_state),
            "random_forest": RandomForestRegressor(
                100, min_samples_leaf=5, max_features=1 / 3, random_state=random_state, n_jobs=1
            ),
            "gradient_boosting": GradientBoostingRegressor(subsample=0.5, random_state=random_state),
            "hist_boosting": hist_boosting(200, random_state),
        }


def hist_boosting(trees: int, random_state: int) -> BaseEstimator:
    """Boosted trees on binned columns, all of them: to stop early, scikit-learn would set rows aside, not runs."""
    stop: Any = False  # its stubs know of "auto" only
    return HistGradientBoostingRegressor(max_iter=trees, early_stopping=stop, random_state=random_state)


def _grid(estimator: Any, grid: dict[str, Any]) -> GridSearchCV:
    """Choose by three folds of whole runs, or two if there are only two."""
    return GridSearchCV(estimator, grid, cv=WholeRuns(3), scoring="neg_mean_squared_error")


def _ridge() -> GridSearchCV:
    return _grid(Ridge(), {"alpha": np.logspace(-6, 3, 10)})


def _kernel(random_state: int) -> GridSearchCV:
    """Kernel ridge: exact up to `LANDMARKS` rows, beyond by Nystroem's approximation."""
    steps = make_pipeline(Powers(), Landmarks(random_state=random_state), Ridge())
    return _grid(steps, {"landmarks__gamma": [0.003, 0.03, 0.3], "ridge__alpha": [1e-6, 1e-4, 1e-2]})


def _network(hidden: tuple[int, ...], random_state: int) -> TransformedTargetRegressor:
    """Scaled in and out; stops when whole runs that it does not learn from get no better."""
    net = Network(hidden, learning_rate=1e-2, steps=3000, patience=100, validation=0.15, random_state=random_state)
    pipeline = Pipeline([("powers", Powers()), ("network", net)])
    return TransformedTargetRegressor(pipeline, transformer=StandardScaler())
