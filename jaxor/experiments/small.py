"""Small random starts of two-layer nets, after Wang & Ma (NeurIPS 2022) and the code of their experiments.

All are for the model `relu_net` (units k = 1 .. m, inputs of dimension d); `kappa` is the scale of the first layer.
`dimension` stands for d where the inputs were rotated into fewer dimensions; 0 means the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxor.experiments.initialize import INITIALIZERS, Initializer, Setting
from jaxor.experiments.model import Params
from jaxor.experiments.registry import ExperimentError, require

Scale = Callable[[int, int], float]
"""A scale from m and d."""


def _start(
    name: str, dimension: int, *, std: Scale, output: Scale, bias: Scale | None, signs: bool = True
) -> Initializer:
    """First weights N(0, std^2), first biases all `bias`, second weights `output` with random signs or without."""
    require(dimension >= 0, "dimension", "0 (the model's own) or positive", dimension)

    def draw(key: Array, setting: Setting) -> Params:
        params = setting.model.init(key)[0]
        if not {"linear1.weight", "linear2.weight"} <= params.keys():
            raise ExperimentError(f"init {name} needs a model of two layers such as relu_net")
        if bias is None and "linear1.bias" in params:
            raise ExperimentError(f"init {name} is for a model without bias; set model.bias to false or take paper42")
        first, second = params["linear1.weight"], params["linear2.weight"]
        m, d = first.shape[0], dimension or first.shape[1]
        first_key, second_key = jax.random.split(key)
        drawn = {
            "linear1.weight": std(m, d) * jax.random.normal(first_key, first.shape, first.dtype),
            "linear2.weight": jnp.full_like(second, output(m, d)),
        }
        if signs:
            drawn["linear2.weight"] *= jax.random.rademacher(second_key, second.shape, second.dtype)
        if "linear1.bias" in params and bias is not None:
            drawn["linear1.bias"] = jnp.full_like(params["linear1.bias"], bias(m, d))
        return params | drawn

    return draw


def _with_bias(kappa: float) -> Scale:
    return lambda m, d: kappa / math.sqrt(m * (d + 1))


def _root(m: int, d: int) -> float:
    return 1 / math.sqrt(m)


@INITIALIZERS.register("paper5")
def paper5(*, kappa: float = 1e-6, dimension: int = 0) -> Initializer:
    """Eq. (5): b ~ N(0, kappa^2 / (m d)), a = 1 / sqrt(m) or its negative at random; for models without bias."""
    require(kappa >= 0, "kappa", "0 or positive", kappa)
    return _start("paper5", dimension, std=lambda m, d: kappa / math.sqrt(m * d), output=_root, bias=None)


@INITIALIZERS.register("paper42")
def paper42(*, kappa: float = 1e-6, dimension: int = 0, large_bias: bool = False) -> Initializer:
    """Section 4.2: b ~ N(0, kappa^2 / (m (d + 1))), c = kappa / sqrt(m (d + 1)), all a = 1 / sqrt(m).

    The denominators are hardly readable in the source. These make c the standard deviation of b, so that a unit is
    dead on a point with probability at most Phi(-1) = .159, which is the .17 of Theorem 4.6. The other reading,
    c = kappa / sqrt(m) (`large_bias`), leaves hardly any unit dead at the start, and losses fall about .5 % further.
    """
    require(kappa >= 0, "kappa", "0 or positive", kappa)
    scale = _with_bias(kappa)
    bias: Scale = (lambda m, d: kappa / math.sqrt(m)) if large_bias else scale
    return _start("paper42", dimension, std=scale, output=_root, bias=bias, signs=False)


@INITIALIZERS.register("notebook")
def notebook(*, kappa: float = 1e-6) -> Initializer:
    """The published code's: b ~ N(0, kappa^2), c = kappa, a = 1 or -1 at random, whatever the width."""
    require(kappa >= 0, "kappa", "0 or positive", kappa)
    return _start("notebook", 0, std=lambda m, d: kappa, output=lambda m, d: 1.0, bias=lambda m, d: kappa)


@INITIALIZERS.register("pm1_sqrtm")
def pm1_sqrtm(*, kappa: float = 1e-6, dimension: int = 0) -> Initializer:
    """Neither source's: first layer as paper42, a = 1 / sqrt(m) or its negative at random."""
    require(kappa >= 0, "kappa", "0 or positive", kappa)
    scale = _with_bias(kappa)
    return _start("pm1_sqrtm", dimension, std=scale, output=_root, bias=scale)
