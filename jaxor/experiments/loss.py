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
    """Softmax cross-entropy with one-hot targets, mean over the points."""
    return lambda outputs, targets: jnp.mean(optax.softmax_cross_entropy(outputs, _like(outputs, targets)))
