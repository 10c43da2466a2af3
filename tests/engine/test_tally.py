"""Counts are those that NumPy makes of the runs, whatever was counted together and in whatever order."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from jaxor.engine.block import Block
from jaxor.engine.seeds import compress
from jaxor.engine.tally import Histogram, Tally, loss_bin, loss_of

FLOATS = st.floats(width=32)
EDGES = np.array([0.0, -0.0, 1e-45, -1e-45, 3e-39, 1, 1.0078125, np.inf, -np.inf, np.nan], np.float32)


def block(seeds: Any) -> Block:
    """Runs of any kind, each depending on its seed alone; epochs differ widely and some losses are not finite."""
    seeds = np.asarray(seeds, np.int64)
    state = [np.random.default_rng(seed) for seed in seeds]
    epochs = np.array([int(10 ** random.uniform(0, 9)) for random in state], np.int32)
    first, last = (np.array([random.choice(EDGES) * random.integers(1, 3) for random in state], "f4") for _ in "ab")
    status = np.array([random.integers(4) for random in state], np.int8)
    accuracy = np.array([random.choice([0.5, 0.75, 1, np.nan]) for random in state], np.float32)
    return Block(seeds, status, epochs, epochs, first, last, accuracy, None, None, None)


@settings(deadline=None)
@given(st.data(), st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=30))
def test_any_partition_in_any_order_gives_the_same_counts(data: st.DataObject, seeds: list[int]) -> None:
    whole = Tally.of(block(seeds))
    parts: dict[int, list[int]] = {}
    for seed in data.draw(st.permutations(seeds)):
        parts.setdefault(data.draw(st.integers(0, 5)), []).append(seed)
    tallies = [Tally.of(block(part)) for part in parts.values()]
    assert reduce(add, tallies) == whole == reduce(lambda total, part: part + total, tallies, Tally.empty())
    assert whole.seeds == compress(np.array(seeds)) and len(whole) == len(seeds) == whole.runs.sum()
    assert whole + Tally.empty() == whole


def test_counts_are_those_of_numpy() -> None:
    runs = block(range(500))
    tally = Tally.of(runs)
    success = runs.final_accuracy == 1
    assert tally.successes == success.sum()
    for histogram, numbers in (
        (tally.epochs, runs.epochs),
        (tally.initial_loss, loss_bin(runs.initial_loss)),
        (tally.final_loss, loss_bin(runs.final_loss)),
    ):
        assert_array_equal(histogram.values, np.unique(numbers))
        for status in range(4):
            for solved in (0, 1):
                group = numbers[(runs.status == status) & (success == solved)]
                expected = [np.count_nonzero(group == value) for value in histogram.values]
                assert_array_equal(histogram.counts[:, status, solved], expected)


def test_a_run_counts_once() -> None:
    with pytest.raises(ValueError, match="in common"):
        _ = Tally.of(block([1, 2])) + Tally.of(block([2, 3]))


def test_different_counts_differ() -> None:
    assert Tally.of(block([1, 2])) != Tally.of(block([1, 3]))
    assert Tally.of(block([1])).epochs != "counts"


def test_no_runs() -> None:
    assert Tally.of(block([])) == Tally.empty() and len(Tally.empty()) == 0 == Tally.empty().successes


@given(FLOATS, FLOATS)
def test_bins_ascend_with_the_loss(one: float, other: float) -> None:
    bins = loss_bin([one, other])
    if one <= other:
        assert bins[0] <= bins[1]
    first, second = (np.float32(x).view(np.int32) >> 16 for x in (one, other))
    if not np.isnan([one, other]).any() and one * other != 0:
        assert (bins[0] == bins[1]) == (first == second)


@given(FLOATS)
def test_the_middle_of_a_bin_is_near_its_losses(loss: float) -> None:
    middle = loss_of(loss_bin(loss))
    assert loss_bin(middle) == loss_bin(loss)
    if np.isfinite(loss) and abs(loss) >= np.finfo(np.float32).tiny:
        assert abs(float(middle) - loss) <= abs(loss) / 256
    elif np.isfinite(loss):
        assert abs(float(middle) - loss) <= 2.0**-133
    else:
        assert_array_equal(middle, np.float32(loss))


def test_every_bin_has_a_loss() -> None:
    bins = np.arange(int(loss_bin(-np.inf)), int(loss_bin(np.nan)) + 1)
    assert_array_equal(loss_bin(loss_of(bins)), bins)
    assert np.all(np.diff(loss_of(bins)[:-1]) > 0) and np.isnan(loss_of(bins)[-1])


def test_special_losses() -> None:
    assert loss_bin([0.0, -0.0]).tolist() == [0, 0] and loss_of(0) == 0
    assert len({*loss_bin([np.nan, -np.nan, np.float64("nan")]).tolist()}) == 1
    # Losses in float64 are rounded to float32 first: 0.1 lies between two of them.
    assert loss_bin(np.float64(0.1)) == loss_bin(np.float32(0.1))
    assert loss_of(loss_bin(np.array([1e300, -1e300]))).tolist() == [np.inf, -np.inf]


def test_histograms_of_small_and_of_wide_ranges_agree() -> None:
    group = np.array([0, 7, 0, 3])
    near, far = np.array([5, 6, 5, 9]), np.array([5, 600, 5, 90_000])
    dense, sparse = Histogram.of(near, group), Histogram.of(far, group)
    assert dense.values.tolist() == [5, 6, 9] and sparse.values.tolist() == [5, 600, 90_000]
    assert_array_equal(dense.counts[:2], sparse.counts[:2])
    assert dense.counts[0, 0, 0] == 2 and dense.counts[1, 3, 1] == 1 == dense.counts[2, 1, 1]
