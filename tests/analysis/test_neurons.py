"""What is measured along training, against plain NumPy, closed forms and the recorded run."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from jaxor.analysis.neurons import (
    INNER,
    OUTER,
    balance,
    descent_excess,
    hessian_norm,
    hitting_time,
    is_fine,
    norm_ratios,
    outer_decreases,
    watch,
)
from tests.analysis.early import ETA, antipodal, gradient, quadratic, small

DESCENT = 0.06952210574981643
"""L(0) - L(44) of the oracle's thm42_antipodal; other random numbers, same law."""


@cache
def measured() -> dict[str, NDArray[Any]]:
    """All 44 steps of the recorded setting, with the step as first axis."""
    run = antipodal()
    with jax.enable_x64(True):
        measure = jax.jit(jax.vmap(watch(run.x, run.y, quadratic, learning_rate=ETA), (None, 0, 0, 0)))
        before, after = run.params(slice(0, 44)), run.params(slice(1, 45))
        return {name: np.asarray(value) for name, value in measure(run.params(0), before, after, np.arange(44)).items()}


def test_losses_and_steps_are_those_of_numpy():
    run, figures = antipodal(), measured()
    outputs = np.maximum(np.einsum("nd,tmd->tnm", run.x, run.b), 0) @ run.a[:, :, None]
    losses = ((outputs[..., 0] - run.y) ** 2).mean(1) / 2
    assert_allclose(figures["loss"], losses[:-1], rtol=1e-12)
    assert_allclose(figures["loss_after"], losses[1:], rtol=1e-12)
    assert_allclose(figures["largest_output"], np.abs(outputs[:-1, :, 0]).max(1), rtol=1e-9)
    gradients = [gradient(run.x, run.y, run.a[t], run.b[t]) for t in range(44)]
    squares = np.array([np.sum(grad_a**2) + np.sum(grad_b**2) for grad_a, grad_b in gradients])
    assert_allclose(figures["gradient_square"], squares, rtol=1e-12)
    assert_allclose(figures["gradient_ratio"], np.sqrt(squares) / losses[:-1], rtol=1e-12)
    assert_allclose(figures["moved"], ETA**2 * squares, rtol=1e-9)
    assert_allclose(figures["slope"], -ETA * squares, rtol=1e-9)
    assert losses[0] - losses[44] == pytest.approx(DESCENT, rel=0.01)


def test_nothing_of_the_partition_is_broken_at_the_scale_of_the_corollary():
    figures = measured()
    assert all(figures[name].shape == (44,) and not figures[name].any() for name in ("S1", "S2", "S3", "S4", "S5"))
    assert_allclose(figures["fractions"][0], 0.25, atol=0.01)
    positive = np.mean(antipodal().a[0] > 0)
    assert_allclose(figures["fractions"][1:], np.tile([0.5, 0, 0, 0.5], (43, 1)), atol=1e-15)
    assert positive != 0.5  # so it is by the balance of the classes, not of the neurons
    assert 0 < figures["overlap_deviation"][0] < 0.0589 and not figures["overlap_deviation"][1:].any()


def test_the_gram_matrix_is_as_lemmas_6_4_and_6_5_have_it():
    figures = measured()
    assert figures["identity_error"].max() < 1e-6
    assert figures["off_class"][0] > 0 and not figures["off_class"][1:].any()
    assert figures["entry_margin"][1:].min() > 0 and figures["gradient_margin"][1:].min() >= 0


def test_norms_stay_below_their_bounds_and_nothing_is_hit():
    figures = measured()
    for name in ("outer_ratio", "inner_ratio", "output_ratio"):
        assert 0.1 < figures[name][1:].max() <= 1 + 1e-12, name
    assert figures["outer_ratio"][0] == pytest.approx(1) and figures["inner_ratio"][0] == pytest.approx(1)
    assert figures["fine"].all() and hitting_time(figures["fine"][None]).tolist() == [42]


def test_output_weights_decrease_at_the_first_step_alone_and_where_the_sum_of_a_class_says_so():
    """With antipodal points and f near 0 the gradient in a_k is -b_k . sum_i z_i / n, of either sign."""
    run, figures = antipodal(), measured()
    living = ((np.outer(run.y, run.a[0]) > 0) & (run.x @ run.b[0].T > 0)).any(0)
    downwards = run.a[0] * (run.b[0] @ run.x[:10].sum(0)) < 0
    assert figures["P1"].tolist() == [int((living & downwards).sum()), *[0] * 43] and figures["P1"][0] > 0


def test_decreases_are_counted_once_a_neuron_and_only_of_the_true_living():
    first, before = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0]), jnp.array([2.0, -2.0, 2.0, -2.0, 2.0])
    after = jnp.array([1.0, -1.0, 1.0, -3.0, 2.0])
    living = jnp.array([[1, 0, 0, 1, 1], [1, 1, 0, 1, 1]], bool)
    assert outer_decreases(first, before, after, living) == 2


def test_ratios_of_norms_are_those_of_a_loop():
    run = small(steps=3)
    a, b = run.a[3], run.b[3]
    outer, inner = np.abs(run.a[0]).max(), np.linalg.norm(run.b[0], axis=1).max()
    for _ in range(3):
        outer, inner = outer + 2 * ETA * inner, inner + 2 * ETA * outer
    ratios = []
    for point in run.x:
        living = [k for k in range(9) if b[k] @ point > 0]
        ratios.append(abs(sum(a[k] * (b[k] @ point) for k in living)) / (len(living) * outer * inner))
    with jax.enable_x64(True):
        found = norm_ratios(run.params(0), run.params(3), run.neurons(3), ETA, 3)
    norms = [np.abs(a).max() / outer, np.linalg.norm(b, axis=1).max() / inner, max(ratios)]
    assert_allclose(list(found.values()), norms, rtol=1e-12)


def test_balance_drifts_by_the_square_of_the_step():
    run = small()
    grad_a, grad_b = gradient(run.x, run.y, run.a[0], run.b[0])
    with jax.enable_x64(True):
        drift = balance(run.params(1)) - balance(run.params(0))
    assert_allclose(drift, ETA**2 * (np.sum(grad_a**2) - np.sum(grad_b**2)), rtol=1e-9)


def test_the_hitting_time_is_two_before_the_first_violation():
    fine = np.ones((4, 10), bool)
    fine[0, 6:] = fine[1, 4] = fine[2, 0] = False
    assert hitting_time(fine).tolist() == [4, 2, -2, 8]


@pytest.mark.parametrize(
    ("output", "flip"), [(0.99, False), (-1.0, False), (1.01, False), (-1.01, False), (0.99, True)]
)
def test_a_large_output_or_a_turned_neuron_is_not_fine(output: float, flip: bool):
    start = {INNER: jnp.ones((2, 1)), OUTER: jnp.array([1.0, -1.0])}
    now = start | {OUTER: jnp.array([1.0, 1.0])} if flip else start
    assert bool(is_fine(start, now, jnp.array([0.5, output]))) == (abs(output) <= 1 and not flip)


def small_loss(trained: dict[str, jax.Array]) -> jax.Array:
    """Loss of the small net at its start, some of the parameters given."""
    run = small()
    params = run.params(0) | trained
    return quadratic(jax.nn.relu(jnp.asarray(run.x) @ params[INNER].T) @ params[OUTER], run.y)


def exact_norm(trained: dict[str, jax.Array]) -> float:
    flat, unravel = jax.flatten_util.ravel_pytree(trained)
    matrix = jax.jit(jax.hessian(lambda vector: small_loss(unravel(vector))))(flat)
    return float(np.abs(np.linalg.eigvalsh(matrix)).max())


def test_the_hessian_has_the_norm_of_its_eigenvalues():
    with jax.enable_x64(True):
        params = small().params(0)
        exact, found = exact_norm(params), jax.jit(lambda count: hessian_norm(small_loss, params, count))
        rising = [float(found(count)) for count in (1, 5, 10, 200)]
    assert rising == sorted(rising) and rising[-1] <= exact * (1 + 1e-12)
    assert rising[2] == pytest.approx(exact, rel=0.01) and rising[3] == pytest.approx(exact, rel=1e-9)


def test_a_loss_without_curvature_has_norm_0():
    params = {"x": jnp.zeros(3)}
    assert hessian_norm(lambda p: jnp.sum(p["x"]), params) == 0
    assert hessian_norm(lambda p: jnp.sum(p["x"] ** 2), params) == pytest.approx(
        2
    )  # from noise alone: the gradient is 0


def test_every_step_descends_as_lemma_6_6_has_it():
    run, figures = antipodal(), measured()
    x, y = run.x, run.y
    with jax.enable_x64(True):

        def loss(params: dict[str, jax.Array]) -> jax.Array:
            return quadratic(jax.nn.relu(jnp.asarray(x) @ params[INNER].T) @ params[OUTER], y)

        norms = np.asarray(jax.jit(jax.vmap(lambda params: hessian_norm(loss, params)))(run.params(slice(1, 45, 11))))
    largest = norms.max()
    assert 0.4 < largest < 0.6 and norms.argmax() == 0  # it falls along the run
    excess = descent_excess(figures, largest)[1:]
    linear = figures["loss"] + figures["slope"]
    assert_allclose(excess, (figures["loss_after"] - linear - largest / 2 * figures["moved"])[1:], atol=1e-16)
    assert excess.max() <= 0 < descent_excess(figures, -2 * largest)[1:].min()


def test_with_the_input_layer_alone_the_output_layer_counts_nowhere():
    run = small()
    _, grad_b = gradient(run.x, run.y, run.a[0], run.b[0])
    with jax.enable_x64(True):
        measure = jax.jit(watch(run.x, run.y, quadratic, train_output=False, hessian_iterations=200))
        start = run.params(0)
        figures = measure(start, start, start | {INNER: jnp.asarray(run.b[1])}, 0)
        norm = exact_norm({INNER: start[INNER]})
    step = run.b[1] - run.b[0]
    found = [float(figures[name]) for name in ("gradient_square", "slope", "moved")]
    assert_allclose(found, [np.sum(grad_b**2), np.sum(grad_b * step), np.sum(step**2)], rtol=1e-12)
    assert float(figures["identity_error"]) < 1e-12 and "outer_ratio" not in figures
    assert float(figures["hessian_norm"]) == pytest.approx(norm, rel=1e-9)


def test_steps_measured_together_are_those_measured_alone_whatever_the_shape_of_the_output_layer():
    run = antipodal()

    def params(step: int) -> dict[str, jax.Array]:
        return run.params(step) | {OUTER: jnp.asarray(run.a[step][None])}

    with jax.enable_x64(True):
        alone = jax.jit(watch(run.x, run.y, quadratic, learning_rate=ETA))
        for t in (0, 20):
            figures = alone(params(0), params(t), params(t + 1), t)
            assert figures.keys() == measured().keys()
            for name, value in figures.items():
                assert_allclose(measured()[name][t], value, rtol=1e-9, atol=1e-14, err_msg=name)


def test_single_precision_stays_single():
    run = small()
    measure = watch(run.x, run.y, quadratic, learning_rate=ETA)
    start = {name: value.astype(jnp.float32) for name, value in run.params(0).items()}
    for x64 in (False, True):
        with jax.enable_x64(x64):
            kinds = {str(figure.dtype) for figure in jax.eval_shape(measure, start, start, start, 0).values()}
        assert kinds == {"float32", "int32", "bool"}
