"""Seeds in, finished runs out: one block at a time, on one device."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block, Floats
from jaxor.engine.layout import NARROW, layout_for
from jaxor.engine.parameters import flat_order
from jaxor.engine.program import Carry, Program
from jaxor.engine.recording import Recorder, Recording
from jaxor.experiments.experiment import Experiment

LANE_WIDTH = 2048
"""Default width, narrow layout: the state of so many lanes stays in a core's cache."""

WIDTH_STEP = 16
"""Lane widths are multiples of this, so that no lane falls into the odd remainder of a vectorised loop.

There XLA:CPU computes exp and its like by other instructions, and bits would depend on a lane's place.
"""

_WIDE_FLOATS = 2**17
_BLOCK_FLOPS = 1e11
_BLOCK_BYTES = 2**28
_BLOCK_SEEDS = 2**17


@dataclass(frozen=True)
class Plan:
    """How a simulation is cut up: a pure function of the experiment and what is recorded, never of the machine.

    Attributes
    ----------
    lane_width : int
        Runs per compiled step. Part of a simulation's identity, since the bits of XLA's results depend on it.
    block_seeds : int
        Seeds per block, and so per shard; no influence on results.
    layout : str
    param_names : tuple of str
    recording : Recording
    """

    lane_width: int
    block_seeds: int
    layout: str
    param_names: tuple[str, ...]
    recording: Recording


def plan(experiment: Experiment, lane_width: int | None = None, traces: bool | str | None = None) -> Plan:
    """Lane width, block size, layout and recording of a simulation.

    Blocks are kept small enough for minutes of work at the epoch cap and for a bounded memory.

    Raises
    ------
    ValueError
        Impossible lane width or traces.
    """
    law = experiment.build()
    order = flat_order(law.model)
    layout = layout_for(order.size)
    if lane_width is None:
        few = max(_WIDE_FLOATS // order.size, WIDTH_STEP)
        lane_width = LANE_WIDTH if layout is NARROW else 1 << (few.bit_length() - 1)
    if isinstance(lane_width, bool) or not isinstance(lane_width, int | np.integer):
        raise ValueError(f"the lane width must be a whole number, got {lane_width!r}")
    if not 0 < lane_width <= 2**20 or lane_width % WIDTH_STEP:
        raise ValueError(f"the lane width must be a multiple of {WIDTH_STEP} up to 2^20, got {lane_width}")
    lane_width = int(lane_width)
    recording = Recording.parse(traces, order.size)
    points = experiment.batch.size or len(law.task.inputs)
    steps = max(experiment.max_epochs * experiment.steps_per_epoch, 1)
    rows = {"none": 0, "loss": 3, "all": 3 + order.size}[recording.kind] * (steps // recording.every + 1)
    most = min(
        _BLOCK_FLOPS / (steps * (6 * points + 20) * order.size),
        _BLOCK_BYTES / (4 * (rows + 3 * order.size)),
        _BLOCK_SEEDS,
    )
    block = max(int(most) // lane_width, 1) * lane_width
    return Plan(lane_width, block, layout.name, order.names, recording)


def precision(x64: bool) -> contextlib.AbstractContextManager[Any]:
    """Scope in which traced programs use float64 (or float32); global configuration is left alone.

    JAX's own stops at NaN and infinity are off in it: here they end a run as `DIVERGED`, and nothing else.
    """
    scope = contextlib.ExitStack()
    scope.enter_context(jax.enable_x64(x64))
    scope.enter_context(jax.debug_nans(False))
    scope.enter_context(jax.debug_infs(False))
    return scope


@dataclass
class Worker:
    """Compiled programs of one simulation on one device; `compile_seconds` grows as they are made.

    Raises
    ------
    ValueError
        JAX is configured for random numbers that depend on how many are drawn at once.
    """

    experiment: Experiment
    lane_width: int
    x64: bool = False
    compile_seconds: float = 0.0
    _compiled: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not jax.config.values["jax_threefry_partitionable"]:
            raise ValueError(
                "JAX is configured with jax_threefry_partitionable=False, whose random numbers differ from those "
                "of every other run; remove that setting"
            )
        with precision(self.x64):
            self.program = Program(self.experiment, self.lane_width)

    def run(self, seeds: NDArray[np.int64], recording: Recording, given: Floats | None = None) -> Block:
        """All runs of some seeds.

        Parameters
        ----------
        seeds : (n,) int64
        recording : Recording
        given : (n, P) float, optional
            First parameters, in place of those that the initializer draws.

        Raises
        ------
        NoAcceptableDraw
            The initializer found no acceptable parameters for a seed.
        """
        with precision(self.x64):
            carry = self._begin(seeds, given)
            recorder = Recorder(self.program.layout.axis, recording)
            if recording.kind == "none":
                carry = self._call("drain", self.program.drain, carry)
            else:
                carry = self._record(carry, recorder, recording.kind)
            losses = self._call("finish", self.program.finish, carry)
            return self._block(seeds, carry, losses, recorder, recording)

    def _begin(self, seeds: NDArray[np.int64], given: Floats | None) -> Carry:
        count = len(seeds)
        capacity = -(-count // self.lane_width) * self.lane_width
        padded = np.zeros(capacity, np.uint32)
        padded[:count] = seeds
        start = None
        if given is not None:
            start = np.zeros((capacity, given.shape[1]), np.float64 if self.x64 else np.float32)
            start[:count] = given
            start = jnp.asarray(start.T if self.program.layout is NARROW else start)
        arguments = (jnp.asarray(padded), jnp.asarray(count, jnp.int32), start)
        carry = self._call("begin", self.program.begin, *arguments)
        finite = np.all(np.isfinite(carry.initial), axis=0 if self.program.layout is NARROW else 1)[:count]
        if not np.all(finite):
            raise NoAcceptableDraw(self.experiment.name, seeds[np.flatnonzero(~finite)])
        return carry

    def _record(self, carry: Carry, recorder: Recorder, kind: str) -> Carry:
        advance = functools.partial(self.program.advance, record=kind)
        slot, idle = np.asarray(carry.slot), len(carry.results.step)
        while (slot < idle).any():
            carry, rows = self._call(f"advance {kind}", advance, carry)
            recorder.add(slot, *(None if row is None else np.asarray(row) for row in rows))
            slot = np.asarray(carry.slot)
        return carry

    def _block(
        self, seeds: NDArray[np.int64], carry: Carry, losses: Any, recorder: Recorder, recording: Recording
    ) -> Block:
        count = len(seeds)
        steps = np.asarray(carry.results.step)[:count]
        initial_loss, final_loss, accuracy = (np.asarray(values)[:count] for values in losses)

        def by_seed(params: Any) -> Floats:
            params = np.asarray(params)
            return np.ascontiguousarray((params.T if self.program.layout is NARROW else params)[:count])

        return Block(
            seeds=np.asarray(seeds, np.int64),
            status=np.asarray(carry.results.status)[:count].astype(np.int8),
            steps=steps,
            epochs=-(-steps // self.program.rules.steps_per_epoch),
            initial_loss=initial_loss,
            final_loss=final_loss,
            final_accuracy=accuracy,
            initial_params=by_seed(carry.initial),
            final_params=by_seed(carry.results.params),
            traces=None if recording.kind == "none" else recorder.traces(steps),
        )

    def _call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """A program, compiled at its first call for these shapes."""
        leaves, tree = jax.tree.flatten(arguments)
        key = (name, tree, *((leaf.shape, leaf.dtype) for leaf in leaves))
        if key not in self._compiled:
            started = time.perf_counter()
            self._compiled[key] = jax.jit(function).lower(*arguments).compile()
            self.compile_seconds += time.perf_counter() - started
        return self._compiled[key](*arguments)


class NoAcceptableDraw(ValueError):
    """An initializer that redraws reached its limit for some seeds."""

    def __init__(self, experiment: str, seeds: NDArray[np.int64]) -> None:
        shown = ", ".join(map(str, seeds[:3])) + (", ..." if len(seeds) > 3 else "")
        super().__init__(
            f"the initializer of {experiment} found no acceptable parameters within init.max_draws for "
            f"{len(seeds)} seeds ({shown}); raise init.max_draws or relax its condition"
        )
