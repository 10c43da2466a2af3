"""Theorems 5.2 and 5.3 on seeds: real runs beside a NumPy loop and the specification; what is made of the losses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from jaxor.analysis import rates as module
from jaxor.analysis.convergence import theorem_5_2
from jaxor.analysis.rates import Contraction, Decay, rates
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.engine.status import Status
from jaxor.experiments.experiment import Experiment
from jaxor.store.run import Trace
from tests.analysis.early import first_layers

Floats = NDArray[np.float64]
Rate = Callable[[int, float, float], float]

FULL = SeparatedNets()
TINY = SeparatedNets(points=4, given_dimension=3, given_width=16)
V = 0.018620025409585766
FIRST = 1 / (2 * math.sqrt(2))

SLOPES: dict[str, Callable[[Floats], Floats]] = {
    "exponential": lambda z: -np.exp(-z), "logistic": lambda z: -1 / (1 + np.exp(z))
}  # fmt: skip
VALUES: dict[str, Callable[[Floats], Floats]] = {
    "exponential": lambda z: np.exp(-z), "logistic": lambda z: np.log1p(np.exp(-z))
}  # fmt: skip


def loop(nets: SeparatedNets, made: Experiment, seed: int, rate: Rate, train_output: bool) -> tuple[Floats, Floats]:
    """L(0) to L(T), and |grad L| / L before each step, by NumPy from the run's own first parameters."""
    a, b = first_layers(made, seed)
    x, y = (np.asarray(array, np.float64) for array in (nets.built.inputs, nets.built.targets))
    loss = made.to_dict()["loss"]["name"]
    losses, ratios = [], []
    for t in range(made.max_epochs + 1):
        pre = x @ b.T
        margin = y * (np.maximum(pre, 0) @ a)
        losses.append(float(VALUES[loss](margin).mean()))
        error = SLOPES[loss](margin) * y / len(y)
        inner = ((pre > 0) * error[:, None] * a).T @ x
        outer = np.maximum(pre, 0).T @ error * train_output
        square = float((inner**2).sum() + (outer**2).sum())
        ratios.append(math.sqrt(square) / losses[-1])
        size = FIRST if t == 0 else rate(t, losses[-1], square)
        a, b = a - size * outer, b - size * inner
    return np.array(losses), np.array(ratios[:-1])


CASES = [("exponential", 0.9428, 0.8482, 0.1647, 0.9907), ("logistic", 0.6785, 0.9148, 0.0879, 0.9977)]


@pytest.mark.parametrize(
    ("loss", "first", "ratio", "square", "bound"), [CASES[0], pytest.param(*CASES[1], marks=pytest.mark.full)]
)
def test_contraction(loss: str, first: float, ratio: float, square: float, bound: float) -> None:
    """60 steps at full size: the specification's figures, and every figure of one seed by NumPy."""
    found = module._contraction(FULL, V, loss, 2, None)
    assert found.losses.shape == (2, 60)
    assert found.ratios.shape == found.gradient_ratios.shape == (2, 59)
    made = FULL.experiment(loss, {"name": "inverse_loss"}, 60, train_output=False)
    losses, ratios = loop(FULL, made, 1, lambda t, loss, square: 1 / loss, train_output=False)
    assert_allclose(found.losses[1], losses[:-1], 1e-9)
    assert_allclose(found.ratios[1], losses[2:] / losses[1:-1], 1e-9)
    assert_allclose(found.gradient_ratios[1], ratios[1:], 1e-9)
    assert_allclose(found.losses[:, 1], first, atol=1e-3)
    assert_allclose(found.ratios.max(1), ratio, atol=1e-3)
    assert_allclose((found.gradient_ratios**2).min(1), square, atol=2e-3)
    assert found.bound.bound is not None
    assert_allclose(found.bound.bound, bound, atol=5e-5)
    assert_allclose(found.gradient_bound**2, V * (1 if loss == "exponential" else 0.25), 1e-12)
    assert found.kept.count == found.gradient_kept.count == 2 and not found.violations.any()
    assert found.violations.shape == (2,)


def contraction(**parts: Any) -> Contraction:
    """Three seeds and steps t = 0 to 2, made up."""
    bound = module.theorem_5_3(FULL.separation, FULL.setting("exponential", adaptive=True))
    table: dict[str, Any] = {
        "loss": "exponential", "bound": bound, "losses": np.ones((3, 3)), "ratios": np.full((3, 2), 0.9),
        "gradient_ratios": np.full((3, 2), 0.5), "gradient_bound": 0.2, "violations": np.zeros(3, np.int64),
    }  # fmt: skip
    return Contraction(**(table | parts))


def test_what_a_contraction_keeps() -> None:
    """One step above the bound is one seed lost; so is a run that diverged, which JSON leaves out."""
    worse, less = np.full((3, 2), 0.9), np.full((3, 2), 0.5)
    worse[1, 1], worse[2] = 0.999, np.nan
    less[0, 0] = 0.1
    found = contraction(ratios=worse, gradient_ratios=less)
    assert (found.kept.count, found.gradient_kept.count) == (1, 2)
    assert contraction(bound=replace(found.bound, bound=None)).kept.count == 0
    table = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert table["ratios"] == {"min": 0.9, "median": 0.9, "max": 0.999}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CONSTANT_STEPS", 20), ("STEPS", 400), ("FITTED_FROM", 200)):
        monkeypatch.setattr(module, name, value)


def robust(t: int, loss: float, square: float) -> float:
    """Theorem 5.2's robust rate with r = 2 and T0 = 20."""
    return 0.01 if t <= 20 else 2 * loss / (t * square)


def test_losses_of_a_decay(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slope -r against the number of steps taken, of losses by NumPy; a run that diverges has none."""
    losses: list[Floats] = []

    def simulated(made: Experiment, seeds: int, *, traces: str, parameters: str, x64: bool) -> SimpleNamespace:
        assert (seeds, traces, x64, made.max_epochs) == (2, "loss", True, 400)
        losses.extend(loop(TINY, made, seed, robust, train_output=True)[0][:-1] for seed in (0, 1))
        of = [Trace(np.arange(end, dtype=np.int32), losses[row][:end], None) for row, end in enumerate((400, 50))]
        return SimpleNamespace(
            seeds=np.arange(2), status=np.array([Status.EPOCH_CAP, Status.DIVERGED]), trace=of.__getitem__
        )

    monkeypatch.setattr(module, "simulate", simulated)
    found = module._decay(TINY, "logistic", {"name": "power_law", "power": 2.0}, 2, None)
    assert_array_equal(found.losses[0], losses[0])
    assert_array_equal(found.losses[1, :50], losses[1][:50])
    assert np.isnan(found.losses[1, 50:]).all() and found.diverged == 1
    assert_allclose(found.slopes, [-2, np.nan], atol=0.05)
    assert found.experiment.to_dict()["optimizer"]["constant_steps"] == 20
    assert found.bound.bound is None  # V of so narrow a net is below 0


@pytest.mark.full
def test_decay(short: None) -> None:
    """The same by the engine."""
    found = module._decay(TINY, "exponential", {"name": "power_law", "power": 2.0}, 2, None)
    losses, _ = loop(
        TINY, found.experiment, 1, robust,
        train_output=True,
    )  # fmt: skip
    assert found.losses.shape == (2, 400) and found.diverged == 0
    assert_allclose(found.losses[1], losses[:-1], 1e-7)
    fitted = np.polyfit(np.log(np.arange(200, 400)), np.log(found.losses[0, 200:]), 1)[0]
    assert_allclose(found.slopes[0], fitted, 1e-9)
    assert_allclose(found.slopes, -2, atol=0.05)
    assert found.bound.bound is None  # V of so narrow a net is below 0
    json.dumps(found.to_dict(), allow_nan=False)


def decay(losses: Floats, pace: float = 1.0) -> Decay:
    bound = theorem_5_2(FULL.separation, FULL.setting("exponential", adaptive=True), eta=0.01, first_loss=1.0)
    mean = float(np.nanmean(losses[:, 1]))
    return Decay(FULL.descent(1), 1.0, replace(bound, bound=pace * mean), losses, int(np.isnan(losses[:, -1]).sum()))


def test_what_is_made_of_losses(short: None) -> None:
    """Exact powers of t have exact slopes; the curve L(1) / (1 + a L(1) (t - 1)) is kept, what is above is not."""
    t = np.arange(400.0)
    powers = np.stack([5 * np.maximum(t, 1) ** -r for r in (1.0, 2.5)])
    assert_allclose(decay(powers).slopes, [-1, -2.5], 1e-12)
    first = np.array([[0.5], [2.0]])
    curve = first / (1 + first * np.maximum(t - 1, 0))
    assert decay(curve).early_kept.count == 2
    above = curve.copy()
    above[0, 20] *= 1 + 1e-9  # t = T0
    assert decay(above).early_kept.count == 1
    later = curve.copy()
    later[:, 21] *= 2  # beyond T0 nothing is said
    assert decay(later).early_kept.count == 2
    ended = curve.copy()
    ended[1, 50:] = np.nan
    found = decay(ended)
    assert_array_equal(np.isnan(found.slopes), [False, True])
    table = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert table["diverged"] == 1 and table["slopes"]["min"] == table["slopes"]["max"] == found.slopes[0]
    ended[:, 50:] = np.nan
    assert decay(ended).to_dict()["slopes"] is None


@pytest.mark.full
@pytest.mark.parametrize("loss", ["exponential", "logistic"])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_slopes_at_full_size(loss: str, power: float) -> None:
    found = module._decay(FULL, loss, {"name": "power_law", "power": power}, 2, None)
    assert_allclose(found.slopes, -power, atol=0.05)
    assert_allclose(found.losses[:, 100], {"exponential": 0.7925, "logistic": 0.6379}[loss], atol=2e-3)
    assert found.early_kept.count == 2
    assert found.bound.bound is not None
    g_a = {"exponential": 1, "logistic": 0.5}[loss]
    assert_allclose(found.bound.bound, 0.01 * g_a**2 * V * found.losses[:, 1].mean() / 2, 1e-9)


@pytest.mark.full
def test_the_literal_rate(short: None) -> None:
    """It overflows as it is, and not with its cap."""
    for capped in (False, True):
        table = {"name": "power_law_literal", "power": 1.0, "v": V, "capped": capped}
        found = module._decay(TINY, "exponential", table, 2, None)
        assert found.diverged == (0 if capped else 2)
        assert np.isnan(found.losses[:, -1]).all() != capped
        json.dumps(found.to_dict(), allow_nan=False)


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        rates(FULL, 0)
    with pytest.raises(ValueError, match="not above 0, so nothing is promised; choose a larger width"):
        rates(replace(FULL, given_width=100))
