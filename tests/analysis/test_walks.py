"""The nulls: random walks against theory, surrogates against NumPy's optimizers on the same Gaussians."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.stats import norm

from jaxor import Experiment, get_experiment
from jaxor.analysis.geometry import along
from jaxor.analysis.walks import WALK, Walk, chance, closed_form, random_walk, surrogate
from jaxor.engine.geometry import Geometry, join
from jaxor.engine.keys import run_key, stream

Floats = NDArray[np.float64]


@pytest.mark.parametrize(
    ("parameters", "steps", "runs", "share"),
    [
        (500, 2000, 16, 0.79),
        pytest.param(3466, 1680, 8, 0.975, marks=pytest.mark.full),
        pytest.param(20_000, 500, 2, 1.0, marks=pytest.mark.full),
    ],
)
def test_the_null(parameters: int, steps: int, runs: int, share: float) -> None:
    """I11 = N3: the share of positive cosines, its law, and local rates of about the rate itself."""
    walk = random_walk(parameters, steps, runs)
    found, left = along(walk), np.arange(steps, 0, -1)
    shares = (found.gamma > 0).mean(axis=1)
    error = shares.std(ddof=1) / np.sqrt(runs) + 1e-4
    expected = norm.cdf(np.sqrt(parameters / left))
    assert abs(shares.mean() - expected.mean()) < 4 * error
    assert abs(shares.mean() - share) < 4 * error + 0.0005  # as it is stated, rounded
    null = closed_form(walk)
    assert_allclose(chance(null, parameters), np.broadcast_to(expected, (runs, steps)), 1e-5)
    assert_allclose(along(null, "update").gamma[0], 1 / np.sqrt(left), 1e-5)
    for tenth in np.array_split(np.arange(steps), 10):
        spread = 6 * np.sqrt(left[tenth].mean() / parameters / (runs * len(tenth)))
        assert found.local_rate[:, tenth].mean() == pytest.approx(1, abs=spread)
    assert_allclose([form[:, -1] for form in found], 1, 1e-5)  # N2


def test_the_closed_form_has_a_rate_of_its_own_at_each_step() -> None:
    """RSI, EB, gamma and the local rate of N3, for a schedule and a run that ends before the other."""
    rng = np.random.default_rng(0)
    lengths, rates = rng.uniform(1, 2, (2, 6)), np.linspace(0.3, 0.1, 6)
    lengths[1, 4:] = np.nan
    squares = {"gradient2": lengths**2, "step2": (rates * lengths) ** 2}
    empty = np.full((2, 6), np.nan)
    null = closed_form(Walk(dot=empty, distance2=empty, step_dot=empty, **squares))
    found, update = along(null), along(null, "update")
    for run, count in ((0, 6), (1, 4)):
        steps = (rates * lengths[run])[:count]
        left = np.sqrt([np.sum(steps[t:] ** 2) for t in range(count)])
        assert_allclose(found.gamma[run, :count], steps / left)
        assert_allclose(found.rsi[run, :count], (steps / left) ** 2 / rates[:count])
        assert_allclose(found.eb[run, :count], steps / left / rates[:count])
        assert_allclose(found.local_rate[run, :count], rates[:count])
        assert_allclose(update.local_rate[run, :count], 1)
        assert np.isnan([form[run, count:] for form in found]).all()


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "learning_rate": 0.1},
    "momentum": {"name": "momentum", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"name": "adam", "learning_rate": 0.01},
}
SCHEDULE = {"name": "linear", "steps": 60, "end_factor": 0.5}


def experiment(name: str, size: int = 200, **options: Any) -> Experiment:
    model = {"name": "quadratic", "eigenvalues": [1.0] * size}
    optimizer = OPTIMIZERS[name] | options
    return Experiment("walk", task="origin", model=model, loss="value", optimizer=optimizer, max_epochs=99, root_seed=5)


def measured(seed: int, lengths: Floats) -> Geometry:
    """Of a run, of which nothing is known but the lengths of its gradients."""
    nothing: Any = np.zeros((1, 0))
    one = {name: nothing for name in Geometry.__dataclass_fields__}
    one |= {"seeds": np.array([seed]), "status": np.zeros(1, np.int8), "steps": np.array([len(lengths)], np.int32)}
    return Geometry(**one | {"gradient2": lengths**2, "loss": np.ones(len(lengths))})


LENGTHS = {7: np.random.default_rng(1).uniform(0.5, 2, 60), 3: np.random.default_rng(2).uniform(0.5, 2, 45)}
BOTH = join([measured(seed, lengths) for seed, lengths in LENGTHS.items()])


def gaussians(seed: int, steps: int, size: int) -> Floats:
    """The walk's own directions, unit vectors (steps, size)."""
    key = stream(run_key(5, np.uint32(seed)), WALK)  # pyright: ignore[reportArgumentType]
    noise = jax.vmap(lambda step: jax.random.normal(jax.random.fold_in(key, step), (size,)))(np.arange(steps))
    noise = np.asarray(noise, np.float64)
    return noise / np.linalg.norm(noise, axis=1, keepdims=True)


def steps_of(name: str, gradients: Floats) -> Floats:
    """What the optimizer subtracts, (T, D), as the literature writes it."""
    rates = OPTIMIZERS[name]["learning_rate"] * (1 - 0.5 * np.arange(len(gradients)) / 60)[:, None]
    if name == "adam":
        t = np.arange(1, len(gradients) + 1)[:, None]
        m, v, moments = np.zeros(gradients.shape[1]), np.zeros(gradients.shape[1]), []
        for g in gradients:
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
            moments.append((m, v))
        first, second = np.moveaxis(np.array(moments), 1, 0)
        return rates * first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.99**t)) + 1e-8)
    velocity, velocities = np.zeros(gradients.shape[1]), []
    for g in gradients:
        velocity = (0.9 if name == "momentum" else 0.0) * velocity + g
        velocities.append(velocity)
    return rates * np.array(velocities)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_surrogates_are_the_optimizer_on_gaussians_of_the_recorded_lengths(name: str) -> None:
    """With a schedule; weight decay, part of the lengths, is not applied again."""
    walk = surrogate(experiment(name, schedule=SCHEDULE, weight_decay=0.1), BOTH)
    for run, (seed, lengths) in enumerate(LENGTHS.items()):
        count = len(lengths)
        g = gaussians(seed, count, 200) * lengths[:, None]
        s = steps_of(name, g)
        d = np.cumsum(s[::-1], axis=0)[::-1]  # w_t - w_T
        pairs = {"dot": (g, d), "distance2": (d, d), "gradient2": (g, g), "step_dot": (s, d), "step2": (s, s)}
        for quantity, (one, other) in pairs.items():
            got, expected = walk.padded(quantity)[run], (one * other).sum(1)
            scale = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
            assert_allclose(got[:count] / scale, expected / scale, 0, 2e-5)
            assert np.isnan(got[count:]).all()


def test_the_surrogate_of_gradient_descent_is_the_closed_form() -> None:
    """But for the cosines that random directions have by chance."""
    walk = surrogate(experiment("sgd", 20_000), BOTH)
    got, null = along(walk), along(closed_form(walk))
    there = np.isfinite(null.gamma)
    assert_array_equal(there, [np.arange(60) < 60, np.arange(60) < 45])
    assert_allclose(got.gamma[there], null.gamma[there], 0, 5 / np.sqrt(20_000))
    assert_allclose(got.eb[there], null.eb[there], 0.03)
    assert_allclose(null.local_rate[there], 0.1, 1e-5)


def test_a_seed_walks_the_same_way_in_any_company() -> None:
    alone = surrogate(experiment("sgd"), measured(3, LENGTHS[3]))
    together = surrogate(experiment("sgd"), BOTH)
    assert_allclose(alone.dot[0], together.dot[1, :45], 1e-5, 1e-6)


def test_an_optimizer_that_is_told_the_loss() -> None:
    """Steps of `learning_rate` / loss after the first."""
    adaptive = get_experiment("quadratic_bowl").replace(optimizer={"name": "inverse_loss", "learning_rate": 0.5})
    walk = surrogate(adaptive, measured(0, np.ones(9)))
    assert_allclose(walk.step2[0, 1:], 0.25, 1e-5)
