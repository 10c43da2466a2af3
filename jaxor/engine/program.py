"""Many lanes at once: the compiled programs of an experiment.

A block of seeds goes through three programs: `begin` (first parameters and their losses), then `advance` again and
again (or `drain`, the same in a loop on the device), then `finish`. `advance` runs some epochs in all lanes, puts the
results of runs that ended in their places and refills the lanes with the next seeds.

At a fixed lane width nothing here changes a run's bits: not the place of its lane, not its neighbours, not how often
`advance` is called, not whether its trace is recorded.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxor.engine.keys import run_key
from jaxor.engine.layout import layout_for
from jaxor.engine.step import RUNNING, Lane, Rules
from jaxor.experiments.experiment import Experiment

EPOCHS_PER_CALL = 16
"""Epochs between two refills of lanes, full batch; with batches 1, since lanes begin an epoch together."""


class Results(NamedTuple):
    """Runs by their place in the block; places lie on the lanes' axis. `model` is the model's state."""

    params: Array
    model: Any
    step: Array
    status: Array


class Carry(NamedTuple):
    """A block on its way.

    `initial` and `keys` are the first parameters and key data of all places, `slot` the place that each lane works
    for (the capacity if none), `next` the first place not yet begun, `places` how many there are.
    """

    initial: Array
    keys: Array
    lanes: Lane
    slot: Array
    next: Array
    places: Array
    results: Results
    one: Array


class Record(NamedTuple):
    """What every lane was after each step of an `advance`; the first row is from before."""

    step: Array
    loss: Array
    params: Array | None


class Program:
    """The programs of an experiment at a lane width."""

    def __init__(self, experiment: Experiment, lane_width: int) -> None:
        self.rules = Rules(experiment)
        self.width = lane_width
        self.layout = layout_for(self.rules.order.size)
        self.full = experiment.batch.mode == "full"
        axis = self.layout.axis
        self._map = functools.partial(jax.vmap, in_axes=axis, out_axes=axis)

    # The three programs

    def begin(self, seeds: Array, places: Array, given: Array | None) -> Carry:
        """First parameters of all places, drawn or as given, and idle lanes.

        Parameters
        ----------
        seeds : (capacity,) uint32
        places : int32
            How many of them count.
        given : (P, capacity) or (capacity, P) or None
        """
        capacity = seeds.shape[0]
        draw = functools.partial(run_key, self.rules.experiment.root_seed)
        keys = self._in_slices(self._map(draw, in_axes=0), seeds)
        initial = self._in_slices(self._map(self.rules.initial_params), keys) if given is None else given
        axis = self.layout.axis
        head = functools.partial(lax.slice_in_dim, start_index=0, limit_index=self.width, axis=axis)
        lanes = self.layout.batch(self.rules.start)(head(initial), head(keys))
        idle = jnp.full((self.width,), capacity, jnp.int32)
        none = jnp.zeros(capacity, jnp.int32)
        state = self._in_slices(self._map(lambda params, key: self.rules.start(params, key).model), initial, keys)
        results = Results(initial, state, none, none)
        one = jnp.ones((self.width,), initial.dtype)
        lanes = lanes._replace(status=jnp.zeros_like(lanes.status))
        return self._refill(Carry(initial, keys, lanes, idle, jnp.zeros((), jnp.int32), places, results, one))

    def advance(self, carry: Carry, record: str) -> tuple[Carry, Record | None]:
        """Some epochs in all lanes, then results out and new runs in.

        `record` is ``none``, ``loss`` or ``all``.
        """
        lanes, rows = self._epochs(carry.lanes, carry.one, record)
        ended = (lanes.status != RUNNING) & (carry.slot < carry.results.step.shape[0])
        carry = carry._replace(lanes=lanes)
        return lax.cond(jnp.any(ended), lambda c: self._refill(self._harvest(c)), lambda c: c, carry), rows

    def drain(self, carry: Carry) -> Carry:
        """`advance` until every run has ended."""
        return lax.while_loop(self.unfinished, lambda c: self.advance(c, "none")[0], carry)

    def unfinished(self, carry: Carry) -> Array:
        """Whether a lane still works; if none does, no run is left either."""
        return jnp.any(carry.slot < carry.results.step.shape[0])

    def finish(self, carry: Carry) -> tuple[Array, ...]:
        """Initial loss, final loss and final accuracy of all places."""
        evaluate = self.layout.batch(self.rules.evaluate)
        fresh = self.layout.batch(lambda params, key: self.rules.evaluate(params, self.rules.start(params, key).model))
        initial_loss, _ = self._in_slices(fresh, carry.initial, carry.keys)
        final_loss, accuracy = self._in_slices(evaluate, carry.results.params, carry.results.model)
        return initial_loss, final_loss, accuracy

    # Their parts

    def _in_slices(self, function: Any, *arrays: Any) -> Any:
        """A function of one width of lanes on arrays of several, width by width."""
        axis = self.layout.axis

        def cut(array: Array) -> Array:  # the slices on a new first axis
            at = array.ndim - 1 if axis == -1 else 0
            shape = (*array.shape[:at], -1, self.width, *array.shape[at + 1 :])
            return jnp.moveaxis(array.reshape(shape), at, 0)

        def paste(array: Array) -> Array:
            at = array.ndim - 2 if axis == -1 else 0
            array = jnp.moveaxis(array, 0, at)
            return array.reshape(*array.shape[:at], -1, *array.shape[at + 2 :])

        return jax.tree.map(paste, lax.map(lambda parts: function(*parts), jax.tree.map(cut, arrays)))

    def _epochs(self, lanes: Lane, one: Array, record: str) -> tuple[Lane, Record | None]:
        def row(lanes: Lane) -> Record | None:
            # Always of lanes as they enter the body: reading what a step has just computed would invite XLA to
            # compute it a second time, with other bits.
            return (
                None if record == "none" else Record(lanes.step, lanes.loss, lanes.params if record == "all" else None)
            )

        if self.full:
            step = self.layout.batch(lambda lane, one: self.rules.step(lane, None, one))
            last, rows = lax.scan(lambda c, _: (step(c, one), row(c)), lanes, length=EPOCHS_PER_CALL)
        else:
            step = self.layout.batch(self.rules.step)
            points = self._map(self.rules.batches)(lanes.key, lanes.step)
            points = jnp.moveaxis(points, 0 if self.layout.axis == -1 else 1, 0)
            last, rows = lax.scan(lambda c, batch: (step(c, batch, one), row(c)), lanes, points)
        if rows is None:
            return last, None
        return last, jax.tree.map(lambda many, end: jnp.concatenate([many, end[None]]), rows, row(last))

    def _harvest(self, carry: Carry) -> Carry:
        """Results of ended runs put in their places (those of idle lanes fall off the end)."""
        capacity = carry.results.step.shape[0]
        lanes, results = carry.lanes, carry.results
        slot = jnp.where(lanes.status != RUNNING, carry.slot, capacity)
        place = (..., slot) if self.layout.axis == -1 else (slot,)
        ended = Results(lanes.params, lanes.model, lanes.step, lanes.status)
        return carry._replace(
            results=jax.tree.map(lambda old, new: old.at[place].set(new, mode="drop"), results, ended),
            slot=jnp.where(lanes.status != RUNNING, capacity, carry.slot),
        )

    def _refill(self, carry: Carry) -> Carry:
        """Free lanes take the next runs."""
        free = carry.lanes.status != RUNNING
        place = carry.next + jnp.cumsum(free) - 1
        taken = free & (place < carry.places)
        source = jnp.where(taken, place, 0).astype(jnp.int32)
        axis = self.layout.axis
        fresh = self.layout.batch(self.rules.start)(
            jnp.take(carry.initial, source, axis=axis), jnp.take(carry.keys, source, axis=axis)
        )
        return carry._replace(
            lanes=self.layout.select(taken, fresh, carry.lanes),
            slot=jnp.where(taken, place, carry.slot).astype(jnp.int32),
            next=(carry.next + jnp.sum(taken)).astype(jnp.int32),
        )
