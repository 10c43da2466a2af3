from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
from scipy import stats

from jaxor.analysis.survival import UNDETERMINED, SurvivalModel, SurvivalModels, _fit, _Runs, survival_models

lifelines = pytest.importorskip("lifelines", reason="the extra 'survival' is not installed")

NAMES = [f"w[{i},0]" for i in range(12)]
SLOPES = np.linspace(-0.4, 0.4, 12)
SHAPE = 2.0
ALL = {"weibull_aft", "lognormal_aft", "cox"}


def weibull(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Epochs with planted slopes of their logarithm, about 30 % censored; features with other means and scales."""
    rng = np.random.default_rng(seed)
    features = 5 + 2 * rng.normal(size=(n, 12))
    times = np.exp(7 + (features - 5) / 2 @ SLOPES) * rng.weibull(SHAPE, n)
    budgets = rng.exponential(3000, n)
    return np.ceil(np.minimum(times, budgets)).astype(int), times <= budgets, features


@pytest.fixture(scope="module")
def planted() -> SurvivalModels:
    return survival_models(*weibull(6000), NAMES)


def by_name(found: SurvivalModels) -> dict[str, SurvivalModel]:
    return {model.name: model for model in found.models}


def covered(model: SurvivalModel, slopes: np.ndarray) -> int:
    assert [one.name for one in model.coefficients] == NAMES
    return sum(one.low <= slope <= one.high for one, slope in zip(model.coefficients, slopes, strict=True))


def test_planted_slopes_are_recovered(planted: SurvivalModels):
    # Weibull's times are accelerated and their hazards proportional: Cox's slopes are those of time, times -shape.
    models = by_name(planted)
    scales = np.array([feature.scale for feature in planted.features]) / 2
    assert 0.25 < 1 - planted.converged / planted.fitted < 0.35
    assert covered(models["weibull_aft"], SLOPES * scales) >= 11
    assert covered(models["cox"], -SHAPE * SLOPES * scales) >= 11
    intercept, shape = models["weibull_aft"].baseline
    assert (intercept.name, shape.name) == ("intercept", "log shape")
    assert shape.low < np.log(SHAPE) < shape.high
    means = np.array([feature.mean for feature in planted.features])
    assert intercept.low < 7 + (means - 5) / 2 @ SLOPES < intercept.high
    for one in models["weibull_aft"].coefficients:
        assert one.low < one.value < one.high and (one.p < 0.05) == (not one.low <= 0 <= one.high)


def test_intervals_are_as_often_right_as_they_say():
    found = [survival_models(*weibull(500, seed), NAMES) for seed in range(101, 111)]
    for name, factor in (("weibull_aft", 1.0), ("cox", -SHAPE)):
        right = sum(
            covered(by_name(one)[name], factor * SLOPES * [feature.scale / 2 for feature in one.features])
            for one in found
        )
        assert 0.9 < right / (10 * 12) < 0.99


def test_the_law_that_was_planted_has_the_lower_aic(planted: SurvivalModels):
    models = by_name(planted)
    assert (models["weibull_aft"].aic or 0) < (models["lognormal_aft"].aic or 0) - 100
    for model, parameters in zip(planted.models, (14, 14, 12), strict=True):
        assert model.aic == 2 * parameters - 2 * (model.log_likelihood or 0)


def test_likelihood_and_concordance_are_those_of_the_formulas(planted: SurvivalModels):
    epochs, converged, features = weibull(6000)
    order = np.random.default_rng(0).permutation(6000)
    held_out, fitted = order[:1200], order[1200:]
    assert (planted.held_out, planted.fitted) == (1200, 4800)
    scaled = (features - features[fitted].mean(axis=0)) / features[fitted].std(axis=0)
    laws = {
        "weibull_aft": lambda log_shape, scale: stats.weibull_min(np.exp(log_shape), scale=scale),
        "lognormal_aft": lambda log_sigma, scale: stats.lognorm(np.exp(log_sigma), scale=scale),
    }
    for model in planted.models:
        line = scaled @ [one.value for one in model.coefficients]
        if model.name in laws:  # log f of the runs that converged, log S of the others
            intercept, spread = (one.value for one in model.baseline)
            law = laws[model.name](spread, np.exp(intercept + line[fitted]))
            terms = np.where(converged[fitted], law.logpdf(epochs[fitted]), law.logsf(epochs[fitted]))
            assert model.log_likelihood == pytest.approx(terms.sum(), rel=1e-9)
        else:
            line = -line
        assert model.concordance == pytest.approx(concordance(epochs[held_out], converged[held_out], line[held_out]))
        assert 0.65 < (model.concordance or 0) < 0.95


def concordance(epochs: np.ndarray, converged: np.ndarray, longer: np.ndarray) -> float:
    """Harrell's, pair by pair: of those where one is known to have taken less, how many are in that order."""
    less = converged[:, None] & (
        (epochs[:, None] < epochs) | ((epochs[:, None] == epochs) & ~converged)
    )  # censored at an epoch means that it takes longer
    sooner, tied = longer[:, None] < longer, longer[:, None] == longer
    return (less & sooner).sum() / less.sum() + (less & tied).sum() / (2 * less.sum())


def test_a_random_state_fixes_every_bit():
    one, again, other = (survival_models(*weibull(600), NAMES, random_state=state) for state in (0, 0, 1))
    assert one == again != other


def test_at_most_so_many_runs_are_taken_and_it_is_said():
    found = survival_models(*weibull(1500), NAMES, limit=500)
    assert (found.runs, found.fitted, found.held_out) == (1500, 400, 100)
    assert f"Fitted to 400 of 1,500 runs, of which {400 - found.converged:,} are censored" in found.note
    assert survival_models(*weibull(1500), NAMES, limit=None).fitted == 1200


def test_runs_without_an_epoch_are_left_out_and_counted():
    epochs, converged, features = weibull(1000)
    epochs[:10], converged[:10] = 0, False
    found = survival_models(epochs, converged, features, NAMES)
    assert (found.runs, found.without_epochs, found.fitted + found.held_out) == (1000, 10, 990)
    assert "10 without an epoch are left out" in found.note
    rest = survival_models(epochs[10:], converged[10:], features[10:], NAMES)
    assert rest.without_epochs == 0 and "left out" not in rest.note


def test_columns_that_say_nothing_new_are_left_out_and_named():
    epochs, converged, features = weibull(1000)
    w = features[:, :2].astype(np.float32)
    mirrored = np.column_stack([w, -w[:, 0], np.full(1000, np.float32(0.1)), w[:, 0] + 3 * w[:, 1] + 1, features[:, 2]])
    found = survival_models(epochs, converged, mirrored, ["a", "b", "-a", "bias", "a + 3 b + 1", "c"])
    assert [feature.name for feature in found.features] == ["a", "b", "c"]
    follows = "follows linearly from features before it"
    assert found.left_out == {"-a": follows, "bias": "constant", "a + 3 b + 1": follows}
    assert all(model.failure is None and len(model.coefficients) == 3 for model in found.models)


def test_results_are_json(planted: SurvivalModels):
    table = json.loads(json.dumps(planted.to_dict(), allow_nan=False))
    assert [model["name"] for model in table["models"]] == ["weibull_aft", "lognormal_aft", "cox"]
    first, expected = table["models"][0]["coefficients"][0], planted.models[0].coefficients[0]
    assert first == expected._asdict() and table["features"][0]["name"] == NAMES[0]
    assert table["note"] == planted.note


def flawed(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of which at least one model makes nothing."""
    epochs, converged, features = weibull(500)
    x = features[:, :1]
    if kind == "separates":  # as dead points do in XOR
        return epochs, converged, np.where(converged, 1.0, -1.0)[:, None]
    if kind == "orders":
        return np.round(np.exp(x[:, 0])).astype(int) + 1, np.ones(500, bool), x
    noise = np.random.default_rng(1).normal(size=(500, 1))
    return epochs, converged, np.hstack([x, x + 1e-4 * noise])  # "repeats"


@pytest.mark.parametrize(
    ("kind", "failed"),
    [("separates", ALL), ("orders", {"cox"}), ("repeats", ALL)],
)
def test_a_fit_of_no_use_is_a_sentence(kind: str, failed: set[str], capfd: pytest.CaptureFixture[str]):
    epochs, converged, features = flawed(kind)
    found = survival_models(epochs, converged, features, NAMES[: features.shape[1]])
    assert {model.name for model in found.models if model.failure} == failed
    for model in found.models:
        if model.failure:
            assert model == SurvivalModel(model.name, UNDETERMINED)
    assert capfd.readouterr() == ("", "")
    json.dumps(found.to_dict(), allow_nan=False)


def test_errors_from_a_pseudo_inverse_are_not_believed():
    epochs, converged, features = weibull(500)
    twice = np.repeat((features[:, :1] - 5) / 2, 2, axis=1)
    for fitter in (lifelines.WeibullAFTFitter(), lifelines.LogNormalAFTFitter(), lifelines.CoxPHFitter()):
        assert not _fit(fitter, _Runs(epochs.astype(float), converged, twice))
        assert _fit(fitter, _Runs(epochs.astype(float), converged, twice[:, :1]))


def test_no_two_held_out_runs_that_can_be_compared_give_no_concordance():
    epochs, converged, features = weibull(20)
    held_out = np.random.default_rng(0).permutation(20)[:4]
    converged[:] = True
    converged[held_out] = False
    found = survival_models(epochs, converged, features[:, :1], ["w"])
    assert (found.converged, found.held_out) == (16, 4)
    assert [model.concordance for model in found.models] == [None] * 3
    assert all(model.coefficients for model in found.models)


def test_without_censoring_and_with_ties_the_slope_is_that_of_least_squares():
    # Of a log-normal law without censoring the likelihood is that of least squares on the logarithm.
    rng = np.random.default_rng(5)
    x = rng.normal(size=400)
    epochs = np.ceil(np.exp(3 + 0.5 * x + 0.3 * rng.normal(size=400))).astype(int)
    found = survival_models(epochs, np.ones(400, bool), x[:, None], ["x"])
    fitted = np.random.default_rng(0).permutation(400)[80:]
    slope, intercept = np.polyfit((x[fitted] - x[fitted].mean()) / x[fitted].std(), np.log(epochs[fitted]), 1)
    model = by_name(found)["lognormal_aft"]
    assert model.coefficients[0].value == pytest.approx(slope, abs=1e-4)
    assert model.baseline[0].value == pytest.approx(intercept, abs=1e-4)
    assert found.converged == found.fitted == 320


GOOD: Any = ([3, 4, 5, 6, 7, 8, 9], [True] * 7, [[1.0], [4.0], [2.0], [5.0], [3.0], [9.0], [7.0]], ["w"])


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (0, [3] * 6, r"as many, got shapes \(6,\) and \(7,\)"),
        (0, [5] * 7, "all 6 runs to fit ended at epoch 5, so there is nothing to explain"),
        (0, [0] * 7, "none of the 0 runs to fit converged"),
        (1, [False] * 7, "none of the 6 runs to fit converged; simulate with a higher epoch cap"),
        (2, [[1.0]] * 7, "no feature varies over the 6 runs"),
        (2, [[1.0]] * 6 + [[np.nan]], "must be finite; these are not for every run: w"),
        (2, [1.0] * 7, r"a row for each of the 7 runs and a column for each of 1 different names, got shape \(7,\)"),
        (3, ["w", "w"], "2 different names"),
    ],
)
def test_runs_that_cannot_be_fitted_are_refused(place: int, value: Any, sentence: str):
    arguments = list(GOOD)
    arguments[place] = value
    with pytest.raises(ValueError, match=sentence):
        survival_models(*arguments)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_runs_are_refused(n: int):
    epochs, converged, features, names = (part[:n] for part in GOOD)
    with pytest.raises(
        ValueError, match="there are no runs" if n == 0 else "nothing to explain|too few for 1 features"
    ):
        survival_models(epochs, converged, np.reshape(features, (n, 1)), names or ["w"])


def test_without_lifelines_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "lifelines", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxor\[survival\]'"):
        survival_models(*GOOD)
