"""What training minimises, as it is looked at from outside: losses and gradients of one run at given parameters.

Weight decay is part of it: lambda times the parameters in gradients, lambda / 2 times their squared length in losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from jaxor.engine.geometry import BATCHES
from jaxor.engine.keys import CONTROL, stream
from jaxor.engine.step import RUNNING, Dynamics, Lane
from jaxor.experiments.registry import Component


class Objective:
    """Losses and gradients (P,) of an experiment; `model` is the state of its model.

    Parameters
    ----------
    dynamics : Dynamics
    at_once : int, optional
        How many of a task's points go through the model together; by default all.
    """

    def __init__(self, dynamics: Dynamics, at_once: int | None = None) -> None:
        self.dynamics = dynamics
        self._at_once = at_once
        optimizer = dynamics.experiment.optimizer
        self._decay = optimizer.options.get("weight_decay", 0.0) if isinstance(optimizer, Component) else 0.0

    def of_step(
        self, key: Array, params: Array, model: Any, step: Array, batch: Array | None
    ) -> tuple[Array, Array, Any]:
        """Loss and gradient of a step, and the model's state after it."""
        loss, gradient, _, model = self.dynamics.differentiate(_lane(key, params, model, step), batch)
        return *self._decayed(loss, gradient, params), model

    def of_task(self, params: Array, model: Any) -> Array:
        """Loss over the whole task, as in use."""
        law, weights = self.dynamics.law, self.dynamics.order.unflatten(params)

        def outputs(inputs: Array) -> Array:
            return law.model.apply(weights, inputs, model, jax.random.key(0), False)[0]  # in use, models draw nothing

        made = _in_parts(outputs, jnp.asarray(law.task.inputs), self._at_once)
        # Else XLA would compute in seconds what of a loss depends on the targets alone, and say so on the terminal.
        targets = lax.optimization_barrier(jnp.asarray(law.task.targets))
        return self._decayed(law.loss(made, targets), params, params)[0]

    def fixed_batches(self) -> NDArray[np.int64]:
        """Minibatches without a common point, the same for all seeds: (k, size), as many as there are up to BATCHES."""
        size, points = self.dynamics.experiment.batch.size, len(self.dynamics.law.task.inputs)
        if size is None:
            return np.zeros((0, 0), np.int64)
        dealt = np.random.default_rng(self.dynamics.experiment.root_seed).permutation(points)
        return dealt[: min(points // size, BATCHES) * size].reshape(-1, size)

    def of_fixed_batch(self, params: Array, model: Any, batch: Array) -> Array:
        """Gradient of a fixed minibatch."""
        task = self.dynamics.law.task
        return self._of_points(params, model, jnp.asarray(task.inputs)[batch], jnp.asarray(task.targets)[batch])

    def with_dealt_targets(self, key: Array, params: Array, model: Any, step: Array, batch: Array | None) -> Array:
        """Gradient of a step's own points with their targets dealt out at random."""
        inputs, targets = self.dynamics.points_of(_lane(key, params, model, step), batch)
        chance = jax.random.fold_in(stream(key, CONTROL), step + 1)
        return self._of_points(params, model, inputs, jax.random.permutation(chance, jnp.asarray(targets)))

    def _of_points(self, params: Array, model: Any, inputs: Any, targets: Any) -> Array:
        law, order = self.dynamics.law, self.dynamics.order

        def objective(at: Array) -> Array:
            outputs, _, _ = law.model.apply(order.unflatten(at), inputs, model, jax.random.key(0), False)
            return self._decayed(law.loss(outputs, targets), at, at)[0]

        return jax.grad(objective)(params)

    def _decayed(self, loss: Array, gradient: Array, params: Array) -> tuple[Array, Array]:
        """With the weight decay that the optimizer adds to the gradient, and the loss that this is the gradient of."""
        if not self._decay:
            return loss, gradient
        return loss + self._decay / 2 * jnp.sum(params * params), gradient + self._decay * params


def _in_parts(function: Callable[[Array], Array], points: Array, size: int | None) -> Array:
    """A function of any number of points (n, ...), of so many at a time and then of the rest."""
    if size is None or size >= len(points):
        return function(points)
    parts, rest = jnp.split(points, [len(points) // size * size])
    made = lax.map(function, parts.reshape(-1, size, *points.shape[1:]))
    made = made.reshape(-1, *made.shape[2:])
    return jnp.concatenate([made, function(rest)]) if len(rest) else made


def _lane(key: Array, params: Array, model: Any, step: Array) -> Lane:
    """What a gradient is taken of."""
    return Lane(
        params=params, optimizer=None, model=model, rules=(), best=None, stale=None, step=step,
        loss=jnp.zeros((), params.dtype), status=jnp.full((), RUNNING, jnp.int32), key=key,
    )  # fmt: skip
