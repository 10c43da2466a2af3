"""Judgement on runs not seen: a planted leak shows, folds never cut a run, intervals cover the truth."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score

from jaxor import get_experiment
from jaxor.analysis.design import Design
from jaxor.analysis.judgement import (
    Candidate,
    Errors,
    fitted,
    forecast,
    group_folds,
    held_out,
    out_of_fold,
    row_folds,
    verdict,
    whole_runs,
)
from jaxor.analysis.rows import Rows

RUNS = st.lists(st.integers(1, 30), min_size=2, max_size=40)
"""Numbers of rows of each run."""


def design(state: np.ndarray, remaining: np.ndarray, seed: np.ndarray) -> Design:
    """Planted states in place of parameters."""
    zeros, none = np.zeros(len(seed)), np.empty((len(seed), 0))
    rows = Rows(seed, zeros.astype(np.int32), remaining, state, np.zeros_like(state), zeros, zeros, zeros, none)
    names = [f"weight[{place}]" for place in range(state.shape[1])]
    return Design(rows, names, get_experiment("relu1_normal").to_dict())


def groups_of(sizes: list[int]) -> np.ndarray:
    """Rows of runs whose seeds are neither consecutive nor in order."""
    seeds = np.random.default_rng(len(sizes)).permutation(10 * len(sizes))[: len(sizes)]
    return np.repeat(seeds, sizes)


def planted(offset: float) -> Design:
    """100 runs of 20 rows: epochs follow the second column, but for an offset that a run's identity gives away."""
    random = np.random.default_rng(0)
    seed = np.repeat(np.arange(100), 20)
    identity, progress = random.normal(size=100)[seed], random.uniform(0, 20, size=2000)
    own = random.normal(size=100)[seed]
    return design(np.column_stack([identity, progress, own]), 20 - progress + offset * own, seed)


def scores(planted: Design, estimator: Any) -> tuple[float, float]:
    """R2 by folds of rows and by folds of runs."""
    candidate = Candidate("planted", "sound", estimator, ("state(weight[0])", "state(weight[1])"))
    index, seeds, actual = np.arange(len(planted)), planted.rows.seed, planted.rows.remaining
    return tuple(
        Errors(actual, out_of_fold(candidate, planted, index, list(folds)), seeds).r2()
        for folds in (row_folds(len(planted), 10), group_folds(seeds, 10))
    )  # type: ignore[return-value]


def test_a_planted_leak_shows_as_a_gap_between_scores_by_rows_and_by_runs():
    """With an offset of 8 most of the variance is the runs' own, which says nothing of new runs."""
    forest = RandomForestRegressor(10, random_state=0)
    by_rows, by_runs = scores(planted(8.0), forest)
    assert by_rows > 0.7 and by_runs < 0.1
    by_rows, by_runs = scores(planted(0.0), forest)
    assert by_runs > 0.999 and abs(by_rows - by_runs) < 1e-3


def test_a_model_that_cannot_tell_runs_apart_has_next_to_no_gap():
    by_rows, by_runs = scores(planted(4.0), LinearRegression())
    assert by_rows == pytest.approx(by_runs, abs=0.03)


@given(RUNS, st.integers(2, 10))
def test_group_folds_never_cut_a_run_and_forecast_each_row_once(sizes: list[int], folds: int):
    groups = groups_of(sizes)
    folds = min(folds, len(sizes))
    seen = []
    for train, test in group_folds(groups, folds):
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == len(groups) and len(train) and len(test)
        seen += test.tolist()
    assert sorted(seen) == list(range(len(groups)))


def test_row_folds_cut_runs_as_the_article_does():
    groups = groups_of([20] * 10)
    for train, test in row_folds(len(groups), 10):
        assert set(groups[test]) <= set(groups[train])


@given(RUNS, st.floats(0, 0.99), st.integers(0, 3))
def test_held_out_runs_are_whole(sizes: list[int], share: float, state: int):
    groups = groups_of(sizes)
    out = held_out(groups, share, state)
    assert not set(groups[out]) & set(groups[~out])
    assert len(set(groups[out])) == round(share * len(sizes))


@given(RUNS, st.integers(1, 600), st.integers(0, 3))
def test_whole_runs_never_cut_a_run_nor_exceed_the_limit_with_more_than_two(sizes: list[int], limit: int, state: int):
    groups = groups_of(sizes)
    rows = whole_runs(groups, limit, state)
    chosen = set(groups[rows])
    assert rows.tolist() == np.flatnonzero(np.isin(groups, list(chosen))).tolist()
    assert len(rows) <= limit or len(chosen) == 2  # with fewer no model could choose on whole runs
    left = [size for seed, size in zip(*np.unique(groups, return_counts=True), strict=True) if seed not in chosen]
    assert not left or len(rows) + max(left) > limit  # no room for all others


def test_all_runs_are_drawn_equally_often():
    groups = np.repeat(np.arange(20), 5)
    drawn = [np.unique(groups[whole_runs(groups, 50, state)]) for state in range(400)]
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    assert abs(counts / 400 - 0.5).max() < 5 * math.sqrt(0.25 / 400)
    assert len(whole_runs(groups, None)) == 100


@given(st.integers(2, 200), st.integers(0, 5))
def test_scores_are_those_of_scikit_learn(rows: int, state: int):
    random = np.random.default_rng(state)
    actual = random.normal(1e6, 3, rows)  # squares of which cancel
    predicted, groups = actual + random.normal(size=rows), random.integers(0, 5, rows)
    errors = Errors(actual, predicted, groups)
    assert errors.r2() == pytest.approx(r2_score(actual, predicted), abs=1e-9)
    assert errors.mae() == pytest.approx(mean_absolute_error(actual, predicted), rel=1e-9)


def test_a_constant_target_has_no_r2():
    errors = Errors([3.0, 3.0], [1.0, 2.0], [0, 1])
    assert math.isnan(errors.r2()) and errors.mae() == 1.5


def test_one_run_has_no_interval():
    interval = Errors([1.0, 2.0], [1.0, 1.0], [5, 5]).mae_interval()
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert verdict(interval) == "undecided"


def test_the_bootstrap_is_that_of_a_loop_over_resampled_runs():
    random = np.random.default_rng(0)
    groups = random.integers(0, 30, 300)
    actual, predicted = random.normal(size=(2, 300))
    errors = Errors(actual, predicted, groups)
    drawn = np.random.default_rng(1).integers(0, 30, (2000, 30))
    found = []
    for runs in drawn:
        rows = np.concatenate([np.flatnonzero(groups == run) for run in runs])
        errors_of = predicted[rows] - actual[rows]
        found.append((1 - np.mean(errors_of**2) / actual[rows].var(), np.abs(errors_of).mean()))
    expected = np.quantile(found, [0.025, 0.975], axis=0)
    spread = expected[1] - expected[0]
    for interval, wanted, width in zip((errors.r2_interval(), errors.mae_interval()), expected.T, spread, strict=True):
        assert abs(np.array(interval) - wanted).max() < 0.1 * width


def test_intervals_are_the_same_again_and_others_with_another_state():
    random = np.random.default_rng(0)
    errors = Errors(random.normal(size=200), random.normal(size=200), np.repeat(np.arange(20), 10))
    assert errors.mae_interval(3) == errors.mae_interval(3) != errors.mae_interval(4)


# Synthetic truth: a run's errors share a part, runs have 10 to 40 rows.

TRIALS, RUNS_EACH = 500, 200  # with half the runs percentiles cover about 94 %, with a quarter 92.5 %


def synthetic(random: np.random.Generator, runs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, runs and the errors of two models that are equally good."""
    groups = np.repeat(np.arange(runs), random.integers(10, 41, runs))
    actual = 10 + 3 * random.normal(size=runs)[groups] + 3 * random.normal(size=len(groups))
    shared, own = random.normal(size=(2, runs)), random.normal(size=(2, len(groups)))
    return actual, groups, shared[:, groups] + own


@cache
def trials() -> list[tuple[Errors, Errors]]:
    random = np.random.default_rng(2024)
    found = []
    for _ in range(TRIALS):
        actual, groups, errors = synthetic(random, RUNS_EACH)
        found.append((Errors(actual, actual + errors[0], groups), Errors(actual, actual + errors[1], groups)))
    return found


@pytest.mark.full
def test_intervals_cover_the_truth():
    actual, _, errors = synthetic(np.random.default_rng(7), 200_000)
    truth = {"r2": 1 - np.square(errors).mean() / actual.var(), "mae": np.abs(errors).mean()}
    for name, true in truth.items():
        intervals = [getattr(first, f"{name}_interval")(number) for number, (first, _) in enumerate(trials())]
        covered = np.mean([low <= true <= high for low, high in intervals])
        assert 0.93 <= covered <= 0.97, (name, covered)


def test_rows_taken_for_independent_would_cover_far_less():
    """Why runs are resampled."""
    true, covered = np.sqrt(2) * np.sqrt(2 / np.pi), 0
    for number in range(60):
        actual, _, errors = synthetic(np.random.default_rng(number), 30)
        low, high = Errors(actual, actual + errors[0], np.arange(len(actual))).mae_interval()
        covered += low <= true <= high
    assert covered / 60 < 0.8


def test_models_that_are_equally_good_are_told_apart_in_one_of_twenty_trials():
    verdicts = [verdict(a.mae_difference(b, number)[1]) for number, (a, b) in enumerate(trials())]
    wrong = np.mean([answer != "undecided" for answer in verdicts])
    assert 0.02 <= wrong <= 0.08, wrong


def test_a_better_model_is_found():
    random = np.random.default_rng(0)
    actual, groups, errors = synthetic(random, RUNS_EACH)
    good, bad = Errors(actual, actual + errors[0], groups), Errors(actual, actual + 2 * errors[0], groups)
    difference, interval = good.mae_difference(bad)
    assert difference == pytest.approx(-np.abs(errors[0]).mean()) and interval.low < difference < interval.high
    assert (verdict(interval), verdict(bad.mae_difference(good)[1])) == ("yes", "no")


class Watching(RegressorMixin, BaseEstimator):
    """Remembers what it was fitted on, and forecasts the first column."""

    def fit(self, X: Any, y: Any) -> Watching:
        self.X_, self.y_ = np.asarray(X), np.asarray(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.asarray(X)[:, 0]


class Grouped(Watching):
    """Also asks for runs."""

    def fit(self, X: Any, y: Any, groups: Any = None) -> Grouped:
        self.groups_ = groups
        return super().fit(X, y)  # type: ignore[return-value]


def test_a_model_learns_from_whole_runs_within_its_limit_and_only_from_the_rows_given():
    some = planted(1.0)
    index = np.flatnonzero(some.rows.seed % 2 == 0)
    candidate = Candidate("watching", "sound", Watching(), ("state(weight[1])",), limit=110)
    estimator, used = fitted(candidate, some, index)
    assert len(used) == 100 and set(used) <= set(index)
    assert (np.unique(some.rows.seed[used], return_counts=True)[1] == 20).all()
    np.testing.assert_array_equal(estimator.X_[:, 0], some.rows.state[used, 1])
    np.testing.assert_array_equal(estimator.y_, some.rows.remaining[used])
    assert not hasattr(candidate.estimator, "X_")  # a copy was fitted


def test_runs_are_given_to_who_asks_for_them():
    from sklearn import config_context

    some = planted(1.0)
    with config_context(enable_metadata_routing=True):
        asking = Grouped().set_fit_request(groups=True)  # type: ignore[attr-defined]
        silent = Grouped().set_fit_request(groups=False)  # type: ignore[attr-defined]
    index = np.arange(40, 80)
    for estimator, expected in ((asking, some.rows.seed[index]), (silent, None)):
        found, _ = fitted(Candidate("grouped", "sound", estimator, ("state(weight[1])",)), some, index)
        np.testing.assert_array_equal(found.groups_, expected)


def test_forecasts_come_in_the_order_of_the_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jaxor.analysis.judgement.CHUNK", 64)
    some = planted(1.0)
    candidate = Candidate("watching", "sound", Watching(), ("state(weight[1])",))
    index = np.random.default_rng(0).permutation(len(some))[:1000]
    np.testing.assert_array_equal(forecast(Watching(), candidate, some, index), some.rows.state[index, 1])
    assert forecast(Watching(), candidate, some, index[:0]).shape == (0,)
    folds = list(group_folds(some.rows.seed[index], 5))
    np.testing.assert_array_equal(out_of_fold(candidate, some, index, folds), some.rows.state[index, 1])


class Exploding(Watching):
    """Forecasts what exponentials of a diverging model come to."""

    def predict(self, X: Any) -> Any:
        return np.resize([1e200, -1e200, np.inf, -np.inf, np.nan, 5.0], len(X))


def test_forecasts_without_a_finite_square_are_none():
    some = planted(1.0)
    candidate = Candidate("exploding", "sound", Exploding(), ("state(weight[1])",))
    found = forecast(Exploding(), candidate, some, np.arange(6))
    np.testing.assert_array_equal(found, [np.nan] * 5 + [5.0])


class Enormous(RegressorMixin, BaseEstimator):
    """Takes more memory than there is, as a kernel of hundreds of thousands of rows does."""

    def fit(self, X: Any, y: Any) -> Any:
        raise MemoryError


def test_a_model_without_enough_memory_does_not_end_the_others():
    groups = groups_of([3, 3])
    rows = design(np.arange(12.0).reshape(6, 2), np.arange(6.0), groups)
    estimator, _ = fitted(Candidate("big", "published", Enormous(), ("L2",)), rows, np.arange(6))
    assert estimator.reason == "MemoryError" and np.isnan(estimator.predict(np.ones((2, 1)))).all()
