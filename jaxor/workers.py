"""Worker processes: one per core, each pinned to its core before it starts JAX.

XLA's own threads slow down the small loops that jaxor runs; processes on a core each scale perfectly (measured). They
are started as ``python -m jaxor._worker``, never by forking the user's script, and kept for the next simulation.

A request is a line of JSON and perhaps given parameters as bytes; an answer is a line of JSON and the runs: a sealed
shard if they go to disk, else plain arrays, which cost less.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block
from jaxor.store.manifest import compress
from jaxor.store.schema import block_of, columns


class WorkerError(RuntimeError):
    """A task failed in a worker process; the message is the worker's own."""


@dataclass(frozen=True)
class Task:
    """What a worker computes: runs of some seeds of the simulation that a manifest describes.

    `given` are first parameters (n, P), if they are not to be drawn; `seal` asks for a shard.
    """

    manifest: str
    seeds: NDArray[np.int64]
    given: NDArray[Any] | None = None
    seal: bool = False


@dataclass(frozen=True)
class Answer:
    """Runs from a worker, and what the worker says of them: a shard, or arrays for `unpack`."""

    worker: int
    seeds: NDArray[np.int64]
    data: bytes
    epochs: int
    compile_seconds: float


def cores() -> list[int]:
    """Cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


class Pool:
    """A number of worker processes."""

    def __init__(self, size: int) -> None:
        available = cores()
        # Workers import what this process would, and nothing that merely lies in the working directory.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-P", "-m", "jaxor._worker"]
        self._processes = [
            subprocess.Popen(
                [*command, str(available[i % len(available)])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            )
            for i in range(size)
        ]  # fmt: skip
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(size)

    def map(self, tasks: Iterable[Task]) -> Iterator[Answer]:
        """Give answers in the order of the tasks, of which few are under way at a time.

        Raises
        ------
        WorkerError
            A task failed, or a worker ended.
        """
        tasks = iter(tasks)
        waiting: deque[Future[Answer]] = deque()
        for task in islice(tasks, 2 * len(self._processes)):
            waiting.append(self._threads.submit(self._ask, task))
        while waiting:
            answer = waiting.popleft().result()
            for task in islice(tasks, 1):
                waiting.append(self._threads.submit(self._ask, task))
            yield answer

    def _ask(self, task: Task) -> Answer:
        process = self._free.get()
        try:
            body = b"" if task.given is None else np.ascontiguousarray(task.given).tobytes()
            ranges = compress(task.seeds)
            assert process.stdin and process.stdout  # noqa: S101 (both are pipes)
            request = {"manifest": task.manifest, "seeds": ranges, "given": len(body), "seal": task.seal}
            send(process.stdin, request, body)
            header, data = receive(process.stdout, "bytes")
        except (OSError, ValueError) as error:
            raise WorkerError("a worker process ended unexpectedly; see its message above") from error
        finally:
            self._free.put(process)
        if header["error"] is not None:
            raise WorkerError(header["error"])
        return Answer(process.pid, task.seeds, data, header["epochs"], header["compile_seconds"])

    @property
    def alive(self) -> bool:
        """Whether all workers are there."""
        return all(process.poll() is None for process in self._processes)

    def close(self) -> None:
        """Let workers end: their input closes."""
        self._threads.shutdown()
        for process in self._processes:
            process.communicate()

    def kill(self) -> None:
        """End workers at once, whatever they do."""
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.communicate()


_pools: dict[int, Pool] = {}


def pool(size: int) -> Pool:
    """Workers, kept between calls."""
    for kept, idle in list(_pools.items()):
        if not idle.alive:
            discard(idle)
        elif kept != size:
            _pools.pop(kept).close()
    if size not in _pools:
        _pools[size] = Pool(size)
    return _pools[size]


def discard(used: Pool) -> None:
    """Drop workers that may be in the middle of a task."""
    for size, kept in list(_pools.items()):
        if kept is used:
            del _pools[size]
    used.kill()


@atexit.register
def _close_all() -> None:
    while _pools:
        _pools.popitem()[1].close()


def pack(block: Block) -> bytes:
    """Arrays of a block as bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **columns(block))  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(data: bytes) -> Block:
    """The block that `pack` made bytes of."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return block_of(dict(arrays))


def send(stream: IO[bytes], header: dict[str, Any], body: bytes) -> None:
    """Write a message: a line of JSON, then the bytes that it announces."""
    stream.write(json.dumps(header).encode() + b"\n")
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes], size: str) -> tuple[dict[str, Any], bytes]:
    """Read a message whose header gives the length of its body under the key `size`.

    Raises
    ------
    ValueError
        The stream ended.
    """
    header = json.loads(stream.readline())
    body = stream.read(header[size])
    if len(body) < header[size]:
        raise ValueError("the message is cut off")
    return header, body
