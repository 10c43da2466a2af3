"""Interventions: rules that change a run's parameters between the gradient and the step.

All rules look (``check``) before any of them acts (``fix``); the gradient is not computed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxor.experiments.model import Params, first_layer, preactivations
from jaxor.experiments.registry import ExperimentError, Registry, require
from jaxor.experiments.task import Task

_SMALL = 1e-12  # keeps divisions by norms finite


class Look(NamedTuple):
    """What an intervention sees of a step: parameters before it, gradient, outputs, auxiliary output, a fresh key."""

    params: Params
    grads: Params
    outputs: Array
    aux: dict[str, Array]
    key: Array


Check = Callable[[Any, Look], tuple[Any, Any]]
"""``check(state, look) -> state, findings``."""

Fix = Callable[[Any, Params, Look], Params]
"""``fix(findings, params, look) -> params``; findings that ask for nothing leave the parameters alone."""


class Intervention(NamedTuple):
    """State before training as a function of the first parameters, and the two halves of the rule."""

    init: Callable[[Params], Any]
    check: Check
    fix: Fix


INTERVENTIONS: Registry[Intervention] = Registry("intervention")


def _count(count: Array, sign: Array, patience: int) -> tuple[Array, Array]:
    """Steps in a row that showed a sign, and whether they are more than the patience (then counting restarts)."""
    count = jnp.where(sign, count + 1, 0)
    flagged = count > patience
    return jnp.where(flagged, 0, count), flagged


@INTERVENTIONS.register("dead_samples")
def dead_samples(task: Task, *, patience: int = 5, margin: float = 1e-4) -> Intervention:
    """Move the nearest hyperplane over a point that is misclassified and gets no gradient, step after step.

    A point is dead while it is misclassified and no active unit carries any of its error. After more than `patience`
    dead steps in a row the unit whose hyperplane is nearest turns just far enough that its pre-activation there is
    `margin`. Points are repaired in order, each seeing the weights that the one before left.
    """
    require(patience >= 0, "patience", "0 or positive", patience)
    inputs, targets = task.inputs, task.targets
    if targets.ndim != 1:
        raise ExperimentError("name dead_samples needs a task with one target a point, such as xor")

    def check(state: Array, look: Look) -> tuple[Array, Array]:
        slope = 2 / len(targets) * (look.outputs - targets)
        reached = jnp.any(preactivations(look.aux, "dead_samples") > 0, -1) & (slope != 0)
        wrong = (look.outputs > 0.5) != (targets > 0.5)
        return _count(state, wrong & ~reached, patience)

    def fix(flagged: Array, params: Params, look: Look) -> Params:
        weight, bias = first_layer(params, "dead_samples")
        for i, x in enumerate(inputs):
            z = jnp.sum(weight * x, -1) + bias
            distance = jnp.abs(z) / (jnp.sqrt(jnp.sum(weight**2, -1)) + _SMALL)
            chosen = jax.nn.one_hot(jnp.argmin(distance), len(z), dtype=z.dtype)
            push = jnp.where(flagged[i], jnp.maximum(margin - z, 0), 0) / (x @ x + _SMALL)
            weight = weight + (chosen * push)[:, None] * x
        return params | {"linear1.weight": weight}

    return Intervention(lambda params: jnp.zeros(len(targets), jnp.int32), check, fix)


@INTERVENTIONS.register("bounds")
def bounds(task: Task, *, radius: float = 1.4, patience: int = 3) -> Intervention:
    """Put the bias of a unit to 0 when its hyperplane was farther than `radius` from the origin for too long."""
    require(radius > 0, "radius", "positive", radius)
    require(patience >= 0, "patience", "0 or positive", patience)

    def check(state: Array, look: Look) -> tuple[Array, Array]:
        weight, bias = first_layer(look.params, "bounds")
        norm = jnp.sqrt(jnp.sum(weight**2, -1)) + _SMALL
        return _count(state, jnp.abs(bias) / norm > radius, patience)

    def fix(flagged: Array, params: Params, look: Look) -> Params:
        return params | {"linear1.bias": jnp.where(flagged, 0, params["linear1.bias"])}

    return Intervention(lambda params: jnp.zeros_like(first_layer(params, "bounds")[1], jnp.int32), check, fix)


@INTERVENTIONS.register("annealing")
def annealing(task: Task, *, scale: float = 0.1, threshold: float = 0.1) -> Intervention:
    """Noise on all parameters while the error sits on few points.

    With n squared errors l_i, p = l / sum(l) and entropy H of p in bits, the imbalance is u = (log2 n - H) / log2 n;
    above the threshold every parameter gets N(0, 1) times scale, length of l and u^2.
    """
    require(scale >= 0, "scale", "0 or positive", scale)
    if task.targets.size < 2:
        raise ExperimentError("name annealing needs a task with two targets or more")
    bits = float(np.log2(task.targets.size))

    def check(state: Any, look: Look) -> tuple[Any, Array]:
        error = (look.outputs - task.targets) ** 2
        total = jnp.sum(error)
        share = error / jnp.where(total > 1e-9, total, 1)
        entropy = -jnp.sum(share * jnp.log2(share + 1e-9))
        imbalance = jnp.where(total > 1e-9, (bits - entropy) / bits, 0)
        size = scale * jnp.sqrt(jnp.sum(error**2)) * imbalance**2
        return state, jnp.where(imbalance > threshold, size, 0)

    def fix(size: Array, params: Params, look: Look) -> Params:
        keys = jax.random.split(look.key, len(params))
        return {
            name: value + size * jax.random.normal(key, value.shape, value.dtype)
            for key, (name, value) in zip(keys, params.items(), strict=True)
        }

    return Intervention(lambda params: (), check, fix)
