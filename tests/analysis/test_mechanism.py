"""Why a low loss helps: groups, the parts of a gain, exceptions; and exact distances to solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import jaxor
from jaxor.analysis.diagnostics import Layer, dead_points, hidden_layer
from jaxor.analysis.mechanism import Group, by_loss, by_state, exceptions, gain, rank_correlation, states
from jaxor.analysis.solutions import dead_probability, relu_distance, solution_distance
from jaxor.estimates import Share

XOR = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
CLASS_1 = [False, True, True, False]
PARTS = ("weight[0,0]", "weight[0,1]", "weight[1,0]", "weight[1,1]", "bias[0]", "bias[1]")
NAMES = tuple(f"linear1.{part}" for part in PARTS)


def groups(*pairs: tuple[int, int]) -> tuple[Group, ...]:
    return tuple(Group(runs, Share.of(count, runs)) for count, runs in pairs)


def test_states_are_by_class():
    dead = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], bool)
    assert states(dead, CLASS_1).tolist() == [0, 1, 2, 2]
    found = by_state([0, 0, 1, 2], [True, False, True, False])
    assert [(g.runs, g.success.count) for g in found] == [(2, 1), (1, 1), (1, 0)]


def test_a_gain_by_other_groups_alone_is_avoided_and_one_within_groups_remains():
    control = groups((90, 100), (40, 100), (0, 200))
    other_groups, within = groups((270, 300), (40, 100), (0, 0)), groups((95, 100), (60, 100), (20, 200))
    first, second = gain(control, other_groups), gain(control, within)
    assert first.remaining == pytest.approx(0) and first.avoided == first.total == pytest.approx(0.775 - 0.325)
    assert second.avoided == pytest.approx(0) and second.remaining == pytest.approx(45 / 400)
    assert second.remaining_interval.low < 45 / 400 < second.remaining_interval.high
    same = gain(control, control)
    assert same.total == 0 and same.remaining_interval.low < 0 < same.remaining_interval.high


def test_steps_of_success_hold_all_runs_in_order():
    loss = np.random.default_rng(0).random(103)
    steps = by_loss(np.append(loss, np.nan), np.append(loss < 0.5, True), np.zeros(104, int), steps=10)
    assert sum(step.runs for step in steps) == 103
    assert all(one.high <= two.low for one, two in zip(steps, steps[1:], strict=False))
    assert steps[0].success.share == 1 and steps[-1].success.share == 0 and steps[0].dead == 0


def test_steps_have_the_mean_distance_of_their_runs():
    steps = by_loss([4, 1, 3, 2], [0, 1, 0, 1], distance=[8.0, 2.0, 6.0, 4.0], steps=2)
    assert [step.distance for step in steps] == [3, 7] and steps[0].dead is None


def test_exceptions_are_counted_on_both_sides():
    found = exceptions([2, 2, 0, 1, 0], [True, False, True, False, True])
    assert (found.dead_succeeded, found.alive_failed, found.share.count) == (1, 1, 2)


def test_rank_correlation_leaves_out_what_is_not_finite():
    assert rank_correlation([1, 2, np.nan, 3], [1, 4, 5, 9]) == pytest.approx(1)
    assert np.isnan(rank_correlation([1, 1], [1, 2]))


@pytest.mark.parametrize("units", [1, 2, 3])
def test_the_probability_of_dead_points_is_that_of_draws(units: int):
    random = np.random.default_rng(units)
    layer = Layer(random.normal(size=(100_000, units, 2)), np.zeros((100_000, units)))
    dead = dead_points(layer, XOR)
    one, whole = dead_probability(units)
    assert dead[:, CLASS_1].any(axis=1).mean() == pytest.approx(one, abs=5 * 0.5 / np.sqrt(100_000))
    assert dead.any(axis=1).mean() == pytest.approx(whole, abs=5 * 0.5 / np.sqrt(100_000))


def test_a_dead_class_1_point_costs_a_quarter():
    """Why none has a lower loss: its squared error alone is 1, a quarter of which is the mean over four points."""
    run = jaxor.simulate(jaxor.get_experiment("relu1_init_dist"), 20_000, traces="none", devices=1)
    dead = dead_points(hidden_layer(run.initial_params, run.param_names), XOR)[:, CLASS_1].any(axis=1)
    assert run.initial_loss[dead].min() >= 0.25
    assert run.initial_loss[~dead].min() < 0.1


def nearest(unit: Any, side: float) -> float:
    """Squared distance of (w1, w2, b) to units that are 1 at side * (1, -1) and not active elsewhere."""
    point = np.array([side, -side, 1.0])
    others = np.array([[-side, side, 1.0], [1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]])
    conditions = [
        {"type": "eq", "fun": lambda v: v @ point - 1},
        {"type": "ineq", "fun": lambda v: -(others @ v)},
    ]
    start = np.array([side, -side, -1.0])
    return minimize(lambda v: np.sum((v - unit) ** 2), start, constraints=conditions, options={"ftol": 1e-12}).fun


def test_distances_to_solutions_are_those_of_a_constrained_optimiser():
    random = np.random.default_rng(3)
    weight, bias = random.normal(size=(40, 2, 2)), random.normal(scale=0.7, size=(40, 2))
    found = relu_distance(Layer(weight, bias))
    for w, b, distance in zip(weight, bias, found, strict=True):
        units = np.column_stack([w, b])
        squares = [[nearest(unit, side) for unit in units] for side in (1.0, -1.0)]
        expected = np.sqrt(min(squares[0][0] + squares[1][1], squares[0][1] + squares[1][0]))
        assert_allclose(distance, expected, atol=1e-5)


def test_trained_nets_are_at_solutions():
    run = jaxor.simulate("relu1_normal", 400, traces="none", devices=1)
    distance = solution_distance(run.final_params, run.param_names, run.experiment.to_dict())
    assert distance is not None
    assert distance[run.status == jaxor.Status.CONVERGED].max() < 1e-3
    assert distance[run.final_accuracy < 1].min() > 0.1


def test_solutions_of_the_absolute_value_are_two_points():
    experiment = jaxor.get_experiment("abs1_normal").to_dict()
    found = solution_distance([[0.5, -0.5, 0.0], [-0.5, 0.5, 0.3], [0.0, 0.0, 0.0]], NAMES[:3], experiment)
    assert found is not None
    assert_allclose(found, [0, 0.3, np.sqrt(0.5)])


@pytest.mark.parametrize("changes", [{"model.units": 3}, {"model.activation": "elu"}, {"loss": "bce_with_logits"}])
def test_other_models_have_no_closed_form(changes: dict[str, Any]):
    experiment = jaxor.get_experiment("relu1_normal").replace(**changes).to_dict()
    assert solution_distance(np.zeros((1, 6)), NAMES, experiment) is None
