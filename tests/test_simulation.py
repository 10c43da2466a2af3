"""The public `simulate`: what it accepts, what it refuses, and that where the work is done does not matter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxor
from jaxor import simulation, workers
from jaxor.engine.choice import NoAcceptableDraw
from jaxor.experiments.model import plain
from jaxor.experiments.registry import ExperimentError
from jaxor.work import Where

ARRAYS = ("steps", "epochs", "status", "initial_params", "final_params", "initial_loss", "final_loss", "final_accuracy")


def same(one: jaxor.Run, other: jaxor.Run) -> bool:
    """Whether two runs of the same seeds are equal to the last bit, traces included."""
    traces = one.manifest.traces == "none" or all(
        np.array_equal(a.params, b.params) and np.array_equal(a.loss, b.loss)
        for a, b in ((one.trace(seed), other.trace(seed)) for seed in one.seeds[:: max(len(one) // 50, 1)])
    )
    return traces and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)


def test_arrays_have_the_promised_shapes_and_types():
    run = jaxor.simulate("relu1_normal", seeds=30)
    assert run.seeds.dtype == np.int64 and run.seeds.tolist() == list(range(30))
    assert run.status.dtype == np.int8 and set(run.status.tolist()) <= {0, 1, 2, 3}
    for name in ("steps", "epochs"):
        assert getattr(run, name).dtype == np.int32 and getattr(run, name).shape == (30,)
    for name in ("initial_loss", "final_loss", "final_accuracy"):
        assert getattr(run, name).dtype == np.float32 and getattr(run, name).shape == (30,)
    for name in ("initial_params", "final_params"):
        assert getattr(run, name).dtype == np.float32 and getattr(run, name).shape == (30, 6)
    trace = run.trace(3)
    assert trace.step.tolist() == list(range(run.steps[3]))
    assert trace.loss.shape == (run.steps[3],) and trace.params.shape == (run.steps[3], 6)
    assert np.array_equal(trace.params[-1], run.final_params[3])
    assert run.param_names[0] == "linear1.weight[0,0]" and len(run) == 30


def test_seeds_as_number_range_and_array_give_the_same_runs():
    whole = jaxor.simulate("abs1_convergence", seeds=40)
    part = jaxor.simulate("abs1_convergence", seeds=range(10, 20))
    picked = jaxor.simulate("abs1_convergence", seeds=np.array([17, 3, 25], np.uint8))
    assert np.array_equal(part.final_params, whole.final_params[10:20])
    assert picked.seeds.tolist() == [17, 3, 25]
    assert np.array_equal(picked.final_params, whole.final_params[[17, 3, 25]])
    assert np.array_equal(picked.trace(3).params, whole.trace(3).params)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (0, "at least 1"),
        (-3, "at least 1"),
        ([1, 2, 1], "1 is given more than once"),
        ([-1, 2], "between 0 and"),
        ([2**32], "between 0 and"),
        ([], "not be empty"),
        ([[1, 2]], "list of whole numbers"),
        ([0.5], "whole numbers"),
        (True, "whole numbers"),
        ("12", "whole numbers"),
        (None, "seeds are missing"),
    ],
)
def test_impossible_seeds(seeds, message):
    with pytest.raises(ValueError, match=message):
        jaxor.simulate("abs1_convergence", seeds=seeds)


def test_the_largest_seed_works():
    assert jaxor.simulate("abs1_convergence", seeds=[2**32 - 1]).status.tolist() == [0]


def test_initial_params_are_started_from():
    start = np.array([[0.6, -0.4, 0.0], [-0.3, 0.2, 0.0]])
    run = jaxor.simulate("abs1_convergence", initial_params=start)
    assert run.seeds.tolist() == [0, 1]
    assert np.array_equal(run.initial_params, start.astype(np.float32))
    np.testing.assert_allclose(run.final_params, [[0.5, -0.5, 0], [-0.5, 0.5, 0]], atol=4e-4)
    ordered = jaxor.simulate("abs1_convergence", seeds=[9, 4], initial_params=start)
    assert ordered.seeds.tolist() == [9, 4]
    assert np.array_equal(ordered.initial_params, run.initial_params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (np.zeros((3, 4)), r"shape \(n, 3\).*got \(3, 4\)"),
        (np.zeros(3), r"shape \(n, 3\)"),
        (np.zeros((0, 3)), r"shape \(n, 3\)"),
        ([[1.0, np.nan, 0.0]], "row 0"),
        ([[0.0, 0.0, 0.0], [1.0, np.inf, 0.0]], "row 1"),
        ([["a", "b", "c"]], "array of numbers"),
    ],
)
def test_impossible_initial_params(params, message):
    with pytest.raises(ValueError, match=message):
        jaxor.simulate("abs1_convergence", initial_params=params)


def test_as_many_initial_params_as_seeds():
    with pytest.raises(ValueError, match="2 rows for 3 seeds"):
        jaxor.simulate("abs1_convergence", seeds=3, initial_params=np.ones((2, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"traces": "some"}, "traces must be"),
        ({"traces": "every=0"}, "traces must be"),
        ({"lane_width": 40}, "lane width"),
        ({"devices": 0}, "devices"),
        ({"resume": True}, "resume needs out"),
        ({"parameters": "all"}, "parameters must be"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        jaxor.simulate("abs1_convergence", seeds=2, **options)


def test_traces_of_every_kind_hold_the_same_numbers():
    runs = {kind: jaxor.simulate("relu1_normal", 20, traces=kind) for kind in (True, "loss", "every=7", "none")}
    for seed in range(20):
        every = runs[True].trace(seed)
        kept = (every.step % 7 == 0) | (every.step == every.step[-1])
        assert np.array_equal(runs["every=7"].trace(seed).step, every.step[kept])
        assert np.array_equal(runs["every=7"].trace(seed).params, every.params[kept])
        assert np.array_equal(runs["loss"].trace(seed).loss, every.loss)
    with pytest.raises(jaxor.TraceNotStored):
        _ = runs["loss"].trace(0).params
    with pytest.raises(jaxor.TraceNotStored):
        runs["none"].trace(0)
    with pytest.raises(KeyError):
        runs[True].trace(20)


def test_wide_models_keep_losses_only_by_default():
    experiment = jaxor.get_experiment("digits_mlp").replace(max_epochs=1)
    run = jaxor.simulate(experiment, 2)
    assert run.trace(1).loss.shape == (28,)
    with pytest.raises(jaxor.TraceNotStored):
        _ = run.trace(1).params


@pytest.fixture(scope="module")
def in_memory() -> jaxor.Run:
    return jaxor.simulate("relu1_normal", 15_000, lane_width=1024)


def test_on_disk_equals_in_memory(in_memory, tmp_path):
    stored = jaxor.simulate("relu1_normal", 15_000, lane_width=1024, out=tmp_path / "run")
    assert same(in_memory, stored) and same(in_memory, jaxor.open_run(tmp_path / "run"))


def test_two_workers_equal_one_process_byte_by_byte(in_memory, tmp_path):
    assert same(in_memory, jaxor.simulate("relu1_normal", 15_000, lane_width=1024, devices=2))
    for name, devices in (("one", 1), ("two", 2)):
        jaxor.simulate("relu1_normal", 15_000, lane_width=1024, devices=devices, out=tmp_path / name)
    one, two = (sorted((tmp_path / name / "shards").iterdir()) for name in ("one", "two"))
    assert len(one) > 1 and [path.name for path in one] == [path.name for path in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_extending_and_filling_gaps(in_memory, tmp_path):
    for seeds in (range(3000, 5000), 15_000):
        jaxor.simulate("relu1_normal", seeds, lane_width=1024, out=tmp_path / "run", resume=True)
    assert same(in_memory, jaxor.open_run(tmp_path / "run"))


def test_a_lost_shard_is_computed_again(tmp_path):
    first = jaxor.simulate("abs1_convergence", 50, out=tmp_path / "run")
    digests = [path.read_bytes() for path in (tmp_path / "run" / "shards").iterdir()]
    for path in (tmp_path / "run" / "shards").iterdir():
        path.unlink()
    assert same(first, jaxor.simulate("abs1_convergence", 50, out=tmp_path / "run", resume=True))
    assert digests == [path.read_bytes() for path in (tmp_path / "run" / "shards").iterdir()]


def test_out_is_not_overwritten(tmp_path):
    jaxor.simulate("abs1_convergence", 5, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(jaxor.StoreError, match="resume"):
        jaxor.simulate("abs1_convergence", 5, out=tmp_path / "run")
    with pytest.raises(jaxor.StoreError):
        jaxor.simulate("abs1_tiny", 5, out=tmp_path / "run", resume=True)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_parameters_can_be_left_out(tmp_path):
    run = jaxor.simulate("abs1_convergence", 5, parameters="final", out=tmp_path / "run")
    assert run.final_params.shape == (5, 3)
    with pytest.raises(jaxor.StoreError):
        _ = run.initial_params


def test_given_parameters_are_part_of_the_identity():
    runs = [jaxor.simulate("abs1_convergence", initial_params=np.full((2, 3), value)) for value in (0.1, 0.2)]
    assert runs[0].identity != runs[1].identity
    assert jaxor.simulate("abs1_convergence", 2).identity == jaxor.simulate("abs1_convergence", 7).identity


def test_x64_is_float64_and_leaves_no_trace():
    before = jaxor.simulate("relu1_normal", 50)
    wide = jaxor.simulate("relu1_normal", 50, x64=True)
    assert wide.final_params.dtype == np.float64 and wide.trace(0).loss.dtype == np.float64
    assert same(before, jaxor.simulate("relu1_normal", 50))
    assert not jax.config.values["jax_enable_x64"]


def test_parts_made_in_python_run_in_memory_only(tmp_path):
    line = plain({"weight": (1, 2)}, lambda params, inputs: (inputs @ params["weight"].T)[:, 0])
    experiment = jaxor.Experiment(
        "line",
        task=jaxor.Task(np.eye(2, dtype=np.float32), np.array([1, 2], np.float32), lambda o, t: jnp.mean(o > 0)),
        model=line,
        optimizer={"name": "sgd", "learning_rate": 0.5},
        stop={"loss": 1e-10},
        max_epochs=500,
    )
    run = jaxor.simulate(experiment, 10, devices=2)
    np.testing.assert_allclose(run.final_params, np.tile([1.0, 2.0], (10, 1)), atol=1e-4)
    with pytest.raises(ExperimentError, match="Python file"):
        jaxor.simulate(experiment, 10, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_error_in_a_worker_is_the_users_error():
    hopeless = jaxor.get_experiment("relu1_reinit_0th").replace(**{"init.threshold": 1e-9, "init.max_draws": 100})
    for devices in (1, 2):
        sentence = r"none of 1,\d{3},\d{3} draws acceptable.*init.max_draws"
        with pytest.raises((NoAcceptableDraw, workers.WorkerError), match=sentence):
            jaxor.simulate(hopeless, 30_000, traces="none", devices=devices)
    assert len(jaxor.simulate("abs1_convergence", 30_000, devices=2)) == 30_000  # workers are replaced


def test_progress_counts_every_run():
    seen: list[tuple[int, int]] = []
    job = simulation.prepare("abs1_convergence", 25_000)
    outcome = simulation.execute(job, where=Where(1), watch=lambda runs, epochs: seen.append((runs, epochs)))
    assert sum(runs for runs, _ in seen) == 25_000 == outcome.simulated
    assert sum(epochs for _, epochs in seen) == outcome.run.epochs.sum()


def test_progress_is_silent_without_a_terminal(capfd):
    jaxor.simulate("abs1_convergence", 100, progress=True)
    assert capfd.readouterr() == ("", "")


def test_importing_jaxor_does_not_import_jax():
    code = "import jaxor, sys; assert 'jax' not in sys.modules; jaxor.Status; assert 'jax' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    for name in dir(jaxor):
        assert getattr(jaxor, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = jaxor.simulat  # type: ignore[attr-defined]


def test_nothing_is_written_without_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jaxor.simulate("abs1_convergence", 10)
    assert list(Path(".").iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"x64": 1},
        {"lane_width": True},
        {"lane_width": 32.0},
        {"lane_width": "32"},
        {"devices": 2.0},
        {"devices": True},
        {"traces": "every=99999999999"},
        {"initial_params": [[1 + 2j, 0, 0]]},
        {"initial_params": [[1e300, 0, 0]]},
        {"seeds": np.array([2**63 + 5], np.uint64)},
        {"seeds": 10**30},
        {"seeds": range(10**20, 10**20 + 3)},
    ],
)
def test_values_of_the_wrong_kind_are_refused(options, tmp_path):
    with pytest.raises(ValueError, match="x64|lane width|devices|traces|initial_params|seeds"):
        jaxor.simulate("abs1_convergence", **{"seeds": 1, "out": tmp_path / "run"} | options)
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_are_numbers(tmp_path):
    experiment = jaxor.get_experiment("abs1_convergence").replace(
        max_epochs=np.int64(50), **{"optimizer.learning_rate": np.float32(0.1)}
    )
    options: dict[str, Any] = {"lane_width": np.int64(32), "x64": np.bool_(True)}
    first = jaxor.simulate(experiment, np.int32(3), out=tmp_path / "run", **options)
    assert same(first, jaxor.open_run(tmp_path / "run"))
    assert first.final_accuracy.dtype == np.float64
    with pytest.raises(ValueError, match="whole numbers"):
        jaxor.open_run(tmp_path / "run", [1.5])
    with pytest.raises(KeyError, match="whole number"):
        first.trace("1")  # type: ignore[arg-type]


@pytest.mark.parametrize("experiment", ["mine.toml", Path("mine.toml"), 5])
def test_what_is_no_experiment(experiment):
    with pytest.raises(ValueError, match="unknown experiment|load_experiment"):
        jaxor.simulate(experiment, 3)


@pytest.mark.parametrize("name", ["relu1_elu", pytest.param("relu2_eight_mse_norm", marks=pytest.mark.full)])
def test_place_and_number_of_blocks_do_not_matter_at_the_smallest_width(name):
    """exp and the like are computed differently in the odd remainder of a vectorised loop; widths leave none."""
    experiment = jaxor.get_experiment(name).replace(max_epochs=200)
    many = jaxor.simulate(experiment, 100, lane_width=16, traces="none")
    for seeds in (range(16), range(1, 17), range(7, 40)):
        few = jaxor.simulate(experiment, seeds, lane_width=16, traces="none")
        assert np.array_equal(few.final_params, many.final_params[seeds.start : seeds.stop])
        assert np.array_equal(few.initial_loss, many.initial_loss[seeds.start : seeds.stop])


def test_a_loss_of_zero_is_below_every_threshold():
    experiment = jaxor.get_experiment("abs1_convergence").replace(**{"stop.loss": 1e-40})
    run = jaxor.simulate(experiment, initial_params=[[0.5, -0.5, 0.0]])
    assert run.status.tolist() == [jaxor.Status.CONVERGED] and run.steps.tolist() == [1]


def test_workers_that_died_are_replaced_and_import_nothing_from_the_working_directory(tmp_path, monkeypatch):
    jaxor.simulate("abs1_convergence", 20_000, devices=2)
    for process in workers.pool(2)._processes:
        process.kill()
        process.wait()
    (tmp_path / "optax.py").write_text("raise RuntimeError('the wrong optax')")
    monkeypatch.chdir(tmp_path)  # new ones start here
    assert len(jaxor.simulate("abs1_convergence", 20_000, devices=2)) == 20_000


def test_parts_registered_by_the_user_stay_in_this_process(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from jaxor import Experiment\n"
        "from jaxor.experiments.initialize import INITIALIZERS, normal\n"
        "INITIALIZERS.register('narrow')(lambda: normal(std=0.01))\n"
        "experiment = Experiment('mine', task='xor', model='abs1', init='narrow',\n"
        "                        optimizer={'name': 'sgd', 'learning_rate': 0.1}, max_epochs=3)\n"
    )
    experiment = jaxor.load_experiment(tmp_path / "mine.py")
    run = jaxor.simulate(experiment, 60_000, devices=2, out=tmp_path / "run")
    assert len(run) == 60_000 and np.abs(run.initial_params).max() < 0.1
