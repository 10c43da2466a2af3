"""Losses: a scalar from outputs and targets, averaged over all elements or points."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from jaxor.experiments.registry import ExperimentError, Registry

Loss = Callable[[Array, ArrayLike], Array]

LOSSES: Registry[Loss] = Registry("loss")


def _like(outputs: Array, targets: ArrayLike) -> Array:
    """Targets as an array; of another shape than the outputs they would be broadcast to a table of all pairs."""
    if outputs.shape != np.shape(targets):
        raise ExperimentError(f"the model's outputs have shape {outputs.shape}, the task's targets {np.shape(targets)}")
    return jnp.asarray(targets, outputs.dtype)


@LOSSES.register("mse")
def mse() -> Loss:
    """Mean squared error over all elements."""
    return lambda outputs, targets: jnp.mean((outputs - _like(outputs, targets)) ** 2)


@jax.custom_jvp
def _bce(logits: Array, targets: Array) -> Array:
    return (1 - targets) * logits - (jnp.minimum(logits, 0) - jnp.log1p(jnp.exp(-jnp.abs(logits))))


@_bce.defjvp
def _bce_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    logits, targets = primals
    return _bce(logits, targets), (1 / (1 + jnp.exp(-logits)) - targets) * tangents[0]


@LOSSES.register("bce_with_logits")
def bce_with_logits() -> Loss:
    """Binary cross-entropy of logits, mean over all elements.

    Loss and gradient are written in torch's association. Near a loss of 1e-7 a sigmoid minus 1 has one or two
    significant bits in float32, and other forms that are equal in real arithmetic (optax's among them) end a run up
    to 200 epochs earlier or later.
    """
    return lambda outputs, targets: jnp.mean(_bce(outputs, _like(outputs, targets)))


@LOSSES.register("cross_entropy")
def cross_entropy() -> Loss:
    """Softmax cross-entropy with one-hot targets, mean over the points, and over their pixels or so."""
    return lambda outputs, targets: jnp.mean(optax.softmax_cross_entropy(outputs, _like(outputs, targets)))


# Losses of Wang & Ma (NeurIPS 2022): means over the points of a function of the margin z, with targets +-1 and one
# output, or one-hot targets, of which z takes the true class's output and no other.


def _margin(outputs: Array, targets: ArrayLike) -> Array:
    """Margins z (n,): y f, or y . f over the classes."""
    products = outputs * _like(outputs, targets)
    return products if products.ndim == 1 else jnp.sum(products, -1)


@LOSSES.register("quadratic")
def quadratic() -> Loss:
    """Half the squared distance of a point's outputs from its targets, mean over the points."""

    def loss(outputs: Array, targets: ArrayLike) -> Array:
        halves = (outputs - _like(outputs, targets)) ** 2 / 2
        return jnp.mean(halves if halves.ndim == 1 else jnp.sum(halves, -1))

    return loss


@LOSSES.register("logistic")
def logistic() -> Loss:
    """log(1 + exp(-z)) of the margin z, mean over the points; with one-hot targets not softmax cross-entropy."""
    return lambda outputs, targets: jnp.mean(jnp.logaddexp(0.0, -_margin(outputs, targets)))


@LOSSES.register("exponential")
def exponential() -> Loss:
    """exp(-z) of the margin z, mean over the points."""
    return lambda outputs, targets: jnp.mean(jnp.exp(-_margin(outputs, targets)))


@LOSSES.register("hinge")
def hinge() -> Loss:
    """max(0, 1 - z) of the margin z, mean over the points; its derivative at z = 1 is 0."""
    return lambda outputs, targets: jnp.mean(jax.nn.relu(1 - _margin(outputs, targets)))
