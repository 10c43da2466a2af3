"""Runs in equal parts on threads or processes, each with a core of its own."""

from __future__ import annotations

import functools
import math
import os
import shutil
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count, pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp
from threading import Barrier
from typing import Any

import numpy as np

from bench.peers import Outcome, Train


def on_threads(fill: Callable[[Any, Outcome], object], cores: int) -> Train:
    """A function that fills an outcome, with its runs spread over pinned threads; for functions that hold no lock.

    The outcome is valid until the next call: the system takes long to give memory away.
    """
    numbers = count()
    pool = ThreadPoolExecutor(cores, initializer=lambda: pin(next(numbers)))
    meeting = Barrier(cores)
    list(pool.map(lambda _: meeting.wait(), range(cores)))  # now all have started
    kept = functools.lru_cache(maxsize=1)(empty)

    def train(initial: Any) -> Outcome:
        outcome, ends = kept(*initial.shape), np.linspace(0, len(initial), cores + 1).astype(int)
        parts = [slice(begin, end) for begin, end in pairwise(ends)]
        list(pool.map(lambda part: fill(initial[part], Outcome(*(array[part] for array in outcome))), parts))
        return outcome

    return train


def empty(runs: int, size: int) -> Outcome:
    """An outcome to be filled."""
    return Outcome(np.empty(runs, np.int32), np.empty((runs, size), np.float32), np.empty(runs, np.float32))


def on_processes(train: Callable[..., Outcome], cores: int, prepare: Callable[[], object]) -> Callable[..., Outcome]:
    """A function with its runs spread over pinned processes, each of which first calls `prepare`.

    Both must be functions of a module.

    For all else: on arrays this small, threads that share an interpreter get in each other's way, and so do those of
    PyTorch and XLA.
    """
    if cores == 1:
        prepare()
        return train
    context = get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(cores):
        numbers.put(number)
    pool = ProcessPoolExecutor(cores, context, initializer=_prepare, initargs=(numbers, prepare))
    list(pool.map(_nothing, range(cores)))  # a process takes so long to start that each task gets one
    shared = Path(mkdtemp(dir=MEMORY if MEMORY.exists() else None))
    weakref.finalize(pool, shutil.rmtree, shared)
    return lambda *arrays: _share(pool, train, arrays, cores, shared)


def pin(number: int) -> None:
    """Binds the calling thread to one of the cores that it may use."""
    if hasattr(os, "sched_setaffinity"):  # Linux only
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def _prepare(numbers: Any, prepare: Callable[[], object]) -> None:
    pin(numbers.get())
    prepare()


def _nothing(_: int) -> None:
    pass


MEMORY = Path("/dev/shm")  # noqa: S108 (its use is safe: the folder in it is the user's own)


def _share(pool: Executor, train: Callable[..., Outcome], arrays: tuple[Any, ...], cores: int, folder: Path) -> Outcome:
    """Runs in equal parts, through memory that the processes share; the outcome is valid until the next call."""
    runs, size = arrays[-1].shape
    given = [_mapped(folder / f"given{i}", array.shape, array.dtype) for i, array in enumerate(arrays)]
    shapes = [("epochs", (runs,), np.int32), ("params", (runs, size), np.float32), ("loss", (runs,), np.float32)]
    found = [_mapped(folder / name, shape, dtype) for name, shape, dtype in shapes]
    for target, array in zip(given, arrays, strict=True):
        target[:] = array
    ends = np.linspace(0, runs, cores + 1).astype(int)
    described = [[(array.filename, array.shape, array.dtype) for array in group] for group in (given, found)]
    list(pool.map(functools.partial(_part, train, *described), ends[:-1], ends[1:]))
    return Outcome(*map(np.asarray, found))


def _part(train: Callable[..., Outcome], given: list[Any], found: list[Any], begin: int, end: int) -> None:
    if begin < end:
        outcome = train(*(_mapped(*described)[begin:end] for described in given))
        for described, array in zip(found, outcome, strict=True):
            _mapped(*described)[begin:end] = array


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap[Any, Any]:
    """A file as an array; a new file if there is none or one of another size, which whoever holds it keeps."""
    there = path.exists() and path.stat().st_size == math.prod(shape) * np.dtype(dtype).itemsize
    if not there:
        path.unlink(missing_ok=True)  # to shorten it would end every process that reads beyond
    return np.memmap(path, dtype, "r+" if there else "w+", shape=shape)
