"""What training minimises, as it is looked at from outside: losses and gradients of one run at given parameters.

Weight decay is part of it: lambda times the parameters in gradients, lambda / 2 times their squared length in losses.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxor.engine.geometry import BATCHES
from jaxor.engine.keys import CONTROL, stream
from jaxor.engine.step import RUNNING, Dynamics, Lane
from jaxor.experiments.registry import Component


class Objective:
    """Losses and gradients (P,) of an experiment; `model` is the state of its model.

    Attributes
    ----------
    dynamics : Dynamics
    """

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
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
        loss = self.dynamics.evaluate(params, model)[0]
        return self._decayed(loss, params, params)[0]

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


def _lane(key: Array, params: Array, model: Any, step: Array) -> Lane:
    """What a gradient is taken of."""
    return Lane(
        params=params, optimizer=None, model=model, rules=(), best=None, stale=None, step=step,
        loss=jnp.zeros((), params.dtype), status=jnp.full((), RUNNING, jnp.int32), key=key,
    )  # fmt: skip
