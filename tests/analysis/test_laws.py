"""Laws as estimators: planted laws are found again, and odd columns give finite forecasts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from jaxor.analysis.exact import ExactLaw
from jaxor.analysis.laws import Exact, Line, LogLaw, RateForecast, ShiftedLogLaw, SlopeForecast

DISTANCE = np.geomspace(1e-4, 3, 200)[:, None]
ALL: list[tuple[Any, int]] = [
    (Line(), 1),
    (LogLaw(), 1),
    (ShiftedLogLaw(), 1),
    (RateForecast(), 2),
    (SlopeForecast(), 2),
    (Exact(), 1),
]


def _fresh(law: Any) -> Any:
    return clone(law)


def noise(size: int, scale: float = 0.5) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=scale, size=size)


def test_a_planted_line_is_found():
    law = Line().fit(DISTANCE, 12 * DISTANCE[:, 0] + 7)
    assert (law.slope_, law.intercept_) == pytest.approx((12, 7))
    y = 12 * DISTANCE[:, 0] + 7 + noise(200)
    assert np.polyfit(DISTANCE[:, 0], y, 1) == pytest.approx(
        [Line().fit(DISTANCE, y).slope_, Line().fit(DISTANCE, y).intercept_]
    )


def test_a_planted_logarithm_is_found():
    law = LogLaw().fit(DISTANCE, 4.4814 * np.log(DISTANCE[:, 0] / 3e-4))
    assert (law.slope_, law.intercept_) == pytest.approx((4.4814, -4.4814 * math.log(3e-4)))
    y = 4.4814 * np.log(DISTANCE[:, 0]) + 40 + noise(200)
    assert np.polyfit(np.log(DISTANCE[:, 0]), y, 1) == pytest.approx(
        [LogLaw().fit(DISTANCE, y).slope_, LogLaw().fit(DISTANCE, y).intercept_]
    )


@pytest.mark.parametrize("shift", [1e-5, 2.5e-4, 0.05, 1.0])
def test_a_planted_shift_is_found(shift: float):
    y = 4.4814 * np.log1p(DISTANCE[:, 0] / shift) + 1
    law = ShiftedLogLaw().fit(DISTANCE, y)
    assert (law.slope_, law.intercept_) == pytest.approx((4.4814, 1), rel=1e-3, abs=0.02)
    assert law.shift_ == pytest.approx(shift, rel=5e-3)
    np.testing.assert_allclose(law.predict(DISTANCE), y, atol=1e-2)


def test_the_shifted_law_finds_the_least_squares():
    y = 4 * np.log1p(DISTANCE[:, 0] / 2e-3) + noise(200)
    law = ShiftedLogLaw().fit(DISTANCE, y)
    least = np.square(y - law.predict(DISTANCE)).sum()
    for shift in law.shift_ * np.geomspace(0.01, 100, 201):
        x = np.log1p(DISTANCE[:, 0] / shift)
        assert least <= np.square(y - np.polyval(np.polyfit(x, y, 1), x)).sum() * (1 + 1e-9)


def test_zero_distances_are_learned_from_by_the_shifted_law_and_finite_in_the_others():
    X = np.vstack([np.zeros((5, 1)), DISTANCE])
    y = 3 * np.log1p(X[:, 0] / 0.01)
    assert ShiftedLogLaw().fit(X, y).predict([[0.0]]) == pytest.approx(0, abs=1e-3)
    assert np.isfinite(LogLaw().fit(DISTANCE, y[5:]).predict([[0.0]])).all()
    with pytest.raises(ValueError, match="all distances are 0, so there is nothing to learn"):
        ShiftedLogLaw().fit(np.zeros((3, 1)), np.ones(3))


@pytest.mark.parametrize("law", [Line(), LogLaw(), ShiftedLogLaw()])
def test_equal_distances_give_the_mean(law: Any):
    assert law.fit([[0.3]] * 4, [1.0, 2.0, 3.0, 6.0]).predict([[0.3]]) == pytest.approx(3)


def test_the_rate_forecast_is_exact_if_distances_shrink_evenly():
    """Runs with rates of their own, all ending at distance 1e-3."""
    X, y = [], []
    for rate in (0.5, 0.8, 0.99):
        epochs = np.arange(40)
        X += [[1e-3 * rate**-epoch, rate] for epoch in epochs]
        y += epochs.tolist()
    forecast = RateForecast().fit(X, y)
    assert forecast.goal_ == pytest.approx(1e-3)
    np.testing.assert_allclose(forecast.predict(X), y, atol=1e-6)


@pytest.mark.parametrize(
    ("distance", "contraction", "expected"),
    [
        pytest.param(1.0, 1.0, 30, id="it stands still"),
        pytest.param(1.0, 1.2, 30, id="it moves away"),
        pytest.param(1.0, math.nan, 30, id="it is not known"),
        pytest.param(1.0, math.inf, 30, id="it leaves the goal"),
        pytest.param(1.0, 0.999999, 30, id="it takes longer than any run seen"),
        pytest.param(1.0, 0.0, 0, id="it is there with the next step"),
        pytest.param(0.0, 0.5, 0, id="it is there"),
        pytest.param(0.0, math.nan, 0, id="it is there, and was"),
        pytest.param(1e-9, 1.5, 0, id="it is past the goal"),
    ],
)
def test_what_the_rate_forecast_says_at_its_ends(distance: float, contraction: float, expected: float):
    epochs = np.arange(31)
    forecast = RateForecast().fit(np.column_stack([1e-3 * 2.0**epochs, np.full(31, 0.5)]), epochs)
    assert forecast.predict([[distance, contraction]]) == pytest.approx([expected])


def test_a_rate_forecast_without_a_usable_row_is_finite():
    X = [[0.0, math.nan], [1.0, 0.0], [1.0, 1.0]]
    assert np.isfinite(RateForecast().fit(X, [1.0, 2.0, 3.0]).predict(X)).all()


@pytest.mark.parametrize("rate", [0.64, 0.9, 0.999])
def test_the_slope_forecast_is_exact_if_the_loss_decays_exponentially(rate: float):
    epoch, tolerance = np.arange(20), 1e-7
    loss = 0.7 * rate**epoch
    exact = (np.log(loss) - math.log(tolerance)) / -math.log(rate)
    X = np.column_stack([loss, np.full(20, -math.log(rate))])
    forecast = SlopeForecast(tolerance).fit(X, exact)
    np.testing.assert_allclose(forecast.predict(X), exact)
    # In whole steps it is the loop that looks at the loss before each step.
    for start, found in zip(loss, np.ceil(forecast.predict(X)), strict=True):
        steps = 0
        while start >= tolerance:
            start *= rate
            steps += 1
        assert steps == found


@pytest.mark.parametrize(
    ("loss", "decline", "expected"),
    [
        pytest.param(1e-2, 0.0, 50, id="the loss stands still"),
        pytest.param(1e-2, -0.1, 50, id="the loss rises"),
        pytest.param(1e-2, 1e-9, 50, id="it takes longer than any run seen"),
        pytest.param(1e-2, math.inf, 0, id="the loss falls at once"),
        pytest.param(1e-9, 0.0, 0, id="the loss is below the tolerance"),
        pytest.param(0.0, 1.0, 0, id="there is no loss left"),
        pytest.param(math.inf, 1.0, 50, id="the loss is infinite"),
        pytest.param(math.nan, 1.0, 50, id="the loss is no number"),
    ],
)
def test_what_the_slope_forecast_says_at_its_ends(loss: float, decline: float, expected: float):
    forecast = SlopeForecast(1e-7).fit([[1.0, 1.0]] * 2, [50.0, 3.0])
    assert forecast.predict([[loss, decline]]) == pytest.approx([expected])


def test_the_exact_law_learns_nothing():
    X, law = DISTANCE, ExactLaw(0.05, 1e-6)
    found = Exact(0.05, 1e-6).fit(X, np.zeros(len(X))).predict(X)
    np.testing.assert_array_equal(found, law.remaining(X[:, 0]))
    assert Exact.freedom == 0


@pytest.mark.parametrize(("law", "columns"), ALL)
def test_laws_are_scikit_learn_regressors(law: Any, columns: int):
    X = np.random.default_rng(0).uniform(0.1, 0.9, (30, columns))
    y = np.linspace(1, 30, 30)
    fitted = _fresh(law).fit(X, y)
    assert fitted.get_params() == law.get_params()
    assert fitted.predict(X).shape == (30,) and fitted.predict(X).dtype == np.float64
    assert math.isfinite(fitted.score(X, y))
    with pytest.raises(ValueError, match=rf"X must have {columns} columns?, got shape \(30, {columns + 1}\)"):
        _fresh(law).fit(np.ones((30, columns + 1)), y)


@pytest.mark.parametrize(("law", "columns"), ALL)
def test_the_number_of_learned_numbers(law: Any, columns: int):
    """As many as there are fitted attributes, but for the longest time seen, which is a bound."""
    X, y = np.random.default_rng(0).uniform(0.1, 0.9, (30, columns)), np.linspace(1, 30, 30)
    learned = [
        name
        for name in vars(_fresh(law).fit(X, y))
        if name.endswith("_") and name not in ("longest_", "n_features_in_")
    ]
    assert law.freedom == len(learned)
