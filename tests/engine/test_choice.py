"""Finding the draws of a selection: against a plain loop over the draws of each run."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from jaxor.engine.choice import ENOUGH, HOPELESS, NoAcceptableDraw, choose

SEEDS = np.array([5, 3, 2**32 - 1, 8, 40, 41, 7])


class Scores:
    """A table of scores and of draws made, by place of the seed and number of the draw; counts what is looked up."""

    def __init__(self, score: NDArray[Any], made: NDArray[np.int32]) -> None:
        self.score, self.made, self.looked_up = score, made, 0

    def __call__(self, seeds: NDArray[np.int64], numbers: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.int32]]:
        place = np.array([SEEDS.tolist().index(seed) for seed in seeds.tolist()])
        assert seeds.shape == numbers.shape and 0 <= numbers.min() and numbers.max() < self.score.shape[1]
        self.looked_up += len(seeds)
        return self.score[place, numbers], self.made[place, numbers]


def by_hand(table: Scores, below: float, most: int, lowest: bool) -> list[tuple[int | None, int]]:
    """The draw that each run takes, if any, and how many were made."""
    found = []
    for scores, made in zip(table.score.tolist(), table.made.tolist(), strict=True):
        best, chosen, draws = math.inf, None, 0
        for number in range(most):
            draws += made[number]
            if scores[number] < best:
                best, chosen = scores[number], number
            if scores[number] < below:
                break
        found.append((chosen if lowest or best < below else None, draws))
    return found


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("below", [-math.inf, 0.02, 0.3, 2.0])
@pytest.mark.parametrize("most", [1, 7, 150])
@pytest.mark.parametrize("at_once", [1, 16, 5000])
def test_it_is_a_plain_loop(lowest: bool, below: float, most: int, at_once: int) -> None:
    rng = np.random.default_rng(most)
    score = rng.random((len(SEEDS), most)).astype(np.float32)
    score[rng.random(score.shape) < 0.2] = np.nan
    score[rng.random(score.shape) < 0.1] = np.inf
    score[3] = np.nan  # a run that never has an acceptable draw
    table = Scores(score, rng.integers(1, 2**31, score.shape, np.int32))
    chosen = choose(table, SEEDS, below, most, lowest, at_once, "made up")
    expected = by_hand(table, below, most, lowest)
    assert chosen.found.tolist() == [draw is not None for draw, _ in expected]
    assert chosen.draws.tolist() == [draws for _, draws in expected]
    assert chosen.draw[chosen.found].tolist() == [draw for draw, _ in expected if draw is not None]


def test_ties_go_to_the_first_draw() -> None:
    table = Scores(np.array([[0.5, 0.25, 0.25, 0.5]] * len(SEEDS)), np.ones((len(SEEDS), 4), np.int32))
    for at_once in (1, 1000):
        assert (choose(table, SEEDS, -math.inf, 4, True, at_once, "made up").draw == 1).all()
        assert (choose(table, SEEDS, 0.6, 4, False, at_once, "made up").draw == 0).all()


def test_a_score_at_the_limit_is_not_below_it() -> None:
    limit = 0.0724  # as float32 a little less than as float64
    table = Scores(np.full((len(SEEDS), 1), limit, np.float32), np.ones((len(SEEDS), 1), np.int32))
    assert not choose(table, SEEDS, limit, 1, False, 16, "made up").found.any()


def test_few_draws_are_scored_in_vain() -> None:
    """Up to a quarter of the expected number for each run, and what the machine does at once for the last ones."""
    seeds, rng = np.arange(4000), np.random.default_rng(0)
    needed = rng.geometric(0.01, len(seeds))
    looked_up = 0

    def scores(seeds: NDArray[np.int64], numbers: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.int32]]:
        nonlocal looked_up
        looked_up += len(seeds)
        return np.where(numbers == needed[seeds] - 1, -1.0, 1.0), np.ones(len(seeds), np.int32)

    chosen = choose(scores, seeds, 0.0, 10**6, False, 4096, "made up")
    assert_array_equal(chosen.draws, needed)
    assert needed.sum() < looked_up < 1.25 * needed.sum() + 20 * 4096


def hopeless(seeds: NDArray[np.int64], numbers: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    return np.ones(len(seeds)), np.ones(len(seeds), np.int32)


def test_a_hopeless_selection_is_given_up() -> None:
    most = 10**5
    with pytest.raises(NoAcceptableDraw) as caught:
        choose(hopeless, np.arange(10_000), 0.0, most, False, 10**5, "made_up")
    error = caught.value
    assert HOPELESS * most <= error.tried < 1.2 * HOPELESS * most and error.most == most
    assert str(error) == (
        f"the initializer of made_up found none of {error.tried:,} draws acceptable, so the probability of one that is "
        "lies below 3e-07 (95 %) and a run that may take 100,000 would hardly ever start; relax its condition or raise "
        "init.max_draws"
    )
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own; workers of a cluster do it)
    assert (str(again), again.tried, again.most) == (str(error), error.tried, most)


@pytest.mark.parametrize(("runs", "most", "lowest"), [(99, 10**4, False), (5000, 150, False), (5000, 300, True)])
def test_too_little_evidence_is_no_reason_to_give_up(runs: int, most: int, lowest: bool) -> None:
    """Too few runs, too few draws, or a selection that takes the best there is."""
    chosen = choose(hopeless, np.arange(runs), 0.0, most, lowest, 10**5, "made up")
    assert (chosen.draws == most).all() and (chosen.found == lowest).all()
    assert lowest or runs * most < max(HOPELESS * most, ENOUGH)
