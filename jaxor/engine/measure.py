"""Measuring along paths: runs are replayed, and other programs look at the parameters that come out.

The replay is the program of the first pass, bit for bit, see `jaxor.engine.replay`. Of each step a second program takes
gradient and inner products. What costs more is measured at a few places of each run by a third one, once the replay
has passed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from jaxor.engine.geometry import BATCHES, FRACTIONS, LAGS, LOOKS, STEPS, Floats, Geometry, Measuring, join
from jaxor.engine.keys import CONTROL, run_key, stream
from jaxor.engine.layout import NARROW
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import OPTIONS, Worker, precision
from jaxor.engine.status import Status
from jaxor.engine.step import RUNNING, Lane
from jaxor.experiments.registry import Component

SAME_PATH = 1e-3
"""A run that is continued may end up, where it had ended, so far from itself, as a part of the way that it went."""


ROUNDING = 4
"""Parts across the path that are not longer than so many roundings of the gradient have no direction."""


class Ends(NamedTuple):
    """How runs ended: steps and status (n,), final parameters (n, P)."""

    steps: NDArray[np.int32]
    status: NDArray[np.int8]
    params: Floats

    def take(self, runs: NDArray[np.intp]) -> Ends:
        """Some of them, by their places."""
        return Ends(self.steps[runs], self.status[runs], self.params[runs])


class _Targets(NamedTuple):
    """Points that distances are taken to, (lanes, P) each."""

    reference: Any
    other: Any
    random: Any


@dataclass
class Measurer:
    """Compiled programs that measure along the paths of one simulation.

    Attributes
    ----------
    worker : Worker
        Of the simulation.
    """

    worker: Worker

    def __post_init__(self) -> None:
        self._dynamics = self.worker.program.dynamics
        self._layout = self.worker.program.layout
        options = self._dynamics.experiment.optimizer
        self._decay = options.options.get("weight_decay", 0.0) if isinstance(options, Component) else 0.0
        self._along = jax.jit(self._look_along, compiler_options=OPTIONS)
        self._at_looks = jax.jit(self._look_closely, compiler_options=OPTIONS)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self._dynamics.steps_per_epoch

    def measure(
        self,
        seeds: NDArray[np.int64],
        measuring: Measuring,
        *,
        given: Floats | None = None,
        ends: Ends | None = None,
        exact: Floats | None = None,
    ) -> Geometry:
        """Replay runs and measure along their paths.

        Parameters
        ----------
        seeds : (n,) int64
        measuring : Measuring
        given : (n, P) float, optional
            First parameters, if they were not drawn.
        ends : Ends, optional
            How the runs ended, if that is known; else they are trained first.
        exact : (n, P) float, optional
            Needed for reference ``"exact"``.

        Raises
        ------
        ValueError
            Runs cannot be continued for reference ``"extra"``.
        """
        with precision(self.worker.x64):
            ends = ends or self._train(seeds, given)
            # Runs of about the same length go together; the place of a lane has no influence on any bit.
            order, width = np.argsort(ends.steps, kind="stable"), self.worker.lane_width
            others = self._others(seeds, ends, given)
            parts = []
            for start in range(0, len(seeds), width):
                runs = order[start : start + width]
                some, ended = None if given is None else given[runs], ends.take(runs)
                minima = None if exact is None else exact[runs]
                parts.append(self._some(seeds[runs], measuring, some, ended, minima, others[runs]))
            return join(parts).take(np.argsort(order))

    def _train(self, seeds: NDArray[np.int64], given: Floats | None) -> Ends:
        block = self.worker.run(seeds, Recording("none"), given)
        assert block.final_params is not None  # noqa: S101 (the engine gives all there is)
        return Ends(block.steps, block.status, block.final_params)

    def _others(self, seeds: NDArray[np.int64], ends: Ends, given: Floats | None) -> Floats:
        """Where the other seed of each pair ended: 1 for 0, 0 for 1, 3 for 2; trained if it is not among the seeds.

        NaN if it is not, and first parameters were given.
        """
        partners = seeds ^ 1
        place = {seed: index for index, seed in enumerate(seeds.tolist())}
        found = np.array([place.get(seed, -1) for seed in partners.tolist()])
        others = np.where(found[:, None] >= 0, ends.params[found], np.nan)
        if given is None and (found < 0).any():
            others[found < 0] = self._train(partners[found < 0], None).params
        return others.astype(ends.params.dtype)

    def _some(
        self, seeds: NDArray[np.int64], measuring: Measuring, given: Floats | None, ends: Ends, exact: Any, others: Any
    ) -> Geometry:
        """At most a lane width of runs."""
        reference = ends.params
        if measuring.reference == "extra":
            reference = self._continued(seeds, measuring.extra, given, ends)
        elif measuring.reference == "exact":
            if exact is None:
                raise ValueError("reference exact needs the minima")
            reference = exact.astype(ends.params.dtype)
        geometry, found = self._replayed(seeds, given, ends, reference, others)
        if measuring.reference == "final" and not (geometry.difference == 0).all():
            # Other versions or another machine: then the path that can be measured ends where the replay does.
            again, _ = self._replayed(seeds, given, found, found.params, others)
            return replace(again, difference=geometry.difference)
        return geometry

    def _continued(self, seeds: NDArray[np.int64], extra: int, given: Floats | None, ends: Ends) -> Floats:
        """Parameters some steps after the end of each run, whatever had ended it."""
        made = self.worker.experiment
        epochs = made.max_epochs + -(-extra // made.steps_per_epoch)
        longer = Worker(made.replace(stop={}, max_epochs=epochs), self.worker.lane_width, self.worker.x64)
        again, reference = np.full_like(ends.params, np.nan), np.full_like(ends.params, np.nan)
        start, first = 0, None
        for carry, rows in longer.follow(seeds, careful=True, given=given):
            after = np.asarray(rows.params)[:, : len(seeds)]
            first = np.array(carry.initial)[: len(seeds)] if first is None else first
            for wanted, found in ((ends.steps, again), (ends.steps + extra, reference)):
                _pick(after, start, wanted, found)
            start += len(after)
        assert first is not None  # noqa: S101 (there are seeds)
        again[ends.steps == 0] = first[ends.steps == 0]
        with np.errstate(over="ignore"):  # of runs that diverge, which are refused
            off, way = np.linalg.norm(again - ends.params, axis=1), np.linalg.norm(ends.params - first, axis=1)
        if not (off <= SAME_PATH * way).all() or np.isnan(reference).any():
            raise ValueError(
                f"runs of {made.name} cannot be continued by {extra} steps: they diverge, or the longer run takes "
                "another path; take reference final"
            )
        return reference

    def _replayed(
        self, seeds: NDArray[np.int64], given: Floats | None, ends: Ends, reference: Floats, others: Floats
    ) -> tuple[Geometry, Ends]:
        """Measurements as far as runs go by `ends`, and how the replay ended."""
        count, width = len(seeds), self.worker.lane_width
        keys = jax.vmap(lambda seed: run_key(self.worker.experiment.root_seed, seed))(_padded(seeds, width, np.uint32))
        snapshots = _Snapshots(ends.steps, width)
        targets = before = model = carry = None
        start, parts = 0, []
        for carry, rows in self.worker.follow(seeds, bool((ends.status == Status.DIVERGED).any()), given):
            if before is None:
                before = snapshots.initial = carry.initial[:width] + 0  # the carry's own is given to the next call
                model = snapshots.model = jax.vmap(lambda key: self._dynamics.law.model.init(stream(key, 0))[1])(keys)
                targets = _targets(keys, before, _padded(reference, width), _padded(others, width))
            after: Any = rows.params
            before, model, models, measured = self._along(
                keys, before, model, after, rows.step - 1, rows.batch, targets
            )
            snapshots.add(start, after, models, rows.batch)
            parts.append({name: np.asarray(array)[:, :count].T for name, array in measured.items()})
            start += len(rows.step)
        assert carry is not None and targets is not None  # noqa: S101 (there are seeds)
        inside = np.arange(start) < ends.steps[:, None]
        along = {name: np.concatenate([part[name] for part in parts], axis=1)[inside] for name in STEPS}
        ended = jax.tree.map(lambda array: array[:width], carry.results.model)
        closely = self._at_looks(keys, snapshots.initial, targets.reference, ended, *snapshots.arrays())
        looked = {name: np.array(array)[:count] for name, array in closely.items()}
        results = carry.results
        found = Ends(*(np.array(array)[:count] for array in (results.step, results.status, results.params)))
        difference = np.abs(found.params - ends.params).max(axis=1)
        difference[found.steps != ends.steps] = np.inf
        geometry = Geometry(
            seeds=seeds, status=ends.status.astype(np.int8), steps=ends.steps.astype(np.int32), difference=difference,
            look_step=snapshots.looks[:count], **along, **looked,
        )  # fmt: skip
        return geometry, found

    def _look_along(
        self, keys: Array, before: Array, model: Any, after: Array, step: Array, batch: Array | None, targets: _Targets
    ) -> tuple[Array, Any, Any, Mapping[str, Array]]:
        """Some steps of all lanes: last parameters and states of models, states (T, ...), what is measured (T, lanes).

        Arguments are (lanes, ...), but `after` (T, lanes, P), `step` and `batch` (T, lanes, ...).
        """
        layout = self._layout
        keys = layout.split(keys)

        def row(state: tuple[Any, Any], now: tuple[Array, Array, Array | None]) -> tuple[Any, Any]:
            (before, model), (after, step, batch) = state, now
            loss, gradient, model = layout.batch(self._differentiate)(keys, before, model, step, batch)
            return (layout.split(after), model), (layout.join(model), loss, layout.join(gradient))

        (_, model), (models, loss, gradient) = lax.scan(row, layout.split((before, model)), (after, step, batch))
        # In a loop of their own, where XLA finds gradients that lie in memory and does not take them apart again.
        _, measured = lax.scan(
            lambda before, now: (now[0], _products(before, *now, targets)), before, (after, gradient)
        )
        return after[-1], layout.join(model), models, {"loss": loss} | measured

    def _differentiate(
        self, key: Array, params: Array, model: Any, step: Array, batch: Array | None
    ) -> tuple[Array, Array, Any]:
        """Loss and gradient (P,) of a step of one run, and the model's state after it."""
        loss, gradient, _, model = self._dynamics.differentiate(_lane(key, params, model, step), batch)
        return *self._decayed(loss, gradient, params), model

    def _decayed(self, loss: Array, gradient: Array, params: Array) -> tuple[Array, Array]:
        """With the weight decay that the optimizer adds to the gradient, and the loss that this is the gradient of."""
        if not self._decay:
            return loss, gradient
        return loss + self._decay / 2 * jnp.sum(params * params), gradient + self._decay * params

    def _look_closely(
        self, keys: Array, initial: Array, reference: Array, ended: Any, steps: Array, params: Array, models: Any,
        batches: Any,
    ) -> Mapping[str, Array]:  # fmt: skip
        """What is measured at looks; the last four are (lanes, LOOKS, 1 + lags, ...), before and of `steps`.

        `ended` are the states of models after the last step, which the losses at and on the way to w* are taken with.
        """

        def run(lane: tuple[Any, ...]) -> Mapping[str, Array]:
            key, initial, reference, ended, steps, params, models, batches = lane
            found = dict(each(lambda look: self._closely(key, reference, *look), (steps, params, models, batches)))
            found["reference_loss"] = self._value(reference, ended)
            fractions = jnp.linspace(0, 1, FRACTIONS, dtype=initial.dtype)
            points = initial + fractions[:, None] * (reference - initial)
            found["line_loss"] = each(lambda point: self._value(point, ended), points)
            return found

        # Wide nets one after the other: a forward pass over the whole task takes memory.
        each: Any = (lambda function, arrays: jax.vmap(function)(arrays)) if self._layout is NARROW else lax.map
        return each(run, (keys, initial, reference, ended, steps, params, models, batches))

    def _closely(
        self, key: Array, reference: Array, steps: Array, params: Array, models: Any, batches: Any
    ) -> Mapping[str, Array]:
        """One look at one run: steps (1 + lags,), the look's own first."""
        first = jax.tree.map(lambda array: array[0], models)
        away = params - reference
        gradients = jax.vmap(lambda *look: self._differentiate(key, *look)[1])(params, models, steps, batches)
        across = gradients - away * (jnp.sum(gradients * away, 1) / jnp.sum(away * away, 1))[:, None]
        size, whole = (jnp.sqrt(jnp.sum(part * part, 1)) for part in (across, gradients))
        size = jnp.where(size > ROUNDING * jnp.finfo(params.dtype).eps * whole, size, jnp.nan)
        there = steps[1:] >= 0
        full_loss, full = self._full(params[0], first)
        labels = self._with_dealt_targets(key, params[0], first, steps[0], None if batches is None else batches[0])
        found = {
            "full_loss": full_loss,
            "full_dot": jnp.sum(full * away[0]),
            "full_gradient2": jnp.sum(full * full),
            "labels_dot": jnp.sum(labels * away[0]),
            "labels_gradient2": jnp.sum(labels * labels),
            "lag_cosine": jnp.where(there, jnp.sum(across[1:] * across[0], 1) / (size[1:] * size[0]), jnp.nan),
            "lag_distance": jnp.where(there, jnp.sqrt(jnp.sum((params[1:] - params[0]) ** 2, 1)), jnp.nan),
        }
        fixed_batches = self._fixed_batches()
        found |= {"batch_dot": jnp.full(BATCHES, jnp.nan), "batch_gradient2": jnp.full(BATCHES, jnp.nan)}
        if len(fixed_batches):
            fixed = lax.map(lambda batch: self._fixed(params[0], first, batch), jnp.asarray(fixed_batches))
            found["batch_dot"] = found["batch_dot"].at[: len(fixed_batches)].set(fixed @ away[0])
            found["batch_gradient2"] = found["batch_gradient2"].at[: len(fixed_batches)].set(jnp.sum(fixed * fixed, 1))
        dtype = params.dtype
        return {name: jnp.where(steps[0] >= 0, array, jnp.nan).astype(dtype) for name, array in found.items()}

    def _value(self, params: Array, model: Any) -> Array:
        """Loss over the whole task."""
        loss = self._dynamics.evaluate(params, model)[0]
        return self._decayed(loss, params, params)[0]

    def _full(self, params: Array, model: Any) -> tuple[Array, Array]:
        return jax.value_and_grad(self._value)(params, model)

    def _fixed_batches(self) -> NDArray[np.int64]:
        """Minibatches without a common point, the same for all seeds: (k, size), as many as there are up to BATCHES."""
        size, points = self._dynamics.experiment.batch.size, len(self._dynamics.law.task.inputs)
        if size is None:
            return np.zeros((0, 0), np.int64)
        dealt = np.random.default_rng(self.worker.experiment.root_seed).permutation(points)
        return dealt[: min(points // size, BATCHES) * size].reshape(-1, size)

    def _fixed(self, params: Array, model: Any, batch: Array) -> Array:
        """Gradient (P,) of a fixed minibatch."""
        task = self._dynamics.law.task
        return self._of_points(params, model, jnp.asarray(task.inputs)[batch], jnp.asarray(task.targets)[batch])

    def _with_dealt_targets(self, key: Array, params: Array, model: Any, step: Array, batch: Array | None) -> Array:
        """Gradient (P,) of the step's own points with their targets dealt out at random."""
        inputs, targets = self._dynamics.points_of(_lane(key, params, model, step), batch)
        chance = jax.random.fold_in(stream(key, CONTROL), step + 1)
        return self._of_points(params, model, inputs, jax.random.permutation(chance, jnp.asarray(targets)))

    def _of_points(self, params: Array, model: Any, inputs: Any, targets: Any) -> Array:
        law, order = self._dynamics.law, self._dynamics.order

        def objective(at: Array) -> Array:
            outputs, _, _ = law.model.apply(order.unflatten(at), inputs, model, jax.random.key(0), False)
            return self._decayed(law.loss(outputs, targets), at, at)[0]

        return jax.grad(objective)(params)


class _Snapshots:
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
        lengths = _padded(steps, width).astype(np.int64)
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
            into[lane, look, lag] = np.asarray(array)[self._steps[lane, look, lag] - start, lane]

    def _as_before_all(self, first: Array) -> NDArray[Any]:
        """An array (lanes, ...) in the place of every look."""
        return np.array(np.broadcast_to(np.asarray(first)[:, None, None], (*self._steps.shape, *first.shape[1:])))

    def arrays(self) -> tuple[Any, ...]:
        """Steps, parameters, states of models and batches, each (lanes, LOOKS, 1 + lags, ...)."""
        return self._steps.astype(np.int32), *self._kept


def _products(before: Array, after: Array, gradient: Array, targets: _Targets) -> dict[str, Array]:
    """Inner products and squared lengths (lanes,) of a step, from parameters and gradients (lanes, P)."""
    moved = before - after
    distance, other, random = (before - target for target in targets)

    def product(one: Array, other: Array) -> Array:
        return jnp.sum(one * other, axis=-1)

    return {
        "dot": product(gradient, distance),
        "distance2": product(distance, distance),
        "gradient2": product(gradient, gradient),
        "step_dot": product(moved, distance),
        "step2": product(moved, moved),
        "other_dot": product(gradient, other),
        "other_distance2": product(other, other),
        "random_dot": product(gradient, random),
        "random_distance2": product(random, random),
    }


@jax.jit
def _targets(keys: Array, initial: Array, reference: Array, others: Array) -> _Targets:
    """With a random point for each lane, as far from the first parameters as the reference is."""

    def random(key: Array, initial: Array, reference: Array) -> Array:
        direction = jax.random.normal(stream(key, CONTROL), initial.shape, initial.dtype)
        return initial + direction * (_length(reference - initial) / _length(direction))

    return _Targets(reference, others, jax.vmap(random)(keys, initial, reference))


def _lane(key: Array, params: Array, model: Any, step: Array) -> Lane:
    """What a gradient is taken of."""
    return Lane(
        params=params, optimizer=None, model=model, rules=(), best=None, stale=None, step=step,
        loss=jnp.zeros((), params.dtype), status=jnp.full((), RUNNING, jnp.int32), key=key,
    )  # fmt: skip


def _pick(after: NDArray[Any], start: int, wanted: NDArray[Any], found: NDArray[Any]) -> None:
    """Put parameters (T, lanes, P) after steps from `start` on where so many steps are wanted."""
    lane = np.flatnonzero((wanted > start) & (wanted <= start + len(after)))
    found[lane] = after[wanted[lane] - 1 - start, lane]


def _padded(array: NDArray[Any], width: int, dtype: Any = None) -> NDArray[Any]:
    """As many rows as lanes; those that stand for no run hold 0."""
    padded = np.zeros((width, *array.shape[1:]), dtype or array.dtype)
    padded[: len(array)] = array
    return padded


def _length(vector: Array) -> Array:
    return jnp.sqrt(jnp.sum(vector * vector))
