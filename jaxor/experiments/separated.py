"""Data that satisfy Assumption 4.1 of Wang & Ma (NeurIPS 2022): two classes, and rows z with positive entries.

All targets are 1 in the first half and -1 in the second. Cosines of positive vectors are positive, 2 / pi on average.

`rotated` replaces the points X = U S V^T (n, d) by U S (n, rank), for speed; what that preserves, and when, is said at
the task `images`. The initializer's `dimension` is then the d that was, and no fresh points can be drawn.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxor.experiments.images import load_images, unit_rows
from jaxor.experiments.images import rotated as in_row_space
from jaxor.experiments.registry import ExperimentError, require
from jaxor.experiments.task import TASKS, Task, sign_accuracy

Rows = np.ndarray[Any, Any]


def _unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _positive(rng: np.random.Generator, count: int, d: int) -> Rows:
    """Unit rows with the law of |N(0, I)| on the sphere, (count, d)."""
    return _unit(np.abs(rng.standard_normal((count, d))))


def _halves(positive: Rows, negative: Rows, sample: Any = None, *, rotated: bool = False) -> Task:
    rows, signs = np.concatenate([positive, negative]), np.repeat([1.0, -1.0], [len(positive), len(negative)])
    return Task(in_row_space(rows), signs, sign_accuracy) if rotated else Task(rows, signs, sign_accuracy, sample)


def _check(n: int, d: int, data_seed: int) -> None:
    require(n >= 2 and n % 2 == 0, "n", "even and positive", n)
    require(d > 0, "d", "positive", d)
    require(data_seed >= 0, "data_seed", "0 or positive", data_seed)


@TASKS.register("antipodal")
def antipodal(*, n: int = 20, d: int = 50, data_seed: int = 0, rotated: bool = False) -> Task:
    """Rows z of class 1 and -z of class -1; every point has its antipode, so mu_0 = 1. Fresh points can be drawn."""
    _check(n, d, data_seed)
    rows = _positive(np.random.default_rng(data_seed), n // 2, d)

    def sample(key: Array, count: int) -> tuple[Array, Array]:
        rows_key, sign_key = jax.random.split(key)
        rows = jnp.abs(jax.random.normal(rows_key, (count, d), jnp.result_type(float)))
        signs = jax.random.rademacher(sign_key, (count,), rows.dtype)
        return signs[:, None] * rows / jnp.linalg.norm(rows, axis=1, keepdims=True), signs

    return _halves(rows, -rows, sample, rotated=rotated)


@TASKS.register("one_pair")
def one_pair(*, n: int = 20, d: int = 50, data_seed: int = 0, rotated: bool = False) -> Task:
    """Rows z of class 1 and -w of class -1, of which one is the antipode of a z: mu_0 is below 1."""
    _check(n, d, data_seed)
    rng = np.random.default_rng(data_seed)
    positive, negative = _positive(rng, n // 2, d), _positive(rng, n // 2, d)
    negative[0] = positive[0]
    return _halves(positive, -negative, rotated=rotated)


@TASKS.register("equal_cosines")
def equal_cosines(*, n: int = 20, d: int = 50, cosine: float = 0.5, rotated: bool = False) -> Task:
    """As antipodal, with the same cosine between any two points of a class: z_i = c u + e_i, normalised."""
    _check(n, d, 0)
    require(0 < cosine < 1, "cosine", "between 0 and 1", cosine)
    require(d > n // 2, "d", f"more than half of n, {n // 2}", d)
    rows = np.zeros((n // 2, d))
    rows[:, 0] = np.sqrt(cosine)
    rows[np.arange(n // 2), np.arange(1, n // 2 + 1)] = np.sqrt(1 - cosine)
    return _halves(rows, -rows, rotated=rotated)


@TASKS.register("image_pair")
def image_pair(*, n: int = 20, source: str = "digits", positive: int = 3, negative: int = 8, count: int = 1000) -> Task:
    """Images P of one class, target 1, negatives -N of another, target -1, and an antipode of the first of each.

    The classes' first images among the first `count` of the data set, of norm 1. Pixels are not negative, so inner
    products within P and within N are not either; images of one side that share no pixel are an error. Without an
    antipodal pair the assumption fails: all points then lie in one half space.
    """
    _check(n, 1, 0)
    require(n >= 4, "n", "4 or more", n)
    for name, kind in (("positive", positive), ("negative", negative)):
        require(0 <= kind <= 9, name, "a class from 0 to 9", kind)
    require(positive != negative, "negative", "another class than positive", negative)
    images = load_images(source, count)
    rows, half = unit_rows(images), n // 2
    sides = [rows[images.labels == kind][: half - 1] for kind in (positive, negative)]
    for kind, side in zip((positive, negative), sides, strict=True):
        require(len(side) == half - 1, "n", f"such that class {kind} of {source} has {half - 1} images", n)
    first, second = np.concatenate([sides[0], sides[1][:1]]), np.concatenate([sides[1], sides[0][:1]])
    if min((first @ first.T).min(), (second @ second.T).min()) <= 0:
        raise ExperimentError(
            f"some images of classes {positive} and {negative} of {source} share no pixel; take others"
        )
    return _halves(first, -second)
