"""Many lanes at once: the compiled programs of an experiment.

Seeds go through in one of two ways. `together`: as many seeds as lanes start together and end when the last has ended;
cheap where runs take about equally long. Or `begin` (first parameters of a whole block), then `advance` again and
again (or `drain`, the same in a loop on the device), then `finish`: `advance` runs some epochs in all lanes, puts the
results of runs that ended in their places and refills the lanes with the next seeds.

At a fixed lane width nothing here changes a run's bits: not the place of its lane, not its neighbours, not the way,
not how often `advance` is called, not whether its trace is recorded.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxor.engine.keys import run_key
from jaxor.engine.layout import NARROW, layout_for
from jaxor.engine.step import RUNNING, Dynamics, Lane
from jaxor.experiments.experiment import Experiment

IDLE = -2
"""Status of a lane without a run."""

EPOCHS_PER_CALL = 16
"""Epochs between two refills of lanes, full batch; with batches 1, since lanes begin an epoch together."""

EPOCHS_PER_LOOK = 4
"""Epochs between two looks at how many runs have ended, where nothing is recorded."""

IDLE_LANES = 8
"""Lanes are refilled when this part of them, one in so many, has ended."""


class First(NamedTuple):
    """What runs begin with, by their place: parameters (places, P) or, of a selection, the draw (places,) chosen."""

    params: Any = None
    draw: Any = None


class Results(NamedTuple):
    """Runs by their place in the block; parameters (places, P). `model` is the model's state."""

    params: Array
    model: Any
    step: Array
    status: Array


class Carry(NamedTuple):
    """A block on its way.

    `initial` (places, P) and `keys` (places, 2) are the first parameters and key data of all places, `slot` the place
    that each lane works for (the capacity if none), `fresh` whether it is still to begin with it, `first` (lanes, P)
    and `first_keys` (lanes, 2) what it begins with, `next` the first place without a lane, `places` how many there are,
    `steps` how many steps `drain` has taken, each in all lanes.
    """

    initial: Array
    keys: Array
    lanes: Lane
    slot: Array
    fresh: Array
    first: Array
    first_keys: Array
    next: Array
    places: Array
    steps: Array
    results: Results


class Record(NamedTuple):
    """What every lane was after each step of an `advance`, and whether it took that step: ``(steps, lanes, ...)``.

    `batch` has the numbers of the points that the step saw; None if it saw all, or if parameters are not recorded.
    """

    taken: Array
    step: Array
    loss: Array
    params: Array | None
    batch: Array | None


class Finished(NamedTuple):
    """Runs by their place, on the device or as NumPy arrays; parameters (places, P)."""

    initial_params: Any
    final_params: Any
    step: Any
    status: Any
    initial_loss: Any
    final_loss: Any
    accuracy: Any


class Program:
    """The programs of an experiment at a lane width."""

    def __init__(self, experiment: Experiment, lane_width: int) -> None:
        self.dynamics = Dynamics(experiment)
        self.width = lane_width
        self.full = not experiment.batch.indexed
        self.look = EPOCHS_PER_LOOK if self.full else self.dynamics.steps_per_epoch
        self.layout = layout_for(self.dynamics.order.size, self.dynamics.most_points)

    # The programs

    def scores(self, seeds: Array, draws: Array, places: Array) -> tuple[Array, Array]:
        """What a selection says of some draws (n,) of runs (n,), and how many draws of the innermost law each took.

        `places` says how many of them count; the others are looked at only as far as they fill a width of lanes.
        """
        root = self.dynamics.experiment.root_seed

        def score(seed: Array, draw: Array) -> tuple[Array, Array]:
            return self.dynamics.score(run_key(root, seed), draw)

        def some(number: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
            start = number * self.width
            part = (lax.dynamic_slice_in_dim(array, start, self.width) for array in (seeds, draws))
            new = self.layout.batch(score)(*part)
            return jax.tree.map(lambda a, b: lax.dynamic_update_slice_in_dim(a, b, start, 0), found, new)

        one = jax.eval_shape(score, seeds[0], draws[0])
        nothing = jax.tree.map(lambda array: jnp.zeros(len(seeds), array.dtype), one)
        return lax.fori_loop(0, -(-places // self.width), some, nothing)

    def together(self, seeds: Array, places: Array, first: First) -> Finished:
        """All runs, a width of seeds at a time; arguments as those of `begin`."""

        def some(part: tuple[Array, Array, First]) -> Finished:
            place, seeds, first = part
            initial, keys = self._draw(seeds, first)
            lanes = self._start(initial, keys)
            lanes = lanes._replace(status=jnp.where(place < places, lanes.status, IDLE))
            ended = lax.while_loop(
                lambda lanes: jnp.any(lanes.status == RUNNING),
                lambda lanes: self._epochs(lanes, EPOCHS_PER_LOOK)[0],
                lanes,
            )
            initial, keys, params, model = self.layout.join((initial, keys, ended.params, ended.model))
            return self._finished(initial, keys, Results(params, model, ended.step, ended.status))

        return self._in_slices(some, (jnp.arange(len(seeds)), seeds, first))

    def begin(self, seeds: Array, places: Array, first: First) -> Carry:
        """First parameters of all places, drawn or as given, and lanes that are to begin with the first ones.

        Parameters
        ----------
        seeds : (capacity,) uint32
        places : int32
            How many of them count.
        first : First
        """
        capacity = len(seeds)
        initial, keys = self._in_slices(lambda part: self.layout.join(self._draw(*part)), (seeds, first))
        started = jax.eval_shape(lambda: self._start(initial[: self.width], keys[: self.width]))
        place = jnp.arange(self.width, dtype=jnp.int32)
        none = jnp.zeros(capacity, jnp.int32)
        model = jax.tree.map(
            lambda array: jnp.zeros((capacity, *array.shape[1:]), array.dtype),
            jax.eval_shape(self.layout.join, started.model),
        )
        return Carry(
            initial=initial,
            keys=keys,
            lanes=jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), started),
            slot=jnp.where(place < places, place, capacity),
            fresh=place < places,
            first=initial[: self.width],
            first_keys=keys[: self.width],
            next=jnp.minimum(places, self.width),
            places=places,
            steps=jnp.zeros((), jnp.int32),
            results=Results(initial, model, none, none),
        )

    def advance(self, carry: Carry, record: str, careful: bool) -> tuple[Carry, Record | None]:
        """Some epochs in all lanes, then results out and new runs in.

        Parameters
        ----------
        carry : Carry
        record : {"none", "loss", "all"}
        careful : bool
            Whether runs that diverge end as they were before that step; otherwise only their status is right.
        """
        lanes, rows = self._epochs(self._begun(carry), EPOCHS_PER_CALL, record, careful)
        return self._turn_over(carry, lanes), rows

    def drain(self, carry: Carry) -> Carry:
        """Epochs until every run has ended; lanes are refilled whenever enough of them stand idle."""
        enough = max(self.width // IDLE_LANES, 1)

        def busy(carry: Carry, lanes: Lane) -> Array:
            running = jnp.sum(lanes.status == RUNNING)
            return (running > 0) & (jnp.sum(self._ended(carry, lanes)) < enough)

        def work(carry: Carry) -> Carry:
            lanes, steps = self._begun(carry), carry.steps
            if self.full and self.layout is NARROW:
                # A second loop over the lanes puts the state back where it was, so that none is copied.
                lanes, steps = self.layout.batch(self.dynamics.step)(_opaque(lanes), None), steps + 1
            lanes, steps = lax.while_loop(
                lambda state: busy(carry, state[0]),
                lambda state: (self._epochs(state[0], EPOCHS_PER_LOOK)[0], state[1] + self.look),
                (lanes, steps),
            )
            return self._turn_over(carry._replace(steps=steps), lanes)

        return lax.while_loop(self.unfinished, work, carry)

    def unfinished(self, carry: Carry) -> Array:
        """Whether a lane still works; if none does, no run is left either."""
        return jnp.any(carry.slot < len(carry.results.step))

    def finish(self, carry: Carry) -> Finished:
        """The runs of all places."""
        return self._in_slices(lambda part: self._finished(*part), (carry.initial, carry.keys, carry.results))

    # Their parts

    def _in_slices(self, function: Any, arrays: Any) -> Any:
        """A function of one width of lanes on arrays of several, width by width."""
        cut = jax.tree.map(lambda a: a.reshape(-1, self.width, *a.shape[1:]), arrays)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), lax.map(function, cut))

    def _draw(self, seeds: Array, first: First) -> tuple[Any, Any]:
        """First parameters and key data."""
        root = self.dynamics.experiment.root_seed

        def draw(seed: Array, number: Array | None) -> tuple[Array, Array]:
            key = run_key(root, seed)
            return self.dynamics.initial_params(key, number), key

        if first.params is None:
            return self.layout.batch(draw)(seeds, first.draw)
        return self.layout.split(first.params), self.layout.batch(lambda seed: run_key(root, seed))(seeds)

    def _start(self, initial: Any, keys: Any) -> Lane:
        return self.layout.batch(self.dynamics.start)(initial, keys)

    def _finished(self, initial: Array, keys: Array, results: Results) -> Finished:
        def evaluate(first: Array, key: Array, last: Array, model: Any) -> tuple[Array, ...]:
            initial_loss, _ = self.dynamics.evaluate(first, self.dynamics.start(first, key).model)
            return initial_loss, *self.dynamics.evaluate(last, model)

        arguments = _opaque((initial, keys, results.params, results.model))
        losses = self.layout.batch(evaluate)(*arguments)
        return Finished(initial, results.params, results.step, results.status, *losses)

    def _epochs(
        self, lanes: Lane, epochs: int, record: str = "none", careful: bool = False
    ) -> tuple[Lane, Record | None]:
        lanes = _opaque(lanes)

        def step(lanes: Lane, batch: Array | None) -> tuple[Lane, Record | None]:
            after = self.layout.batch(self.dynamics.step)(lanes, batch)
            if careful:
                after = self.layout.batch(self.dynamics.undo)(lanes, after)
            if record == "none":
                return after, None
            everything = record == "all"
            params = self.layout.join(after.params) if everything else None
            return after, Record(after.step > lanes.step, after.step, after.loss, params, batch if everything else None)

        if self.full:
            # Two steps at a time spare copies of the state; but two wide ones are compiled to other code than one.
            pairs = self.layout is NARROW and not careful
            last, rows = lax.scan(step, lanes, length=epochs, unroll=2 if pairs else 1)
        else:
            points = self.layout.join(self.layout.batch(self.dynamics.batches)(lanes.key, lanes.step))
            last, rows = lax.scan(step, lanes, jnp.moveaxis(points, 1, 0))
        return last, rows

    def _begun(self, carry: Carry) -> Lane:
        """All lanes, with new runs in the fresh ones; lanes without work stand still."""

        def begun(fresh: Array, works: Array, initial: Array, key: Array, lane: Lane) -> Lane:
            lane = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), self.dynamics.start(initial, key), lane)
            return lane._replace(status=jnp.where(works, lane.status, IDLE))

        works = carry.slot < len(carry.results.step)
        first, keys = self.layout.split((carry.first, carry.first_keys))
        return self.layout.batch(begun)(carry.fresh, works, first, keys, carry.lanes)

    def _ended(self, carry: Carry, lanes: Lane) -> Array:
        return (lanes.status != RUNNING) & (carry.slot < len(carry.results.step))

    def _turn_over(self, carry: Carry, lanes: Lane) -> Carry:
        """Results of runs that ended put in their places, and their lanes given to the next runs."""
        return lax.while_loop(
            lambda carry: jnp.any(self._ended(carry, carry.lanes) & ~carry.fresh),
            self._turn_over_some,
            carry._replace(lanes=lanes, fresh=jnp.zeros_like(carry.fresh)),
        )

    def _turn_over_some(self, carry: Carry) -> Carry:
        capacity, lanes = len(carry.initial), carry.lanes
        some = max(self.width // 4, 1)
        ended = self._ended(carry, lanes) & ~carry.fresh
        rank = _opaque(_rank(ended))
        ended &= rank < some
        lane = jnp.full(some, self.width).at[jnp.where(ended, rank, some)].set(jnp.arange(self.width), mode="drop")
        slot = carry.slot.at[lane].get(mode="fill", fill_value=capacity)
        results = self.layout.take(Results(lanes.params, lanes.model, lanes.step, lanes.status), lane)
        place = carry.next + rank
        fresh = ended & (place < carry.places)
        source = carry.next + jnp.arange(some)
        return carry._replace(
            results=jax.tree.map(lambda a, new: a.at[slot].set(new, mode="drop"), carry.results, results),
            slot=jnp.where(ended, jnp.where(fresh, place, capacity), carry.slot),
            fresh=carry.fresh | fresh,
            first=carry.first.at[lane].set(carry.initial.at[source].get(mode="clip"), mode="drop"),
            first_keys=carry.first_keys.at[lane].set(carry.keys.at[source].get(mode="clip"), mode="drop"),
            next=carry.next + jnp.sum(fresh, dtype=jnp.int32),
        )


def _rank(mask: Array) -> Array:
    """How many are true before each place, as int32: `cumsum` in two small matrix products, much faster on CPUs."""
    side = math.isqrt(len(mask) - 1) + 1
    rows = jnp.pad(mask, (0, side * side - len(mask))).reshape(side, side).astype(np.float32)
    before = jnp.triu(jnp.ones((side, side), np.float32), 1)
    dot = functools.partial(jnp.dot, precision="highest")  # whole numbers below 2^24: exact
    return (dot(rows, before) + dot(rows.sum(axis=1), before)[:, None]).ravel()[: len(mask)].astype(np.int32)


def _opaque(tree: Any) -> Any:
    """The same arrays, but the compiler cannot see where they come from.

    If it saw that two of them are the same constant, say, it would simplify the code that computes with them, and
    multiply and add in another order: other bits than in a program where it does not see that.
    """
    return lax.optimization_barrier(tree)
