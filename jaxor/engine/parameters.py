"""The flat order of a model's parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxor.experiments.model import Model, Params


@dataclass(frozen=True)
class FlatOrder:
    """Names and shapes of parameters in the order in which the model's `init` lists them, each row-major.

    Examples
    --------
    >>> order = FlatOrder({"weight": (1, 2), "bias": (1,)})
    >>> order.names
    ('weight[0,0]', 'weight[0,1]', 'bias[0]')
    >>> order.flatten(order.unflatten(jnp.arange(3.0)))
    Array([0., 1., 2.], dtype=float32)
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Number of parameters P."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each of the P numbers."""
        return _names(tuple(self.shapes.items()))

    def flatten(self, params: Params) -> Array:
        """Parameters by name as a vector (P,)."""
        return jnp.concatenate([params[name].reshape(-1) for name in self.shapes])

    def unflatten(self, vector: Array) -> Params:
        """A vector (P,) as parameters by name."""
        params, start = {}, 0
        for name, shape in self.shapes.items():
            params[name] = vector[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return params


@lru_cache(maxsize=8)
def _names(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[str, ...]:
    """Names of numbers; a wide net has so many that making them takes as long as training it."""
    return tuple(
        name + (f"[{','.join(map(str, index))}]" if shape else "")
        for name, shape in shapes
        for index in np.ndindex(*shape)
    )


def flat_order(model: Model) -> FlatOrder:
    """The flat order of a model.

    `init` is traced, not run; its own dictionary is looked at, since JAX sorts the dictionaries that it returns.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def look(key: Array) -> None:
        shapes.update({name: value.shape for name, value in model.init(key)[0].items()})

    jax.eval_shape(look, jax.eval_shape(jax.random.key, 0))
    return FlatOrder(shapes)
