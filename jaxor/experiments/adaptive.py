"""Gradient descent whose learning rate follows the loss: Theorems 5.2 and 5.3 of Wang & Ma (NeurIPS 2022).

Both theorems take a first step of rate eta_0 <= 1 / (2 sqrt 2) (`first_rate`) and count steps t from it. The schedules
are damaged in the source; what was read and what was derived in its place is said with each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from jaxor.experiments.optimizer import OPTIMIZERS
from jaxor.experiments.registry import require

FIRST_RATE = 1 / (2 * math.sqrt(2))

Rate = Callable[[Array, Array, Array, Array], Array]
"""``rate(t, loss, gradient, params)``, of one seed with flat gradient and parameters (P,)."""


def _descend(first_rate: float, rate: Rate) -> optax.GradientTransformationExtraArgs:
    """Steps of `first_rate` at t = 0 and of `rate` from t = 1."""
    require(first_rate > 0, "first_rate", "positive", first_rate)

    def init(params: optax.Params) -> Array:
        return jnp.zeros((), jnp.int32)

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None, *, value: Any = None, **_: object
    ) -> tuple[optax.Updates, Array]:
        gradient, now = jnp.asarray(updates), jnp.asarray(params)
        t = jnp.maximum(state, 1).astype(gradient.dtype)
        size = jnp.where(state == 0, first_rate, rate(t, value, gradient, now))
        return -size * gradient, state + 1

    return optax.GradientTransformationExtraArgs(init, update)


@OPTIMIZERS.register("inverse_loss")
def inverse_loss(*, learning_rate: float = 1.0, first_rate: float = FIRST_RATE) -> optax.GradientTransformation:
    """Theorem 5.3: eta_t = c / L, c being the learning rate; 1 / h at most for its proof, which is 1.

    The right side of eta_t is lost in the source; this form fits its bound 1 - V g_a^2 c / 2.
    """
    require(learning_rate > 0, "learning_rate", "positive", learning_rate)
    return _descend(first_rate, lambda t, loss, gradient, params: learning_rate / loss)


def _check_power(learning_rate: float, power: float, constant_steps: int) -> None:
    require(learning_rate > 0, "learning_rate", "positive", learning_rate)
    require(power >= 1, "power", "at least 1", power)
    require(constant_steps >= 0, "constant_steps", "0 or positive", constant_steps)


@OPTIMIZERS.register("power_law")
def power_law(
    *, learning_rate: float, power: float = 1.0, constant_steps: int = 100, first_rate: float = FIRST_RATE
) -> optax.GradientTransformation:
    """Theorem 5.2, robust: a constant rate up to T0 = `constant_steps`, then r L / (t |grad L|^2), r being `power`.

    A step of this rate lowers the loss by r L / t to first order, so that L falls as t^-r. The source's own schedule
    and its T0 cannot be read; see `power_law_literal`.
    """
    _check_power(learning_rate, power, constant_steps)

    def rate(t: Array, loss: Array, gradient: Array, params: Array) -> Array:
        return jnp.where(t <= constant_steps, learning_rate, power * loss / (t * jnp.sum(gradient**2)))

    return _descend(first_rate, rate)


@OPTIMIZERS.register("power_law_literal")
def power_law_literal(
    *,
    learning_rate: float,
    v: float,
    g_a: float = 1.0,
    power: float = 1.0,
    constant_steps: int = 100,
    capped: bool = True,
    first_rate: float = FIRST_RATE,
) -> optax.GradientTransformation:
    """Theorem 5.2, literal: a constant rate up to T0 = `constant_steps`, then 2 r / (g_a^2 V t L).

    Overflows with values of V that eq. (7) gives, unless `capped`: then at most 1 / (L (|theta|^2 + 1)), which is no
    more than one over the Hessian's norm. For model (4), |x| <= 1 and losses with |l'| <= l and l'' <= l, since
    Hess L is a mean of l'' grad f grad f^T + l' Hess f, |grad f|^2 <= |theta|^2 and |Hess f| <= |x|.
    """
    _check_power(learning_rate, power, constant_steps)
    require(v > 0, "v", "positive", v)
    require(g_a > 0, "g_a", "positive", g_a)

    def rate(t: Array, loss: Array, gradient: Array, params: Array) -> Array:
        literal = 2 * power / (g_a**2 * v * t * loss)
        if capped:
            literal = jnp.minimum(literal, 1 / (loss * (jnp.sum(params**2) + 1)))
        return jnp.where(t <= constant_steps, learning_rate, literal)

    return _descend(first_rate, rate)
