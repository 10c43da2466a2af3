"""Initializers: the law of a run's first parameters.

An initializer is a pure function of the run's initialisation key and the `Setting` (model, task, loss) it starts;
it returns parameters: NaN everywhere if it found none. Those that choose among draws are in
`jaxor.experiments.selection`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxor.experiments.loss import Loss
from jaxor.experiments.model import Model, Params, first_layer, gaussian, is_weight, kaiming_std, xavier_std
from jaxor.experiments.registry import Base, Registry, require
from jaxor.experiments.task import Task


class Setting(NamedTuple):
    """What an initializer may look at; `first_batch` (size,) numbers the points of the run's first minibatch."""

    model: Model
    task: Task
    loss: Loss
    first_batch: Array | None = None


Initializer = Callable[[Array, Setting], Params]

INITIALIZERS: Registry[Initializer] = Registry("initializer")


@INITIALIZERS.register("model")
def model() -> Initializer:
    """The model's own law."""
    return lambda key, setting: setting.model.init(key)[0]


def _gaussian(std: Callable[[str, Array], float]) -> Initializer:
    """Weights N(0, std^2), biases 0, other parameters as the model has them."""

    def draw(key: Array, setting: Setting) -> Params:
        others = setting.model.init(jax.random.fold_in(key, 1))[0]  # a key of their own, if they are drawn
        return gaussian(key, others, std)

    return draw


@INITIALIZERS.register("normal")
def normal(*, std: float = 0.5, bias_std: float = 0.0) -> Initializer:
    """Weights N(0, std^2), biases N(0, bias_std^2)."""
    require(std >= 0, "std", "0 or positive", std)
    require(bias_std >= 0, "bias_std", "0 or positive", bias_std)
    weights = _gaussian(lambda name, weight: std)
    return _with_biases(weights, 0.0, bias_std) if bias_std else weights


@INITIALIZERS.register("tiny")
def tiny() -> Initializer:
    """Weights N(0, 0.1^2), biases 0."""
    return _gaussian(lambda name, weight: 0.1)


@INITIALIZERS.register("large")
def large() -> Initializer:
    """Weights N(0, 4^2), biases 0."""
    return _gaussian(lambda name, weight: 4.0)


@INITIALIZERS.register("xavier")
def xavier() -> Initializer:
    """Weights N(0, 2 / (fan_in + fan_out)), biases 0."""
    return _gaussian(xavier_std)


@INITIALIZERS.register("kaiming")
def kaiming() -> Initializer:
    """Weights N(0, 2 / fan_in), biases 0."""
    return _gaussian(kaiming_std)


def _with_biases(base: Initializer, mean: float, std: float) -> Initializer:
    def draw(key: Array, setting: Setting) -> Params:
        inner, outer = jax.random.split(key)
        params = base(inner, setting)
        biases = {name: value for name, value in params.items() if name.endswith("bias")}
        keys = jax.random.split(outer, len(biases))
        for k, (name, value) in zip(keys, biases.items(), strict=True):
            params = params | {name: mean + std * jax.random.normal(k, value.shape, value.dtype)}
        return params

    return draw


@INITIALIZERS.register("biased")
def biased(*, base: Base = "normal", mean: float = 0.1, std: float = 0.01) -> Initializer:
    """Another law, with biases N(mean, std^2)."""
    require(std >= 0, "std", "0 or positive", std)
    return _with_biases(base, mean, std)


@INITIALIZERS.register("scaled")
def scaled(*, factor: float, base: Base = "normal") -> Initializer:
    """Another law, with weights and biases multiplied by a factor."""
    require(factor >= 0, "factor", "0 or positive", factor)

    def draw(key: Array, setting: Setting) -> Params:
        return {
            name: factor * value if is_weight(name, value) or name.endswith("bias") else value
            for name, value in base(key, setting).items()
        }

    return draw


@INITIALIZERS.register("mirror")
def mirror(*, base: Base = "normal") -> Initializer:
    """Another law, with every second hidden unit the negative of the one before it (weights and bias)."""

    def draw(key: Array, setting: Setting) -> Params:
        params = base(key, setting)
        weight, bias = first_layer(params, "init mirror")

        def reflect(value: Array) -> Array:
            return value.at[1::2].set(-value[: value.shape[0] // 2 * 2 : 2])

        return params | {"linear1.weight": reflect(weight), "linear1.bias": reflect(bias)}

    return draw


@INITIALIZERS.register("hypersphere")
def hypersphere(*, base: Base = "kaiming", radius: float = 1.4) -> Initializer:
    """Another law's weights; every hyperplane at the same distance from the origin, b = |w| radius."""
    require(radius > 0, "radius", "positive", radius)

    def draw(key: Array, setting: Setting) -> Params:
        params = base(key, setting)
        weight, _ = first_layer(params, "init hypersphere")
        return params | {"linear1.bias": radius * jnp.linalg.norm(weight, axis=1)}

    return draw
