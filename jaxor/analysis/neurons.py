"""What is measured along the training of two-layer ReLU nets: norms, hitting time, balance, curvature, all at once.

Section 6 of Wang and Ma (NeurIPS 2022), of their model (4), ``f(x) = sum_k a_k relu(b_k . x)`` with targets +-1. The
parameters of a seed are b as ``linear1.weight`` (m, d) and a as ``linear2.weight`` (m,). Everything on arrays of JAX is
a pure function of one seed: `vmap` it over seeds, scan it over steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.gram import entry_bounds, entry_margin, errors, gradient_bound, gradient_square, gram, off_class
from jaxor.analysis.hitting import coupled
from jaxor.analysis.partition import Neurons, expected_overlaps, fractions, overlaps, same_class, violations
from jaxor.experiments.loss import Loss
from jaxor.experiments.model import Params

INNER, OUTER = "linear1.weight", "linear2.weight"

_TINY = float(np.finfo(np.float32).tiny)  # a gradient of 0 has no error

Measure = Callable[[Params, Params, Params, Array | int], dict[str, Array]]
"""``measure(initial, before, after, step) -> figures`` of the step from `before` to `after`, the step-th from 0."""


def outer_decreases(initial: Array, before: Array, after: Array, true_living: Array) -> Array:
    """Neurons at which a step breaks (P1) of Lemma 6.3: true-living at some point, and ``a_k sgn a_k(0)`` decreases.

    The lemma covers t < T_e. At step 0 a neuron may be true-living at a few points and false-living at many, and then
    decreases; from step 1 on it lives on one class.

    Parameters
    ----------
    initial, before, after : (m,) Array
        a at 0, t and t + 1.
    true_living : (n, m) Array of bool
        TL at t.

    Returns
    -------
    int32 scalar

    Examples
    --------
    >>> a, living = jnp.array([1.0, -1.0]), jnp.array([[True, True]])
    >>> int(outer_decreases(a, a, jnp.array([0.5, -2.0]), living)), int(outer_decreases(a, a, a, living))
    (1, 0)
    """
    return jnp.sum((jnp.sign(initial) * (after - before) < 0) & jnp.any(true_living, 0), dtype=jnp.int32)


def norm_ratios(
    initial: Params, now: Params, neurons: Neurons, learning_rate: float, step: Array | int
) -> dict[str, Array]:
    """|a_k|, |b_k| and |f(x_i)| relative to their bounds of Lemma 6.3, the largest of each.

    The bounds of the norms are those of `hitting.parameter_bounds`, A and B being the largest |a_k| and |b_k| at step 0
    [DER; the constants of the text are lost, OCR?]; losses with |l'| <= 2 are covered too. By them
    ``|f(x_i)| <= r_i m |a| |b|`` with r_i the share of neurons that live at i, for B = 0
    ``r_i ((1 + 2 eta)^2t - (1 - 2 eta)^2t) / 4`` [DER]. At most 1 up to the hitting time; of the norms 1 at step 0.
    """
    starts = jnp.max(jnp.abs(initial[OUTER])), _largest_norm(initial[INNER])
    outer, inner = coupled(jnp.asarray(step), 2 * learning_rate, *starts)
    living = jnp.sum(neurons.pre > 0, 1, dtype=neurons.pre.dtype)
    limits = living * outer * inner
    outputs = jnp.abs(jax.nn.relu(neurons.pre) @ now[OUTER])
    return {
        "outer_ratio": jnp.max(jnp.abs(now[OUTER])) / outer,
        "inner_ratio": _largest_norm(now[INNER]) / inner,
        "output_ratio": jnp.max(jnp.where(living > 0, outputs / jnp.where(living > 0, limits, 1), 0)),
    }


def _largest_norm(rows: Array) -> Array:
    return jnp.sqrt(jnp.max(jnp.sum(rows**2, 1)))


def balance(params: Params) -> Array:
    """``sum_k a_k^2 - sum_k |b_k|^2``, which gradient flow keeps.

    A step of gradient descent with rate eta changes it by ``eta^2 (|g_a|^2 - |g_b|^2)``.

    Examples
    --------
    >>> float(balance({INNER: jnp.array([[1.0, 2.0]]), OUTER: jnp.array([3.0])}))
    4.0
    """
    return jnp.sum(params[OUTER] ** 2) - jnp.sum(params[INNER] ** 2)


def is_fine(initial: Params, now: Params, outputs: Array) -> Array:
    """Whether max |f(x_i)| <= 1 and all ``a_k a_k(0) > 0``, the condition of the hitting time."""
    return (jnp.max(jnp.abs(outputs)) <= 1) & jnp.all(now[OUTER] * initial[OUTER] > 0)


def hitting_time(fine: ArrayLike) -> NDArray[np.int64]:
    """Hitting time T (seeds,): the last t such that all is fine at every s from 0 to t + 1.

    It is the first s that is not fine, minus 2; negative if there is no such t. Of seeds where all is fine throughout
    it is the last t that this shows, so T may be later.

    Parameters
    ----------
    fine : (seeds, steps + 1) array_like of bool
        As `is_fine` gives it, at s = 0, ..., steps.

    Examples
    --------
    >>> hitting_time([[True, True, True, False], [True, True, True, True], [True, False, True, True]]).tolist()
    [1, 2, -1]
    """
    fine = np.asarray(fine, bool)
    first = np.where(fine.all(1), fine.shape[1], np.argmin(fine, 1))
    return first - 2


def hessian_norm(loss: Callable[[Params], Array], params: Params, iterations: int = 10) -> Array:
    """Norm of a loss's Hessian, its largest absolute eigenvalue, by power iteration from below.

    The figure is ``|H v|`` for a unit vector v: it never exceeds the norm, and rises with every iteration. The first v
    is the gradient, which early in training points along the leading eigenvectors, plus as much noise, always the same,
    so that no eigenvector is orthogonal to it. With 1,295 neurons and 20 points 10 iterations come within 1 % of the
    norm and 5 within 2 %; from noise alone it takes 40. An iteration costs somewhat more than a step.

    Parameters
    ----------
    loss : function of params
    params : dict of Array
        The trained ones only.

    Examples
    --------
    >>> saddle = lambda p: p["x"][0] * (p["x"] @ jnp.array([1.0, -3.0]))  # the Hessian is [[2, -3], [-3, 0]]
    >>> round(float(hessian_norm(saddle, {"x": jnp.ones(2)}, iterations=20)), 4)
    4.1623
    """
    gradient, product = jax.linearize(jax.grad(loss), params)
    key = jax.random.key(0, impl="threefry2x32")
    noise = {
        name: jax.random.normal(jax.random.fold_in(key, place), value.shape, value.dtype)
        for place, (name, value) in enumerate(params.items())
    }
    slope, rough = _unit(gradient)[0], _unit(noise)[0]
    start = _unit({name: slope[name] + rough[name] for name in params})[0]
    return jax.lax.fori_loop(
        0, iterations, lambda _, found: _unit(product(found[0])), (start, jnp.zeros_like(loss(params)))
    )[1]


def _unit(vector: Params) -> tuple[Params, Array]:
    """A vector over its norm, and that norm; the vector 0 stays."""
    norm = jnp.sqrt(_dot(vector, vector))
    return {name: part / jnp.where(norm > 0, norm, 1) for name, part in vector.items()}, norm


def descent_excess(figures: Mapping[str, ArrayLike], curvature: ArrayLike) -> NDArray[np.floating[Any]]:
    """``L(t + 1) - (L(t) + <g, d> + H / 2 |d|^2)`` with d the step taken; at most 0 by Lemma 6.6.

    Parameters
    ----------
    figures : mapping
        ``loss_after``, ``loss``, ``slope`` and ``moved`` as `watch` gives them, of any shape.
    curvature : array_like of float
        H, the largest norm of the Hessian along the run.

    Examples
    --------
    >>> float(descent_excess({"loss_after": 0.5, "loss": 2.0, "slope": -2.0, "moved": 1.0}, 1.0))
    0.0
    """
    after, before, slope, moved = (np.asarray(figures[name]) for name in ("loss_after", "loss", "slope", "moved"))
    return after - (before + slope + np.asarray(curvature) / 2 * moved)


def watch(
    inputs: ArrayLike,
    targets: ArrayLike,
    loss: Loss,
    train_output: bool = True,
    hessian_iterations: int = 0,
    *,
    learning_rate: float | None = None,
    delta: float = 0.1,
) -> Measure:
    """A function that measures one step of one seed.

    Parameters
    ----------
    inputs : (n, d) array_like
    targets : (n,) array_like
        +-1.
    loss : Loss
        Mean over the points.
    train_output : bool
        Whether a is trained; False for Theorem 5.3. What says gradient, step or Hessian is of what is trained.
    hessian_iterations : int
        Power iterations, see `hessian_norm`; 10 are enough, 0 leave the Hessian out.
    learning_rate : float, optional
        eta, constant up to the hitting time. Without it there are no bounds of Lemma 6.3 to compare norms with.
    delta : float
        Probability with which the lower bound of Lemma 6.4 may fail.

    Returns
    -------
    function
        ``measure(initial, before, after, step)`` of three dicts of parameters and t; a may be (1, m) as well. It gives
        a dict of scalars at t unless said otherwise, in the precision of the parameters, counts in int32:

        - ``loss``, ``loss_after`` (at t + 1), ``slope`` <g, d> and ``moved`` |d|^2 of the step d, for Lemma 6.6;
        - ``gradient_square`` |grad L|^2; ``identity_error``, how far ``e^T G e / n^2`` is from it, relatively;
          ``gradient_ratio`` |grad L| / L (Lemma 6.7: at least about g_a sqrt(V)); ``gradient_margin``, the gradient's
          square minus `gradient_bound` (Lemma 6.5: at least 0 from t = 1);
        - ``off_class`` and ``entry_margin`` of the Gram matrix (Lemma 6.4: 0, and at least 0, from t = 1);
        - ``fractions`` (4,) of TL, TD, FL, FD; ``S1`` to ``S5``, see `violations`; ``overlap_deviation``, the largest
          deviation of a class's overlaps from Lemma 6.1, which is on t = 0, and 0 later;
        - ``P1``, see `outer_decreases`; ``outer_ratio``, ``inner_ratio``, ``output_ratio``, see `norm_ratios`, with a
          learning rate; ``largest_output`` max |f(x_i)|; ``fine``, see `is_fine`; ``balance``;
        - ``hessian_norm``, with iterations.

    Examples
    --------
    >>> points, targets = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, -1.0])
    >>> measure = watch(points, targets, lambda f, y: jnp.mean((f - y) ** 2) / 2)
    >>> params = {INNER: jnp.array([[0.1, 0.0], [-0.1, 0.0]]), OUTER: jnp.array([1.0, -1.0])}
    >>> figures = measure(params, params, params, 0)
    >>> figures["fractions"].tolist(), int(figures["S1"]), round(float(figures["gradient_square"]), 4)
    ([0.5, 0.0, 0.0, 0.5], 0, 0.409)
    """
    x, y = np.asarray(inputs), np.asarray(targets)
    kernel, same, expected = x @ x.T, same_class(y), expected_overlaps(x)
    trained = (INNER, OUTER) if train_output else (INNER,)

    def preactivations(params: Params) -> Array:
        return jnp.asarray(x, params[INNER].dtype) @ params[INNER].T

    def forward(chosen: Params, frozen: Params) -> tuple[Array, tuple[Array, Array]]:
        params = frozen | chosen
        pre = preactivations(params)
        outputs = jax.nn.relu(pre) @ params[OUTER]
        return loss(outputs, y), (outputs, pre)

    def neurons_of(pre: Array, params: Params) -> Neurons:
        return Neurons(pre, jnp.asarray(y, pre.dtype)[:, None] * params[OUTER])

    def measure(initial: Params, before: Params, after: Params, step: Array | int) -> dict[str, Array]:
        initial, before, after = (params | {OUTER: params[OUTER].reshape(-1)} for params in (initial, before, after))
        chosen = {name: before[name] for name in trained}
        (value, (outputs, pre)), gradient = jax.value_and_grad(forward, has_aux=True)(chosen, before)
        value_after, (_, pre_after) = forward({}, after)
        now, then = neurons_of(pre, before), neurons_of(pre_after, after)
        change = {name: after[name] - before[name] for name in trained}
        square, error = _dot(gradient, gradient), errors(loss, outputs, y)
        matrix = gram(kernel, pre, before[OUTER], train_output)
        figures = {
            "loss": value,
            "loss_after": value_after,
            "slope": _dot(gradient, change),
            "moved": _dot(change, change),
            "gradient_square": square,
            "identity_error": jnp.abs(gradient_square(matrix, error) - square) / jnp.maximum(square, _TINY),
            "gradient_ratio": jnp.sqrt(square) / value,
            "gradient_margin": square - gradient_bound(matrix, error, y, same),
            "off_class": off_class(matrix, same),
            "entry_margin": entry_margin(matrix, entry_bounds(x, pre.shape[1], delta), same),
            "fractions": fractions(now),
            **violations(now, then, step),
            "overlap_deviation": _deviation(now, expected, same, step),
            "P1": outer_decreases(initial[OUTER], before[OUTER], after[OUTER], now.true_living),
            "largest_output": jnp.max(jnp.abs(outputs)),
            "fine": is_fine(initial, before, outputs),
            "balance": balance(before),
        }
        if learning_rate is not None:
            figures |= norm_ratios(initial, before, now, learning_rate, step)
        if hessian_iterations:
            figures["hessian_norm"] = hessian_norm(lambda part: forward(part, before)[0], chosen, hessian_iterations)
        return figures

    return measure


def _dot(one: Params, other: Params) -> Array:
    return jnp.sum(jnp.stack([jnp.sum(one[name] * other[name]) for name in one]))


def _deviation(neurons: Neurons, expected: ArrayLike, same: ArrayLike, step: Array | int) -> Array:
    """Largest deviation of overlaps within a class at step 0, else 0; the product is left out where it is 0."""
    dtype = neurons.pre.dtype

    def largest() -> Array:
        return jnp.max(jnp.where(jnp.asarray(same), jnp.abs(overlaps(neurons) - jnp.asarray(expected, dtype)), 0))

    return jax.lax.cond(jnp.asarray(step) == 0, largest, lambda: jnp.zeros((), dtype))
