"""The exact law of |w x + b| on centred XOR, against simulations and the reference's derivation."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxor import get_experiment, simulate
from jaxor.analysis.exact import ExactLaw, exact_law, exact_reference, has_exact_minimum, nearest_minimum
from jaxor.analysis.laws import LogLaw
from jaxor.analysis.rows import Rows, rows_of
from jaxor.engine.objective import Objective
from jaxor.engine.step import Dynamics

ABS1 = get_experiment("abs1_convergence")
SLOPES = {0.01: 49.50, 0.05: 9.491, 0.1: 4.4814, 0.2: 1.9576, 0.4: 0.6213}
"""Epochs for each e-fold of distance by learning rate."""
RATES = [0.4, *(pytest.param(rate, marks=pytest.mark.full) for rate in (0.01, 0.05, 0.1, 0.2))]
"""Those that are simulated."""


@cache
def simulated(learning_rate: float) -> tuple[Rows, np.ndarray]:
    """Rows of runs in float64, and their distances to the minimum."""
    experiment = ABS1.replace(**{"optimizer.learning_rate": learning_rate})
    rows = rows_of(simulate(experiment, 200, x64=True, traces="all"), reference="exact", initial=True)
    return rows, np.linalg.norm(rows.state - rows.reference, axis=1)


@pytest.mark.parametrize("learning_rate", [*RATES, 0.5])
def test_every_row_takes_exactly_as_long_as_the_law_says(learning_rate: float):
    rows, distance = simulated(learning_rate)
    law = exact_law(ABS1.replace(**{"optimizer.learning_rate": learning_rate}).to_dict())
    assert law is not None and law == ExactLaw(learning_rate, 1e-7)
    np.testing.assert_array_equal(law.remaining(distance), rows.remaining)


def test_single_precision_rounds_no_row_by_an_epoch():
    rows = rows_of(simulate(ABS1, 300), reference="exact", initial=True)
    distance = np.linalg.norm(rows.state - rows.reference, axis=1)
    assert len(rows) > 10_000
    np.testing.assert_array_equal(ExactLaw(0.1, 1e-7).remaining(distance), rows.remaining)


@pytest.mark.parametrize(("learning_rate", "slope"), SLOPES.items())
def test_slopes(learning_rate: float, slope: float):
    assert ExactLaw(learning_rate, 1e-7).slope == pytest.approx(slope, rel=2e-4)
    assert ExactLaw(learning_rate, 1e-7).slope == pytest.approx(-1 / math.log1p(-2 * learning_rate))


@pytest.mark.parametrize("learning_rate", RATES)
def test_least_squares_finds_the_slope_in_simulated_runs(learning_rate: float):
    slope = SLOPES[learning_rate]
    rows, distance = simulated(learning_rate)
    distance = distance[:, None]
    for seed in range(5):
        mine = rows.seed == seed
        assert LogLaw().fit(distance[mine], rows.remaining[mine]).slope_ == pytest.approx(slope, rel=2e-4)
    # Epochs are rounded up. With large steps runs begin within an epoch of each other, so that rounding takes sides.
    if learning_rate <= 0.1:
        assert LogLaw().fit(distance, rows.remaining).slope_ == pytest.approx(slope, rel=2e-3)


@pytest.mark.parametrize("learning_rate", [0.01, 0.1, 0.3])
def test_the_law_counts_the_steps_of_a_loop(learning_rate: float):
    distances = np.random.default_rng(0).uniform(1e-5, 3, 50)
    counts = []
    for distance in distances:
        count = 1
        while distance**2 >= 1e-7:  # the loss before the step
            distance *= 1 - 2 * learning_rate
            count += 1
        counts.append(count)
    np.testing.assert_array_equal(ExactLaw(learning_rate, 1e-7).remaining(distances), counts)


def test_the_ends_of_the_law():
    for learning_rate in (0.1, 0.5):
        law = ExactLaw(learning_rate, 1e-4)
        np.testing.assert_array_equal(law.remaining([0.0, 0.0099]), [1, 1])
        assert math.isnan(law.remaining([math.nan])[0])
    np.testing.assert_array_equal(ExactLaw(0.5, 1e-4).remaining([0.0101, 100.0]), [2, 2])
    assert ExactLaw(0.5, 1e-4).slope == 0


def test_the_loss_is_the_squared_distance_to_the_nearest_minimum():
    random = np.random.default_rng(1)
    some = random.normal(size=(100, 3))
    some = some[abs(some[:, 0] - some[:, 1]) > abs(some[:, 2])]
    X, y = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]), np.array([0, 1, 1, 0])
    loss = ((abs(some[:, :2] @ X.T + some[:, 2:]) - y) ** 2).mean(axis=1)
    goal = nearest_minimum(some)
    np.testing.assert_allclose(np.square(some - goal).sum(axis=1), loss, atol=1e-14)
    others = np.linalg.norm(some + goal, axis=1)  # the other minimum is the negative
    assert (np.linalg.norm(some - goal, axis=1) <= others).all()


CHANGES: dict[str, dict[str, Any]] = {
    "another optimizer": {"optimizer": {"name": "adam", "learning_rate": 0.1}},
    "momentum": {"optimizer": {"name": "momentum", "learning_rate": 0.1}},
    "weight decay": {"optimizer.weight_decay": 0.01},
    "a schedule": {"optimizer.schedule": {"name": "linear", "steps": 100}},
    "a rate that crosses the minimum": {"optimizer.learning_rate": 0.51},
    "minibatches": {"batch": {"mode": "shuffle", "size": 2}},
    "no tolerance": {"stop.loss": None},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_other_training_has_no_exact_law_but_the_same_minima(changes: dict[str, Any]):
    experiment = ABS1.replace(**changes).to_dict()
    assert exact_law(experiment) is None
    assert has_exact_minimum(experiment)


@pytest.mark.parametrize("name", ["relu1_convergence", "abs1_mse_pivot", "abs2_single_mse", "relu1_monitor"])
def test_other_models_have_no_exact_minimum(name: str):
    assert exact_law(get_experiment(name).to_dict()) is None
    assert not has_exact_minimum(get_experiment(name).to_dict())


def test_where_runs_start_does_not_matter_to_the_law():
    experiment = ABS1.replace(init={"name": "normal", "std": 1.0, "bias_std": 0.5}, max_epochs=200)
    run = simulate(experiment, 200, x64=True)
    rows = rows_of(run, reference="exact", initial=True)
    assert len(np.unique(rows.seed)) < len(run)  # some end in the spurious minimum
    law = exact_law(experiment.to_dict())
    assert law is not None
    distance = np.linalg.norm(rows.state - rows.reference, axis=1)
    np.testing.assert_array_equal(law.remaining(distance), rows.remaining)


@pytest.mark.parametrize("name", ["abs1_convergence", "quadratic_bowl", "saddle_point"])
def test_exact_references_are_stationary_with_weight_decay_too(name: str):
    experiment = get_experiment(name).replace(**{"optimizer.weight_decay": 0.5})
    reference = exact_reference(experiment.to_dict())
    assert reference is not None
    dynamics = Dynamics(experiment)
    some = np.random.default_rng(0).standard_normal(dynamics.order.size)
    with jax.enable_x64(True):
        state = dynamics.law.model.init(jax.random.key(0))[1]
        gradient = jax.grad(Objective(dynamics).of_task)(jnp.asarray(reference(some[None])[0]), state)
    np.testing.assert_allclose(gradient, 0, atol=1e-14)


def test_no_exact_reference_where_weight_decay_moves_it_to_an_unknown_place():
    experiment = get_experiment("rosenbrock_valley").replace(**{"optimizer.weight_decay": 0.5})
    assert exact_reference(experiment.to_dict()) is None
