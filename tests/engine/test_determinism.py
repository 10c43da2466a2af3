"""At a fixed lane width a run is the same to the last bit, wherever and with whomever it is computed."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import jaxor
from jaxor import Experiment, Status, compute, get_experiment, simulation, work, workers
from jaxor.engine.block import Block, Traces, concatenate
from jaxor.engine.plan import plan
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Worker
from jaxor.work import Where
from tests.conftest import Row
from tests.store.samples import assert_equal_blocks

LANES = 64
SEEDS = np.arange(1000)
HALF = 512  # blocks of this many seeds make two tasks for two processes
NAMES = ["relu1_normal", "relu2_two_mse_sgd"]
OTHERS = ["abs1_convergence", "abs1_normal", "relu1_convergence", "relu2_two_mse"]
"""Together each model with SGD and with Adam; the first two have one of each."""
KINDS = ["all", "loss", "none", "every=7"]


def worker(name: str) -> Worker:
    """The one that `jaxor.simulate` uses too, with what it has compiled."""
    return compute._worker(get_experiment(name), LANES, False)


@cache
def computed(name: str) -> Block:
    """All runs at once, with all traces: what everything else is compared with."""
    return worker(name).run(SEEDS, Recording("all"))


def as_recorded(block: Block, kind: str) -> Block:
    """What a block with all traces would hold had only `kind` been recorded."""
    traces = block.traces
    assert traces is not None and traces.params is not None
    if kind == "all":
        return block
    if kind == "none":
        return dataclasses.replace(block, traces=None)
    if kind == "loss":
        return dataclasses.replace(block, traces=dataclasses.replace(traces, params=None))
    every = int(kind.removeprefix("every="))
    last = np.repeat(block.steps, traces.row_size) - 1
    kept = (traces.step % every == 0) | (traces.step == last)
    run = np.repeat(np.arange(len(block)), traces.row_size)
    sizes = np.bincount(run[kept], minlength=len(block)).astype(np.int32)
    return dataclasses.replace(block, traces=Traces(sizes, traces.step[kept], traces.loss[kept], traces.params[kept]))


def in_two_tasks(name: str) -> simulation.Job:
    job = simulation.prepare(name, len(SEEDS), lane_width=LANES)
    return dataclasses.replace(job, plan=dataclasses.replace(job.plan, block_seeds=HALF))


def whole(run: jaxor.Run) -> Block:
    return concatenate(list(run.blocks()))


@pytest.fixture(scope="module", params=[*NAMES, *(pytest.param(other, marks=pytest.mark.full) for other in OTHERS)])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_runs_differ_from_each_other(name: str) -> None:
    """What follows would be empty if all runs were the same."""
    block = computed(name)
    assert block.final_params is not None
    assert len(np.unique(block.final_params, axis=0)) > 900
    assert len(np.unique(block.steps)) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_recorded(name: str, kind: str) -> None:
    block = worker(name).run(SEEDS, Recording.parse(kind))
    assert_equal_blocks(block, computed(name) if kind == "all" else as_recorded(computed(name), kind))


def alone(of: Worker, seeds: NDArray[np.int64], kind: str) -> Block:
    """Each seed in a call of its own."""
    return concatenate([of.run(seeds[i : i + 1], Recording(kind)) for i in range(len(seeds))])


@pytest.mark.slow
@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.full)])
def test_each_seed_alone(name: str, every: int) -> None:
    """25 of 1,000, or all; every tenth of these with its trace."""
    some, few = SEEDS[::every], SEEDS[:: 10 * every]
    assert_equal_blocks(alone(worker(name), some, "none"), as_recorded(computed(name).take(some), "none"))
    assert_equal_blocks(alone(worker(name), few, "all"), computed(name).take(few))


def test_a_few(name: str) -> None:
    """In a block of one lane width, through whose loops a compiler sees."""
    some = SEEDS[::50]
    assert len(some) < LANES
    assert_equal_blocks(worker(name).run(some, Recording("all")), computed(name).take(some))


def test_shuffled(name: str) -> None:
    order = np.random.default_rng(0).permutation(len(SEEDS))
    assert_equal_blocks(worker(name).run(SEEDS[order], Recording("all")), computed(name).take(order))


def test_among_other_seeds(name: str) -> None:
    """With other neighbours lanes are refilled at other times."""
    crowd = np.random.default_rng(1).permutation(len(SEEDS)) + HALF
    shared = np.flatnonzero(crowd < len(SEEDS))
    block = worker(name).run(crowd, Recording("none")).take(shared)
    assert_equal_blocks(block, as_recorded(computed(name).take(crowd[shared]), "none"))


@pytest.mark.parametrize("one", ["relu1_normal"])
def test_in_chunks_of_other_lengths(one: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxor.engine.program.EPOCHS_PER_CALL", 5)
    assert_equal_blocks(Worker(get_experiment(one), LANES).run(SEEDS, Recording("all")), computed(one))


@pytest.mark.parametrize("one", ["relu1_elu", pytest.param("relu2_two_bce", marks=pytest.mark.full)])
def test_exponentials_in_any_place(one: str) -> None:
    """XLA computes exp by other instructions where a vectorised loop does not come out even; no lane may see that."""
    worker = Worker(get_experiment(one).replace(max_epochs=200), 48)
    block = worker.run(SEEDS[:480], Recording("none"))
    order = np.random.default_rng(0).permutation(480)
    assert_equal_blocks(worker.run(order, Recording("none")), block.take(order))
    for first in range(0, 460, 31):
        some = SEEDS[first : first + 17]
        assert_equal_blocks(worker.run(some, Recording("none")), block.take(some))


def test_given_the_initial_parameters_that_were_drawn(name: str) -> None:
    block = computed(name)
    assert_equal_blocks(worker(name).run(SEEDS, Recording("all"), block.initial_params), block)


def test_in_two_halves(name: str) -> None:
    halves = [worker(name).run(part, Recording("all")) for part in (SEEDS[HALF:], SEEDS[:HALF])]
    assert_equal_blocks(concatenate(halves[::-1]), computed(name))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C at a time of the test's choice."""


def interrupt(runs: int, epochs: int) -> None:
    raise Interrupted


def test_interrupted_resumed_and_read_back(name: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        simulation.execute(in_two_tasks(name), out=out, where=Where(1), watch=interrupt)
    assert len(jaxor.open_run(out)) == HALF  # what was sealed before
    outcome = simulation.execute(in_two_tasks(name), out=out, where=Where(1), resume=True)
    assert outcome.simulated == len(SEEDS) - HALF
    assert len([*(out / "shards").iterdir()]) == 2
    assert_equal_blocks(whole(jaxor.open_run(out)), computed(name))


def test_extended_by_more_seeds(name: str, tmp_path: Path) -> None:
    first = jaxor.simulate(name, seeds=HALF, lane_width=LANES, out=tmp_path / "run")
    more = jaxor.simulate(name, seeds=len(SEEDS), lane_width=LANES, out=tmp_path / "run", resume=True)
    assert first.identity == more.identity
    assert len([*(tmp_path / "run" / "shards").iterdir()]) == 2
    assert_equal_blocks(whole(more), computed(name))


@pytest.mark.slow
def test_one_process_and_two(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SMALL_JOB", 0)
    asked: list[int] = []
    monkeypatch.setattr(workers, "pool", lambda size, pool=workers.pool: asked.append(size) or pool(size))
    for devices in (1, 2):
        out = tmp_path / str(devices)
        simulation.execute(in_two_tasks(name), out=out, where=Where(devices))
        assert_equal_blocks(whole(jaxor.open_run(out)), computed(name))
    assert asked == [2]
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / n / "shards").iterdir()} for n in "12")
    assert one == two and len(one) == 2


@pytest.mark.parametrize("one", ["relu2_two_mse_sgd", pytest.param("relu1_convergence", marks=pytest.mark.full)])
def test_after_a_run_in_float64(one: str) -> None:
    exact = Worker(get_experiment(one), LANES, x64=True).run(SEEDS[:LANES], Recording("none"))
    assert exact.final_loss.dtype == np.float64
    fresh = Worker(get_experiment(one), LANES)  # compiled after it
    assert_equal_blocks(fresh.run(SEEDS, Recording("all")), computed(one))


@pytest.mark.parametrize(
    ("one", "lane_width"),
    [
        ("relu1_normal", 2048),
        pytest.param("relu2_two_mse_sgd", 16, marks=pytest.mark.full),
        pytest.param("relu1_normal", 16, marks=pytest.mark.full),
        pytest.param("relu2_two_mse_sgd", 2048, marks=pytest.mark.full),
    ],
)
def test_other_widths_are_near(one: str, lane_width: int, table_row: Row) -> None:
    """Across widths bits may differ, and what differs by a bit may end a step later, on a plateau much later."""
    wanted = SEEDS[:200]
    block = computed(one).take(wanted)
    other = simulation.simulate(one, seeds=wanted, lane_width=lane_width, traces="none")
    assert block.final_params is not None
    steps, equal = np.abs(block.steps - other.steps), (block.final_params == other.final_params).all(axis=1)
    difference = np.abs(block.final_params - other.final_params)[steps == 0].max()
    table_row(
        f"Lane width {LANES} against others, {len(wanted)} seeds", experiment=one, width=f"{lane_width:4d}",
        **{"equal bits": f"{equal.mean():.1%}", "equal steps": f"{np.mean(steps == 0):.1%}"},
        **{"final parameters": f"{difference:.1e}"},
    )  # fmt: skip
    np.testing.assert_array_equal(block.initial_params, other.initial_params)
    np.testing.assert_array_equal(block.final_accuracy, other.final_accuracy)
    converged = block.status == Status.CONVERGED
    assert np.mean(steps[converged] <= 1) >= 0.99
    assert np.mean(steps <= 1) >= (0.99 if "relu2" not in one else 0.85)
    assert difference < 1e-4


# A wide model, minibatches

WIDE_LANES, WIDE_SEEDS = 16, np.arange(64)


def digits() -> Experiment:
    return get_experiment("digits_mlp").replace(max_epochs=2)


def wide() -> Worker:
    return compute._worker(digits(), WIDE_LANES, False)


@cache
def wide_computed() -> Block:
    return wide().run(WIDE_SEEDS, Recording("all"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loss", pytest.param("none", marks=pytest.mark.full), "every=7"])
def test_wide_whatever_is_recorded(kind: str) -> None:
    assert wide_computed().steps.tolist() == [2 * 28] * 64
    assert_equal_blocks(wide().run(WIDE_SEEDS, Recording.parse(kind)), as_recorded(wide_computed(), kind))


@pytest.mark.slow
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.full)])
def test_wide_each_seed_alone(every: int) -> None:
    some = WIDE_SEEDS[::every]
    assert_equal_blocks(alone(wide(), some, "loss"), as_recorded(wide_computed().take(some), "loss"))


@pytest.mark.slow
def test_wide_shuffled_and_in_two_halves() -> None:
    order = np.random.default_rng(0).permutation(64)
    assert_equal_blocks(wide().run(order, Recording("all")), wide_computed().take(order))
    for part in (WIDE_SEEDS[:32], WIDE_SEEDS[32:]):
        assert_equal_blocks(wide().run(part, Recording("loss")), as_recorded(wide_computed().take(part), "loss"))


@pytest.mark.slow
def test_wide_in_one_process_and_two_and_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SMALL_JOB", 0)
    job = simulation.prepare(digits(), 64, lane_width=WIDE_LANES)
    job = dataclasses.replace(job, plan=dataclasses.replace(job.plan, block_seeds=32))
    expected = as_recorded(wide_computed(), "loss")
    for devices in (1, 2):
        simulation.execute(job, out=tmp_path / str(devices), where=Where(devices))
        assert_equal_blocks(whole(jaxor.open_run(tmp_path / str(devices))), expected)
    with pytest.raises(Interrupted):
        simulation.execute(job, out=tmp_path / "cut", where=Where(1), watch=interrupt)
    simulation.execute(job, out=tmp_path / "cut", where=Where(1), resume=True)
    assert_equal_blocks(whole(jaxor.open_run(tmp_path / "cut")), expected)


def test_products_with_a_shared_matrix_in_any_place() -> None:
    """The points, which all lanes share, with 16 x 150 rows of weights: more than one tile of such a product."""
    net = Experiment(
        "shared", task="antipodal", model={"name": "relu_net", "inputs": 50, "hidden": 150}, loss="quadratic",
        optimizer={"name": "sgd", "learning_rate": 0.01}, max_epochs=5,
    )  # fmt: skip
    worker, order = Worker(net, WIDE_LANES), np.random.default_rng(0).permutation(32)
    computed = worker.run(np.arange(32), Recording("none"))
    assert_equal_blocks(worker.run(order, Recording("none")), computed.take(order))


# A model so large that its runs are trained one at a time


def large() -> Experiment:
    """Runs of two dozen steps or so; 306,000 parameters times points."""
    return Experiment(
        "large", task="antipodal", model={"name": "relu_net", "inputs": 50, "hidden": 300}, loss="logistic",
        optimizer={"name": "sgd", "learning_rate": 0.1}, stop={"loss": 0.3}, max_epochs=200,
    )  # fmt: skip


def test_large_runs_one_at_a_time() -> None:
    seeds, order = np.arange(20), np.random.default_rng(0).permutation(20)
    assert plan(large()).lane_width == 1
    assert plan(jaxor.get_experiment("digits_conv")).lane_width == 1  # few weights, many numbers
    one = Worker(large(), 1)
    block = one.run(seeds, Recording("all"))
    assert len(np.unique(block.steps)) > 3
    for together in (False, True):
        assert one._together is together
        assert_equal_blocks(one.run(seeds, Recording("none")), as_recorded(block, "none"))
    assert_equal_blocks(one.run(seeds[order], Recording("all")), block.take(order))
    parts = [one.run(part, Recording("none")) for part in np.split(seeds, 5)]
    assert_equal_blocks(concatenate(parts), as_recorded(block, "none"))
