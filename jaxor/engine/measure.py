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

from jaxor.engine.geometry import STEPS, Floats, Geometry, Measuring, join
from jaxor.engine.keys import CONTROL, run_key, stream
from jaxor.engine.looks import Looks, Snapshots, padded
from jaxor.engine.objective import Objective
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import OPTIONS, Worker, precision
from jaxor.engine.status import Status

SAME_PATH = 1e-3
"""A run that is continued may end up, where it had ended, so far from itself, as a part of the way that it went."""


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
        # Models that train alone do so because a core's cache has no room for more points than a step's.
        alone = self.worker.lane_width == 1
        self._objective = Objective(self._dynamics, self._dynamics.points if alone else None)
        self._along = jax.jit(self._look_along, compiler_options=OPTIONS)
        self._at_looks = jax.jit(Looks(self._objective, self._layout), compiler_options=OPTIONS)

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
        own = measuring.reference == "final"
        if (own and not (geometry.difference == 0).all()) or (found.steps != ends.steps).any():
            # Other versions or another machine: then the path that can be measured ends where the replay does.
            again, _ = self._replayed(seeds, given, found, found.params if own else reference, others)
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
        keys = jax.vmap(lambda seed: run_key(self.worker.experiment.root_seed, seed))(padded(seeds, width, np.uint32))
        snapshots = Snapshots(ends.steps, width)
        targets = before = model = carry = None
        start, parts = 0, []
        for carry, rows in self.worker.follow(seeds, bool((ends.status == Status.DIVERGED).any()), given):
            if before is None:
                before = snapshots.initial = carry.initial[:width] + 0  # the carry's own is given to the next call
                model = snapshots.model = jax.vmap(lambda key: self._dynamics.law.model.init(stream(key, 0))[1])(keys)
                targets = _targets(keys, before, padded(reference, width), padded(others, width))
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
            loss, gradient, model = layout.batch(self._objective.of_step)(keys, before, model, step, batch)
            return (layout.split(after), model), (layout.join(model), loss, layout.join(gradient))

        (_, model), (models, loss, gradient) = lax.scan(row, layout.split((before, model)), (after, step, batch))
        # In a loop of their own, where XLA finds gradients that lie in memory and does not take them apart again.
        _, measured = lax.scan(
            lambda before, now: (now[0], _products(before, *now, targets)), before, (after, gradient)
        )
        return after[-1], layout.join(model), models, {"loss": loss} | measured


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


def _pick(after: NDArray[Any], start: int, wanted: NDArray[Any], found: NDArray[Any]) -> None:
    """Put parameters (T, lanes, P) after steps from `start` on where so many steps are wanted."""
    lane = np.flatnonzero((wanted > start) & (wanted <= start + len(after)))
    found[lane] = after[wanted[lane] - 1 - start, lane]


def _length(vector: Array) -> Array:
    return jnp.sqrt(jnp.sum(vector * vector))
