"""The neuron partition of two-layer ReLU nets, and what must not happen to it.

Section 6.1 of Wang and Ma (NeurIPS 2022), of their model (4), ``f(x) = sum_k a_k relu(b_k . x)`` with targets +-1. A
neuron k is true at point i if ``y_i a_k > 0``, false if ``y_i a_k < 0``, living if ``b_k . x_i > 0`` and dead
otherwise; at 0 the subgradient of the ReLU is 0. So of the n x m pairs each is in one of four sets: TL, TD, FL, FD.

Everything on arrays of JAX is a pure function of one seed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]


class Neurons(NamedTuple):
    """All pairs of point and neuron at one time.

    Attributes
    ----------
    pre : (n, m) float
        Pre-activations ``b_k . x_i``.
    side : (n, m) float
        ``y_i a_k``; a neuron with a_k = 0 is in no set.
    """

    pre: Array
    side: Array

    @property
    def true_living(self) -> Array:
        """TL, (n, m) bool."""
        return (self.side > 0) & (self.pre > 0)

    @property
    def true_dead(self) -> Array:
        """TD, (n, m) bool."""
        return (self.side > 0) & (self.pre <= 0)

    @property
    def false_living(self) -> Array:
        """FL, (n, m) bool."""
        return (self.side < 0) & (self.pre > 0)

    @property
    def false_dead(self) -> Array:
        """FD, (n, m) bool."""
        return (self.side < 0) & (self.pre <= 0)


def fractions(neurons: Neurons) -> Array:
    """Shares (4,) of the pairs in TL, TD, FL, FD.

    Near 1/4 each at the start; from step 1 on (1/2, 0, 0, 1/2) with balanced classes and half of the neurons positive,
    the corollary of Lemma 6.2 (TL_i = {k: y_i a_k > 0}, TD and FL are empty).

    Examples
    --------
    >>> neurons = Neurons(jnp.array([[1.0, 0.0], [-1.0, 2.0]]), jnp.array([[1.0, 1.0], [-1.0, -1.0]]))
    >>> fractions(neurons).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    sets = (neurons.true_living, neurons.true_dead, neurons.false_living, neurons.false_dead)
    return jnp.stack([jnp.mean(pairs, dtype=neurons.pre.dtype) for pairs in sets])


def violations(before: Neurons, after: Neurons, step: Array | int) -> dict[str, Array]:
    """Pairs of point and neuron at which a step breaks a statement of Lemma 6.2, each an int32.

    ========  =====================================================  ==========
    S1        TL_i(t) is in TL_i(t + 1)                              every step
    S2        FD_i(t) is in FD_i(t + 1)                              every step
    S3        TD_i(0) is in TL_i(1)                                  step 0
    S4        FL_i(0) is in FD_i(1)                                  step 0
    S5        sgn(b . x_i) is constant and not 0 on the way from     steps >= 1
              b_k(t) to b_k(t + 1)
    ========  =====================================================  ==========

    The pre-activation is linear along a step, so its ends decide S5. S3 and S4 are 0 at other steps than the first, S5
    is 0 at the first. Neurons that break S3 or S4 cross 0 later, once each, so over a whole run S5 comes to S3 + S4
    as long as none of them crosses twice or stays.

    Parameters
    ----------
    before, after : Neurons
        At t and t + 1.
    step : int scalar
        t.

    Examples
    --------
    >>> start, end = Neurons(jnp.array([[1.0, -1.0]]), jnp.ones((1, 2))), Neurons(-jnp.ones((1, 2)), jnp.ones((1, 2)))
    >>> {name: int(count) for name, count in violations(start, end, 0).items()}
    {'S1': 1, 'S2': 0, 'S3': 1, 'S4': 0, 'S5': 0}
    """
    first = jnp.asarray(step) == 0
    crossed = jnp.sign(before.pre) * jnp.sign(after.pre) <= 0
    broken = {
        "S1": before.true_living & ~after.true_living,
        "S2": before.false_dead & ~after.false_dead,
        "S3": before.true_dead & ~after.true_living & first,
        "S4": before.false_living & ~after.false_dead & first,
        "S5": crossed & ~first,
    }
    return {name: jnp.sum(pairs, dtype=jnp.int32) for name, pairs in broken.items()}


def angles(inputs: ArrayLike) -> Floats:
    """Angles (n, n) between points, in float64, 0 on the diagonal.

    Examples
    --------
    >>> (angles([[1, 0], [0, 2]]) / np.pi).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    points = np.asarray(inputs, np.float64)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    theta = np.arccos(np.clip(unit @ unit.T, -1, 1))
    np.fill_diagonal(theta, 0)  # where rounding leaves 1e-8
    return theta


def same_class(targets: ArrayLike) -> NDArray[np.bool_]:
    """Pairs (n, n) of points with the same target."""
    targets = np.asarray(targets)
    return targets[:, None] == targets


def expected_overlaps(inputs: ArrayLike) -> Floats:
    """``(pi - theta_ij) / (4 pi)`` (n, n), what Lemma 6.1 says the overlaps of a class are near to.

    Examples
    --------
    >>> expected_overlaps([[1, 0], [0, 1]]).tolist()
    [[0.25, 0.125], [0.125, 0.25]]
    """
    return (np.pi - angles(inputs)) / (4 * np.pi)


def overlaps(neurons: Neurons) -> Array:
    """``card(TL_i n TL_j) / m`` (n, n), of all pairs of points.

    Examples
    --------
    >>> overlaps(Neurons(jnp.array([[1.0, 1.0], [1.0, -1.0]]), jnp.ones((2, 2)))).tolist()
    [[1.0, 0.5], [0.5, 0.5]]
    """
    living = neurons.true_living.astype(neurons.pre.dtype)
    return living @ living.T / living.shape[1]


def overlap_tolerance(points: int, units: int, delta: float = 0.1) -> float:
    """How far overlaps may be from `expected_overlaps`, all at once, with probability at least 1 - delta.

    ``sqrt(ln(2 n^2 / delta) / (2 m))``: Hoeffding's inequality for n^2 means of m independent indicators [DER; the
    constants of Lemma A.2 were not to be had].

    Raises
    ------
    ValueError
        `delta` is not between 0 and 1.

    Examples
    --------
    >>> round(overlap_tolerance(20, 1295), 4)
    0.0589
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta}")
    return math.sqrt(math.log(2 * points**2 / delta) / (2 * units))
