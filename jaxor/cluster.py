"""The tasks of a simulation on the workers of a Dask cluster.

They are the same tasks that local worker processes perform. Answers come back to this process, which writes them, so no
file system needs to be shared. Dask gives the tasks of a lost worker to others.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from jaxor.compute import compute
from jaxor.job import machine, versions
from jaxor.machine import cores
from jaxor.store.manifest import Manifest
from jaxor.workers import Answer, Task, WorkerError

if TYPE_CHECKING:
    from distributed import Client

UNDER_WAY = 4
"""Tasks handed out at a time for each worker thread, so that none waits for the next."""

CONNECT_SECONDS = 10

_LOCAL = re.compile(r"local:([1-9][0-9]{0,3})")
_SCHEDULER = re.compile(r"(tcp|tls)://.+:[0-9]+")

_one_at_a_time = threading.Lock()


def perform(address: str, tasks: Iterator[Task], allow_mixed: bool = False, in_order: bool = True) -> Generator[Answer]:
    """Give answers as they come, or in the order of the tasks.

    Parameters
    ----------
    address : str
        Of a scheduler (``tcp://host:8786``), or ``local:N`` for N worker processes on this machine.
    tasks : iterator of Task
    allow_mixed : bool
        Whether workers may have other versions or be of another kind than this machine. What they compute says so.
    in_order : bool

    Raises
    ------
    WorkerError
        There is no such cluster, it has gone, or a task failed.
    """
    first = next(tasks, None)
    if first is None:
        return
    tasks = chain([first], tasks)
    with _connected(address) as client:
        waiting: deque[Any] = deque()
        try:
            while client.status == "running":
                for task in islice(tasks, max(_room(client, address) - len(waiting), 0)):
                    waiting.append(client.submit(_perform, task, allow_mixed, pure=False))
                if not waiting:
                    return
                answered = waiting[0] if in_order else _first_of(waiting, client)
                waiting.remove(answered)
                yield answered.result()
        except _lost() as error:
            raise WorkerError(_reason(address, error)) from error
        raise WorkerError(_reason(address))


def check_address(address: str) -> None:
    """Refuse what is no address of a cluster.

    Raises
    ------
    ImportError
        Dask is not installed.
    ValueError
        It is neither ``tcp://host:8786`` nor ``local:2``.
    """
    if not isinstance(address, str) or not (_LOCAL.fullmatch(address) or _SCHEDULER.fullmatch(address)):
        raise ValueError(f"a cluster is tcp://host:8786 or local:2, got {address!r:.60}")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ImportError("a cluster needs Dask; install it with: pip install 'jaxor[cluster]'") from error


def _room(client: Client, address: str) -> int:
    """How many tasks may be under way; workers come and go."""
    threads: Any = client.nthreads()
    if not threads:
        print(f"No worker has joined {address} yet; waiting. Start one with: dask worker {address}", file=sys.stderr)
    return UNDER_WAY * max(sum(threads.values()), 1)


def _first_of(waiting: deque[Any], client: Client) -> Any:
    from distributed import as_completed

    return next(as_completed(waiting, loop=client.loop))


def _perform(task: Task, allow_mixed: bool) -> Answer:
    """Do a task in a worker of the cluster, unless its bits could be others than here."""
    from distributed import get_worker

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
        return replace(compute(replace(task, manifest=here.to_json())), worker=get_worker().address)


def _lost() -> tuple[type[Exception], ...]:
    """What Dask raises if a task has taken several workers down with it, or the scheduler is gone."""
    from distributed.client import ClosedClientError, FutureCancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    return KilledWorker, FutureCancelledError, ClosedClientError, CommClosedError


def _reason(address: str, error: Exception | None = None) -> str:
    if type(error).__name__ == "KilledWorker":
        return (
            f"the cluster at {address} failed: a task has taken several workers down with it; is their memory enough?"
        )
    return f"the cluster at {address} failed: its scheduler is gone"


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its tracebacks; what fails is said by us
    local = _LOCAL.fullmatch(address)
    if local is None:
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except OSError as error:  # a time-out is one
            raise WorkerError(f"no Dask scheduler answers at {address}; start one with: dask scheduler") from error
        with client:
            yield client
        return
    options: Any = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=int(local[1]), **options) as own,
        Client(own, set_as_default=False) as client,
    ):
        client.register_plugin(_alone())
        yield client


def _alone() -> Any:
    """Keep each worker of a local cluster on a core of its own, and leave Ctrl-C to this process.

    XLA's own threads slow the small loops down.
    """
    from distributed import WorkerPlugin

    class Alone(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            with contextlib.suppress(ValueError):  # it may not be the main thread
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            available = cores()
            if hasattr(os, "sched_setaffinity") and str(worker.name).isdecimal():
                core = available[int(worker.name) % len(available)]
                for thread in os.listdir("/proc/self/task"):
                    with contextlib.suppress(OSError):  # it may just have ended
                        os.sched_setaffinity(int(thread), {core})

    return Alone()
