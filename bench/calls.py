"""Calls of jaxor in processes of their own: what they take, and how much memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

SAMPLE_SECONDS = 0.02
"""Between two looks at the memory."""


class Place(NamedTuple):
    """What a process may use: a kind of device, and so many cores."""

    device: str
    cores: int

    def __str__(self) -> str:
        return "GPU" if self.device == "gpu" else f"{self.cores} core{'s' * (self.cores > 1)}"


class Call(NamedTuple):
    """What `jaxor.simulate` is asked for."""

    experiment: Any
    seeds: int
    keep: str = "runs"
    traces: str = "none"
    lane_width: int | None = None
    out: Path | None = None


class Took(NamedTuple):
    """Seconds for the checks of a call, for its work, and those of the work that went into compiling."""

    checks: float
    work: float
    compiling: float


def places(devices: list[str]) -> list[Place]:
    """One core and all cores, and the GPU if it is to be measured."""
    every = len(os.sched_getaffinity(0))
    found = {"cpu": [Place("cpu", cores) for cores in sorted({1, every})], "gpu": [Place("gpu", every)]}
    return [place for device in devices for place in found[device]]


def environment(device: str) -> dict[str, str]:
    """Environment of a process in which JAX takes this kind of device; a GPU is its own choice where there is one."""
    return dict(os.environ) | ({"JAX_PLATFORMS": "cpu"} if device == "cpu" else {})


def process(place: Place) -> ProcessPoolExecutor:
    """A fresh process; leaving its context ends it and its workers."""
    return ProcessPoolExecutor(1, get_context("spawn"), _settle, (place,))


def _settle(place: Place) -> None:
    """Take the place, then import jaxor, whose threads and workers keep to it."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-place.cores :])
    os.environ.update(environment(place.device))
    import jaxor.simulation  # noqa: F401


def perform(call: Call) -> Took:
    """What a call takes, whatever is still to be started and compiled for it."""
    from jaxor.simulation import execute, prepare

    started = time.perf_counter()
    job = prepare(call.experiment, call.seeds, keep=call.keep, traces=call.traces, lane_width=call.lane_width)
    checks = time.perf_counter() - started
    outcome = execute(job, out=call.out)
    return Took(checks, outcome.wall_seconds, outcome.compile_seconds)


def warm(call: Call) -> float:
    """Seconds of work with nothing to compile, however often the call must be made for that.

    Which worker gets the last block, smaller than the others, is chance, and it may be new to it.
    """
    while (took := perform(call)).compiling:
        if call.out is not None:
            shutil.rmtree(call.out)
    return took.work


@contextlib.contextmanager
def peak_memory(process: int) -> Iterator[list[int]]:
    """Samples of `resident` while the context lasts."""
    samples, ended = [resident(process)], threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            samples.append(resident(process))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def resident(process: int) -> int:
    """Bytes that a process and its descendants hold in memory; what they share counts for each of them."""
    held, family = 0, [process]
    for member in family:
        with contextlib.suppress(OSError):  # it may end meanwhile
            held += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for thread in Path(f"/proc/{member}/task").iterdir():
                family += map(int, (thread / "children").read_text().split())
    return held
