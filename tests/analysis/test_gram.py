"""The Gram matrix against loops and gradients written out, and its bounds on a recorded run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxor.analysis.gram import entry_bounds, entry_margin, errors, gradient_bound, gradient_square, gram, off_class
from jaxor.analysis.partition import same_class
from tests.analysis.early import Trajectory, antipodal, gradient, quadratic, small


def matrix_of(run: Trajectory, step: int, train_output: bool = True) -> jax.Array:
    pre = jnp.asarray(run.x @ run.b[step].T)
    return gram(run.x @ run.x.T, pre, jnp.asarray(run.a[step]), train_output)


@pytest.mark.parametrize("train_output", [True, False])
def test_entries_are_those_of_a_loop(train_output: bool):
    run = small()
    a, b, entries = run.a[0], run.b[0], np.zeros((6, 6))
    for i, j, k in np.ndindex(6, 6, 9):
        one, other = b[k] @ run.x[i], b[k] @ run.x[j]
        if one > 0 and other > 0:
            entries[i, j] += run.x[i] @ run.x[j] * a[k] ** 2 + train_output * one * other
    with jax.enable_x64(True):
        assert_allclose(matrix_of(run, 0, train_output), entries, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("train_output", [True, False])
def test_the_gradient_is_the_form_of_the_errors(train_output: bool):
    run = small()
    grad_a, grad_b = gradient(run.x, run.y, run.a[0], run.b[0])
    square = np.sum(grad_b**2) + train_output * np.sum(grad_a**2)
    with jax.enable_x64(True):
        outputs = jnp.asarray(np.maximum(run.x @ run.b[0].T, 0) @ run.a[0])
        error = errors(quadratic, outputs, run.y)
        assert_allclose(error, outputs - run.y, rtol=1e-14)
        assert_allclose(gradient_square(matrix_of(run, 0, train_output), error), square, rtol=1e-12)


def test_errors_of_a_loss_of_the_margin_are_its_derivative_times_the_target():
    with jax.enable_x64(True):
        outputs, targets = jnp.array([0.3, -1.2, 0.7]), np.array([1.0, 1.0, -1.0])
        error = errors(lambda f, y: jnp.mean(jnp.log1p(jnp.exp(-f * y))), outputs, targets)
        assert_allclose(error, -targets / (1 + np.exp(targets * np.asarray(outputs))), rtol=1e-14)


def test_blocks_of_different_classes_are_exactly_0_from_step_1_on_and_entries_within_bounded():
    run, same = antipodal(), same_class(antipodal().y)
    pi_minus_theta = np.pi - np.arccos(np.clip(run.x @ run.x.T, -1, 1))
    lower = run.x @ run.x.T * (pi_minus_theta / (4 * np.pi) - np.sqrt(np.log(400 / 0.1) / (2 * 1295)))
    assert_allclose(entry_bounds(run.x, 1295)[same], lower[same], atol=1e-8)
    with jax.enable_x64(True):
        assert off_class(matrix_of(run, 0), same) > 0.01
        for step in (1, 2, 20, 44):
            matrix = matrix_of(run, step)
            assert off_class(matrix, same) == 0
            assert_allclose(entry_margin(matrix, lower, same), (np.asarray(matrix) - lower)[same].min(), rtol=1e-12)
            assert entry_margin(matrix, lower, same) > 0
    with pytest.raises(ValueError, match="delta must be between 0 and 1, got 0"):
        entry_bounds(run.x, 1295, delta=0)


def test_the_gradient_has_the_lower_bound_of_lemma_6_5():
    run, same = antipodal(), same_class(antipodal().y)
    for step in (1, 20, 44):
        outputs = np.maximum(run.x @ run.b[step].T, 0) @ run.a[step]
        grad_a, grad_b = gradient(run.x, run.y, run.a[step], run.b[step])
        square = np.sum(grad_a**2) + np.sum(grad_b**2)
        with jax.enable_x64(True):
            matrix = matrix_of(run, step)
            bound = float(gradient_bound(matrix, jnp.asarray(outputs - run.y), run.y, same))
        stated = (1 - np.abs(outputs).max()) ** 2 * np.asarray(matrix)[same].sum() / 20**2
        assert stated <= bound * (1 + 1e-12) and 0.9 * square < bound <= square


def test_no_bound_is_claimed_where_an_output_is_beyond_its_target():
    error = jnp.array([0.5, 1.0])  # targets 1 and -1: the first output is 1.5
    assert gradient_bound(jnp.eye(2), error, np.array([1.0, -1.0]), np.eye(2, dtype=bool)) == 0
