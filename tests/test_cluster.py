"""Simulations on a Dask cluster: the bits of a local one, whatever happens to the workers."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jaxor
from jaxor import cluster
from jaxor.engine.choice import NoAcceptableDraw
from jaxor.experiments.registry import ExperimentError
from jaxor.job import prepare
from jaxor.store.manifest import Manifest
from jaxor.store.verify import verify_run
from jaxor.work import run_tasks
from jaxor.workers import WorkerError
from tests.cli.conftest import Call, call  # noqa: F401 (a fixture)

distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
pytestmark = [
    pytest.mark.slow,
    # Dask's own: sockets and loops that it leaves to the garbage collector when a cluster closes
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
]

EXPERIMENT = jaxor.get_experiment("abs1_convergence").replace(max_epochs=100_000)
MANY: dict[str, Any] = {"seeds": 2000, "lane_width": 64, "traces": "loss"}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """A cluster that is there already, of two workers on this machine."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as found:
        yield found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    out = tmp_path_factory.mktemp("cluster") / "local"
    jaxor.simulate(EXPERIMENT, out=out, devices=1, **MANY)
    return verify_run(out).digest


def test_results_are_those_of_this_machine(scheduler: Any, tmp_path: Path, whole: str | None) -> None:
    jaxor.simulate(EXPERIMENT, out=tmp_path, cluster=scheduler.scheduler_address, **MANY)
    found = verify_run(tmp_path)
    assert found.problems == [] and found.missing == () and found.digest == whole


def test_in_memory_and_statistics(scheduler: Any) -> None:
    address = scheduler.scheduler_address
    here = jaxor.simulate("relu1_normal", 300, devices=1)
    there = jaxor.simulate("relu1_normal", 300, cluster=address)
    assert (here.final_params == there.final_params).all() and (here.trace(7).loss == there.trace(7).loss).all()
    counted = jaxor.simulate("relu1_normal", 300, keep="statistics", cluster=address)
    assert counted.tally == jaxor.simulate("relu1_normal", 300, keep="statistics", devices=1).tally


def test_a_lost_worker_is_replaced(scheduler: Any, tmp_path: Path, whole: str | None) -> None:
    """One of the two is killed once the first shards are there."""
    with distributed.Client(scheduler, set_as_default=False) as client:
        first, *_ = client.run(os.getpid).values()
    killed = threading.Event()

    def kill() -> None:
        while len([*tmp_path.glob("run/shards/s*")]) < 3:
            time.sleep(0.01)
        os.kill(first, signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill, daemon=True).start()
    jaxor.simulate(EXPERIMENT, out=tmp_path / "run", cluster=scheduler.scheduler_address, **MANY)
    assert killed.is_set()
    found = verify_run(tmp_path / "run")
    assert found.problems == [] and found.missing == () and found.digest == whole


def test_a_cluster_without_workers_is_waited_for_and_its_loss_is_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    )
    later = threading.Timer(2, lambda: own.scale(1))
    later.start()
    assert len(jaxor.simulate("abs1_convergence", 10, cluster=own.scheduler_address)) == 10
    later.join()
    assert f"No worker has joined {own.scheduler_address} yet; waiting." in capfd.readouterr().err

    def close() -> None:
        while len([*tmp_path.glob("run/shards/s*")]) < 3:
            time.sleep(0.01)
        own.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(WorkerError, match=r"the cluster at tcp://\S+ failed: its scheduler is gone$"):
        jaxor.simulate(EXPERIMENT, out=tmp_path / "run", cluster=own.scheduler_address, **MANY)
    closing.join()
    assert verify_run(tmp_path / "run").problems == []


def test_where_nothing_is_left_no_cluster_is_needed(tmp_path: Path) -> None:
    jaxor.simulate("abs1_convergence", 10, out=tmp_path, devices=1)
    assert len(jaxor.simulate("abs1_convergence", 10, out=tmp_path, resume=True, cluster="tcp://127.0.0.1:9")) == 10


def test_workers_unlike_this_machine_are_refused(scheduler: Any) -> None:
    job = prepare("abs1_convergence", 10)
    manifest = Manifest.from_json(job.manifest.to_json().replace('"jaxlib": "', '"jaxlib": "9.'))
    (task,) = run_tasks(prepare("abs1_convergence", 10), ((0, 10),), seal=False)
    task = type(task)(manifest.to_json(), task.seeds, task.block_seeds)
    with pytest.raises(WorkerError, match="a worker has versions = .*, this simulation .*--allow-mixed"):
        list(cluster.perform(scheduler.scheduler_address, iter([task])))
    (answer,) = cluster.perform(scheduler.scheduler_address, iter([task]), allow_mixed=True)
    assert len(answer.result) == 10


def test_failures_are_sentences(scheduler: Any) -> None:
    changes = {"init.threshold": 1e-9, "init.max_draws": 10_000}
    experiment = jaxor.get_experiment("relu1_reinit_0th").replace(**changes)
    with pytest.raises(NoAcceptableDraw, match=r"raise init.max_draws"):
        jaxor.simulate(experiment, 200, cluster=scheduler.scheduler_address)


def test_a_cluster_of_its_own_on_the_command_line(call: Call) -> None:  # noqa: F811
    result = call("simulate", "--seeds", 100, "--cluster", "local:1", "--out", "there", "--json")
    assert result.exit_code == 0, result.stderr
    assert call("simulate", "--seeds", 100, "--out", "here").exit_code == 0
    assert verify_run("there").digest == verify_run("here").digest


@pytest.mark.parametrize(
    ("address", "code", "sentence"),
    [
        ("somewhere", 2, "a cluster is tcp://host:8786 or local:2, got 'somewhere'"),
        ("local:0", 2, "a cluster is"),
        ("tcp://127.0.0.1:9", 1, "no Dask scheduler answers at tcp://127.0.0.1:9; start one with: dask scheduler"),
    ],
)
def test_no_such_cluster(
    call: Call,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    code: int,
    sentence: str,
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    result = call("simulate", "--seeds", 10, "--cluster", address)
    assert (result.exit_code, result.stdout) == (code, "") and sentence in result.stderr
    assert Path("outputs").exists() == (code == 1)


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxor\[cluster\]'"):
        jaxor.simulate("abs1_convergence", 10, cluster="local:1")


def test_what_does_not_go_with_a_cluster() -> None:
    with pytest.raises(ValueError, match="give them or a cluster, not both"):
        jaxor.simulate("abs1_convergence", 10, cluster="local:1", devices=2)
    with pytest.raises(ValueError, match="a cluster is tcp://host:8786 or local:2, got 3"):
        jaxor.simulate("abs1_convergence", 10, cluster=3)  # type: ignore[arg-type]
    experiment = jaxor.get_experiment("abs1_convergence").replace(task=jaxor.get_experiment("abs1_normal").build().task)
    with pytest.raises(ExperimentError, match="cannot be sent to a cluster"):
        jaxor.simulate(experiment, 10, cluster="local:1")
