"""Random keys: run k is the same run in any batch, shard, machine count or order.

``root = key(root_seed)``; run k: ``fold_in(root, k)``; one stream each for initialisation, batches, noise and controls;
within a stream ``fold_in(stream, epoch or step)``. No key is carried from step to step.
"""

from __future__ import annotations

import jax
from jax import Array

IMPLEMENTATION = "threefry2x32"
"""The only generator whose numbers do not depend on how many are drawn at once (measured: those of ``rbg`` do)."""

INIT, BATCH, NOISE, CONTROL = range(4)


def run_key(root_seed: int, seed: Array) -> Array:
    """Key data (2,) uint32 of a run."""
    return jax.random.key_data(jax.random.fold_in(jax.random.key(root_seed, impl=IMPLEMENTATION), seed))


def stream(key_data: Array, number: int) -> Array:
    """One of a run's streams, as a typed key."""
    return jax.random.fold_in(jax.random.wrap_key_data(key_data, impl=IMPLEMENTATION), number)
