"""Claims about paths where the answer is known: on walks without a landscape, and on quadratics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from jaxor.analysis.over_seeds import figure, mean, median, share_figure
from jaxor.analysis.path_arms import Medians, batch_claims, optimizer_claim
from jaxor.analysis.path_claims import Thresholds, Verdict, claims, positivity, spearman
from jaxor.analysis.path_views import Views, views
from jaxor.analysis.walks import closed_form
from jaxor.engine.geometry import Geometry
from tests.numpy_paths import quadratics, random_walks

PARAMETERS = 400


def seen(geometry: Geometry) -> Views:
    return views(geometry, closed_form(geometry), PARAMETERS)


WALK, BOWL = seen(random_walks()), seen(quadratics())


def verdicts(view: Views, **thresholds: Any) -> dict[str, Verdict]:
    return {one.claim: one for one in claims(view, Thresholds(**thresholds))}


def test_walk_is_positive_but_no_finding() -> None:
    positive, ratio = verdicts(WALK)["P1"].figures
    assert positive.answer == "supported"
    assert_allclose(positive.beside["null"], positive.value, atol=0.005)
    assert ratio.answer == "not"
    assert_allclose(ratio.value, 1, atol=0.03)
    assert abs(positive.beside["other seed's end"] - 0.5) < 0.05
    assert abs(positive.beside["random point"] - 0.5) < 0.05
    assert verdicts(WALK)["P1"].answer == "not"


def test_walk_rises_late_as_its_null_does() -> None:
    (found,) = verdicts(WALK)["P6"].figures
    assert found.answer == "supported"
    assert_allclose(found.value, found.beside["null"], rtol=0.03)
    assert "own end" in verdicts(WALK)["P6"].forced


def test_walk_keeps_no_level_and_no_trend() -> None:
    found = verdicts(WALK)
    assert {name: found[name].answer for name in ("P5", "P7 decay")} == {"P5": "not", "P7 decay": "not"}
    assert found["P7 warm-up"].answer != "supported"
    rsi = found["P5"].figures[0]
    assert_allclose(rsi.value, (60 - 45) ** -1 / (60 - 9) ** -1, rtol=0.15)  # 1 / (T - t) at tenths 2 and 8


def test_quadratic() -> None:
    """gamma is 1, the null sqrt(1 - rho^2) with rho = .9; RSI to the own end is 1 / (1 - rho^(T - t))."""
    found = verdicts(BOWL)
    assert found["P1"].answer == "supported"
    assert_allclose(found["P1"].figures[1].value, (1 - 0.81) ** -0.5, rtol=1e-3)
    assert found["P4"].answer == found["P5"].answer == "supported"
    left = 60 - np.arange(60)
    rsi = 1 / (1 - 0.9**left)
    middle, first = (np.median(rsi[6 * k : 6 * k + 6]) for k in (7, 1))
    assert_allclose(found["P5"].figures[0].value, middle / first, rtol=1e-6)
    (late,) = found["P6"].figures
    assert_allclose(late.value, np.median(rsi[57:]) / np.median(rsi[18:36]), rtol=1e-6)
    assert found["P7 decay"].answer == "supported"
    assert np.isnan(found["P7 decay"].figures[0].beside["null"])  # flat


@pytest.mark.parametrize(
    ("claim", "thresholds"),
    [
        ("P1", {"above_null": 2.5}), ("P1", {"positive": 1.1}), ("P5", {"stable": 1.1}), ("P6", {"late_rise": 10}),
        ("P7 decay", {"decay": -1.0}),
    ],
)  # fmt: skip
def test_thresholds_decide(claim: str, thresholds: dict[str, float]) -> None:
    assert verdicts(BOWL)[claim].answer == "supported"
    assert verdicts(BOWL, **thresholds)[claim].answer == "not"


def test_rates_below_0_are_no_warm_up() -> None:
    """Negative and nearer to 0 with time: they grow, but no rate would be good."""
    gradient = WALK.gradient
    below = replace(gradient, local_rate=-1 / (1 + gradient.step) + np.zeros_like(gradient.local_rate))
    found = verdicts(replace(WALK, gradient=below))["P7 warm-up"]
    assert [one.value for one in found.figures] == [0, 0]
    assert found.answer == "not"


def test_few_seeds_decide_nothing() -> None:
    few = verdicts(seen(quadratics(31)))["P1"]
    assert few.answer == "undecided"
    assert few.reason == "31 seeds have a number, at least 32 are needed"
    assert verdicts(seen(quadratics(31)), seeds=31)["P1"].answer == "supported"


def test_seed_without_a_path_has_no_number() -> None:
    geometry = quadratics(33)
    geometry.dot[:60] = np.nan
    found = verdicts(seen(geometry))["P1"]
    assert [one.seeds for one in found.figures] == [32, 32]
    assert found.answer == "supported"


def test_reference_elsewhere_forces_less() -> None:
    own, other = (claims(BOWL, Thresholds(), own_end=own) for own in (True, False))
    assert [bool(one.forced) for one in own] == [True] * 6
    assert [one.claim for one in other if not one.forced] == ["P6"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"positve": 0.9}, "thresholds.positve is not a threshold; did you mean positive"),
        ({"stable": "3"}, "thresholds.stable must be a number, got '3'"),
        ({"stable": True}, "thresholds.stable must be a number, got True"),
        ({"decay": float("nan")}, "thresholds.decay must be a number, got nan"),
        ({"seeds": 1}, "thresholds.seeds must be a whole number above 1, got 1"),
        ({"seeds": 40.5}, "thresholds.seeds must be a whole number above 1, got 40.5"),
        (3, "thresholds must be a table, got 3"),
    ],
)
def test_malformed_thresholds(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Thresholds.from_dict(table)


def test_spearman_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=(5, 9)).round(1)
    wanted: Any = [stats.spearmanr(np.arange(9), row)[0] for row in values]
    assert_allclose(spearman(values), wanted)
    assert np.isnan(spearman(np.array([[1.0, np.nan, 2.0]]))).all()


def test_interval_is_the_bootstraps() -> None:
    """Of a mean close to mean +- 1.96 standard errors, and with everything beside it."""
    values = np.random.default_rng(3).normal(5, 1, 400)
    found = figure("x", mean, values, 4.8, ">", {"half": values[::2]})
    error = values.std(ddof=1) / 20
    assert_allclose(found.interval, (values.mean() - 1.96 * error, values.mean() + 1.96 * error), atol=0.15 * error)
    assert_allclose(found.beside["half"], values[::2].mean())
    assert_allclose(np.array(found.spread), np.sort(values)[[19, 379]])


@pytest.mark.parametrize(
    ("relation", "threshold", "answer"),
    [
        (">", 0.0, "supported"),
        (">", 9.0, "not"),
        (">", 1.0, "undecided"),
        ("<", 9.0, "supported"),
        ("<=", 1.0, "undecided"),
    ],
)
def test_interval_decides(relation: str, threshold: float, answer: str) -> None:
    values = np.arange(-1, 3.01, 0.05)
    assert figure("x", median, values, threshold, relation, {}).answer == answer


def test_infinite_and_missing_numbers() -> None:
    assert figure("x", median, np.full(40, np.inf), 3, "<=", {}).answer == "not"
    assert figure("x", median, np.full(40, np.nan), 3, "<=", {}).answer == "undecided"
    assert figure("x", median, np.full(40, np.inf), 3, "<=", {}).to_dict()["value"] is None


def test_shares_need_seeds_to_be_high() -> None:
    """Wilson's lower end of n of n is n / (n + 1.96^2): above .95 from 73 on."""
    answers = {n: share_figure("x", np.ones(n), 0.95, {}).answer for n in (72, 73)}
    assert answers == {72: "undecided", 73: "supported"}


def medians(gamma: float, seeds: int = 80, first: int = 0, ratio: float = 1.0) -> Medians:
    level = {"first 95 %": np.full(seeds, gamma), "null": np.ones(seeds)}
    return Medians(np.arange(first, first + seeds), level | {"gamma / null": np.full(seeds, ratio)}, level)


def test_batches_grow_strictly_seed_by_seed() -> None:
    grows, falls = [medians(x) for x in (0.1, 0.2, 0.3)], [medians(x) for x in (0.1, 0.3, 0.2)]
    equal = [medians(x) for x in (0.1, 0.2, 0.2 + 1e-9)]
    answers = [[one.answer for one in batch_claims(arms, Thresholds())] for arms in (grows, falls, equal)]
    assert answers == [["supported"] * 2, ["not"] * 2, ["not"] * 2]
    (share,) = batch_claims(grows, Thresholds())[0].figures
    assert (share.beside["null"], share.beside["gamma / null"]) == (0, 0)


def test_batches_are_compared_over_common_seeds() -> None:
    one, other = medians(0.1, 90), medians(0.2, 100, first=5)
    other.gamma["first 95 %"][0] = 0.05  # seed 5
    (share,) = batch_claims([one, other], Thresholds())[0].figures
    assert (share.seeds, share.value) == (85, 84 / 85)


def test_one_batch_size_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="from two on, got 1"):
        batch_claims([medians(0.1)], Thresholds())


def test_medians_are_of_the_first_95_percent() -> None:
    found = Medians.of(WALK)
    gamma = WALK.gradient.gamma
    assert_allclose(found.gamma["first 95 %"], np.median(gamma[:, :57], axis=1))
    assert_allclose(found.gamma["all steps"], np.median(gamma, axis=1))
    assert_allclose(found.rate["null"], 1)


def test_optimizers_have_to_pass_one_by_one() -> None:
    def both(view: Views) -> list[Verdict]:
        return [positivity(view, Thresholds(), update=update) for update in (False, True)]

    assert optimizer_claim({"a": both(BOWL), "b": both(BOWL)}, Thresholds()).answer == "supported"
    mixed = optimizer_claim({"a": both(BOWL), "b": both(WALK)}, Thresholds())
    assert mixed.answer == "not"
    assert [one.name for one in mixed.figures if one.answer == "not"] == [
        "b, gradients: gamma / null",
        "b, steps: gamma / null",
    ]
