"""Conformal intervals: on fresh runs they cover as often as they say, whatever the errors look like."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

import jaxor
from jaxor.analysis.conformal import Conformal
from jaxor.analysis.design import Design
from jaxor.analysis.judge import Judge
from jaxor.analysis.judgement import Candidate, forecast
from jaxor.analysis.rows import rows_of
from jaxor.store.run import Run

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def even(random: np.random.Generator, runs: int) -> Sample:
    """Errors of a run share a part; runs have 1 to 30 rows."""
    groups = np.repeat(np.arange(runs), random.integers(1, 31, runs))
    predicted = random.uniform(0, 100, len(groups))
    error = random.normal(size=runs)[groups] + random.normal(size=len(groups))
    return predicted, predicted + error, groups


def heteroscedastic(random: np.random.Generator, runs: int) -> Sample:
    """Errors grow with what is forecast, and long runs are further off than short ones."""
    predicted, actual, groups = even(random, runs)
    length = np.bincount(groups)[groups] / 15
    return predicted, predicted + (actual - predicted) * (0.1 + predicted / 20) * length, groups


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("draw", [even, heteroscedastic])
def test_fresh_runs_are_covered_as_often_as_said(draw: Callable[..., Sample], level: float):
    random = np.random.default_rng(0)
    coverage = [Conformal.calibrate(*draw(random, 300), level).coverage(*draw(random, 1000)) for _ in range(40)]
    assert np.mean(coverage) == pytest.approx(level, abs=0.02)


def test_few_runs_are_covered_too():
    """In one bin with n runs, no more than 1 / (n + 1) above the level."""
    random = np.random.default_rng(1)
    coverage = [Conformal.calibrate(*even(random, 19), 0.8).coverage(*even(random, 200)) for _ in range(400)]
    assert 0.78 < np.mean(coverage) < 0.80 + 1 / 20 + 0.02


def test_wide_forecasts_have_wide_intervals_where_errors_grow():
    random = np.random.default_rng(2)
    found = Conformal.calibrate(*heteroscedastic(random, 500), 0.9)
    assert len(found.halfwidths) == 10 and len(found.edges) == 9
    assert found.halfwidths[-1] > 5 * found.halfwidths[0]
    predicted, actual, groups = heteroscedastic(random, 2000)
    for low, high in ((0, 20), (80, 100)):
        some = (predicted >= low) & (predicted < high)
        assert found.coverage(predicted[some], actual[some], groups[some]) == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize(
    ("runs", "level", "finite"), [(9, 0.9, True), (8, 0.9, False), (19, 0.95, True), (18, 0.95, False)]
)
def test_too_few_runs_for_the_level_have_infinite_intervals(runs: int, level: float, finite: bool):
    found = Conformal.calibrate(np.zeros(runs), np.arange(1.0, runs + 1), np.arange(runs), level)
    assert found.halfwidths == ((float(runs) if finite else math.inf),)
    low, high = found.interval([5.0])
    assert (low[0], math.isfinite(high[0])) == (0, finite)


def test_the_halfwidth_is_that_of_a_loop():
    """The smallest error within which the runs' shares of rows add up to level * (runs + 1)."""
    predicted, actual, groups = even(np.random.default_rng(3), 40)
    error = np.abs(actual - predicted)
    (found,) = Conformal.calibrate(predicted, actual, groups, 0.8).halfwidths
    for width in np.sort(error):
        if sum(np.mean(error[groups == run] <= width) for run in range(40)) >= 0.8 * 41 - 1e-9:
            assert found == width
            break


def test_repeated_rows_of_a_run_do_not_count_more():
    predicted, actual, groups = even(np.random.default_rng(4), 40)
    again = np.repeat(np.arange(len(groups)), 7)
    assert Conformal.calibrate(predicted[again], actual[again], groups[again]).halfwidths == pytest.approx(
        Conformal.calibrate(predicted, actual, groups).halfwidths
    )


def test_no_bin_is_empty_where_forecasts_are_equal():
    random = np.random.default_rng(5)
    for predicted in (np.full(500, 3.0), np.repeat([1.0, 2.0], [270, 230]), random.integers(0, 4, 500).astype(float)):
        found = Conformal.calibrate(predicted, predicted + random.normal(size=500), np.arange(500))
        assert len(found.halfwidths) == len(found.edges) + 1 == len(np.unique(predicted))
        assert np.isfinite(found.interval([-1.0, *predicted, 9.0])).all()


def test_intervals_do_not_go_below_zero_epochs():
    found = Conformal(0.9, (), (5.0,))
    low, high = found.interval([2.0, 10.0])
    assert (low.tolist(), high.tolist()) == ([0, 5], [7, 15])


def test_coverage_counts_runs_and_not_rows():
    found = Conformal(0.9, (), (1.0,))
    assert found.coverage([5, 5, 5, 5], [5, 5, 5, 9], [1, 1, 1, 2]) == 0.5


def test_it_goes_through_json_and_back():
    for found in (
        Conformal(0.9, (1.5, 2.5), (0.5, 0.25, math.inf)),
        Conformal.calibrate(*even(np.random.default_rng(6), 200)),
    ):
        assert Conformal.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


@pytest.mark.parametrize("level", [0.0, 1.0, -1, 95])
def test_impossible_levels_are_refused(level: float):
    with pytest.raises(ValueError, match=f"level must be between 0 and 1, got {level}"):
        Conformal.calibrate([1.0], [1.0], [0], level)


def test_intervals_of_limited_models_are_those_of_as_many_rows_as_the_kept_one_has():
    """Folds learn from fewer rows, err more, and would give intervals that hold nearly everything."""
    first, fresh = (Design(rows_of(run), run.param_names, run.manifest.experiment) for run in map(simulated, (0, 1)))
    tree = Candidate("tree", "causal", DecisionTreeRegressor(random_state=0), first.base, 20_000)
    judge = Judge(first, np.zeros(len(first), bool), folds=5, fold_rows=300, level=0.9, random_state=0)
    judged = judge.judge(tree)
    predicted = forecast(judged.estimator, tree, fresh, np.arange(len(fresh)))
    found = judged.conformal.coverage(predicted, fresh.rows.remaining, fresh.rows.seed)
    by_folds = Conformal.calibrate(judged.predicted, judge.actual, judge.groups, 0.9)
    assert 0.8 < found < 0.97 < 0.98 < by_folds.coverage(predicted, fresh.rows.remaining, fresh.rows.seed)


def simulated(part: int) -> Run:
    found = jaxor.simulate("relu1_convergence", range(400 * part, 400 * part + 400), devices=1)
    assert isinstance(found, Run)
    return found
