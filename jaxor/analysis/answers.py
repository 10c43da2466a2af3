"""What nets answer on their task, for thousands of parameter vectors at once."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxor.engine.block import Floats
from jaxor.engine.simulate import precision
from jaxor.engine.step import Dynamics
from jaxor.experiments.experiment import Experiment

AT_ONCE = 2**20
"""Nets times points that are computed at a time."""


class Answers(NamedTuple):
    """Of n nets: the outputs (n, points, ...), the loss (n,) over all points, and that of each point (n, points)."""

    outputs: Floats
    loss: Floats
    errors: Floats


def answers(experiment: Experiment, params: ArrayLike, x64: bool = False) -> Answers:
    """What nets answer when in use and not in training, as far as their parameters say.

    A model's state is taken to be what it is at first.

    Parameters
    ----------
    experiment : Experiment
    params : (n, P) array_like
        At least one row.
    x64 : bool
        Compute in float64.

    Examples
    --------
    >>> from jaxor import get_experiment
    >>> found = answers(get_experiment("abs1_convergence"), [[0.5, -0.5, 0.0], [0.5, 0.5, 0.5]])
    >>> found.outputs.tolist(), found.loss.tolist(), found.errors[1].tolist()
    ([[0.0, 1.0, 1.0, 0.0], [0.5, 0.5, 0.5, 1.5]], [0.0, 0.75], [0.25, 0.25, 0.25, 2.25])
    """
    with precision(x64):
        dynamics = Dynamics(experiment)
        law, task, key = dynamics.law, dynamics.law.task, jax.random.key(0)
        state = law.model.init(key)[1]

        def answer(params: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            outputs, _, _ = law.model.apply(dynamics.order.unflatten(params), task.inputs, state, key, False)
            errors = jax.vmap(lambda output, target: law.loss(output[None], target[None]))(outputs, task.targets)
            return outputs, law.loss(outputs, task.targets), errors

        params = np.asarray(params, np.float64 if x64 else np.float32)
        size, several = max(AT_ONCE // len(task.inputs), 1), jax.jit(jax.vmap(answer))
        parts = [several(params[start : start + size]) for start in range(0, len(params), size)]
        return Answers(*(np.concatenate(part) for part in zip(*parts, strict=True)))
