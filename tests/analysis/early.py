"""Two-layer ReLU nets trained by plain NumPy, to compare what JAX measures with."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.neurons import INNER, OUTER
from jaxor.analysis.partition import Neurons
from jaxor.engine.keys import run_key
from jaxor.engine.simulate import precision
from jaxor.engine.step import Dynamics
from jaxor.experiments.experiment import Experiment

Floats = NDArray[np.floating[Any]]
ETA = 0.01


class Trajectory(NamedTuple):
    """A net's points x, targets y, and parameters at 0, ..., steps: a (steps + 1, m), b (steps + 1, m, d)."""

    x: Floats
    y: Floats
    a: Floats
    b: Floats

    def neurons(self, steps: int | slice) -> Neurons:
        """All pairs of point and neuron at some steps."""
        pre = np.einsum("nd,...md->...nm", self.x, self.b[steps], optimize=True)
        return Neurons(jnp.asarray(pre), jnp.asarray(self.y[:, None] * self.a[steps][..., None, :]))

    def params(self, steps: int | slice) -> dict[str, Array]:
        """Parameters at some steps."""
        return {INNER: jnp.asarray(self.b[steps]), OUTER: jnp.asarray(self.a[steps])}


def quadratic(outputs: Array, targets: ArrayLike) -> Array:
    """Half of the mean squared error."""
    return jnp.mean((outputs - jnp.asarray(targets, outputs.dtype)) ** 2) / 2


@cache
def antipodal(kappa: float = 5e-6, steps: int = 44, units: int = 1295) -> Trajectory:
    """The oracle's setting: points z and -z (n = 20, d = 50), the paper's initialisation, quadratic loss, eta .01."""
    rng = np.random.default_rng(0)
    z = np.abs(rng.standard_normal((10, 50)))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    a = rng.choice([-1.0, 1.0], units) / np.sqrt(units)
    b = rng.standard_normal((units, 50)) * kappa / np.sqrt(units * 50)
    return descend(np.concatenate([z, -z]), np.repeat([1.0, -1.0], 10), a, b, steps)


def small(steps: int = 1) -> Trajectory:
    """Six points of both classes in four dimensions, nine neurons of size 1."""
    rng = np.random.default_rng(5)
    y = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    return descend(rng.standard_normal((6, 4)), y, rng.standard_normal(9), rng.standard_normal((9, 4)), steps)


def descend(x: Floats, y: Floats, a: Floats, b: Floats, steps: int) -> Trajectory:
    """Gradient descent on the quadratic loss, both layers."""
    trace = [(a, b)]
    for _ in range(steps):
        grad_a, grad_b = gradient(x, y, a, b)
        a, b = a - ETA * grad_a, b - ETA * grad_b
        trace.append((a, b))
    return Trajectory(x, y, np.stack([a for a, _ in trace]), np.stack([b for _, b in trace]))


def first_layers(made: Experiment, seed: int) -> tuple[Floats, Floats]:
    """First a (m,) and b (m, d) of a run of an experiment in float64, without a program that trains."""
    with precision(True):
        dynamics = Dynamics(made)
        key = run_key(made.root_seed, jnp.asarray(seed, jnp.uint32))
        params = dynamics.order.unflatten(dynamics.initial_params(key))
        return np.asarray(params[OUTER]).reshape(-1), np.asarray(params[INNER])


def gradient(x: Floats, y: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Gradient of the quadratic loss in a and b, by hand."""
    pre = x @ b.T
    error = np.maximum(pre, 0) @ a - y
    return error @ np.maximum(pre, 0) / len(y), a[:, None] * ((pre > 0) * error[:, None]).T @ x / len(y)
