"""Losses and accuracies against float64 NumPy, and the tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from jaxor.experiments.loss import LOSSES, Loss
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.task import TASKS, argmax_accuracy, threshold_accuracy

Floats = NDArray[np.float64]


def built(name: str) -> Loss:
    return LOSSES.build(LOSSES.resolve(name, "loss"), "loss")


def mse(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    return float(np.mean((outputs - targets) ** 2)), 2 * (outputs - targets) / outputs.size


def bce(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    with np.errstate(over="ignore"):
        terms = targets * np.logaddexp(0, -outputs) + (1 - targets) * np.logaddexp(0, outputs)
        return float(np.mean(terms)), (1 / (1 + np.exp(-outputs)) - targets) / outputs.size


def cross_entropy(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    shifted = outputs - outputs.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return float(-np.mean(np.sum(targets * logs, -1))), (np.exp(logs) - targets) / len(outputs)


def quadratic(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    return float(np.sum((outputs - targets) ** 2) / 2 / len(outputs)), (outputs - targets) / len(outputs)


def logistic(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    margin = np.sum(outputs * targets, -1)
    slope = -1 / (1 + np.exp(margin))
    return float(np.mean(np.logaddexp(0, -margin))), slope[:, None] * targets / len(outputs)


def hinge(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    margin = np.sum(outputs * targets, -1)
    return float(np.mean(np.maximum(0, 1 - margin))), (margin < 1)[:, None] * -targets / len(outputs)


REFERENCES: dict[str, Callable[[Floats, Floats], tuple[float, Floats]]] = {
    "mse": mse,
    "bce_with_logits": bce,
    "cross_entropy": cross_entropy,
    "quadratic": quadratic,
    "logistic": logistic,
    "hinge": hinge,
}


@pytest.mark.parametrize("size", [0.01, 1.0, 10.0, 80.0])
@pytest.mark.parametrize("name", REFERENCES)
def test_loss_and_gradient(name: str, size: float) -> None:
    generator = np.random.default_rng(1)
    outputs = size * generator.normal(size=(4, 3))
    targets = np.eye(3)[generator.integers(3, size=4)]
    loss, gradient = REFERENCES[name](outputs, targets)
    with jax.enable_x64(True):
        got, slope = jax.value_and_grad(built(name))(jnp.asarray(outputs), targets)
        assert_allclose(got, loss, 1e-12)
        assert_allclose(slope, gradient, 1e-12, 1e-16)
    got, slope = jax.value_and_grad(built(name))(jnp.asarray(outputs, jnp.float32), targets.astype(np.float32))
    assert got.dtype == slope.dtype == jnp.float32
    assert_allclose(got, loss, 2e-6)
    assert_allclose(slope, gradient, 2e-6, 2e-7)


def test_cross_entropy_of_pixels_is_the_mean_over_them() -> None:
    """With more axes between points and classes as with all pixels in a row."""
    generator = np.random.default_rng(1)
    outputs, targets = generator.normal(size=(5, 4, 3, 6)), np.eye(6)[generator.integers(6, size=(5, 4, 3))]
    loss, gradient = cross_entropy(outputs.reshape(-1, 6), targets.reshape(-1, 6))
    with jax.enable_x64(True):
        got, slope = jax.value_and_grad(built("cross_entropy"))(jnp.asarray(outputs), targets)
    assert_allclose(got, loss, 1e-12)
    assert_allclose(slope, gradient.reshape(outputs.shape), 1e-12, 1e-16)


def test_mse_of_numbers_is_the_mean_over_points() -> None:
    outputs, targets = np.array([0.5, 0.5, 1.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0])
    assert float(built("mse")(jnp.asarray(outputs), targets)) == 0.125
    one_hot = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert float(built("mse")(jnp.zeros((2, 2)), one_hot)) == 0.5  # over all elements


@pytest.mark.parametrize(
    ("name", "value"), [("quadratic", 0.5), ("logistic", np.log(2)), ("exponential", 1.0), ("hinge", 1.0)]
)
def test_losses_of_a_margin_at_zero(name: str, value: float) -> None:
    for outputs, targets in (((4,), [1.0, -1.0, -1.0, 1.0]), ((2, 3), [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])):
        assert float(built(name)(jnp.zeros(outputs), np.array(targets))) == pytest.approx(value, rel=1e-6)


def test_exponential_loss_and_gradient() -> None:
    """Of one output with targets +-1, and of the true class's output: others have no gradient."""
    with jax.enable_x64(True):
        loss, slope = jax.value_and_grad(built("exponential"))(jnp.array([0.5, 2.0]), np.array([1.0, -1.0]))
        assert_allclose(loss, (np.exp(-0.5) + np.exp(2)) / 2, 1e-14)
        assert_allclose(slope, [-np.exp(-0.5) / 2, np.exp(2) / 2], 1e-14)
        slope = jax.grad(built("exponential"))(jnp.array([[0.5, 2.0, -1.0]]), np.array([[0.0, 1.0, 0.0]]))
        assert_allclose(slope, [[0, -np.exp(-2), 0]], 1e-14)


@pytest.mark.parametrize("margin", [-1e30, -90.0, 90.0, 1e30])
def test_logistic_of_extreme_margins(margin: float) -> None:
    value, slope = jax.value_and_grad(built("logistic"))(jnp.array([margin]), np.array([1.0]))
    assert_allclose(value, max(-margin, 0), 1e-6, 1e-30)
    assert_allclose(slope, [-1.0 if margin < 0 else 0.0], 1e-6, 1e-30)


@pytest.mark.parametrize("logit", [50.0, 90.0, 1e4, 1e30, 3e38])
def test_binary_cross_entropy_of_extreme_logits(logit: float) -> None:
    """Right and sure: no loss and no gradient; wrong and sure: the logit itself, and a gradient of one."""
    loss = jax.value_and_grad(lambda z, t: built("bce_with_logits")(z, t))
    for sign, target in ((1, 1.0), (-1, 0.0)):
        value, slope = loss(jnp.array([sign * logit]), np.array([target], np.float32))
        assert float(value) < 1e-21
        assert abs(float(slope[0])) < 1e-21
        value, slope = loss(jnp.array([sign * logit]), np.array([1 - target], np.float32))
        assert float(value) == pytest.approx(logit, rel=1e-6)
        assert float(slope[0]) == sign


@pytest.mark.parametrize("logit", [1e4, 1e30])
def test_cross_entropy_of_extreme_logits(logit: float) -> None:
    loss = jax.value_and_grad(lambda z, t: built("cross_entropy")(z, t))
    value, slope = loss(jnp.array([[logit, 0.0]]), np.array([[1.0, 0.0]], np.float32))
    assert float(value) == 0
    assert_array_equal(slope, [[0, 0]])
    value, slope = loss(jnp.array([[logit, 0.0]]), np.array([[0.0, 1.0]], np.float32))
    assert float(value) == pytest.approx(logit, rel=1e-6)
    assert_array_equal(slope, [[1, -1]])


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("outputs", "targets"), [((4,), (4, 2)), ((4, 1), (4,)), ((2,), ()), ((3, 2), (2, 3))])
def test_outputs_and_targets_of_different_shape(name: str, outputs: Any, targets: Any) -> None:
    """Broadcasting would compare every output with every target."""
    with pytest.raises(ExperimentError, match="the model's outputs have shape"):
        built(name)(jnp.zeros(outputs), np.zeros(targets))


@pytest.mark.parametrize(
    ("outputs", "share"),
    [
        ([0.4999, 0.5, 0.5001, 0.0], 1.0),  # 1/2 counts as 1
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.0, 0.0, 0.0, 0.0], 0.5),
        ([1.0, 0.0, 0.0, 1.0], 0.0),
        ([-9.0, 9.0, 0.2, -9.0], 0.75),
        ([0.7, 0.7, 0.2, 0.1], 0.5),
        ([float("nan")] * 4, 0.5),
    ],
)
def test_accuracy_of_numbers(outputs: list[float], share: float) -> None:
    assert float(threshold_accuracy(jnp.array(outputs), np.array([0, 1, 1, 0]))) == share


@pytest.mark.parametrize(
    ("outputs", "share"),
    [
        ([[1.0, 0.0], [0.0, 1.0], [-2.0, -1.0], [5.0, 4.0]], 1.0),
        ([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], 0.5),  # a tie goes to the first class
        ([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 0.0),
        ([[1.0, 0.0], [0.3, 0.3], [0.0, 1.0], [1.0, 0.0]], 0.75),
    ],
)
def test_accuracy_of_classes(outputs: list[list[float]], share: float) -> None:
    targets = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
    assert float(argmax_accuracy(jnp.array(outputs), targets)) == share


@pytest.mark.parametrize("points", [4, 41, 47, 1797])
def test_accuracy_of_all_right(points: int) -> None:
    """1 exactly, which counts as success, also where a point's share of 1 is rounded."""
    targets = np.arange(points) % 2
    for accuracy, right in ((threshold_accuracy, targets), (argmax_accuracy, np.eye(2)[targets])):
        judge = jax.jit(functools.partial(accuracy, targets=right))
        assert float(judge(jnp.asarray(right, jnp.float32))) == 1
        assert float(judge(jnp.asarray(1 - right, jnp.float32))) == pytest.approx(0, abs=1e-6)


def test_tasks() -> None:
    tasks = {name: TASKS.build(TASKS.resolve(name, "task"), "task") for name in ("xor", "xor_one_hot", "digits")}
    corners = [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    for name, targets in (("xor", [0, 1, 1, 0]), ("xor_one_hot", [[1, 0], [0, 1], [0, 1], [1, 0]])):
        assert_array_equal(tasks[name].inputs, corners)
        assert_array_equal(tasks[name].targets, targets)
    digits = tasks["digits"]
    assert (digits.inputs.shape, digits.targets.shape) == ((1797, 64), (1797, 10))
    assert (digits.inputs.min(), digits.inputs.max()) == (0, 1)
    assert_array_equal(digits.targets.sum(1), 1)
    assert_array_equal(digits.targets.sum(0), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert all(task.inputs.dtype == task.targets.dtype == np.float32 for task in tasks.values())
    assert TASKS.build(TASKS.resolve("digits", "task"), "task") is digits
    assert TASKS.describe("xor") == "Centred XOR: four corners of the square, scalar targets 0, 1, 1, 0."
