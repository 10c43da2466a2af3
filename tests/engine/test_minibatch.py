"""Minibatches: which points a step sees, and what comes of it, against a plain NumPy loop."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor import Experiment, Status, Task
from jaxor.engine.block import Block
from jaxor.engine.keys import run_key
from jaxor.engine.layout import NARROW, WIDE
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Worker
from jaxor.engine.step import Dynamics
from jaxor.experiments.model import plain

POINTS, SIZE, PER_EPOCH = 23, 4, 5  # 3 points are left over in each epoch
LANES, SEEDS = 16, 40

INPUTS = np.random.default_rng(0).normal(size=(POINTS, 3)).astype(np.float32)
LABELS = np.eye(2, dtype=np.float32)[(INPUTS[:, 0] * INPUTS[:, 1] > 0).astype(int)]
TASK = Task(INPUTS, LABELS, lambda outputs, targets: jnp.mean(jnp.argmax(outputs, 1) == jnp.argmax(targets, 1)))


def net(hidden: int) -> Any:
    shapes = {"w": (hidden, 3), "b": (hidden,), "v": (2, hidden), "c": (2,)}

    def forward(params: dict[str, Array], inputs: Array) -> Array:
        h = jnp.tanh(inputs @ params["w"].T + params["b"])
        return h @ params["v"].T + params["c"]

    return plain(shapes, forward)


HIDDEN = {"narrow": 3, "wide": 50}  # 20 parameters, and 302, which are too many for the narrow layout
RATES = {3: 0.3, 50: 0.05}


def small_task(hidden: int = 3, mode: str = "shuffle", **changes: Any) -> Experiment:
    parts: dict[str, Any] = {
        "task": TASK, "model": net(hidden), "optimizer": {"name": "sgd", "learning_rate": RATES[hidden]},
        "batch": {"mode": mode, "size": SIZE}, "max_epochs": 3,
    }  # fmt: skip
    return Experiment("small_task", **(parts | changes))


# Which points


def test_a_shared_order_is_that_of_seed_0() -> None:
    own, shared = (
        Dynamics(small_task(batch={"mode": "shuffle", "size": SIZE} | order, root_seed=7))
        for order in ({}, {"order": "shared"})
    )
    keys = [run_key(7, jnp.uint32(seed)) for seed in (0, 5)]
    for step in (0, PER_EPOCH):
        first, other = (np.asarray(own.batches(key, jnp.int32(step))) for key in keys)
        assert not np.array_equal(first, other)
        for key in keys:
            assert_array_equal(shared.batches(key, jnp.int32(step)), first)


@cache
def batches(mode: str, root_seed: int = 0, epochs: int = 6, seeds: int = 50) -> NDArray[np.int64]:
    """Numbers of points (seeds, epochs, steps, size), as the engine draws them."""
    rules = Dynamics(small_task(mode=mode, root_seed=root_seed))
    keys = jax.vmap(lambda seed: run_key(root_seed, seed))(jnp.arange(seeds, dtype=jnp.uint32))
    steps = jnp.arange(epochs) * PER_EPOCH
    return np.asarray(jax.jit(jax.vmap(jax.vmap(rules.batches, (None, 0)), (0, None)))(keys, steps))


def test_shuffled_epochs_use_points_once_and_drop_the_last_short_batch() -> None:
    drawn = batches("shuffle")
    assert drawn.shape == (50, 6, PER_EPOCH, SIZE)
    epochs = drawn.reshape(-1, PER_EPOCH * SIZE)
    assert all(len(set(epoch)) == PER_EPOCH * SIZE for epoch in epochs.tolist())
    assert len(np.unique(epochs, axis=0)) == len(epochs)  # a fresh permutation every time
    shares = np.bincount(epochs.ravel(), minlength=POINTS) / len(epochs)
    assert_allclose(shares, PER_EPOCH * SIZE / POINTS, atol=0.08)  # in 300 epochs, standard deviation .02


def test_replacement_draws_are_independent() -> None:
    drawn = batches("replacement")
    assert drawn.shape == (50, 6, PER_EPOCH, SIZE)
    flat = drawn.reshape(-1, SIZE)
    counts = np.bincount(flat.ravel(), minlength=POINTS)
    assert counts.sum() == flat.size == 6000
    chi2 = np.sum((counts - flat.size / POINTS) ** 2 / (flat.size / POINTS))
    assert chi2 < 48  # 22 degrees of freedom, p = .001
    distinct = np.mean([len(set(row)) == SIZE for row in flat.tolist()])
    assert distinct == pytest.approx(np.prod(1 - np.arange(SIZE) / POINTS), abs=0.05)


@pytest.mark.parametrize("mode", ["shuffle", "replacement"])
def test_batches_depend_on_root_seed_seed_and_epoch(mode: str) -> None:
    drawn, other = batches(mode), batches(mode, root_seed=1)
    assert len(np.unique(drawn.reshape(300, -1), axis=0)) == 300
    assert not (drawn == other).all(axis=(2, 3)).any()
    assert_array_equal(drawn[:7, :2], batches(mode, seeds=7, epochs=2))
    rules = Dynamics(small_task(mode=mode))
    for step in (5, 7, 9):  # anywhere within the epoch
        assert_array_equal(rules.batches(run_key(0, jnp.uint32(3)), jnp.int32(step)), drawn[3, 1])


# What comes of it


class Ran(NamedTuple):
    """One run by the plain loop."""

    params: NDArray[np.float64]
    losses: list[float]
    path: list[NDArray[np.float64]]
    converged: bool


def plain_loop(
    start: NDArray[np.float32], drawn: NDArray[np.int64], hidden: int, stop: float = -1.0, max_steps: int = 10**9
) -> Ran:
    """Gradient descent on the mean squared error, batch after batch, in float64."""
    shapes = [(hidden, 3), (hidden,), (2, hidden), (2,)]
    cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    theta = start.astype(float)
    losses, path = [], []
    for batch in drawn.reshape(-1, SIZE)[:max_steps]:
        w, b, v, c = (part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes, strict=True))
        x, y = INPUTS[batch].astype(float), LABELS[batch]
        h = np.tanh(x @ w.T + b)
        residual = h @ v.T + c - y
        loss = np.mean(residual**2)
        dout = 2 * residual / residual.size
        dz = (dout @ v) * (1 - h**2)
        gradient = np.concatenate([part.ravel() for part in (dz.T @ x, dz.sum(0), dout.T @ h, dout.sum(0))])
        theta = theta - RATES[hidden] * gradient
        losses.append(loss)
        path.append(theta)
        if loss < stop:
            return Ran(theta, losses, path, True)
    return Ran(theta, losses, path, False)


@cache
def trained(layout: str, mode: str) -> Block:
    return Worker(small_task(HIDDEN[layout], mode), LANES).run(np.arange(SEEDS), Recording("all"))


def compare(block: Block, row: int, theirs: Ran, tolerance: float = 1e-5) -> None:
    assert block.final_params is not None and block.traces is not None and block.traces.params is not None
    rows = block.traces.rows(row)
    assert block.steps[row] == len(theirs.losses)
    assert_array_equal(block.traces.step[rows], np.arange(len(theirs.losses)))
    assert_allclose(block.final_params[row], theirs.params, 0, tolerance)
    assert_allclose(block.traces.loss[rows], theirs.losses, 0, tolerance)
    assert_allclose(block.traces.params[rows], theirs.path, 0, tolerance)


@pytest.mark.parametrize(
    ("layout", "mode"),
    [
        ("narrow", "shuffle"),
        ("wide", "shuffle"),
        *(pytest.param(layout, "replacement", marks=pytest.mark.full) for layout in HIDDEN),  # next: narrow in float64
    ],
)
def test_training_is_the_plain_loop_on_the_same_batches(layout: str, mode: str) -> None:
    block, drawn = trained(layout, mode), batches(mode)
    assert Worker(small_task(HIDDEN[layout], mode), LANES).program.layout.name == layout
    assert block.initial_params is not None
    for seed in range(SEEDS):
        compare(block, seed, plain_loop(block.initial_params[seed], drawn[seed, :3], HIDDEN[layout]))
    assert block.steps.tolist() == [3 * PER_EPOCH] * SEEDS
    assert block.epochs.tolist() == [3] * SEEDS
    assert set(block.status.tolist()) == {Status.EPOCH_CAP}


def test_training_in_float64_is_the_plain_loop_on_the_same_data() -> None:
    """The data are float32 whatever the parameters are; batches are drawn by other bits than in float32."""
    block = Worker(small_task(HIDDEN["narrow"], "replacement"), LANES, x64=True).run(np.arange(5), Recording("all"))
    assert block.initial_params is not None and block.initial_params.dtype == np.float64
    with jax.enable_x64(True):
        drawn = batches("replacement", seeds=5)
    for seed in range(5):
        compare(block, seed, plain_loop(block.initial_params[seed], drawn[seed, :3], HIDDEN["narrow"]), 1e-12)


def test_losses_at_both_ends_are_over_all_points() -> None:
    block = trained("narrow", "shuffle")
    assert block.initial_params is not None and block.final_params is not None

    def outputs(params: NDArray[np.float32]) -> NDArray[np.float32]:
        w, b, v, c = np.split(params, [9, 12, 18])
        return np.tanh(INPUTS @ w.reshape(3, 3).T + b) @ v.reshape(2, 3).T + c

    for losses, params in ((block.initial_loss, block.initial_params), (block.final_loss, block.final_params)):
        assert_allclose(losses, [np.mean((outputs(row) - LABELS) ** 2) for row in params], 1e-5)
    right = [np.mean(outputs(row).argmax(1) == LABELS.argmax(1)) for row in block.final_params]
    assert_allclose(block.final_accuracy, right, 1e-6)


@pytest.mark.parametrize("layout", ["narrow", pytest.param("wide", marks=pytest.mark.full)])
def test_stopping_in_the_middle_of_an_epoch(layout: str) -> None:
    """The stop rule sees the batch's loss; the step is counted, and so is the epoch that it belongs to."""
    threshold = 0.16
    experiment = small_task(HIDDEN[layout], stop={"loss": threshold}, max_epochs=6)
    block = Worker(experiment, LANES).run(np.arange(50), Recording("all"))
    assert block.initial_params is not None
    ends = [
        plain_loop(start, drawn, HIDDEN[layout], threshold)
        for start, drawn in zip(block.initial_params, batches("shuffle"), strict=True)
    ]
    nearest = [min(abs(loss - threshold) for loss in end.losses) for end in ends]
    assert min(nearest) > 1e-6  # no knife edge
    for seed, end in enumerate(ends):
        compare(block, seed, end, 2e-5)
    assert_array_equal(block.status == Status.CONVERGED, [end.converged for end in ends])
    assert_array_equal(block.epochs, np.ceil(block.steps / PER_EPOCH))
    within = block.steps % PER_EPOCH
    assert len(set(within.tolist())) >= 4 and 5 < np.sum(block.status == Status.CONVERGED)


@pytest.mark.full  # both are compared with the plain loop above
def test_both_layouts_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same small net laid out wide: the same batches, the same numbers up to rounding."""
    narrow = trained("narrow", "shuffle")
    monkeypatch.setattr("jaxor.engine.program.layout_for", lambda parameters, points: WIDE)
    worker = Worker(small_task(HIDDEN["narrow"]), LANES)
    assert worker.program.layout is WIDE is not NARROW
    wide = worker.run(np.arange(SEEDS), Recording("all"))
    assert narrow.traces is not None and wide.traces is not None
    assert wide.initial_params is not None and narrow.initial_params is not None
    assert_allclose(wide.initial_params, narrow.initial_params, 3e-7)  # a normal number is computed, and rounded
    assert_array_equal(wide.steps, narrow.steps)
    assert_array_equal(wide.traces.row_size, narrow.traces.row_size)
    for name in ("final_params", "final_loss", "initial_loss"):
        assert_allclose(getattr(wide, name), getattr(narrow, name), 1e-5, 1e-6)
    for name in ("loss", "params"):
        assert_allclose(getattr(wide.traces, name), getattr(narrow.traces, name), 1e-5, 1e-6)


@pytest.mark.full
def test_a_batch_of_all_points_is_an_epoch_of_one_step() -> None:
    full = small_task(batch={}, max_epochs=15)
    shuffled = small_task(batch={"mode": "shuffle", "size": POINTS}, max_epochs=15)
    one, other = (jaxor.simulate(experiment, 5, lane_width=LANES) for experiment in (full, shuffled))
    assert_array_equal(one.steps, other.steps)
    assert_array_equal(other.epochs, other.steps)
    assert_allclose(one.final_params, other.final_params, 1e-5, 1e-6)
    assert not np.array_equal(one.final_params, one.initial_params)
