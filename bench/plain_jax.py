"""What a good JAX user writes: vmap over a seed's while loop with optax; every lane waits for the slowest.

Semantics are jaxor's: the loss test is on the loss before the step, whose step is taken and counted.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

X = jnp.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], jnp.float32)
Y = jnp.array([0, 1, 1, 0], jnp.float32)


def trainer(kind: str, optimizer: optax.GradientTransformation, max_epochs: int, patience: int | None) -> Any:
    """A jitted function of initial weights (n, m, 2): epochs, final parameters and final loss."""
    activation = {"abs1": jnp.abs, "relu1": jax.nn.relu}[kind]

    def loss_of(params: tuple[Array, Array]) -> Array:
        weight, bias = params
        return jnp.mean((jnp.sum(activation(X @ weight.T + bias), -1) - Y) ** 2)

    def train(weight: Array) -> tuple[Array, Any, Array]:
        params = (weight, jnp.zeros(weight.shape[0]))

        def going(carry: Any) -> Array:
            return carry[-1]

        def step(carry: Any) -> Any:
            params, state, epoch, best, stale, _ = carry
            loss, grads = jax.value_and_grad(loss_of)(params)
            updates, state = optimizer.update(grads, state)
            params = optax.apply_updates(params, updates)
            stale = jnp.where(best - loss > 1e-24, 0, stale + 1)
            ended = (loss < 1e-7) | (epoch + 1 >= max_epochs)
            if patience is not None:
                ended |= stale > patience
            return params, state, epoch + 1, jnp.minimum(best, loss), stale, ~ended

        start = (params, optimizer.init(params), 0, jnp.inf, 0, True)
        params, _, epochs, *_ = jax.lax.while_loop(going, step, start)
        return epochs, params, loss_of(params)

    return jax.jit(jax.vmap(train))
