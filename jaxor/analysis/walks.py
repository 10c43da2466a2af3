"""What RSI, EB and gamma would be on a random walk: gradients of the same lengths in random directions, no landscape.

With the final iterate as w*, d_t = w_t - w_T is the sum of the steps s_t = w_t - w_{t+1} from t on and contains s_t
itself. So on every path, whatever the landscape, the sum of 2 <s_t, d_t> - ||s_t||^2 over t is ||d_0||^2: with gradient
descent the mean of <g_t, d_t>, weighted with the rates, is positive, and at the last step RSI = EB = 1 / eta and gamma
= 1. What a landscape adds is what exceeds the walks here. All of this is derived, and none of it the paper's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from numpy.typing import NDArray
from scipy.special import ndtr

from jaxor.analysis.geometry import Floats, Measured, along
from jaxor.engine.geometry import Geometry
from jaxor.engine.keys import run_key, stream
from jaxor.engine.parameters import flat_order
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import Component

WALK = 16
"""Number of the stream of a run's key that its walk draws from; what the run itself draws from is below."""

TOGETHER = 4
"""Walks that are taken at once."""


@dataclass(frozen=True, eq=False)
class Walk:
    """Inner products and squared lengths along walks, named as in `Geometry`; all (n, T), NaN beyond a run's end."""

    dot: Floats
    distance2: Floats
    gradient2: Floats
    step_dot: Floats
    step2: Floats

    def padded(self, name: str) -> Floats:
        """One of them."""
        return getattr(self, name)


def closed_form(measured: Measured) -> Walk:
    """The null of plain gradient descent, with or without schedule, from the lengths of its gradients and steps.

    In high dimension random directions are nearly orthogonal: ||d_t||^2 is the sum of ||s_s||^2 over s >= t and
    <s_t, d_t> = ||s_t||^2. So gamma is ||s_t|| / ||d_t||, 1 / sqrt(T - t) if all steps are as long; RSI and EB are
    gamma^2 / eta and gamma / eta; the local rate is eta. Momentum and Adam have none, see `surrogate`.

    Examples
    --------
    >>> from jaxor.analysis.geometry import along
    >>> steps = random_walk(50, 4, runs=1)
    >>> along(closed_form(steps)).gamma.round(3)
    array([[0.5  , 0.577, 0.707, 1.   ]])
    """
    gradient2, step2 = (np.asarray(measured.padded(name), np.float64) for name in ("gradient2", "step2"))
    later = np.cumsum(np.where(np.isnan(step2), 0, step2)[:, ::-1], axis=1)[:, ::-1]
    return Walk(np.sqrt(gradient2 * step2), np.where(np.isnan(step2), np.nan, later), gradient2, step2, step2)


def chance(null: Walk, parameters: int) -> Floats:
    """P(gamma_t > 0) on the closed form's walk with so many parameters (n, T), Phi(sqrt(D) gamma_t).

    Phi(sqrt(D / (T - t))) if all steps are as long.
    """
    return ndtr(np.sqrt(parameters) * along(null, "update").gamma)


def random_walk(parameters: int, steps: int, runs: int, root_seed: int = 0) -> Walk:
    """Walks of unit steps in random directions: gradient descent with rate 1 and no landscape.

    Examples
    --------
    >>> random_walk(100, 20, runs=3).distance2.shape
    (3, 20)
    """
    lengths = np.ones((runs, steps), np.float32)
    return _walks(optax.sgd(1.0), parameters, lengths, np.zeros_like(lengths), np.arange(runs), root_seed)


def surrogate(experiment: Experiment, geometry: Geometry) -> Walk:
    """The runs again with Gaussian gradients in place of their own, through the experiment's own optimizer.

    Each gradient is a Gaussian vector scaled to the length that the run's own gradient had at that step, and the first
    parameters are 0. The surrogate keeps the number of parameters, the length of every gradient and the loss that the
    optimizer is told, its state and schedule. It lacks all else: directions, how the lengths of single coordinates
    differ, how gradients go on in one direction from step to step, interventions. Weight decay is in the lengths
    already, so the optimizer's own is off. Computed in single precision.

    Parameters
    ----------
    experiment : Experiment
    geometry : Geometry
        Of its runs; seeds, losses and lengths of gradients are used.

    Returns
    -------
    Walk
        Of each run, with its own final iterate as reference.
    """
    decays = isinstance(experiment.optimizer, Component) and "weight_decay" in experiment.optimizer.options
    law = (experiment.replace(**{"optimizer.weight_decay": 0.0}) if decays else experiment).build()
    size, lengths = flat_order(law.model).size, np.sqrt(np.asarray(geometry.padded("gradient2"), np.float64))
    return _walks(law.optimizer, size, lengths, geometry.padded("loss"), geometry.seeds, experiment.root_seed)


def _walks(
    optimizer: optax.GradientTransformation, size: int, lengths: NDArray[Any], losses: NDArray[Any],
    seeds: NDArray[Any], root_seed: int,
) -> Walk:  # fmt: skip
    """Walks (n, T) with gradients of these lengths; a length of NaN is no step."""
    one = _walk(optax.with_extra_args_support(optimizer), size, root_seed)
    rows = np.asarray(seeds, np.uint32), np.asarray(lengths, np.float32), np.asarray(losses, np.float32)
    found = jax.jit(lambda rows: lax.map(lambda row: one(*row), rows, batch_size=TOGETHER))(rows)
    return Walk(**{name: np.asarray(array, np.float64) for name, array in found.items()})


def _walk(
    optimizer: optax.GradientTransformationExtraArgs, size: int, root_seed: int
) -> Callable[[Array, Array, Array], dict[str, Array]]:
    """One walk, as a function of its seed, lengths (T,) and losses (T,): once to its end, once more to measure."""

    def walk(seed: Array, lengths: Array, losses: Array) -> dict[str, Array]:
        key = stream(run_key(root_seed, seed), WALK)

        def move(carry: Any, now: Any) -> tuple[Any, Array, Array]:
            (params, state), (step, length, loss) = carry, now
            noise = jax.random.normal(jax.random.fold_in(key, step), (size,))
            gradient = noise * (length / jnp.linalg.norm(noise))
            updates: Any
            updates, state = optimizer.update(gradient, state, params, value=loss)
            taken = jnp.where(jnp.isnan(length), 0.0, -updates)
            return (params - taken, state), gradient, taken

        def measure(carry: Any, now: Any) -> tuple[Any, dict[str, Array]]:
            after, gradient, taken = move(carry, now)
            d, there = carry[0] - final, jnp.where(jnp.isnan(now[1]), jnp.nan, 0.0)
            pairs = {
                "dot": (gradient, d), "distance2": (d, d), "gradient2": (gradient, gradient),
                "step_dot": (taken, d), "step2": (taken, taken),
            }  # fmt: skip
            return after, {name: jnp.sum(one * other) + there for name, (one, other) in pairs.items()}

        start = jnp.zeros(size, jnp.float32)
        begin, rows = (start, optimizer.init(start)), (jnp.arange(len(lengths)), lengths, losses)
        (final, _), _ = lax.scan(lambda carry, now: (move(carry, now)[0], None), begin, rows)
        return lax.scan(measure, begin, rows)[1]

    return walk
