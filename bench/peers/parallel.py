"""Runs in equal parts on threads or processes, each with a core of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from multiprocessing import get_context
from threading import Barrier
from typing import Any

import numpy as np

from bench.peers import Outcome, Train


def on_threads(train: Train, cores: int) -> Train:
    """The same function with its runs spread over pinned threads; for functions that hold no lock."""
    if cores == 1:
        return train
    numbers = count()
    pool = ThreadPoolExecutor(cores, initializer=lambda: pin(next(numbers)))
    meeting = Barrier(cores)
    list(pool.map(lambda _: meeting.wait(), range(cores)))  # now all have started
    return lambda initial: _spread(pool, train, (initial,), cores)


def on_processes(train: Callable[..., Outcome], cores: int, prepare: Callable[[], object]) -> Callable[..., Outcome]:
    """The same on pinned processes, each of which first calls `prepare`; both must be functions of a module.

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
    return lambda *arrays: _spread(pool, train, arrays, cores)


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


def _spread(pool: Executor, train: Callable[..., Outcome], arrays: tuple[Any, ...], cores: int) -> Outcome:
    parts = min(cores, len(arrays[0]))
    outcomes = pool.map(train, *(np.array_split(array, parts) for array in arrays))
    return Outcome(*(np.concatenate(arrays) for arrays in zip(*outcomes, strict=True)))
