"""The tasks of a simulation on the workers of a Dask cluster.

They are the same tasks that local worker processes perform. Answers come back to this process, which writes them, so no
file system needs to be shared. Dask gives the tasks of a lost worker to others.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from jaxor.compute import compute
from jaxor.job import machine, versions
from jaxor.store.manifest import Manifest
from jaxor.workers import Answer, Task, WorkerError, cores

if TYPE_CHECKING:
    from distributed import Client

UNDER_WAY = 4
"""Tasks handed out at a time for each worker thread, so that none waits for the next."""

CONNECT_SECONDS = 10

_LOCAL = re.compile(r"local:([1-9][0-9]{0,3})")
_SCHEDULER = re.compile(r"(tcp|tls|ws|wss|ucx)://.+:[0-9]+")

_one_at_a_time = threading.Lock()


def perform(address: str, tasks: Iterator[Task], allow_mixed: bool = False) -> Generator[Answer]:
    """Give answers in the order of the tasks.

    Parameters
    ----------
    address : str
        Of a scheduler (``tcp://host:8786``), or ``local:N`` for N worker processes on this machine.
    tasks : iterator of Task
    allow_mixed : bool
        Whether workers may have other versions or be of another kind than this machine. What they compute says so.

    Raises
    ------
    ImportError
        Dask is not installed.
    WorkerError
        There is no such cluster, it has gone, or a task failed.
    """
    with _connected(address) as client:
        waiting: deque[Any] = deque()
        try:
            while True:
                threads: Any = client.nthreads()  # by worker; they may come and go
                room = UNDER_WAY * max(sum(threads.values()), 1) - len(waiting)
                for task in islice(tasks, max(room, 0)):
                    waiting.append(client.submit(_perform, task, allow_mixed, pure=False))
                if not waiting:
                    return
                yield waiting.popleft().result()
        except (OSError, *_lost()) as error:
            raise WorkerError(f"the cluster at {address} failed: {error}") from error


def check_address(address: str) -> None:
    """Refuse what is no address of a cluster.

    Raises
    ------
    ValueError
        It is neither ``tcp://host:8786`` nor ``local:2``.
    """
    if not isinstance(address, str) or not (_LOCAL.fullmatch(address) or _SCHEDULER.fullmatch(address)):
        raise ValueError(f"a cluster is tcp://host:8786 or local:2, got {address!r:.60}")


def _perform(task: Task, allow_mixed: bool) -> Answer:
    """Do a task in a worker of the cluster, unless its bits could be others than here."""
    asked = Manifest.from_json(task.manifest)
    here = replace(asked, versions=versions(), platform=machine())
    for name in ("versions", "platform"):
        ours, theirs = getattr(here, name), getattr(asked, name)
        if ours != theirs and not allow_mixed:
            raise WorkerError(
                f"a worker has {name} = {ours!r}, this simulation {theirs!r}; make them alike, or add --allow-mixed: "
                "each shard says what made it, but bits may differ"
            )
    with _one_at_a_time:  # a worker process may have several threads, but the compiled programs are for one
        return replace(compute(replace(task, manifest=here.to_json())), worker=os.getpid())


def _lost() -> tuple[type[Exception], ...]:
    """What Dask raises if a task has taken several workers down with it, or the scheduler is gone."""
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    return KilledWorker, FutureCancelledError


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError("a cluster needs Dask; install it with: pip install 'jaxor[cluster]'") from error
    local = _LOCAL.fullmatch(address)
    if local is None:
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except OSError as error:  # a time-out is one
            raise WorkerError(f"no Dask scheduler answers at {address}; start one with: dask scheduler") from error
        with client:
            yield client
        return
    with (
        LocalCluster(n_workers=int(local[1]), threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(_pin())
        yield client


def _pin() -> Any:
    """Keep each worker of a local cluster on a core of its own; XLA's own threads slow the small loops down."""
    from distributed import WorkerPlugin

    class Pin(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            available = cores()
            if hasattr(os, "sched_setaffinity") and str(worker.name).isdecimal():
                for thread in os.listdir("/proc/self/task"):
                    os.sched_setaffinity(int(thread), {available[int(worker.name) % len(available)]})

    return Pin()
