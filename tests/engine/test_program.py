"""How blocks go through the engine: which way, in what company, at what cost; none of it changes a run."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import jaxor
from jaxor import Experiment, Status, get_experiment
from jaxor.engine import simulate
from jaxor.engine.block import Block
from jaxor.engine.loop import platform
from jaxor.engine.program import EPOCHS_PER_LOOK, _rank
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import MANY_WIDTHS, Worker
from jaxor.experiments.model import plain
from tests.engine.test_determinism import as_recorded
from tests.store.samples import assert_equal_blocks

LANES = 64
NONE = Recording("none")


@pytest.mark.parametrize("width", [16, 48, 2048, 2**20])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ranks(width: int, share: float) -> None:
    mask = np.random.default_rng(width).random(width) < share
    assert_array_equal(jax.jit(_rank)(mask), np.cumsum(mask) - mask)


def test_lane_steps_are_all_steps_of_all_lanes() -> None:
    """Two fillings of the lanes, each one step after the refill and then looks every four steps."""
    experiment = get_experiment("abs1_normal").replace(max_epochs=7, stop={})
    worker = Worker(experiment, LANES)
    worker.run(np.arange(2 * LANES), NONE)
    assert worker.lane_steps == 2 * LANES * (1 + 2 * EPOCHS_PER_LOOK)


def test_blocks_of_equally_long_runs_go_together() -> None:
    """The second time; the first, the lanes were refilled. A block of uneven runs is not worth that."""
    seeds = np.arange(MANY_WIDTHS * LANES)
    even, uneven = Worker(get_experiment("abs1_convergence"), LANES), Worker(get_experiment("relu1_normal"), LANES)
    first, second = even.run(seeds, NONE), even.run(seeds, NONE)
    taken = even.lane_steps
    assert [name for name, _ in even._compiled] == ["begin", "drain", "finish", "together"]
    assert_equal_blocks(first, second)
    even.run(seeds, NONE)
    assert even.lane_steps == taken
    uneven.run(seeds, NONE)
    assert uneven.lane_steps < uneven.run(seeds, NONE).steps.sum() * 1.5
    assert not uneven._together


def test_a_smaller_block_uses_programs_of_a_larger_one() -> None:
    worker = Worker(get_experiment("relu1_normal"), LANES)
    whole = worker.run(np.arange(8 * LANES), Recording("all"))
    programs = dict(worker._compiled)
    some = worker.run(np.arange(40, 50), Recording("all"))
    assert worker._compiled == programs
    assert_equal_blocks(some, whole.take(np.arange(40, 50)))


def test_a_failed_compilation_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(get_experiment("abs1_convergence").replace(max_epochs=3), LANES)
    with monkeypatch.context() as patch:
        patch.setattr(simulate, "OPTIONS", {"no_such_option": 1})
        with pytest.raises(Exception, match="no_such_option"):
            worker.run(np.arange(10), NONE)
    assert len(worker.run(np.arange(10), NONE)) == 10


# Runs that diverge among others


@cache
def alone() -> list[Block]:
    worker = Worker(quartic(), LANES)
    return [worker.run(np.array([seed]), Recording("all"), START[[seed]]) for seed in range(100)]


def quartic() -> Experiment:
    """Gradient descent on x^4: from beyond a point steps grow without bound, from within they end at 0."""
    task = jaxor.Task(np.zeros((1, 1), np.float32), np.zeros(1, np.float32), lambda outputs, targets: jnp.ones(()))
    return Experiment(
        "quartic", task=task, model=plain({"x": (1,)}, lambda params, inputs: params["x"]),
        loss=lambda outputs, targets: jnp.sum(outputs**4), optimizer={"name": "sgd", "learning_rate": 0.5},
        max_epochs=40,
    )  # fmt: skip


START = np.random.default_rng(2).normal(size=(100, 1)).astype(np.float32)


@pytest.mark.parametrize(
    "kind", ["none", "all", *(pytest.param(kind, marks=pytest.mark.full) for kind in ("loss", "every=7"))]
)
def test_diverged_runs_among_others_are_what_they_are_alone(kind: str) -> None:
    seeds = np.random.default_rng(1).permutation(100)
    block = Worker(quartic(), LANES).run(seeds, Recording.parse(kind), START[seeds])
    assert 10 < np.sum(block.status == Status.DIVERGED) < 90
    assert_array_equal(block.seeds, seeds)
    for place, seed in enumerate(seeds):
        assert_equal_blocks(block.take(np.array([place])), as_recorded(alone()[seed], kind))
    diverged = block.take(np.flatnonzero(block.status == Status.DIVERGED))
    assert_equal_blocks(
        Worker(quartic(), LANES).run(diverged.seeds, Recording.parse(kind), START[diverged.seeds]), diverged
    )


def test_traces_of_one_parameter() -> None:
    run = jaxor.simulate(quartic(), initial_params=START, lane_width=LANES)
    assert run.to_xarray()["trace_params"].shape == (run.steps.sum(), 1)
    for seed in range(100):
        params = run.trace(seed).params
        assert params.shape == (run.steps[seed], 1)
        assert_array_equal(params[-1:], run.final_params[[seed]][: len(params)])


@pytest.mark.parametrize(("every", "epochs"), [
    (7, 0), (7, 7), (7, 15), (50, 20), (1, 0), *(pytest.param(7, more, marks=pytest.mark.full) for more in (1, 8)),
])  # fmt: skip
def test_which_steps_are_recorded(every: int, epochs: int) -> None:
    run = jaxor.simulate(get_experiment("abs1_normal").replace(max_epochs=epochs), 5, traces=f"every={every}")
    expected = [step for step in range(epochs) if step % every == 0 or step == epochs - 1]
    assert [run.trace(seed).step.tolist() for seed in range(5)] == [expected] * 5


# Wide models in full batches


@cache
def wide() -> Worker:
    experiment = get_experiment("relu2_two_mse").replace(
        model={"name": "mlp", "widths": [2, 300, 2]}, max_epochs=30, **{"optimizer.learning_rate": 0.003}
    )
    worker = Worker(experiment, LANES)
    assert worker.program.layout.name == "wide"
    return worker


@pytest.mark.parametrize("kind", ["none", pytest.param("loss", marks=pytest.mark.full), "every=7"])
def test_wide_models_in_full_batches_are_the_same_however_they_are_run(kind: str) -> None:
    seeds = np.arange(200)
    recorded = wide().run(seeds, Recording("all"))
    assert len(np.unique(recorded.steps)) > 1
    assert_equal_blocks(wide().run(seeds, Recording.parse(kind)), as_recorded(recorded, kind))
    order = np.random.default_rng(0).permutation(200)
    assert_equal_blocks(wide().run(seeds[order], Recording.parse(kind)), as_recorded(recorded.take(order), kind))
    few = np.array([150, 3])
    assert_equal_blocks(wide().run(few, Recording.parse(kind)), as_recorded(recorded.take(few), kind))


def test_where_programs_will_run() -> None:
    assert platform() == jax.default_backend()
    for device in ("cpu", jax.devices("cpu")[0]):
        with jax.default_device(device):
            assert platform() == "cpu"
