from __future__ import annotations

import bisect
import math
import statistics
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from jaxor.estimates import Distribution, Interval, Quantiles, confidence_sequence, quantiles, wilson

HUGE = np.finfo(np.float64).max
TRIALS = st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_of_the_textbook_cases():
    low, high = wilson(29, 50)
    assert (round(low, 4), round(high, 4)) == (0.4423, 0.7062)
    # At the ends the interval has a closed form: [0, z^2 / (n + z^2)].
    z = statistics.NormalDist().inv_cdf(0.975)
    assert wilson(0, 10).low == 0 and wilson(0, 10).high == pytest.approx(z**2 / (10 + z**2))
    assert wilson(10, 10).high == 1 and wilson(10, 10).low == pytest.approx(10 / (10 + z**2))
    assert wilson(0, 0) == Interval(0.0, 1.0)


@given(TRIALS, st.sampled_from([0.5, 0.9, 0.95]))
def test_wilson_agrees_with_scipy(trials: tuple[int, int], confidence: float):
    expected = scipy.stats.binomtest(*trials).proportion_ci(confidence, "wilson")
    found = wilson(*trials, confidence)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-12)
    assert 0 <= found.low <= trials[0] / trials[1] <= found.high <= 1


@pytest.mark.parametrize("arguments", [(-1, 10), (11, 10), (1, 10, 0.0), (1, 10, 1.0), (1, 10, 95)])
def test_impossible_numbers_are_refused(arguments: tuple[Any, ...]):
    for interval in (wilson, confidence_sequence):
        with pytest.raises(ValueError, match="must be between 0 and"):
            interval(*arguments)


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=50))
def test_quantiles_agree_with_the_standard_library(values: list[float]):
    found = quantiles(values)
    assert found is not None
    q25, q50, q75 = statistics.quantiles(values, method="inclusive")
    assert found == pytest.approx((min(values), q25, q50, q75, max(values), statistics.fmean(values)))


def test_quantiles_of_few_and_of_huge_values():
    assert quantiles([]) is None
    assert quantiles(np.array([7], np.int32)) == Quantiles(7, 7, 7, 7, 7, 7)
    assert quantiles([HUGE, HUGE]) == Quantiles(HUGE, HUGE, HUGE, HUGE, HUGE, HUGE)
    large = np.full(3, np.finfo(np.float32).max)
    assert quantiles(large) == Quantiles(*[float(large[0])] * 6)


def log_ratio(count: int, total: int, p: float) -> float:
    """Logarithm of Robbins' mixture over the likelihood at `p`, by SciPy."""
    mixed = scipy.special.betaln(count + 0.5, total - count + 0.5) - scipy.special.betaln(0.5, 0.5)
    return mixed - scipy.special.xlogy(count, p) - scipy.special.xlog1py(total - count, -p)


@example((134_662_408, 134_662_409), 0.5)  # an end so near to 1 that the ratio is 1e-3 apart at neighbouring numbers
@given(TRIALS, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_confidence_sequence_ends_where_the_ratio_reaches_its_limit(trials: tuple[int, int], confidence: float):
    count, total = trials
    low, high = confidence_sequence(count, total, confidence)
    assert 0 <= low <= count / total <= high <= 1
    assert (low == 0) == (count == 0) and (high == 1) == (count == total)
    limit, rounding = -math.log(1 - confidence), 1e-3  # of the logarithm of the beta function
    for end in {low, high} - {0, 1}:
        inside = math.nextafter(end, count / total)
        assert log_ratio(count, total, inside) - rounding < limit < log_ratio(count, total, end) + rounding


@pytest.mark.parametrize(("count", "total"), [(0, 7), (1, 7), (3, 7), (7, 7), (120, 400)])
def test_the_confidence_sequence_by_brute_force(count: int, total: int):
    grid = np.linspace(0, 1, 200_001)[1:-1]
    inside = grid[log_ratio(count, total, grid) < math.log(20)]  # type: ignore[arg-type]
    low, high = confidence_sequence(count, total)
    assert (low, high) == pytest.approx((0 if count == 0 else inside[0], 1 if count == total else inside[-1]), abs=1e-5)


def test_nothing_is_known_without_trials():
    assert confidence_sequence(0, 0) == Interval(0, 1)


def covering(interval: Any, total: int, share: float) -> tuple[int, int]:
    """Lowest and highest number of successes whose interval holds the share; both ends rise with the number."""
    counts = range(total + 1)
    lowest = bisect.bisect_left(counts, share, key=lambda count: interval(count, total).high)
    return lowest, bisect.bisect_right(counts, share, key=lambda count: interval(count, total).low) - 1


@pytest.mark.parametrize("interval", [confidence_sequence, wilson])
def test_the_numbers_that_cover_a_share_are_those_from_one_to_another(interval: Any):
    """What `covering` finds by halving, by looking at every number."""
    for total, share in ((10, 0.02), (300, 0.5), (300, 0.999)):
        held = [
            count for count in range(total + 1) if interval(count, total).low <= share <= interval(count, total).high
        ]
        lowest, highest = covering(interval, total, share)
        assert held == [*range(lowest, highest + 1)]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.47, 0.5, 0.999])
def test_the_confidence_sequence_covers_at_all_looks_at_once(share: float, table_row: Any):
    """1,000 sequences, looked at 50 times each; Wilson's intervals, looked at as often, miss far more than 5 %."""
    looks, sequences = np.unique(np.geomspace(10, 100_000, 50).astype(int)), 1000
    random = np.random.default_rng(1)
    counts = np.cumsum([random.binomial(np.diff(looks, prepend=0), share) for _ in range(sequences)], axis=1)
    rates = {}
    for interval in (confidence_sequence, wilson):
        lowest, highest = np.transpose([covering(interval, int(n), share) for n in looks])
        rates[interval] = ((counts < lowest) | (counts > highest)).any(axis=1).mean()
    table_row(
        "95 % intervals of a share, looked at 50 times: sequences with a miss", share=share,
        confidence_sequence=rates[confidence_sequence], wilson=rates[wilson],
    )  # fmt: skip
    assert rates[confidence_sequence] <= 0.05 < rates[wilson]


SAMPLES = st.lists(st.integers(0, 50), min_size=2, max_size=60) | st.lists(st.floats(0, 1e6), min_size=2, max_size=60)


@given(SAMPLES, st.floats(0, 1))
def test_a_distribution_is_its_sample(sample: list[Any], q: float):
    counted = Distribution(*np.unique(sample, return_counts=True))
    assert counted.size == len(sample)
    assert counted.quantile(q) == pytest.approx(np.quantile(sample, q), rel=1e-9)
    assert counted.mean == statistics.mean(sample)
    assert counted.variance == pytest.approx(statistics.variance(sample), rel=1e-12)
    assert counted.standard_error == pytest.approx(scipy.stats.sem(sample), rel=1e-6, abs=1e-9)
    expected = quantiles(sample)
    assert counted.quantiles is not None and expected is not None
    assert counted.quantiles == pytest.approx(expected, rel=1e-9)


def test_moments_of_billions_are_exact():
    """Two values, 2^31 of each: sums of squares are beyond what 64 bits hold."""
    half = 2**31
    counted = Distribution(np.array([2**31 - 2, 2**31 - 1]), np.array([half, half]))
    assert counted.mean == 2**31 - 1.5
    assert counted.variance == 0.25 * (2 * half) / (2 * half - 1)


def test_distributions_of_nothing_and_of_one():
    none, one = Distribution(np.array([], int), np.array([], int)), Distribution(np.array([7]), np.array([1]))
    assert none.quantiles is None and math.isnan(none.mean) and math.isnan(one.variance)
    assert one.quantiles == Quantiles(7, 7, 7, 7, 7, 7) and math.isnan(one.standard_error)
    for distribution, q in ((none, 0.5), (one, -0.1), (one, 2)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            distribution.quantile(q)
