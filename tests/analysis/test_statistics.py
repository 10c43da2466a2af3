from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from jaxor.analysis.statistics import Interval, Losses, Quantiles, Share, quantiles, summary, wilson
from jaxor.engine.status import Status
from jaxor.store.run import Run

HUGE = np.finfo(np.float64).max


@dataclass
class Runs:
    """What `summary` looks at."""

    status: Any
    epochs: Any
    initial_loss: Any
    final_loss: Any
    final_accuracy: Any

    def __post_init__(self) -> None:
        for f in fields(self):
            setattr(self, f.name, np.asarray(getattr(self, f.name)))

    def __len__(self) -> int:
        return len(self.status)


def summed(**arrays: Any):
    run: Any = Runs(**arrays)
    return summary(run)


def test_wilson_of_the_textbook_cases():
    low, high = wilson(29, 50)
    assert (round(low, 4), round(high, 4)) == (0.4423, 0.7062)
    # At the ends the interval has a closed form: [0, z^2 / (n + z^2)].
    z = statistics.NormalDist().inv_cdf(0.975)
    assert wilson(0, 10).low == 0 and wilson(0, 10).high == pytest.approx(z**2 / (10 + z**2))
    assert wilson(10, 10).high == 1 and wilson(10, 10).low == pytest.approx(10 / (10 + z**2))
    assert wilson(0, 0) == Interval(0.0, 1.0)


@given(
    st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.5, 0.9, 0.95])
)
def test_wilson_agrees_with_scipy(trials: tuple[int, int], confidence: float):
    expected = scipy.stats.binomtest(*trials).proportion_ci(confidence, "wilson")
    found = wilson(*trials, confidence)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-12)
    assert 0 <= found.low <= trials[0] / trials[1] <= found.high <= 1


@pytest.mark.parametrize("arguments", [(-1, 10), (11, 10), (1, 10, 0.0), (1, 10, 1.0), (1, 10, 95)])
def test_wilson_refuses_impossible_numbers(arguments: tuple[Any, ...]):
    with pytest.raises(ValueError, match="must be between 0 and"):
        wilson(*arguments)


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


def test_losses_that_are_not_finite_are_counted_and_left_out():
    losses = Losses.of(np.array([1, np.nan, 3, np.inf, -np.inf], np.float32))
    assert losses == Losses(Quantiles(1, 1.5, 2, 2.5, 3, 2), 3)
    assert Losses.of(np.array([np.nan])) == Losses(None, 1)


def test_summary_tells_converged_runs_from_all():
    figures = summed(
        status=[0, 0, 1, 2, 3], epochs=[10, 20, 30, 800, 4], initial_loss=[1, 2, 3, 4, 5],
        final_loss=[0, 0, 0.25, 0.5, np.nan], final_accuracy=[1, 1, 1, 0.75, np.nan],
    )  # fmt: skip
    assert figures.status == {Status.CONVERGED: 2, Status.STALLED: 1, Status.EPOCH_CAP: 1, Status.DIVERGED: 1}
    assert figures.success == Share(3, 0.6, *wilson(3, 5))
    assert figures.epochs == Quantiles(4, 10, 20, 30, 800, 172.8)
    assert figures.epochs_converged == Quantiles(10, 12.5, 15, 17.5, 20, 15)
    assert figures.censored == 3
    assert figures.final_loss == Losses(Quantiles(0, 0, 0.125, 0.3125, 0.5, 0.1875), 1)


def test_summary_of_no_runs_and_of_none_converged_is_json():
    none = summed(status=np.empty(0, np.int8), epochs=[], initial_loss=[], final_loss=[], final_accuracy=[])
    assert none.success == Share(0, None, 0.0, 1.0)
    diverged = summed(status=[3], epochs=[1], initial_loss=[1], final_loss=[np.inf], final_accuracy=[0])
    for figures in (none, diverged):
        table = json.loads(json.dumps(figures.to_dict(), allow_nan=False))
        assert table["epochs"]["converged"] == dict.fromkeys(Quantiles._fields)
        assert table["final_loss"]["mean"] is None
    assert diverged.to_dict()["final_loss"]["nonfinite"] == 1


def test_summary_of_a_simulation(simulated: Run):
    figures = summary(simulated)
    converged = [int(epochs) for epochs, status in zip(simulated.epochs, simulated.status, strict=True) if status == 0]
    assert figures.seeds == len(simulated) == sum(figures.status.values())
    assert figures.status[Status.CONVERGED] == len(converged) and 0 < len(converged) < len(simulated)
    assert figures.epochs_converged and figures.epochs_converged.q50 == statistics.median(converged)
    assert figures.success.count == sum(accuracy == 1 for accuracy in simulated.final_accuracy.tolist())


@pytest.fixture
def simulated() -> Run:
    import jaxor

    return jaxor.simulate("relu1_normal", seeds=101, traces="none")
