"""The eleven regressors of the article on convergence time, by its own procedure and with all its choices.

Nothing is scaled, ridge and kernel width are not chosen by data held out, and the linear models are not least squares
but 1,000 steps of Adam from random parameters. They stand here to be compared with.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lu_factor, lu_solve
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import gen_batches

from jaxor.analysis.networks import Network, new_features, training_rows

CHUNK = 1000  # rows predicted at once


class Claim(NamedTuple):
    """R2 on the very rows of the fit: as the article prints it, lowest and highest of five runs of its code."""

    printed: float
    low: float
    high: float


article_r2 = {
    "linear": Claim(0.9666, 0.9640, 0.9670),
    "poly_2": Claim(0.9466, 0.9504, 0.9752),
    "poly_3": Claim(0.9237, 0.8112, 0.9786),
    "log_linear": Claim(0.9200, 0.8780, 0.9206),
    "exponential": Claim(0.8832, 0.8539, 0.8854),
    "kernel_rbf": Claim(0.9992, 0.9990, 0.9990),
    "kernel_linear": Claim(-105.6795, -1012.40, -1012.40),
    "nn_2layer": Claim(0.9794, 0.9731, 0.9770),
    "nn_3layer": Claim(0.9986, 0.9796, 0.9987),
    "random_forest": Claim(1.0, 1.0, 1.0),
    "gradient_boosting": Claim(1.0, 1.0, 1.0),
}
"""Claims of the article by name of the model; the linear kernel's is the rounding of an ill-conditioned system."""


def published(random_state: int = 0) -> dict[str, Any]:
    """All eleven, unfitted, in the article's order.

    Parameters
    ----------
    random_state : int
        Of the first parameters of everything that is trained. Forest and boosting keep the article's 42.

    Returns
    -------
    dict of str to estimator

    Examples
    --------
    >>> list(published())[-2:]
    ['random_forest', 'gradient_boosting']
    """

    def linear() -> Network:
        return Network((), 0.01, weight_decay=1e-4, steps=1000, random_state=random_state)

    def network(*hidden: int, steps: int) -> Network:
        return Network(hidden, 0.001, steps=steps, patience=50, random_state=random_state)

    return {
        "linear": linear(),
        "poly_2": _of_powers(linear(), 2),
        "poly_3": _of_powers(linear(), 3),
        "log_linear": _of_log_target(linear(), 1.0),
        "exponential": _of_log_target(linear(), 1e-8),
        "kernel_rbf": SinglePrecisionKernelRidge("rbf"),
        "kernel_linear": SinglePrecisionKernelRidge("linear"),
        "nn_2layer": network(32, 16, steps=500),
        "nn_3layer": network(64, 32, 16, steps=1000),
        # In parallel the trees would be summed in any order.
        "random_forest": RandomForestRegressor(n_estimators=100, random_state=42, n_jobs=1),
        "gradient_boosting": GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=42),
    }


def _of_powers(model: Network, degree: int) -> Pipeline:
    """On X, X^2, ... element by element, without products of features."""
    return make_pipeline(FunctionTransformer(_powers, kw_args={"degree": degree}), model)


def _powers(X: ArrayLike, degree: int) -> NDArray[np.float32]:
    features = np.asarray(X, np.float32)
    return np.hstack([features**power for power in range(1, degree + 1)])


def _of_log_target(model: Network, shift: float) -> TransformedTargetRegressor:
    """On log(y + shift), predictions taken back by exp."""
    shifted = {"shift": shift}
    logarithm = FunctionTransformer(_log, _exp, kw_args=shifted, inv_kw_args=shifted, check_inverse=False)
    return TransformedTargetRegressor(model, transformer=logarithm, check_inverse=False)


def _log(y: NDArray[Any], shift: float) -> NDArray[Any]:
    return np.log(y + shift)


def _exp(prediction: NDArray[Any], shift: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # what is too large is infinite, and judged as no number
        return np.exp(prediction, dtype=np.float64) - shift


class SinglePrecisionKernelRidge(RegressorMixin, BaseEstimator):
    """Kernel ridge regression without intercept, its system solved by LU in float32.

    Memory goes with the square of the rows: a fit holds up to three float32 matrices of n x n.

    Parameters
    ----------
    kernel : {"rbf", "linear"}
        exp(-gamma d^2) with gamma = 1 / (2 m^2), m the median of the distances d between rows that differ; or x.x'.
    ridge : float
        Added to the diagonal.

    Attributes
    ----------
    rows_ : ndarray, shape (n, F)
        Features of the fit, float32.
    dual_coef_ : ndarray, shape (n,)
        Weights of the rows, float32.
    gamma_ : float
        Of the RBF kernel only.

    Examples
    --------
    >>> X = np.linspace(0, 3, 20)[:, None]
    >>> model = SinglePrecisionKernelRidge().fit(X, np.sin(X[:, 0]))
    >>> model.predict([[1.0], [2.0]]).round(2)
    array([0.84, 0.91], dtype=float32)
    """

    def __init__(self, kernel: Literal["rbf", "linear"] = "rbf", ridge: float = 1e-4) -> None:
        self.kernel = kernel
        self.ridge = ridge

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Solve for the weights of the rows.

        Raises
        ------
        ValueError
            Another kernel; an RBF kernel of rows that are all equal.
        """
        self.rows_, targets, _ = training_rows(self, X, y)
        if self.kernel == "rbf":
            self.gamma_ = _gamma(self.rows_)
        elif self.kernel != "linear":
            raise ValueError(f"kernel must be 'rbf' or 'linear', got {self.kernel!r}")
        system = self._similarity(self.rows_)
        system.flat[:: len(system) + 1] += np.float32(self.ridge)
        # numpy.linalg.solve would solve in float64.
        self.dual_coef_ = lu_solve(lu_factor(system, overwrite_a=True), targets)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float32]:
        """Predictions (n,) in float32."""
        features = new_features(self, X)
        parts = gen_batches(len(features), CHUNK)
        return np.concatenate([self._similarity(features[part]) @ self.dual_coef_ for part in parts])

    def _similarity(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.kernel == "linear":
            return features @ self.rows_.T
        exponent = _squared_distances(features, self.rows_)
        exponent *= np.float32(-self.gamma_)
        return np.exp(exponent, out=exponent)


def _squared_distances(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """|x|^2 + |z|^2 - 2 x.z in float32, as torch.cdist takes them; between close rows rounding is what is left."""
    squares = some @ others.T
    squares *= -2
    squares += np.sum(some**2, axis=1)[:, None]
    squares += np.sum(others**2, axis=1)
    return np.maximum(squares, 0, out=squares)


def _gamma(rows: NDArray[np.float32]) -> float:
    squares = _squared_distances(rows, rows)
    np.fill_diagonal(squares, 0)  # rounding would count some rows as other than themselves
    squares = squares[squares > 0]
    if not squares.size:
        raise ValueError(f"an RBF kernel as wide as rows are apart needs rows that differ; all {len(rows)} are equal")
    # torch takes the lower of two medians.
    return 0.5 / float(np.quantile(squares, 0.5, method="lower", overwrite_input=True))
