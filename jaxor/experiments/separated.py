"""Data that satisfy Assumption 4.1 of Wang & Ma (NeurIPS 2022): two classes, and rows z with positive entries.

All targets are 1 in the first half and -1 in the second. Cosines of positive vectors are positive, 2 / pi on average.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxor.experiments.registry import require
from jaxor.experiments.task import TASKS, Task, sign_accuracy

Rows = np.ndarray[Any, Any]


def _unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _positive(rng: np.random.Generator, count: int, d: int) -> Rows:
    """Unit rows with the law of |N(0, I)| on the sphere, (count, d)."""
    return _unit(np.abs(rng.standard_normal((count, d))))


def _halves(positive: Rows, negative: Rows, sample: Any = None) -> Task:
    signs = np.repeat([1.0, -1.0], [len(positive), len(negative)])
    return Task(np.concatenate([positive, negative]), signs, sign_accuracy, sample)


def _check(n: int, d: int, data_seed: int) -> None:
    require(n >= 2 and n % 2 == 0, "n", "even and positive", n)
    require(d > 0, "d", "positive", d)
    require(data_seed >= 0, "data_seed", "0 or positive", data_seed)


@TASKS.register("antipodal")
def antipodal(*, n: int = 20, d: int = 50, data_seed: int = 0) -> Task:
    """Rows z of class 1 and -z of class -1; every point has its antipode, so mu_0 = 1. Fresh points can be drawn."""
    _check(n, d, data_seed)
    rows = _positive(np.random.default_rng(data_seed), n // 2, d)

    def sample(key: Array, count: int) -> tuple[Array, Array]:
        rows_key, sign_key = jax.random.split(key)
        rows = jnp.abs(jax.random.normal(rows_key, (count, d), jnp.result_type(float)))
        signs = jax.random.rademacher(sign_key, (count,), rows.dtype)
        return signs[:, None] * rows / jnp.linalg.norm(rows, axis=1, keepdims=True), signs

    return _halves(rows, -rows, sample)


@TASKS.register("one_pair")
def one_pair(*, n: int = 20, d: int = 50, data_seed: int = 0) -> Task:
    """Rows z of class 1 and -w of class -1, of which one is the antipode of a z: mu_0 is below 1."""
    _check(n, d, data_seed)
    rng = np.random.default_rng(data_seed)
    positive, negative = _positive(rng, n // 2, d), _positive(rng, n // 2, d)
    negative[0] = positive[0]
    return _halves(positive, -negative)


@TASKS.register("equal_cosines")
def equal_cosines(*, n: int = 20, d: int = 50, cosine: float = 0.5) -> Task:
    """As antipodal, with the same cosine between any two points of a class: z_i = c u + e_i, normalised."""
    _check(n, d, 0)
    require(0 < cosine < 1, "cosine", "between 0 and 1", cosine)
    require(d > n // 2, "d", f"more than half of n, {n // 2}", d)
    rows = np.zeros((n // 2, d))
    rows[:, 0] = np.sqrt(cosine)
    rows[np.arange(n // 2), np.arange(1, n // 2 + 1)] = np.sqrt(1 - cosine)
    return _halves(rows, -rows)
