"""The article's regressors on the article's rows, against five runs of the original code."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import get_lapack_funcs
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ks_2samp
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.utils.estimator_checks import check_estimator

from jaxor.analysis.networks import Network
from jaxor.analysis.published import CHUNK, SinglePrecisionKernelRidge, article_r2, published

DATA = Path(__file__).parents[1] / "data" / "regression"
ORIGINAL = json.loads((DATA / "abs1_regression_dataset_r2.json").read_text())
TABLE = "In-sample R2 on the article's rows"
TRAINED = ["linear", "poly_2", "poly_3", "log_linear", "exponential", "nn_2layer", "nn_3layer"]
INITIALIZATIONS = 12  # with fewer than 9 no scores, however far off, could fail at the level below

RANDOM = np.random.default_rng(8)
X = RANDOM.normal(size=(40, 6)).astype(np.float32)
Y = np.exp(X[:, 0] + 2).astype(np.float32)


@cache
def article_rows() -> tuple[Any, Any]:
    with np.load(DATA / "abs1_regression_dataset.npz") as file:
        return file["X"], file["y"]


def in_sample(name: str, random_state: int = 0) -> float:
    features, epochs = article_rows()
    return r2_score(epochs, published(random_state)[name].fit(features, epochs).predict(features))


def test_names_and_claims_are_the_articles():
    assert list(published()) == list(article_r2) == list(ORIGINAL)
    for name, claim in article_r2.items():
        decimals = 2 if name == "kernel_linear" else 4
        assert (claim.low, claim.high) == (round(min(ORIGINAL[name]), decimals), round(max(ORIGINAL[name]), decimals))


@pytest.mark.parametrize("name", ["random_forest", "gradient_boosting"])
def test_forest_and_boosting_are_those_of_the_original(name, table_row):
    found = in_sample(name, random_state=3)
    table_row(
        "In-sample R2 on the article's rows", model=name, original=f"{ORIGINAL[name][0]:.4f}", here=f"{found:.4f}"
    )
    assert_allclose(found, ORIGINAL[name][0], rtol=0, atol=1e-6)


def test_rbf_kernel_is_that_of_the_original(table_row):
    found = in_sample("kernel_rbf")
    original = ORIGINAL["kernel_rbf"][0]
    table_row(TABLE, model="kernel_rbf", original=f"{original:.4f}", here=f"{found:.4f}")
    # Rounding of the distances decides the next digit: .9990 there, .9992 on the article's GPU, .9995 without rounding.
    assert round(found, 3) == round(original, 3) == 0.999


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.full] * (n == "nn_3layer")) for n in TRAINED])
def test_trained_models_spread_as_the_original(name, table_row):
    found = [in_sample(name, state) for state in range(INITIALIZATIONS)]
    spread = [f"{min(scores):.4f} to {max(scores):.4f}" for scores in (ORIGINAL[name], found)]
    table_row(TABLE, model=name, original=spread[0], here=spread[1])
    # One law for both, at a level of 1 % over all seven models.
    difference: Any = ks_2samp(ORIGINAL[name], found, method="exact")
    assert difference.pvalue > 0.01 / len(TRAINED)


@pytest.mark.parametrize("name, degree", [("poly_2", 2), ("poly_3", 3)])
def test_polynomials_are_linear_in_powers_without_products(name, degree):
    powers = np.hstack([X**power for power in range(1, degree + 1)])
    line = published()["linear"].fit(powers, Y)
    assert_array_equal(published()[name].fit(X, Y).predict(X), line.predict(powers))


@pytest.mark.parametrize("name, shift", [("log_linear", 1), ("exponential", 1e-8)])
def test_log_targets_are_taken_back(name, shift):
    line = published()["linear"].fit(X, np.log(Y + np.float32(shift)))
    assert_allclose(published()[name].fit(X, Y).predict(X), np.exp(np.float64(line.predict(X))) - shift, rtol=1e-6)


def test_linear_model_is_adam_and_not_least_squares():
    line: Any = published(random_state=4)["linear"]
    assert isinstance(line, Network)
    assert line.get_params() == {
        "hidden": (), "learning_rate": 0.01, "weight_decay": 1e-4, "steps": 1000, "patience": None,
        "validation": None, "random_state": 4,
    }  # fmt: skip


@pytest.mark.parametrize("name, hidden, steps", [("nn_2layer", (32, 16), 500), ("nn_3layer", (64, 32, 16), 1000)])
def test_networks_have_patience_on_the_training_loss(name, hidden, steps):
    assert published(random_state=4)[name].get_params() == {
        "hidden": hidden, "learning_rate": 0.001, "weight_decay": 0.0, "steps": steps, "patience": 50,
        "validation": None, "random_state": 4,
    }  # fmt: skip


def test_rbf_kernel_is_the_solution_of_its_system():
    distances = squareform(pdist(X))
    median = np.sort(pdist(X))[(40 * 39 // 2 - 1) // 2]
    system = np.exp(-(distances**2) / (2 * median**2))
    expected = system @ np.linalg.solve(system + 1e-4 * np.eye(40), Y)
    model = SinglePrecisionKernelRidge().fit(X, Y)
    assert_allclose(model.gamma_, 1 / (2 * median**2), rtol=1e-6)
    assert_allclose(model.predict(X), expected, rtol=0, atol=2e-3)


def test_linear_kernel_is_lapacks_solution_in_single_precision():
    system = X @ X.T + np.float32(1e-4) * np.eye(40, dtype=np.float32)
    (gesv,) = get_lapack_funcs(["gesv"], [system])
    assert gesv.typecode == "s"
    _, _, expected, _ = gesv(system, Y)
    model = SinglePrecisionKernelRidge("linear").fit(X, Y)
    assert model.dual_coef_.dtype == np.float32
    # So ill-conditioned that any other order or precision gives other numbers altogether.
    assert_array_equal(model.dual_coef_, expected)
    assert_allclose(model.predict(X), X @ X.T @ expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_linear_kernel_is_least_squares_without_intercept_where_it_is_well_posed():
    few, targets = X[:6], Y[:6]
    model = SinglePrecisionKernelRidge("linear").fit(few, targets)
    slopes = np.linalg.solve(few.T @ few + 1e-4 * np.eye(6), few.T @ targets)
    assert_allclose(model.predict(X), X @ slopes, rtol=1e-2)


def test_kernels_predict_many_rows_as_one_by_one():
    model = SinglePrecisionKernelRidge(ridge=1.0).fit(X, Y)
    many = np.random.default_rng(0).normal(size=(2 * CHUNK + 7, 6))
    places = [0, CHUNK - 1, CHUNK, 2 * CHUNK, -1]
    single = [model.predict(many[[place]])[0] for place in places]
    assert_allclose(model.predict(many)[places], single, rtol=1e-3)


def test_the_median_distance_leaves_out_rows_that_are_equal():
    # Distances 0, 1, 1, 3, 3, 4: of the five that are not 0 the median is 3.
    model = SinglePrecisionKernelRidge().fit(np.array([[0.0], [0.0], [1.0], [-3.0]]), [1.0, 1.0, 2.0, 3.0])
    assert_allclose(model.gamma_, 1 / 18, rtol=1e-6)


def test_kernels_that_cannot_be():
    with pytest.raises(ValueError, match="needs rows that differ; all 40 are equal"):
        SinglePrecisionKernelRidge().fit(np.ones_like(X), Y)
    with pytest.raises(ValueError, match="kernel must be 'rbf' or 'linear', got 'cubic'"):
        SinglePrecisionKernelRidge("cubic").fit(X, Y)  # pyright: ignore[reportArgumentType]


def test_kernels_keep_the_conventions_of_scikit_learn():
    rounding = "single precision: a row alone is summed in another order"
    check_estimator(
        SinglePrecisionKernelRidge(),
        expected_failed_checks={
            "check_methods_subset_invariance": rounding,
            "check_fit2d_1sample": "one row has no distances, which the message says in other words",
        },
        on_skip=None,
    )


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.full] * (n == "nn_3layer")) for n in article_r2])
def test_random_state_fixes_every_bit(name):
    model = published(random_state=1)[name]
    first = model.fit(X, Y).predict(X)
    assert_array_equal(cast(Any, clone(model)).fit(X, Y).predict(X), first)
    other = published(random_state=2)[name].fit(X, Y).predict(X)
    assert np.array_equal(other, first) == (name not in TRAINED)
