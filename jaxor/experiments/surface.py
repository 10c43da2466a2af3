"""Functions of a point as models: what is trained is the point, and the output is the function's value.

Their task is `origin`, one input 0 that they do not look at, and their loss is `value`. Where the properties of
optimisation paths hold or fail is known of them in closed form.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxor.experiments.loss import LOSSES, Loss
from jaxor.experiments.model import MODELS, Model, plain
from jaxor.experiments.registry import require
from jaxor.experiments.task import TASKS, Task, threshold_accuracy


@TASKS.register("origin")
def origin() -> Task:
    """One input 0 with target 0, for models that are functions of their parameters; a value below 1/2 counts as 1."""
    return Task(np.zeros((1, 1), np.float32), np.zeros(1, np.float32), threshold_accuracy)


@LOSSES.register("value")
def value() -> Loss:
    """Mean of the outputs, whatever the targets."""

    def loss(outputs: Array, targets: ArrayLike) -> Array:
        return jnp.mean(outputs)

    return loss


def _surface(size: int, function: Callable[[Array], Array]) -> Model:
    """A function of a point (size,), which is the parameter x, a row (1, size) so that initializers draw it."""
    return plain({"x": (1, size)}, lambda params, inputs: jnp.full(len(inputs), function(params["x"][0])))


@MODELS.register("quadratic")
def quadratic(*, eigenvalues: list[float]) -> Model:
    """Half the sum of eigenvalue times square of each coordinate; minimum 0 at 0."""
    require(len(eigenvalues) > 0 and min(eigenvalues) > 0, "eigenvalues", "positive numbers", eigenvalues)
    halves = np.divide(eigenvalues, 2)
    return _surface(len(eigenvalues), lambda x: jnp.sum(jnp.asarray(halves, x.dtype) * x**2))


@MODELS.register("rosenbrock")
def rosenbrock() -> Model:
    """Rosenbrock's valley, (1 - x)^2 + 100 (y - x^2)^2; minimum 0 at (1, 1)."""
    return _surface(2, lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)


@MODELS.register("saddle")
def saddle() -> Model:
    """x^2 - y^2: no minimum, a stationary point at 0."""
    return _surface(2, lambda x: x[0] ** 2 - x[1] ** 2)
