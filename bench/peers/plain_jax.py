"""What a good JAX user writes: vmap over a seed's while loop with optax; every lane waits for the slowest.

In one process XLA takes what cores the process may use: to measure it on one core, start the process on one.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from bench.peers import Outcome, Train
from bench.peers.cases import Case, case_of
from bench.peers.parallel import on_processes
from jaxor.engine.keys import BATCH, run_key, stream

NAME = "vmap + optax"

Params = dict[str, Array]


def trainer(name: str, cores: int) -> Train:
    """Compiles at the first call for each number of runs. Several cores are several processes, always on CPU."""
    run = functools.partial(_run, name)
    if cores > 1:
        run = on_processes(run, cores, _stay_on_cpu)
    return lambda initial: run(np.arange(len(initial)), initial)


def _stay_on_cpu() -> None:
    jax.config.update("jax_platforms", "cpu")


def _run(name: str, seeds: Any, initial: Any) -> Outcome:
    epochs, params, loss = _program(name)(seeds, initial)
    flat = [np.asarray(params[part]).reshape(len(initial), -1) for part in case_of(name).shapes]
    return Outcome.of(epochs, np.concatenate(flat, axis=1), loss)


@functools.cache
def _program(name: str) -> Any:
    given = case_of(name)
    return jax.jit(jax.vmap(lambda seed, flat: _train(given, seed, flat)))


def _train(case: Case, seed: Array, flat: Array) -> tuple[Array, Params, Array]:
    optimizer = _optimizer(case)

    def going(carry: Any) -> Array:
        return carry[-1]

    def step(carry: Any, points: Array | None) -> tuple[Any, Array]:
        params, state = carry
        loss, grads = jax.value_and_grad(_loss)(params, case, points)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), loss

    def epoch(carry: Any) -> Any:
        training, epochs, best, stale, _ = carry
        if case.batch is None:
            training, loss = step(training, None)
        else:
            training, losses = jax.lax.scan(step, training, _batches(case, seed, epochs))
            loss = losses[-1]
        stale = jnp.where(best - loss > case.min_improvement, 0, stale + 1)
        ended = (loss < case.stop_loss) | (epochs + 1 >= case.max_epochs)
        if case.patience is not None:
            ended |= stale > case.patience
        return training, epochs + 1, jnp.minimum(best, loss), stale, ~ended

    params = case.split(flat)
    start = ((params, optimizer.init(params)), 0, jnp.inf, 0, True)
    (params, _), epochs, *_ = jax.lax.while_loop(going, epoch, start)
    return epochs, params, _loss(params, case, None)


def _optimizer(case: Case) -> optax.GradientTransformation:
    return optax.adam(case.learning_rate, case.b1, case.b2, case.eps) if case.adam else optax.sgd(case.learning_rate)


def _loss(params: Params, case: Case, points: Array | None) -> Array:
    inputs, targets = jnp.asarray(case.inputs), jnp.asarray(case.targets)
    if points is not None:
        inputs, targets = inputs[points], targets[points]
    outputs = _forward(params, case, inputs)
    if case.loss == "cross_entropy":
        return jnp.mean(optax.softmax_cross_entropy(outputs, targets))
    return jnp.mean((outputs - targets) ** 2)


def _forward(params: Params, case: Case, values: Array) -> Array:
    for i, layer in enumerate(case.layers):
        if i:
            values = _activate(params, case, values)
        values = values @ params[f"{layer}.weight"].T + params[f"{layer}.bias"]
    return jnp.sum(_activate(params, case, values), -1) if case.summed else values


def _activate(params: Params, case: Case, values: Array) -> Array:
    if case.activation == "prelu":
        return jnp.where(values > 0, values, params["activation.weight"] * values)
    return {"abs": jnp.abs, "relu": jax.nn.relu}[case.activation](values)


def _batches(case: Case, seed: Array, epoch: Array) -> Array:
    """The very batches that jaxor draws, so that runs can be compared."""
    points, size = len(case.inputs), case.batch or 1
    key = jax.random.fold_in(stream(run_key(case.root_seed, seed), BATCH), epoch)
    return jax.random.permutation(key, points)[: points // size * size].reshape(-1, size)
