"""The optimizer's state along recorded runs: what a run is besides its parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxor.analysis.features import FEW_PARAMETERS
from jaxor.analysis.rows import Rows
from jaxor.engine.block import Block
from jaxor.engine.keys import run_key
from jaxor.engine.layout import layout_for
from jaxor.engine.simulate import precision
from jaxor.engine.step import RUNNING, Dynamics, Lane
from jaxor.store.run import Run

Numbers = NDArray[np.float64]


def moments(run: Run, rows: Rows) -> dict[str, Numbers]:
    """The optimizer's state (n,) after the last step of each row, by name; empty for optimizers without one.

    The state is not stored, so each run's steps are taken again, each from the recorded parameters, by the engine's
    own step function. It is compiled otherwise than in training, so the last bits may differ.

    Parameters
    ----------
    run : Run
        With traces of every step, and initial parameters.
    rows : Rows
        Of that run. Models with many parameters have no columns for each, and get none here.

    Examples
    --------
    >>> from jaxor import simulate
    >>> from jaxor.analysis.rows import rows_of
    >>> run = simulate("abs1_normal", seeds=2)
    >>> found = moments(run, rows_of(run))
    >>> [*found][0], found["mu(linear1.weight[0,0])"].shape
    ('mu(linear1.weight[0,0])', (206,))
    """
    if not rows.update.shape[1] or len(run.param_names) > FEW_PARAMETERS:
        return {}
    with precision(run.x64):
        dynamics = Dynamics(run.experiment)
        names = _names(dynamics, run.param_names)
        if not names:
            return {}
        found = np.zeros((len(rows), len(names)))
        keys = _keys(rows.seed, rows.step)
        order = np.argsort(keys)
        keys = keys[order]
        states = jax.jit(_along(dynamics))
        used = set(rows.seed.tolist())
        for block in run.blocks():
            some = block.take(np.flatnonzero([seed in used for seed in block.seeds.tolist()]))
            if len(some):
                _fill(found, keys, order, some, states, run)
    return dict(zip(names, found.T, strict=True))


def _keys(seed: NDArray[np.int64], step: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for each state: seeds are below 2^32, steps below 2^31."""
    return (seed << 31) + step + 1


def _fill(
    found: Numbers,
    keys: NDArray[np.int64],
    order: NDArray[np.intp],
    block: Block,
    states: Callable[..., Array],
    run: Run,
) -> None:
    """Put the states along some runs where their rows are; `keys` are those of the rows in `order`, ascending."""
    traces = block.traces
    assert traces is not None and traces.params is not None and block.initial_params is not None  # noqa: S101
    longest = -(-int(traces.row_size.max()) // 64) * 64  # few shapes to compile
    before = np.zeros((longest, len(block), traces.params.shape[1]), traces.params.dtype)
    ends = np.cumsum(traces.row_size, dtype=np.int64)
    for place, (end, size) in enumerate(zip(ends.tolist(), traces.row_size.tolist(), strict=True)):
        before[:size, place] = np.vstack([block.initial_params[place], traces.params[end - size : end]])[:size]
    root = run.experiment.root_seed
    made = jax.vmap(lambda seed: run_key(root, seed))(jnp.asarray(block.seeds.astype(np.uint32)))
    along = np.asarray(states(before, made), np.float64)
    step = np.concatenate([np.arange(size, dtype=np.int32) for size in traces.row_size])
    owner = np.repeat(np.arange(len(block)), traces.row_size)
    wanted = _keys(block.seeds[owner], step)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = keys[place] == wanted
    found[order[place[there]]] = along[step[there], owner[there]]


def _along(dynamics: Dynamics) -> Callable[[Array, Array], Array]:
    """From the parameters (T, n, P) before each step of many runs and their keys to the states (T, n, M) after it.

    In the engine's layout, which takes sums over points in pairs: other rounding would look like large moments to Adam.
    """
    layout, per_epoch = layout_for(dynamics.order.size, dynamics.most_points), dynamics.steps_per_epoch

    def points(key: Array, step: Array) -> Array:
        return dynamics.batches(key, step)[step % per_epoch]

    def again(lane: Lane, params: Array) -> Lane:
        return lane._replace(params=params, status=jnp.full_like(lane.status, RUNNING))

    def along(before: Array, keys: Array) -> Array:
        def step(lanes: Lane, params: Array) -> tuple[Lane, Array]:
            lanes = layout.batch(again)(lanes, layout.split(params))
            batch = layout.batch(points)(lanes.key, lanes.step) if dynamics.experiment.batch.indexed else None
            lanes = layout.batch(dynamics.step)(lanes, batch)
            leaves = jax.tree.leaves(layout.join(lanes.optimizer))
            return lanes, jnp.concatenate([leaf.reshape(len(params), -1) for leaf in leaves], axis=1)

        return jax.lax.scan(step, layout.batch(dynamics.start)(*layout.split((before[0], keys))), before)[1]

    return along


def _names(dynamics: Dynamics, param_names: tuple[str, ...]) -> list[str]:
    """A name for each number of the optimizer's state."""
    state = jax.eval_shape(dynamics.optimizer.init, jax.ShapeDtypeStruct((len(param_names),), jnp.result_type(float)))
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        label = str(getattr(path[-1], "name", "state"))
        names += [f"{label}({name})" for name in param_names] if leaf.shape else [label]
    return names
