from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxor.analysis.censoring import Censoring, Curve, Median, censoring, cumulative_incidence, kaplan_meier
from jaxor.engine.status import Status
from jaxor.estimates import Quantiles, Share, wilson

CONVERGED, STALLED, CAP, DIVERGED, UNSTARTED = Status

# Weeks of remission under 6-mercaptopurine and under a placebo; negative where the patient was still in remission
# (Freireich et al. 1963, Blood 21, 699-716; Gehan 1965, Biometrika 52, 203-223).
TREATED = np.array([6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35])
PLACEBO = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23])

RUNS = st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60)


@dataclass
class Runs:
    """What `censoring` looks at."""

    epochs: Any
    status: Any
    final_accuracy: Any


def censored(epochs: Any, status: Any, accuracy: Any = 0.75) -> Censoring:
    ended = np.asarray(status, np.int8)
    run: Any = Runs(np.asarray(epochs, np.int32), ended, np.broadcast_to(accuracy, ended.shape))
    return censoring(run)


def remissions(weeks: np.ndarray) -> Curve:
    return kaplan_meier(abs(weeks), weeks > 0)


def by_hand(runs: list[tuple[int, bool]]) -> dict[int, Fraction]:
    """Kaplan-Meier in exact fractions: at each epoch, the share of those still in training that did not converge."""
    survival, curve = Fraction(1), {}
    for epoch in sorted({epoch for epoch, _ in runs}):
        at_risk = sum(end >= epoch for end, _ in runs)
        survival *= Fraction(at_risk - runs.count((epoch, True)), at_risk)
        curve[epoch] = survival
    return curve


def test_remissions_of_leukaemia_are_those_of_the_textbook():
    curve = remissions(TREATED)
    table = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}
    found = dict(zip(curve.times.tolist(), curve.survival.tolist(), strict=True))
    assert {week: round(found[week], 3) for week in table} == table
    assert curve.median == Median(23, 13, None)
    assert remissions(PLACEBO).median == Median(8, 4, 11)


@given(RUNS)
def test_the_curve_is_that_of_a_plain_loop(runs: list[tuple[int, bool]]):
    expected = by_hand(runs)
    curve = kaplan_meier([epoch for epoch, _ in runs], [converged for _, converged in runs])
    assert curve.times.tolist() == list(expected)
    assert curve.survival == pytest.approx([float(share) for share in expected.values()])
    assert curve.median.value == next((epoch for epoch, share in expected.items() if share <= Fraction(1, 2)), None)
    assert np.all((curve.low >= 0) & (curve.low <= curve.survival + 1e-12))
    assert np.all((curve.survival <= curve.high + 1e-12) & (curve.high <= 1))


@given(RUNS)
def test_with_one_common_cap_both_estimates_are_the_same(runs: list[tuple[int, bool]]):
    ended = [(epoch, True) if converged else (31, False) for epoch, converged in runs]
    found = censored([epoch for epoch, _ in ended], [CONVERGED if converged else CAP for _, converged in ended])
    assert found.incidence.share == pytest.approx(1 - found.kaplan_meier.survival)
    assert found.incidence.median.value == found.kaplan_meier.median.value
    assert ("both curves say the same" in found.note) == any(epoch == 31 for epoch, _ in ended)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_curve_band_and_median_agree_with_lifelines(confidence: float):
    lifelines = pytest.importorskip("lifelines", reason="the extra 'survival' is not installed")
    rng = np.random.default_rng(0)
    for n in (21, 200):
        epochs, converged = rng.geometric(0.02, n), rng.random(n) < 0.7
        with np.errstate():  # lifelines sets NumPy's error handling for the whole process
            theirs = lifelines.KaplanMeierFitter(alpha=1 - confidence).fit(epochs, converged)
        curve = kaplan_meier(epochs, converged, confidence)
        assert curve.survival == pytest.approx(theirs.survival_function_.to_numpy()[1:, 0])
        inside = (curve.survival > 0) & (curve.survival < 1)
        low, high = theirs.confidence_interval_.to_numpy()[1:].T
        assert curve.low[inside] == pytest.approx(low[inside])
        assert curve.high[inside] == pytest.approx(high[inside])
        interval = lifelines.utils.median_survival_times(theirs.confidence_interval_).to_numpy()[0]
        assert curve.median == (theirs.median_survival_time_, *interval)


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from([CONVERGED, STALLED, DIVERGED])), min_size=1))
def test_the_incidence_is_a_plain_count(runs: list[tuple[int, Status]]):
    incidence = cumulative_incidence(*zip(*runs, strict=True))
    counts = [
        sum(end <= epoch and status is CONVERGED for end, status in runs) for epoch in sorted({end for end, _ in runs})
    ]
    assert incidence.times.tolist() == sorted({end for end, _ in runs})
    assert incidence.share.tolist() == [count / len(runs) for count in counts]
    bands = [wilson(count, len(runs)) for count in counts]
    assert list(zip(incidence.low.tolist(), incidence.high.tolist(), strict=True)) == bands
    half = [epoch for epoch, count in zip(incidence.times.tolist(), counts, strict=True) if 2 * count >= len(runs)]
    assert incidence.median.value == (half[0] if half else None)


def test_runs_at_a_plateau_never_converge_in_the_incidence():
    # Six of ten stall early: of those that go on, half have converged by epoch 40; of all runs, never.
    found = censored([5] * 6 + [30, 40, 50, 60], [STALLED] * 6 + [CONVERGED] * 4)
    assert found.kaplan_meier.median.value == 40
    assert found.incidence.median == Median(None, 40, None) and wilson(1, 10).high < 0.5 < wilson(2, 10).high
    assert found.incidence.share.tolist() == [0, 0.1, 0.2, 0.3, 0.4]
    assert "(6 stalled) as if" in found.note


def test_the_median_interval_of_the_incidence_covers_the_median_as_often_as_it_says():
    rng = np.random.default_rng(1)
    epochs = rng.geometric(0.01, (2000, 101))  # of which the median is 69
    covers = 0
    for sample in epochs:
        value, low, high = cumulative_incidence(sample, np.zeros(101, int)).median
        assert value == np.median(sample) and low is not None and high is not None
        covers += low <= 69 <= high
    assert 0.94 < covers / 2000 < 0.975


def test_the_mean_of_the_converged_is_too_short_where_the_median_is_not():
    # Epochs linear in a distance, and a budget drawn for each run that cuts off four in ten.
    rng = np.random.default_rng(2)
    epochs = np.ceil(100 + 300 * rng.random(4000)).astype(int)
    budget = rng.integers(60, 550, 4000)
    converged = epochs <= budget
    assert 0.35 < 1 - converged.mean() < 0.45
    value, low, high = kaplan_meier(np.minimum(epochs, budget), converged).median
    assert low is not None and value is not None and high is not None
    assert low <= 250 <= high and high - low < 15
    assert epochs[converged].mean() < 240


def test_stalled_runs_that_had_succeeded_are_told_apart():
    # Two of three stalled runs ended with accuracy 1, and so did the one that the cap cut off.
    found = censored([10, 20, 30, 40, 50], [CONVERGED, STALLED, STALLED, STALLED, CAP], [1, 1, 1, 0.75, 1])
    assert found.stopped_short == found.to_dict()["stopped_short"] == 2
    assert "of those stalled 2 had accuracy 1" in found.note
    assert "accuracy" not in censored([10, 20], [CONVERGED, STALLED]).note


def test_each_status_has_its_share_and_its_epochs():
    found = censored([10, 20, 30, 800, 4], [CONVERGED, CONVERGED, STALLED, CAP, DIVERGED])
    assert found.runs == 5 and found.censored == 3
    assert found.ended[CONVERGED].share == Share.of(2, 5)
    assert found.ended[CONVERGED].epochs == Quantiles(10, 12.5, 15, 17.5, 20, 15)
    assert [found.ended[status].epochs for status in (STALLED, CAP, DIVERGED)] == [
        Quantiles(*[epochs] * 6) for epochs in (30, 800, 4)
    ]
    assert "(1 stalled, 1 diverged) as if" in found.note


def test_runs_that_did_not_start_never_converge_in_the_incidence():
    found = censored([0, 0, 20, 30], [UNSTARTED, UNSTARTED, CONVERGED, CONVERGED])
    assert found.ended[UNSTARTED].share == Share.of(2, 4) and found.censored == 2
    assert found.kaplan_meier.median.value == 20 and found.incidence.share.tolist() == [0, 0.25, 0.5]
    assert "(2 unstarted) as if" in found.note
    assert UNSTARTED not in censored([20], [CONVERGED]).ended


@pytest.mark.parametrize(
    ("epochs", "status", "kaplan_meier_median", "incidence_median"),
    [
        ([7], [CONVERGED], (7, 7, None), (7, 7, None)),
        ([7], [STALLED], (None, None, None), (None, 7, None)),
        ([7] * 50, [CONVERGED] * 50, (7, 7, None), (7, 7, 7)),
        ([0] * 50, [CAP] * 50, (None, None, None), (None, None, None)),
        (range(50), [DIVERGED] * 50, (None, None, None), (None, None, None)),
        (range(1, 51), [CONVERGED] * 50, (25, 18, 32), (25, 19, 32)),
    ],
    ids=["one run", "one stalled", "all tied", "no epochs", "none converged", "all converged"],
)
def test_few_runs_ties_and_none_or_all_censored(epochs, status, kaplan_meier_median, incidence_median):
    found = censored(epochs, status)
    assert found.kaplan_meier.median == kaplan_meier_median
    assert found.incidence.median == incidence_median
    table = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert table["runs"] == len(status) and table["kaplan_meier"]["median"]["value"] == kaplan_meier_median[0]
    assert table["incidence"]["times"] == table["kaplan_meier"]["times"] == sorted(set(epochs))


def test_where_the_formula_says_nothing_the_band_stays_as_it_was():
    curve = kaplan_meier([1, 2, 3, 4], [False, True, True, True])
    assert (curve.low[0], curve.high[0]) == (1, 1)
    assert (curve.low[-1], curve.high[-1]) == (0, curve.high[-2]) and 0 < curve.high[-2] < 1


def test_a_product_that_is_rounded_still_finds_the_half():
    epochs = [2, 2, 3, 3, 5, 8, 9, 10, 10, 11]
    curve = kaplan_meier(epochs, [True] * 9 + [False])
    assert curve.survival[2] > 0.5 and curve.survival[2] == pytest.approx(0.5, abs=1e-15)  # 8/10 * 6/8 * 5/6
    assert curve.median.value == 5


@pytest.mark.parametrize(
    ("epochs", "converged", "sentence"),
    [
        ([], [], "there are no runs"),
        ([1, 2], [True], r"must be as many, got shapes \(2,\) and \(1,\)"),
        ([1.5], [True], "must be whole numbers from 0"),
        ([-1], [True], "must be whole numbers from 0"),
        ([1], [0], "must be true or false for each run, got int64"),
    ],
)
def test_impossible_runs_are_refused(epochs: list[float], converged: list[Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        kaplan_meier(epochs, converged)


def test_impossible_confidence_and_mixed_caps_are_refused():
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 95"):
        kaplan_meier([1], [True], 95)
    for epochs in ([100, 200], [100, 150]):
        with pytest.raises(ValueError, match=f"different epoch caps, from 100 to {epochs[1]} epochs"):
            cumulative_incidence(epochs, [CAP, CAP if epochs[1] == 200 else CONVERGED])
