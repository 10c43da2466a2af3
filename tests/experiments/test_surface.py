"""Functions of a point: values, paths of runs against closed forms and a NumPy loop."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from jaxor import Experiment, Status, get_experiment, simulate
from jaxor.analysis.exact import exact_reference
from jaxor.experiments.registry import ExperimentError

CATALOGUE = "quadratic_bowl", "rosenbrock_valley", "saddle_point"


def values(name: str, points: NDArray[Any]) -> NDArray[Any]:
    x, y = points[:, :2].T
    if name == "rosenbrock_valley":
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2
    return x**2 - y**2 if name == "saddle_point" else points**2 @ [0.5, 1.0, 2.5, 5.0]


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_loss_is_the_value(name: str) -> None:
    law = get_experiment(name).build()
    params, state = law.model.init(jax.random.key(0))
    points = np.random.default_rng(0).normal(size=(50, params["x"].size)).astype(np.float32)

    def loss(point: Any) -> Any:
        outputs, _, _ = law.model.apply({"x": point[None]}, law.task.inputs, state, jax.random.key(0), True)
        return law.loss(outputs, law.task.targets)

    assert_allclose(jax.jit(jax.vmap(loss))(points), values(name, points.astype(float)), 1e-4, 1e-4)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_gradient_vanishes_at_the_exact_reference(name: str) -> None:
    """All of it a minimum but the saddle's: there the value falls to one side."""
    size = 4 if name == "quadratic_bowl" else 2
    some = np.random.default_rng(1).normal(size=(20, size))
    reference = exact_reference(get_experiment(name).to_dict())
    assert reference is not None
    places = reference(some)
    assert places.shape == some.shape and places.dtype == np.float64
    changes = [values(name, places + sign * 1e-5 * some) - values(name, places) for sign in (1, -1)]
    assert_allclose(changes, 0, atol=1e-6)
    assert (np.min(changes) >= 0) == (name != "saddle_point")


def test_other_experiments_have_no_exact_reference_but_abs1() -> None:
    reference = exact_reference(get_experiment("abs1_convergence").to_dict())
    assert reference is not None
    assert_allclose(reference([[0.1, 0.3, 0.0], [1, 0, 0]]), [[-0.5, 0.5, 0], [0.5, -0.5, 0]])
    assert exact_reference(get_experiment("relu1_normal").to_dict()) is None
    assert exact_reference(get_experiment("saddle_point").replace(loss="mse").to_dict()) is None


def test_runs_leave_the_saddle_by_a_schedule_of_straight_lines() -> None:
    """Each axis is multiplied by 1 -+ 2 eta_t, eta_t being what NumPy interpolates."""
    schedule = {"name": "piecewise", "steps": 40, "factors": [0.0, 1.0, 0.5]}
    run = simulate(get_experiment("saddle_point").replace(**{"optimizer.schedule": schedule}), 16, devices=1)
    rates = 0.05 * np.interp(np.arange(100), [0, 20, 40], schedule["factors"])
    factors = [np.prod(1 - 2 * rates), np.prod(1 + 2 * rates)]
    assert_allclose(run.final_params, run.initial_params * factors, 2e-5)
    assert (run.status == Status.EPOCH_CAP).all()


def test_runs_reach_the_bottom_of_the_bowl() -> None:
    run = simulate("quadratic_bowl", 16, devices=1)
    assert (run.status == Status.CONVERGED).all() and (run.final_accuracy == 1).all()
    remaining = (1 - 0.05 * np.array([1.0, 2, 5, 10])) ** run.epochs[:, None]
    assert_allclose(run.final_params, run.initial_params * remaining, 1e-4, 1e-9)


@pytest.mark.parametrize("eigenvalues", [[], [1.0, 0.0], ["1"], 3.0])
def test_impossible_eigenvalues(eigenvalues: Any) -> None:
    with pytest.raises(ExperimentError, match=r"^model.eigenvalues"):
        get_experiment("quadratic_bowl").replace(**{"model.eigenvalues": eigenvalues})


@pytest.mark.parametrize("factors", [[], [1.0], [1.0, -0.1], [1.0, float("inf")]])
def test_impossible_factors(factors: Any) -> None:
    with pytest.raises(ExperimentError, match=r"^optimizer.schedule.factors"):
        schedule = {"name": "piecewise", "steps": 10, "factors": factors}
        get_experiment("saddle_point").replace(**{"optimizer.schedule": schedule})


def test_lists_of_numbers_are_written_and_read() -> None:
    experiment = get_experiment("quadratic_bowl")
    assert experiment.model.options["eigenvalues"] == (1.0, 2.0, 5.0, 10.0)
    assert Experiment.from_toml(experiment.to_toml()) == experiment
