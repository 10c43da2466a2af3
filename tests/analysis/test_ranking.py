"""What selections would do, against doing them: all subsets, all samples, closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxor.analysis.ranking import Ranking, recommend, threshold_error

RANDOM = np.random.default_rng(0)
LOSS, SUCCESS = RANDOM.permutation(9).astype(float), RANDOM.integers(0, 2, 9)
STEPS, EPOCHS = RANDOM.integers(1, 50, 9), RANDOM.integers(1, 50, 9)


def ranking() -> Ranking:
    return Ranking.of(LOSS, SUCCESS, STEPS, EPOCHS)


@pytest.mark.parametrize("k", range(1, 10))
def test_the_best_of_k_is_the_mean_over_all_subsets(k: int):
    chosen = [min(some, key=lambda i: LOSS[i]) for some in itertools.combinations(range(9), k)]
    found = ranking().best_of(k)
    assert found.success == pytest.approx(SUCCESS[chosen].mean())
    assert found.steps == pytest.approx(STEPS[chosen].mean())
    succeeded = [i for i in chosen if SUCCESS[i]]
    assert found.epochs == (pytest.approx(EPOCHS[succeeded].mean()) if succeeded else None)
    assert found.draws == k


def test_one_of_one_is_the_plain_mean_with_wilsons_interval():
    from jaxor.estimates import wilson

    found = ranking().best_of(1)
    assert found.interval == pytest.approx(wilson(int(SUCCESS.sum()), 9))


@pytest.mark.parametrize(("share", "k"), [(0.002, 50), (0.01, 10), (0.3, 5)])
def test_intervals_cover_where_only_the_lowest_losses_succeed(share: float, k: int):
    random, one, covered = np.random.default_rng(0), np.ones(5000), 0
    for _ in range(500):
        loss = random.random(5000)
        low, high = Ranking.of(loss, loss < share, one, one).best_of(k).interval
        covered += low <= 1 - (1 - share) ** k <= high
    assert 0.92 < covered / 500


def test_the_lowest_share_is_the_mean_of_the_lowest_runs():
    order = np.argsort(LOSS)
    found = ranking().below(1 / 3)
    assert found.success == pytest.approx(SUCCESS[order[:3]].mean())
    assert found.steps == pytest.approx(STEPS[order[:3]].mean())
    assert found.draws == pytest.approx(3)


def test_a_cost_is_all_draws_and_steps_for_the_successes():
    found = ranking().best_of(3)
    assert found.cost(10) == pytest.approx((30 + found.steps) / found.success)
    none = Ranking.of([1, 2], [0, 0], [5, 5], [5, 5]).best_of(1)
    assert none.cost(1) == float("inf") and none.epochs is None


def test_recommended_is_the_cheapest():
    for one in recommend(ranking(), [0.0, 5.0], range(1, 10), [1.0, 1 / 3, 1 / 9]):
        assert one.best_of == min(ranking().best_of(k).cost(one.draw_cost) for k in range(1, 10))
        assert one.best_of == ranking().best_of(one.k).cost(one.draw_cost)
        assert one.below == min(ranking().below(s).cost(one.draw_cost) for s in (1.0, 1 / 3, 1 / 9))
        assert one.control == ranking().best_of(1).cost(one.draw_cost)


@pytest.mark.parametrize(("sample", "share"), [(100, 0.01), (100, 0.1), (300, 0.05)])
def test_the_error_of_a_threshold_is_that_of_many_samples(sample: int, share: float):
    """Of uniform losses the share below a threshold is the threshold."""
    n = 100_000
    uniform = Ranking.of(np.arange(n) / n, np.arange(n) < n / 20, np.ones(n), np.ones(n))
    found = threshold_error(uniform, sample, share)
    rank = max(int(np.ceil(share * sample)), 1)
    drawn = np.sort(np.random.default_rng(1).random((20_000, sample)), axis=1)[:, rank - 1]
    for end, quantile in zip(found.true, (0.05, 0.5, 0.95), strict=True):
        assert np.mean(drawn <= end) == pytest.approx(quantile, abs=5 * 0.5 / np.sqrt(20_000))
    assert found.success == pytest.approx([min(1, 0.05 / end) for end in found.true], rel=0.02)
    if found.draws is None:
        assert rank == 1  # the mean of 1 / Beta(1, n) does not exist
    else:
        assert found.draws == pytest.approx(np.mean(1 / drawn), rel=0.05)
        assert found.draws == pytest.approx(stats.beta(rank, sample + 1 - rank).expect(lambda u: 1 / u))


def test_success_below_a_threshold_is_not_said_of_few_runs():
    n = 10_000
    found = threshold_error(Ranking.of(np.arange(n), np.ones(n), np.ones(n), np.ones(n)), 100, 0.01)
    assert found.true[0] * n < 6 and np.isnan(found.success[0]) and found.success[1:] == (1, 1)


def test_what_cannot_be_ranked():
    with pytest.raises(ValueError, match="there are no runs"):
        Ranking.of([], [], [], [])
    with pytest.raises(ValueError, match="the best of 10 needs at least 10 runs"):
        ranking().best_of(10)
    with pytest.raises(ValueError, match="must be above 0 and at most 1, got 0"):
        ranking().below(0)
    last = Ranking.of([np.nan, 1.0], [1, 0], [1, 1], [1, 1])
    assert last.below(0.5).success == 0  # NaN is no low loss
