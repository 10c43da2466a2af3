"""Looks: what costs more than a step, at a few places of each run, once the replay has passed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from jaxor.engine.geometry import BATCHES, FRACTIONS, LAGS, LOOKS
from jaxor.engine.layout import NARROW, Layout
from jaxor.engine.loop import platform
from jaxor.engine.objective import Objective
from jaxor.engine.plan import forward

ROUNDING = 4
"""Parts across the path that are not longer than so many roundings of the gradient have no direction."""

GPU_NUMBERS = 2**29
"""On a GPU so many lanes of wide nets go together that a forward pass over the whole task makes as many numbers."""


class Looks:
    """Measures some lanes at their looks; to be compiled.

    Parameters
    ----------
    objective : Objective
    layout : Layout
    """

    def __init__(self, objective: Objective, layout: Layout) -> None:
        self._objective = objective
        self._layout = layout

    def __call__(
        self, keys: Array, initial: Array, reference: Array, ended: Any, steps: Array, params: Array, models: Any,
        batches: Any,
    ) -> Mapping[str, Array]:  # fmt: skip
        """What is measured at looks; the last four are (lanes, LOOKS, 1 + lags, ...), before and of `steps`.

        `ended` are the states of models after the last step, which the losses at and on the way to w* are taken with.
        """

        def run(lane: tuple[Any, ...]) -> Mapping[str, Array]:
            key, initial, reference, ended, steps, params, models, batches = lane
            found = dict(self._each(lambda look: self._one(key, reference, *look), (steps, params, models, batches)))
            found["reference_loss"] = self._objective.of_task(reference, ended)
            fractions = jnp.linspace(0, 1, FRACTIONS, dtype=initial.dtype)
            points = initial + fractions[:, None] * (reference - initial)
            found["line_loss"] = self._each(lambda point: self._objective.of_task(point, ended), points)
            return found

        lanes = keys, initial, reference, ended, steps, params, models, batches
        if self._layout is NARROW or platform() == "cpu":
            return self._each(run, lanes)
        return lax.map(run, lanes, batch_size=self._lanes())  # small programs one after the other leave it idle

    def _lanes(self) -> int:
        dynamics = self._objective.dynamics
        passes = -(-len(dynamics.law.task.inputs) // dynamics.points)
        return max(GPU_NUMBERS // (passes * forward(dynamics).numbers), 1)

    def _each(self, function: Callable[[Any], Any], arrays: Any) -> Any:
        """A function of all rows; of wide nets one after the other, since what is done of each takes memory."""
        return jax.vmap(function)(arrays) if self._layout is NARROW else lax.map(function, arrays)

    def _one(
        self, key: Array, reference: Array, steps: Array, params: Array, models: Any, batches: Any
    ) -> Mapping[str, Array]:
        """One look at one run: steps (1 + lags,), the look's own first."""
        first = jax.tree.map(lambda array: array[0], models)
        away = params - reference
        gradients = self._each(lambda look: self._objective.of_step(key, *look)[1], (params, models, steps, batches))
        across = gradients - away * (jnp.sum(gradients * away, 1) / jnp.sum(away * away, 1))[:, None]
        size, whole = (jnp.sqrt(jnp.sum(part * part, 1)) for part in (across, gradients))
        size = jnp.where(size > ROUNDING * jnp.finfo(params.dtype).eps * whole, size, jnp.nan)
        there = steps[1:] >= 0
        full_loss, full = jax.value_and_grad(self._objective.of_task)(params[0], first)
        batch = None if batches is None else batches[0]
        labels = self._objective.with_dealt_targets(key, params[0], first, steps[0], batch)
        found = {
            "full_loss": full_loss,
            "full_dot": jnp.sum(full * away[0]),
            "full_gradient2": jnp.sum(full * full),
            "labels_dot": jnp.sum(labels * away[0]),
            "labels_gradient2": jnp.sum(labels * labels),
            "lag_cosine": jnp.where(there, jnp.sum(across[1:] * across[0], 1) / (size[1:] * size[0]), jnp.nan),
            "lag_distance": jnp.where(there, jnp.sqrt(jnp.sum((params[1:] - params[0]) ** 2, 1)), jnp.nan),
        }
        fixed_batches = self._objective.fixed_batches()
        found |= {"batch_dot": jnp.full(BATCHES, jnp.nan), "batch_gradient2": jnp.full(BATCHES, jnp.nan)}
        if len(fixed_batches):
            fixed = lax.map(
                lambda batch: self._objective.of_fixed_batch(params[0], first, batch), jnp.asarray(fixed_batches)
            )
            found["batch_dot"] = found["batch_dot"].at[: len(fixed_batches)].set(fixed @ away[0])
            found["batch_gradient2"] = found["batch_gradient2"].at[: len(fixed_batches)].set(jnp.sum(fixed * fixed, 1))
        dtype = params.dtype
        return {name: jnp.where(steps[0] >= 0, array, jnp.nan).astype(dtype) for name, array in found.items()}


class Snapshots:
    """Parameters and states of models at the looks of some lanes and some steps after each, kept as they come by.

    Attributes
    ----------
    looks : (lanes, LOOKS) int32
        Steps of the looks; -1 where a run is too short.
    initial, model
        First parameters (lanes, P) and states of models.
    """

    initial: Any
    model: Any

    def __init__(self, steps: NDArray[np.int32], width: int) -> None:
        lengths = padded(steps, width).astype(np.int64)
        looks = ((2 * np.arange(LOOKS) + 1) * lengths[:, None]) // (2 * LOOKS)
        looks[:, 1:][looks[:, 1:] == looks[:, :-1]] = -1  # not twice
        looks[lengths == 0] = -1
        self.looks = looks.astype(np.int32)
        lagged = looks[:, :, None] + np.array([0, *LAGS])
        self._steps = np.where((looks[:, :, None] >= 0) & (lagged < lengths[:, None, None]), lagged, -1)
        self._kept: Any = None

    def add(self, start: int, after: Array, models: Any, batch: Array | None) -> None:
        """Take what is wanted of steps from `start` on.

        Parameters (T, lanes, P) and states of models are those after each step, `batch` (T, lanes, B) is the step's.
        """
        if self._kept is None:
            self._kept = jax.tree.map(
                self._as_before_all, (self.initial, self.model, None if batch is None else batch[0])
            )
        self._put(self._kept[:2], (after, models), start + 1)  # what is before a step is what is after the one before
        self._put(self._kept[2], batch, start)

    def _put(self, kept: Any, new: Any, start: int) -> None:
        """Keep what is wanted of arrays (T, lanes, ...) of steps from `start` on."""
        for into, array in zip(jax.tree.leaves(kept), jax.tree.leaves(new), strict=True):
            lane, look, lag = np.nonzero((self._steps >= start) & (self._steps < start + len(array)))
            into[lane, look, lag] = _rows(array, self._steps[lane, look, lag] - start, lane)

    def _as_before_all(self, first: Array) -> NDArray[Any]:
        """An array (lanes, ...) in the place of every look."""
        return np.array(np.broadcast_to(np.asarray(first)[:, None, None], (*self._steps.shape, *first.shape[1:])))

    def arrays(self) -> tuple[Any, ...]:
        """Steps, parameters, states of models and batches, each (lanes, LOOKS, 1 + lags, ...)."""
        return self._steps.astype(np.int32), *self._kept


def _rows(array: Array, step: NDArray[np.int64], lane: NDArray[np.int64]) -> NDArray[Any]:
    """Rows (k, ...) of an array (T, lanes, ...)."""
    if platform() == "cpu":
        return np.asarray(array)[step, lane]  # a view first
    size = 1 << len(step).bit_length()  # all of it would take long to fetch; of few sizes, since each is compiled
    return np.asarray(array[np.resize(step, size), np.resize(lane, size)])[: len(step)]


def padded(array: NDArray[Any], width: int, dtype: Any = None) -> NDArray[Any]:
    """As many rows as lanes; those that stand for no run hold 0."""
    padded = np.zeros((width, *array.shape[1:]), dtype or array.dtype)
    padded[: len(array)] = array
    return padded
