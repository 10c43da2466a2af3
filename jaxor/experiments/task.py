"""Tasks: inputs, targets, and when an output counts as right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxor.experiments.registry import Registry


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learned, the same for every seed.

    Attributes
    ----------
    inputs : (n, d) float32 or float64, or int32 where the model takes whole numbers
    targets : (n, ...) float32 or float64
        The engine computes with floats in the precision of the simulation.
    accuracy : function of outputs and targets
        Share of points that count as right, a scalar.
    sample : function of a key and a number of points, optional
        Inputs and targets of fresh points from the population that the task's own were drawn from; ``batch.mode``
        stream trains on these, and the task's own points only judge.
    """

    inputs: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    accuracy: Callable[[Array, ArrayLike], Array]
    sample: Callable[[Array, int], tuple[Array, Array]] | None = None


TASKS: Registry[Task] = Registry("task")

XOR_INPUTS = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)


def threshold_accuracy(outputs: Array, targets: ArrayLike) -> Array:
    """Share of scalar outputs on the right side of 1/2 (1/2 itself counts as 1).

    Examples
    --------
    >>> float(threshold_accuracy(jnp.array([0.2, 0.5]), np.array([0.0, 1.0])))
    1.0
    """
    return _share((outputs >= 0.5) != (jnp.asarray(targets) >= 0.5), outputs)


def sign_accuracy(outputs: Array, targets: ArrayLike) -> Array:
    """Share of scalar outputs with the sign of their target, which is 1 or -1; 0 is wrong.

    Examples
    --------
    >>> float(sign_accuracy(jnp.array([0.2, -0.5, 0.0, 0.1]), np.array([1.0, -1.0, 1.0, -1.0])))
    0.5
    """
    return _share(~(outputs * jnp.asarray(targets, outputs.dtype) > 0), outputs)


def argmax_accuracy(outputs: Array, targets: ArrayLike) -> Array:
    """Share of points whose largest output is that of the one-hot target; ties go to the first.

    Classes are on the last axis; pixels or characters on axes between count as points.

    Examples
    --------
    >>> float(argmax_accuracy(jnp.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])))
    1.0
    """
    # Known targets are looked up here: XLA would do so while it compiles, and complain of how long that takes.
    classes = np.argmax(targets, -1) if isinstance(targets, np.ndarray) else jnp.argmax(jnp.asarray(targets), -1)
    return _share(jnp.argmax(outputs, -1) != classes, outputs)


def _share(wrong: Array, outputs: Array) -> Array:
    """Share of points that are right: 1 exactly if all are, whatever XLA makes of a division by their number."""
    return 1 - jnp.mean(wrong, dtype=outputs.dtype)  # 41 times the float32 nearest to 1/41 is not 1


@TASKS.register("xor")
def xor() -> Task:
    """Centred XOR: four corners of the square, scalar targets 0, 1, 1, 0."""
    return Task(XOR_INPUTS, np.array([0, 1, 1, 0], np.float32), threshold_accuracy)


@TASKS.register("xor_one_hot")
def xor_one_hot() -> Task:
    """Centred XOR with one-hot targets of two classes."""
    return Task(XOR_INPUTS, np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32), argmax_accuracy)


@TASKS.register("digits")
def digits() -> Task:
    """Handwritten digits of scikit-learn: 1,797 images of 8 x 8 pixels / 16, one-hot targets of ten classes."""
    return _digits()


@cache
def _digits() -> Task:
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    return Task(np.asarray(pixels / 16, np.float32), np.eye(10, dtype=np.float32)[labels], argmax_accuracy)
