"""The Gram matrix of two-layer ReLU nets, and what it says of the gradient.

Section 6.1.3 of Wang and Ma (NeurIPS 2022), of their model (4), ``f(x) = sum_k a_k relu(b_k . x)``. With any loss the
mean of l over the points, ``e_i = dl/df(x_i)`` (f_i - y_i for the quadratic one) and ``G_ij = grad f(x_i) . grad
f(x_j)``, the chain rule gives ``|grad L|^2 = e^T G e / n^2`` exactly; the text leaves out 1 / n^2 [TXT].

Everything on arrays of JAX is a pure function of one seed.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.partition import expected_overlaps
from jaxor.experiments.loss import Loss

Floats = NDArray[np.floating[Any]]


def gram(kernel: ArrayLike, pre: Array, output: Array, train_output: bool = True) -> Array:
    """Gram matrix (n, n) of Lemma 6.4.

    ``G_ij = x_i . x_j sum_k a_k^2 1[k living at i and j] + sum_k relu(b_k . x_i) relu(b_k . x_j)``; the second part is
    that of the gradient in a.

    Parameters
    ----------
    kernel : (n, n) array_like
        ``x_i . x_j``.
    pre : (n, m) Array
        Pre-activations ``b_k . x_i``.
    output : (m,) Array
        a.
    train_output : bool
        Whether a is trained; if not, the second part is left out.

    Examples
    --------
    >>> pre, output = jnp.array([[3.0, 1.0], [2.0, -1.0]]), jnp.array([1.0, -2.0])
    >>> gram(jnp.ones((2, 2)), pre, output).tolist()
    [[15.0, 7.0], [7.0, 5.0]]
    >>> gram(jnp.ones((2, 2)), pre, output, train_output=False).tolist()
    [[5.0, 1.0], [1.0, 1.0]]
    """
    living = (pre > 0).astype(pre.dtype)
    inner = jnp.asarray(kernel, pre.dtype) * ((living * output**2) @ living.T)
    if not train_output:
        return inner
    values = jax.nn.relu(pre)
    return inner + values @ values.T


def errors(loss: Loss, outputs: Array, targets: ArrayLike) -> Array:
    """``e_i = dl/df(x_i)`` (n,): l'(z_i) y_i of a loss of the margin z = y f, f_i - y_i of the quadratic one.

    Parameters
    ----------
    loss : Loss
        Mean over the points.

    Examples
    --------
    >>> errors(lambda f, y: jnp.mean((f - y) ** 2) / 2, jnp.array([0.5, 0.0]), np.array([1.0, -1.0])).tolist()
    [-0.5, 1.0]
    """
    return outputs.shape[0] * jax.grad(loss)(outputs, targets)


def gradient_square(matrix: Array, error: Array) -> Array:
    """``e^T G e / n^2``, the square of the gradient's norm."""
    return error @ matrix @ error / error.shape[0] ** 2


def off_class(matrix: Array, same: ArrayLike) -> Array:
    """Largest absolute entry of two points of different classes; exactly 0 from step 1 on by Lemma 6.4.

    Every neuron lives on one class then, so each term of the sums is a product with 0.

    Parameters
    ----------
    matrix : (n, n) Array
    same : (n, n) array_like of bool
        As `same_class` gives it.

    Examples
    --------
    >>> float(off_class(jnp.array([[9.0, -2.0], [-2.0, 9.0]]), np.eye(2, dtype=bool)))
    2.0
    """
    return jnp.max(jnp.where(jnp.asarray(same), 0, jnp.abs(matrix)))


def entry_bounds(inputs: ArrayLike, units: int, delta: float = 0.1) -> Floats:
    """What entries within a class are at least from step 1 on, Lemma 6.4: (n, n), of use only for pairs of a class.

    ``x_i . x_j ((pi - theta_ij) / (4 pi) - sqrt(ln(n^2 / delta) / (2 m)))``, all at once with probability 1 - delta.
    The text hides constants of order 1 [TXT shape, DER constants], among them ``sum_k a_k^2 = 1 - O(eta kappa)``.

    Raises
    ------
    ValueError
        `delta` is not between 0 and 1.

    Examples
    --------
    >>> entry_bounds([[1, 0], [0.6, 0.8]], units=10**9).round(3).tolist()
    [[0.25, 0.106], [0.106, 0.25]]
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta}")
    points = np.asarray(inputs, np.float64)
    return (points @ points.T) * (
        expected_overlaps(points) - math.sqrt(math.log(len(points) ** 2 / delta) / (2 * units))
    )


def entry_margin(matrix: Array, bounds: ArrayLike, same: ArrayLike) -> Array:
    """Smallest entry within a class minus its lower bound; negative where the bound fails.

    Examples
    --------
    >>> float(entry_margin(jnp.array([[2.0, -5.0], [-5.0, 3.0]]), np.full((2, 2), 1.5), np.eye(2, dtype=bool)))
    0.5
    """
    return jnp.min(jnp.where(jnp.asarray(same), matrix - jnp.asarray(bounds, matrix.dtype), jnp.inf))


def gradient_bound(matrix: Array, error: Array, targets: ArrayLike, same: ArrayLike) -> Array:
    """Lower bound of the gradient's square where blocks between classes are 0, Lemma 6.5 made measurable [DER].

    ``g^2 sum_{same class} G_ij / n^2`` with ``g = max(0, min_i -y_i e_i)``: if all y_i e_i are negative, every term
    ``e_i G_ij e_j`` of a class is at least ``g^2 G_ij``. It is exact. For the quadratic loss and |f| <= 1, g is at
    least ``1 - max |f|``; for losses of the margin g is the smallest -l'. The text's own right side,
    ``Omega(1 - (1 + 2 eta)^2t)``, is damaged [OCR?].

    Parameters
    ----------
    matrix : (n, n) Array
        Gram matrix.
    error : (n,) Array
        As `errors` gives it.
    targets : (n,) array_like
        +-1.
    same : (n, n) array_like of bool

    Examples
    --------
    >>> halves = jnp.array([[2.0, 0.0], [0.0, 2.0]])
    >>> float(gradient_bound(halves, jnp.array([-0.5, 1.0]), np.array([1.0, -1.0]), np.eye(2, dtype=bool)))
    0.25
    """
    least = jnp.maximum(0, jnp.min(-jnp.asarray(targets, error.dtype) * error))
    return least**2 * jnp.sum(jnp.where(jnp.asarray(same), matrix, 0)) / error.shape[0] ** 2
