"""Figures of samples, and how printed ones are held against them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from jaxor.estimates import Interval
from jaxor.reproduction.claims import CANNOT, DIFFERS, OPEN, REPRODUCED, Claim, answer, number
from jaxor.reproduction.figures import NEARLY_ALL, Figure, Finding, Missing, exactly, of_few, of_samples, r2_of_few


@pytest.mark.parametrize(
    ("printed", "value", "half"),
    [
        ("123", 123, 0.5), ("0.468", 0.468, 0.0005), ("1.0000", 1, 0.00005), ("-105.6795", -105.6795, 0.00005),
        ("3,345", 3345, 0.5), ("29/50", 0.58, 0), ("23 %", 0.23, 0.005), ("-52 %", -0.52, 0.005), ("2.5x", 2.5, 0.05),
    ],
)  # fmt: skip
def test_printed_numbers(printed: str, value: float, half: float) -> None:
    assert_allclose(number(printed), (value, half), rtol=1e-12)


@pytest.mark.parametrize("printed", ["", "many", "1.2.3", "about 5", "1/2/3"])
def test_what_is_no_number(printed: str) -> None:
    with pytest.raises(ValueError, match="not a printed number"):
        number(printed)


@pytest.mark.parametrize(
    ("printed", "low", "high", "verdict"),
    [
        ("123", 100, 122.6, REPRODUCED), ("123", 100, 122.4, DIFFERS), ("123", 123.4, 130, REPRODUCED),
        ("123", 123.6, 130, DIFFERS), ("29/50", 0.58, 0.6, REPRODUCED), ("29/50", 0.581, 0.6, DIFFERS),
    ],
)  # fmt: skip
def test_a_figure_may_be_off_by_rounding_alone(printed: str, low: float, high: float, verdict: str) -> None:
    figure = Figure(110.0, Interval(109.0, 111.0), Interval(low, high), "2 times")
    assert answer(Claim("m", "1", "a number", printed), figure).verdict == verdict


def test_a_figure_that_is_reproduced_need_not_be_the_mean() -> None:
    figure = Figure(110.0, Interval(109.0, 111.0), Interval(90.0, 125.0), "2 times")
    assert [answer(Claim("m", "1", "a number", printed), figure).at_mean for printed in ("111", "112")] == [True, False]


@pytest.mark.parametrize(("holds", "verdict"), [(True, REPRODUCED), (False, DIFFERS), (None, OPEN)])
def test_findings(holds: bool | None, verdict: str) -> None:
    assert answer(Claim("m", "1", "it holds", "yes"), Finding(holds, "")).verdict == verdict


def test_what_cannot_be_measured() -> None:
    assert answer(Claim("m", "1", "a number", "1"), Missing("no images")).verdict == CANNOT
    assert exactly(12).range == (12, 12)


def test_medians_of_samples_lie_where_order_statistics_say() -> None:
    """The median of 51 uniform numbers is Beta(26, 26)."""
    values = np.random.default_rng(5).uniform(size=100_000)
    found = of_samples(lambda x: np.median(x, axis=1), 51, values)
    law = stats.beta(26, 26)
    assert_allclose(found.range, law.ppf([(1 - NEARLY_ALL) / 2, (1 + NEARLY_ALL) / 2]), atol=0.025)
    assert found.interval.low < 0.5 < found.interval.high
    assert found.of == "1,960 samples of 51"
    assert_allclose(found.interval.high - found.interval.low, 2 * 1.96 * law.std() / np.sqrt(100_000 // 51), rtol=0.1)


def test_arrays_of_a_sample_belong_together() -> None:
    values = np.arange(1000.0)
    assert of_samples(lambda x, y: (y - x).mean(axis=1), 10, values, values + 3).range == (3, 3)


def test_too_few_runs_for_two_samples() -> None:
    with pytest.raises(ValueError, match="99 runs are not two samples of 50"):
        of_samples(lambda x: x.mean(axis=1), 50, np.arange(99.0))


def test_one_more_of_few_is_where_student_says() -> None:
    """The prediction interval of a normal sample, and how often it holds one more."""
    rows = np.random.default_rng(7).normal(size=(4000, 6))
    ranges = [of_few(row[:5]).range for row in rows]
    held = sum(low <= row[5] <= high for (low, high), row in zip(ranges, rows, strict=True))
    assert stats.binomtest(int(held), 4000, NEARLY_ALL).pvalue > 1e-4
    assert_allclose(of_few([1.0, 2.0, 3.0]).interval, stats.t.interval(0.95, 2, 2, 1 / np.sqrt(3)))


def test_r2_is_never_above_1() -> None:
    found = r2_of_few([0.9, 0.99, 0.995])
    assert found.value == pytest.approx(0.96166667) and found.range.low < 0 < 0.999 < found.range.high <= 1
    few = np.array([0.96, 0.961, 0.962, 0.963])
    low, high = of_few(np.log(1 - few)).range
    assert_allclose(r2_of_few(few).range, (1 - np.exp(high), 1 - np.exp(low)))
