"""P8: rates read off paths, and what becomes of runs that use them, on quadratics whose paths are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxor
from jaxor.analysis.path_claims import Thresholds
from jaxor.analysis.ported_rates import PARTS, PortedRates, ported_rates, rate_factors
from jaxor.engine.geometry import Geometry
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError
from jaxor.store.run import Run
from tests.numpy_paths import quadratics

EIGENVALUES = np.array([1.0, 2.0, 5.0, 10.0])
BOWL = jaxor.get_experiment("quadratic_bowl").replace(stop={}, max_epochs=40)
SEEDS = 32


def seen_from_0(starts: Any, rate: float, steps: int = 40) -> Geometry:
    """Gradient descent on the bowl, to its minimum."""
    t = np.arange(steps)[:, None]
    w = np.asarray(starts, float)[:, None] * (1 - rate * EIGENVALUES) ** t
    g = EIGENVALUES * w
    sums = {"dot": g * w, "distance2": w * w, "gradient2": g * g}
    return replace(quadratics(len(w), steps), **{name: values.sum(-1).ravel() for name, values in sums.items()})


def test_factors_in_closed_form() -> None:
    """In the middle of each part mean RSI over mean EB^2, in units of the rate; straight lines between."""
    starts = np.random.default_rng(0).normal(size=(5, 4))
    found = rate_factors(seen_from_0(starts, 0.05), 0.05)
    best = []
    for part in range(PARTS):
        rsi, eb2 = [], []
        for start in starts:
            for t in (2 * part, 2 * part + 1):
                w = start * (1 - 0.05 * EIGENVALUES) ** t
                rsi.append((EIGENVALUES * w * w).sum() / (w @ w))
                eb2.append((EIGENVALUES**2 * w * w).sum() / (w @ w))
        best.append(np.mean(rsi) / np.mean(eb2) / 0.05)
    middles = (np.arange(PARTS) + 0.5) / PARTS
    assert_allclose(found, np.interp(np.linspace(0, 1, PARTS + 1), middles, best), 1e-12)
    assert 1 / 10 < 0.05 * found[0] < 0.05 * found[-1] < 1  # from the mean of the curvatures to the flattest direction


def test_one_curvature_has_one_rate() -> None:
    starts = np.eye(4)[[2, 2]]
    assert_allclose(rate_factors(seen_from_0(starts, 0.02), 0.02), 1 / 5 / 0.02, 1e-12)
    assert_allclose(rate_factors(seen_from_0(starts, 0.02, steps=7), 0.02), 1 / 5 / 0.02, 1e-12)  # fewer than parts


def test_never_uphill() -> None:
    up = seen_from_0(np.ones((2, 4)), 0.05)
    assert not rate_factors(replace(up, dot=-up.dot), 0.05).any()


def test_steps_at_the_reference_have_no_rate() -> None:
    """Where a run has settled in float32, its gradient may yet not be 0."""
    found = seen_from_0(np.eye(4)[[1, 1]], 0.05)
    settled = np.tile(np.arange(40) >= 30, 2)
    still = replace(found, distance2=np.where(settled, 0, found.distance2), dot=np.where(settled, 0, found.dot))
    assert_allclose(rate_factors(still, 0.05), 1 / 2 / 0.05, 1e-12)
    with pytest.raises(ValueError, match="no rate can be read off runs that stand still"):
        rate_factors(replace(found, distance2=0 * found.distance2), 0.05)


@cache
def starts() -> Any:
    """Where runs begin, at every rate."""
    return jaxor.simulate(BOWL, SEEDS, traces="none").initial_params


def tried(rate: float) -> tuple[PortedRates, list[tuple[Experiment, range]]]:
    asked: list[tuple[Experiment, range]] = []

    def train(made: Experiment, seeds: range) -> Run:
        asked.append((made, seeds))
        return jaxor.simulate(made, np.arange(seeds.start, seeds.stop), traces="none")

    made = BOWL.replace(**{"optimizer.learning_rate": rate})
    return ported_rates(made, seen_from_0(starts(), rate), train, Thresholds()), asked


def test_rates_read_off_win_where_the_constant_one_is_far_too_small() -> None:
    """And the schedule that is used is the one that was read, on fresh seeds, in runs of the same length."""
    found, asked = tried(0.001)
    assert found.verdict.answer == "supported" and [one.value < 0.05 for one in found.verdict.figures] == [True, True]
    assert [seeds for _, seeds in asked] == [range(SEEDS, 2 * SEEDS)] * 3
    schedules = [made.to_dict()["optimizer"]["schedule"] for made, _ in asked]
    assert [one["name"] for one in schedules] == ["constant", "cosine", "piecewise"]
    assert schedules[1]["warmup"] == 2 and schedules[2]["factors"] == pytest.approx(found.factors.tolist())
    assert {made.max_epochs for made, _ in asked} == {40} and {one["steps"] for one in schedules[1:]} == {40}
    starts = jaxor.simulate(asked[0][0], np.arange(SEEDS, 2 * SEEDS), traces="none").initial_params.astype(float)
    rates = 0.001 * np.interp(np.arange(40) / 40, np.linspace(0, 1, PARTS + 1), found.factors)
    ends = starts * np.prod(1 - rates[:, None] * EIGENVALUES, axis=0)
    assert_allclose(found.losses["read off"], (EIGENVALUES * ends**2).sum(1) / 2, 1e-3)
    ends = starts * (1 - 0.001 * EIGENVALUES) ** 40
    assert_allclose(found.losses["constant"], (EIGENVALUES * ends**2).sum(1) / 2, 1e-4)
    table = found.to_dict()["median_final_loss"]
    assert table["read off"] == np.median(found.losses["read off"]) < table["constant"] < table["warm-up and cosine"]


def test_they_lose_to_the_best_constant_rate() -> None:
    """2 / (1 + 10) shrinks all directions as one; locally optimal rates stay with the steep ones."""
    found, _ = tried(2 / 11)
    against_constant, against_cosine = found.verdict.figures
    assert against_constant.answer == "not" and against_constant.value > 1
    assert found.verdict.answer == "not" and against_cosine.name == "final loss / that of warm-up and cosine"


def test_runs_that_diverge_lose() -> None:
    found, _ = tried(0.3)  # above 2 / 10
    assert np.isinf(found.losses["constant"]).all() or (found.losses["constant"] > 1e6).all()
    assert found.verdict.figures[0].answer == "supported"


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        ({"name": "momentum", "learning_rate": 0.05}, "momentum"),
        ({"name": "sgd", "learning_rate": 0.05, "schedule": {"name": "linear", "steps": 40}}, "sgd"),
    ],
)
def test_other_optimizers_are_refused(optimizer: Any, name: str) -> None:
    with pytest.raises(ExperimentError, match=f"plain SGD at a constant rate, got {name}"):
        ported_rates(BOWL.replace(optimizer=optimizer), quadratics(2, 40), lambda *_: pytest.fail(), Thresholds())


@pytest.mark.parametrize("stop", [{"loss": 0.1}, {"patience": 3}])
def test_stop_rules_are_refused(stop: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match="equally many steps; leave out their stop rules"):
        ported_rates(BOWL.replace(stop=stop), quadratics(2, 40), lambda *_: pytest.fail(), Thresholds())


def test_runs_of_different_lengths_are_refused() -> None:
    short = replace(quadratics(2, 40), steps=np.array([30, 50], np.int32))
    with pytest.raises(ValueError, match="equally many steps; leave out their stop rules"):
        rate_factors(short, 0.1)
