"""How a simulation is cut up: lanes, blocks, layout; a function of the experiment alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxor.engine.layout import NARROW, Layout, layout_for
from jaxor.engine.recording import Recording
from jaxor.engine.step import Dynamics
from jaxor.experiments.experiment import Experiment

LANE_WIDTH = 2048
"""Largest default width."""

LANE_NUMBERS = 2**17
"""The default width has at most so many numbers of state in all lanes, which then stay in a core's cache."""

WIDE_LANE_NUMBERS = 2**16
"""The same for wide models, which train as fast in fewer lanes; short blocks can be shared by more cores."""

ALONE = 2**18
"""Models with more parameters times points of a batch train one at a time: a core's cache has no room for more."""

ALONE_FORWARD = 2**16
"""So do wide models whose forward pass on a batch makes more numbers than this, such as convolutional ones."""

LEAST_ALONE = 4
"""A block has so many runs at least, also of models that train one at a time."""

WIDTH_STEP = 16
"""Lane widths are multiples of this, or 1, so that no lane falls into the odd remainder of a vectorised loop.

There XLA:CPU computes exp and its like by other instructions, and bits would depend on a lane's place.
"""

_BLOCK_FLOPS = 2e11
_WIDE_BLOCK_FLOPS = 4e10  # some seconds too: a wide step does fewer a second
_BLOCK_BYTES = 2**28
_BLOCK_SEEDS = 2**17
_BLOCK_WIDTHS = 16  # of lanes by the ten thousand, as GPUs want them, few should wait for a block's last runs


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
    draws : bool
        Whether the initializer chooses among draws.
    """

    lane_width: int
    block_seeds: int
    layout: str
    param_names: tuple[str, ...]
    recording: Recording
    draws: bool = False


def plan(experiment: Experiment, lane_width: int | None = None, traces: bool | str | None = None) -> Plan:
    """Lane width, block size, layout and recording of a simulation.

    Blocks are kept small enough for minutes of work at the epoch cap and for a bounded memory.

    Raises
    ------
    ValueError
        Impossible lane width or traces.
    """
    dynamics = Dynamics(experiment)
    order, points = dynamics.order, dynamics.points
    layout = layout_for(order.size, dynamics.most_points)
    lane_width = _default_width(dynamics, layout) if lane_width is None else _checked_width(lane_width)
    recording = Recording.parse(traces, order.size)
    steps = max(experiment.max_epochs * experiment.steps_per_epoch, 1)
    rows = {"none": 0, "loss": 3, "all": 3 + order.size}[recording.kind] * (steps // recording.every + 1)
    flops = (6 * points + 20) * order.size
    if layout is not NARROW:  # convolutions and the like use each weight several times a point
        flops = max(flops, 6 * forward(dynamics).products)
    most = min(
        (_BLOCK_FLOPS if layout is NARROW else _WIDE_BLOCK_FLOPS) / (steps * flops),
        _BLOCK_BYTES / (4 * (rows + 3 * order.size)),
        max(_BLOCK_SEEDS, _BLOCK_WIDTHS * lane_width),
    )
    block = max(int(most) // lane_width * lane_width, lane_width, LEAST_ALONE)
    return Plan(lane_width, block, layout.name, order.names, recording, dynamics.selection is not None)


def _default_width(dynamics: Dynamics, layout: Layout) -> int:
    if dynamics.order.size * dynamics.points > ALONE or (
        layout is not NARROW and forward(dynamics).numbers > ALONE_FORWARD
    ):
        return 1
    numbers = LANE_NUMBERS if layout is NARROW else WIDE_LANE_NUMBERS
    few = min(max(numbers // _numbers(dynamics), WIDTH_STEP), LANE_WIDTH)
    return 1 << (few.bit_length() - 1)


class Forward(NamedTuple):
    """A forward pass on a batch: numbers that its operations make, and products of two numbers in matrix products."""

    numbers: int
    products: int


def forward(dynamics: Dynamics) -> Forward:
    """What a forward pass on a batch takes."""
    law, key = dynamics.law, jax.eval_shape(jax.random.key, 0)
    inputs = jax.eval_shape(jnp.asarray, law.task.inputs)  # in float32 unless JAX is told otherwise
    state = jax.eval_shape(lambda key: law.model.init(key)[1], key)
    params = jax.ShapeDtypeStruct((dynamics.order.size,), np.float32)
    batch = jax.ShapeDtypeStruct((dynamics.points, *inputs.shape[1:]), inputs.dtype)

    def outputs(params: Array, batch: Array, state: Any, key: Array) -> Array:
        return law.model.apply(dynamics.order.unflatten(params), batch, state, key, True)[0]

    return _counted(jax.make_jaxpr(outputs)(params, batch, state, key).jaxpr)


def _counted(jaxpr: Jaxpr) -> Forward:
    numbers = products = 0
    for equation in jaxpr.eqns:
        made = sum(math.prod(var.aval.shape) for var in equation.outvars)  # type: ignore[attr-defined]
        numbers += made
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape  # type: ignore[attr-defined]
            products += made * math.prod(shape[axis] for axis in contracted)
        for value in equation.params.values():
            if isinstance(value, ClosedJaxpr):
                inner = _counted(value.jaxpr)
                numbers, products = numbers + inner.numbers, products + inner.products
    return Forward(numbers, products)


def _checked_width(lane_width: Any) -> int:
    if isinstance(lane_width, bool) or not isinstance(lane_width, int | np.integer):
        raise ValueError(f"the lane width must be a whole number, got {lane_width!r}")
    if not 0 < lane_width <= 2**20 or (lane_width % WIDTH_STEP and lane_width != 1):
        raise ValueError(f"the lane width must be 1 or a multiple of {WIDTH_STEP} up to 2^20, got {lane_width}")
    return int(lane_width)


def _numbers(dynamics: Dynamics) -> int:
    """How many numbers a lane's state has."""
    key, params = jax.ShapeDtypeStruct((2,), np.uint32), jax.ShapeDtypeStruct((dynamics.order.size,), np.float32)
    state = jax.eval_shape(dynamics.start, params, key)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state))
