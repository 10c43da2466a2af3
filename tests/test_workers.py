"""What goes between a process and its workers."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import jaxor
from jaxor import workers
from jaxor.machine import cores
from jaxor.workers import receive, send

ARRAYS: dict[str, Any] = {
    "nothing": np.empty((0, 3), np.float32),
    "none": np.empty(0, np.int64),
    "number": np.array(3.5),
    "foreign": np.arange(6, dtype=">i4").reshape(2, 3),
    "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "some": np.arange(10, dtype=np.int8)[::3],
    "truth": np.array([True, False]),
}


def message() -> bytes:
    stream = io.BytesIO()
    send(stream, {"error": None}, **ARRAYS)
    return stream.getvalue()


def test_messages_arrive_as_they_were_sent() -> None:
    header, arrays = receive(io.BufferedReader(io.BytesIO(message())))  # type: ignore[arg-type]
    assert header["error"] is None
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("length", [0, 10, -1, -20])
def test_a_message_that_is_cut_off(length: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (of JSON or of jaxor: `Pool` treats both alike)
        receive(io.BufferedReader(io.BytesIO(message()[:length])))  # type: ignore[arg-type]


def test_workers_killed_during_a_task_are_replaced_also_where_pipes_may_not_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux grants large pipes to a user up to a total only; some systems have pipes of one size."""
    pool = workers.pool(2)

    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    def kill(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        for process in pool._processes:
            process.kill()

    with monkeypatch.context() as patch:
        patch.setattr(workers, "send", kill)
        with pytest.raises(workers.WorkerError, match="ended unexpectedly"):
            jaxor.simulate("abs1_convergence", 300_000, traces=False, devices=2)
    if workers.fcntl is not None:
        monkeypatch.setattr(workers.fcntl, "fcntl", refuse)
    assert len(jaxor.simulate("abs1_convergence", 300_000, traces=False, devices=2)) == 300_000


def test_workers_that_were_closed_are_replaced() -> None:
    first = workers.pool(1)
    workers.close_all()
    assert not first.alive and workers.pool(1).alive and workers.pool(1) is not first


def test_a_worker_ends_quietly_when_nobody_reads_its_answer() -> None:
    """As after kill -9 of the process that started it."""
    command = [sys.executable, "-m", "jaxor._worker", str(cores()[0])]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert worker.stdin and worker.stdout and worker.stderr
    worker.stdout.close()
    send(worker.stdin, {"manifest": "not one, which is an answer too", "seeds": [], "block_seeds": 1, "seal": False})
    assert worker.stderr.read() == b""
    worker.stdin.close()
    worker.stderr.close()
    worker.wait()


def test_an_interrupt_does_not_reach_workers_that_begin() -> None:
    """Ctrl-C in a terminal goes to all processes, and it is for the one that started them to handle."""
    pool = workers.Pool(2)
    for process in pool._processes:
        process.send_signal(signal.SIGINT)
    pool.close()
    assert [process.returncode for process in pool._processes] == [0, 0]
