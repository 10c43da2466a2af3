"""Worker processes: one per core, each pinned to its core before it starts JAX.

XLA's own threads slow down the small loops that jaxor runs; processes on a core each scale perfectly (measured). They
are started as ``python -m jaxor._worker``, never by forking the user's script, and kept for the next simulation.

A request is a line of JSON and perhaps arrays that go with the seeds; an answer is a line of JSON and the runs, counts
of them, or measurements along their paths: a sealed file if they go to disk, else plain arrays, which cost less.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block
from jaxor.engine.geometry import Geometry
from jaxor.engine.seeds import Ranges, number
from jaxor.engine.tally import Tally
from jaxor.machine import cores
from jaxor.store.schema import block_of, columns, counts, tally_of

try:
    import fcntl
except ImportError:  # on Windows
    fcntl: Any = None
PIPE_BYTES = 2**20
"""What the system may hold of an answer on its way, so that workers wait less often; Linux grants it to some pipes."""


class WorkerError(RuntimeError):
    """A task failed in a worker process; the message is the worker's own."""


@dataclass(frozen=True)
class Task:
    """Some seeds of the simulation that a manifest describes.

    Attributes
    ----------
    manifest : str
        Its text; its kind says whether runs are wanted or counts of them.
    seeds : Ranges
    block_seeds : int
        How many go through the engine at once; no influence on results.
    arrays : mapping of name to (n, ...) array
        By ascending seed: `given`, first parameters that are not to be drawn. To measure along paths also `steps`,
        `status` and final `params` of runs that are known, and `exact` minima.
    seal : bool
        Whether the answer shall be the bytes of a file.
    measuring : str or None
        To measure along the paths of the runs, a `Measuring` as text.
    """

    manifest: str
    seeds: Ranges
    block_seeds: int
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    seal: bool = False
    measuring: str | None = None


PLAIN = ("manifest", "seeds", "block_seeds", "seal", "measuring")
"""What goes as JSON."""


@dataclass(frozen=True)
class Answer:
    """What came of a task.

    Attributes
    ----------
    seeds : Ranges
    result : Block, Tally, Geometry or bytes
        Bytes are a sealed file.
    epochs : int
        Of all runs together.
    seconds, compile_seconds : float
        What it took, and the part of it that went into compiling.
    worker : int or str
        Who did it.
    """

    seeds: Ranges
    result: Any
    epochs: int
    seconds: float
    compile_seconds: float
    worker: int | str = 0

    def __len__(self) -> int:
        return number(self.seeds)


class Pool:
    """A number of worker processes."""

    def __init__(self, size: int) -> None:
        available = cores()
        # Workers import what this process would, and nothing that merely lies in the working directory.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-P", "-m", "jaxor._worker"]
        with _interrupts_held_back():
            self._processes = [
                subprocess.Popen(
                    [*command, str(available[i % len(available)])],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                )
                for i in range(size)
            ]  # fmt: skip
        for process in self._processes:
            with contextlib.suppress(OSError, AttributeError):  # too many pipes already; no such thing outside Linux
                fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)  # type: ignore[arg-type]
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(size)

    def map(self, tasks: Iterable[Task], in_order: bool = True) -> Iterator[Answer]:
        """Give answers as they come, or in the order of the tasks, of which few are under way at a time.

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
            answered = waiting[0] if in_order else next(iter(wait(waiting, return_when=FIRST_COMPLETED).done))
            waiting.remove(answered)
            answer = answered.result()
            for task in islice(tasks, 1):
                waiting.append(self._threads.submit(self._ask, task))
            yield answer

    def _ask(self, task: Task) -> Answer:
        process = self._free.get()
        try:
            assert process.stdin and isinstance(process.stdout, io.BufferedReader)  # noqa: S101 (both are pipes)
            send(process.stdin, {name: getattr(task, name) for name in PLAIN}, **task.arrays)
            header, arrays = receive(process.stdout)
        except (OSError, ValueError) as error:
            raise WorkerError("a worker process ended unexpectedly; see its message above") from error
        finally:
            self._free.put(process)
        if header["error"] is not None:
            raise WorkerError(header["error"])
        figures = (header[name] for name in ("epochs", "seconds", "compile_seconds"))
        result = arrays["shard"].tobytes() if task.seal else result_of(arrays)
        return Answer(task.seeds, result, *figures, worker=process.pid)

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


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C wait; processes started meanwhile never get it, not even before they can ignore it themselves."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
def close_all() -> None:
    """Let all workers that were kept end; the next simulation starts others."""
    while _pools:
        _pools.popitem()[1].close()


def arrays_of(result: Block | Tally | Geometry) -> dict[str, NDArray[Any]]:
    """Arrays of runs, counts or measurements, by name."""
    if isinstance(result, Geometry):
        return dict(result.arrays())
    return counts(result) if isinstance(result, Tally) else columns(result)


def result_of(arrays: dict[str, NDArray[Any]]) -> Block | Tally | Geometry:
    """What `arrays_of` took apart."""
    if "line_loss" in arrays:
        return Geometry(**arrays)
    return tally_of(arrays) if "seed_ranges" in arrays else block_of(arrays)


def send(stream: IO[bytes], header: dict[str, Any], **arrays: NDArray[Any]) -> None:
    """Write a message: a line of JSON, then the bytes of the arrays that it announces."""
    announced = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    stream.write(json.dumps(header | {"arrays": announced}).encode() + b"\n")
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: io.BufferedReader) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a message.

    Raises
    ------
    ValueError
        The stream ended.
    """
    header, arrays = json.loads(stream.readline()), {}
    for name, dtype, shape in header["arrays"]:
        arrays[name] = array = np.empty(shape, dtype)
        if stream.readinto(array.reshape(-1).view(np.uint8).data) < array.nbytes:
            raise ValueError("the message is cut off")
    return header, arrays
