"""Optimizers by name: optax transformations of one seed's flat parameter vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxor.experiments.registry import Registry, require

RateLaw = Callable[[float], optax.ScalarOrSchedule]

OPTIMIZERS: Registry[optax.GradientTransformation] = Registry("optimizer")
SCHEDULES: Registry[RateLaw] = Registry("schedule")
Schedule = Annotated[Any, SCHEDULES]


@SCHEDULES.register("constant")
def constant() -> RateLaw:
    """The learning rate as it is."""
    return lambda rate: rate


@SCHEDULES.register("linear")
def linear(*, steps: int, end_factor: float = 0.0) -> RateLaw:
    """From the learning rate to end_factor times it, in a straight line over so many steps."""
    require(steps > 0, "steps", "positive", steps)
    require(end_factor >= 0, "end_factor", "0 or positive", end_factor)
    return lambda rate: optax.linear_schedule(rate, end_factor * rate, steps)


@SCHEDULES.register("exponential")
def exponential(*, steps: int, factor: float) -> RateLaw:
    """The learning rate times factor^(step / steps)."""
    require(steps > 0, "steps", "positive", steps)
    require(factor > 0, "factor", "positive", factor)
    return lambda rate: optax.exponential_decay(rate, steps, factor)


@SCHEDULES.register("cosine")
def cosine(*, steps: int, warmup: int = 0, end_factor: float = 0.0) -> RateLaw:
    """Linear warm-up from 0 over `warmup` steps, then half a cosine down to end_factor times the rate at `steps`."""
    require(warmup >= 0, "warmup", "0 or positive", warmup)
    require(steps > warmup, "steps", "more than the warm-up", steps)
    require(end_factor >= 0, "end_factor", "0 or positive", end_factor)
    if not warmup:
        return lambda rate: optax.cosine_decay_schedule(rate, steps, end_factor)
    return lambda rate: optax.warmup_cosine_decay_schedule(0.0, rate, warmup, steps, end_factor * rate)


@SCHEDULES.register("piecewise")
def piecewise(*, steps: int, factors: list[float]) -> RateLaw:
    """Straight lines through factors of the learning rate at equally spaced steps from 0 to `steps`, then constant."""
    require(steps > 0, "steps", "positive", steps)
    require(len(factors) > 1 and min(factors) >= 0, "factors", "at least two numbers, 0 or positive", factors)
    places = np.arange(len(factors))

    def law(rate: float) -> optax.Schedule:
        rates = np.multiply(rate, factors)

        def schedule(step: Any) -> Array:
            place = jnp.minimum(step, steps) * ((len(factors) - 1) / steps)
            return jnp.sum(rates * jnp.maximum(0.0, 1 - jnp.abs(place - places)))  # at most two are not 0

        return schedule

    return law


def _descend(
    learning_rate: float, schedule: RateLaw, weight_decay: float, *direction: Any
) -> optax.GradientTransformation:
    """L2 decay added to the gradient, then a direction, then a step against it."""
    require(learning_rate > 0, "learning_rate", "positive", learning_rate)
    require(weight_decay >= 0, "weight_decay", "0 or positive", weight_decay)
    decay = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
    return optax.chain(*decay, *direction, optax.scale_by_learning_rate(schedule(learning_rate)))


@OPTIMIZERS.register("none")
def none() -> optax.GradientTransformation:
    """No step at all."""
    return optax.set_to_zero()


@OPTIMIZERS.register("sgd")
def sgd(
    *, learning_rate: float, weight_decay: float = 0.0, schedule: Schedule = "constant"
) -> optax.GradientTransformation:
    """Gradient descent."""
    return _descend(learning_rate, schedule, weight_decay)


@OPTIMIZERS.register("momentum")
def momentum(
    *,
    learning_rate: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    schedule: Schedule = "constant",
) -> optax.GradientTransformation:
    """Gradient descent with momentum, undamped as in torch."""
    require(0 <= momentum < 1, "momentum", "at least 0 and below 1", momentum)
    return _descend(learning_rate, schedule, weight_decay, optax.trace(momentum, nesterov))


class AdamState(NamedTuple):
    """Moments, and the total weight of the gradients in each, 1 - b^t, which corrects their bias."""

    mu: Any
    nu: Any
    mu_weight: Array
    nu_weight: Array


def scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adam's direction (Kingma & Ba, 2015), as `optax.scale_by_adam`, with 1 - b1^t and 1 - b2^t in the state.

    optax keeps a step count and takes powers of it at each step. Seeds that started at different times have
    different counts, and a power a seed costs more than the rest of the step. Adding (1 - b) times what is missing
    from 1 also keeps rounding errors from piling up as they would in a repeated product.

    Examples
    --------
    >>> adam = scale_by_adam(0.9, 0.99, 1e-8)
    >>> direction, _ = adam.update(jnp.array([3.0, -0.2]), adam.init(jnp.zeros(2)))
    >>> direction
    Array([ 1., -1.], dtype=float32)
    """

    def init(params: optax.Params) -> AdamState:
        zero = jnp.zeros((), jnp.result_type(float))
        return AdamState(optax.tree.zeros_like(params), optax.tree.zeros_like(params), zero, zero)

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdamState]:
        mu = jax.tree.map(lambda m, g: m + (1 - b1) * (g - m), state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, updates)
        mu_weight = state.mu_weight + (1 - b1) * (1 - state.mu_weight)
        nu_weight = state.nu_weight + (1 - b2) * (1 - state.nu_weight)
        # As PyTorch arranges it, but with reciprocals: two divisions and a root a seed, one of each a parameter.
        mu_scale, nu_scale = 1 / mu_weight, 1 / jnp.sqrt(nu_weight)
        direction = jax.tree.map(lambda m, v: mu_scale * (m / (jnp.sqrt(v) * nu_scale + eps)), mu, nu)
        return direction, AdamState(mu, nu, mu_weight, nu_weight)

    return optax.GradientTransformation(init, update)


@OPTIMIZERS.register("adam")
def adam(
    *,
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    schedule: Schedule = "constant",
) -> optax.GradientTransformation:
    """Adam; `weight_decay` is L2 in the gradient, not AdamW."""
    require(0 <= b1 < 1, "b1", "at least 0 and below 1", b1)
    require(0 <= b2 < 1, "b2", "at least 0 and below 1", b2)
    require(eps >= 0, "eps", "0 or positive", eps)
    return _descend(learning_rate, schedule, weight_decay, scale_by_adam(b1, b2, eps))
