"""The work itself: tasks in; runs, counts of runs or measurements out. Every process performs it in the same way."""

from __future__ import annotations

import itertools
import time
from functools import lru_cache
from typing import Any

import numpy as np

from jaxor.engine.block import Block
from jaxor.engine.geometry import Geometry, Measuring
from jaxor.engine.measure import Ends, Measurer
from jaxor.engine.recording import Recording
from jaxor.engine.seeds import expand, pieces
from jaxor.engine.simulate import Worker
from jaxor.engine.tally import Tally
from jaxor.experiments.experiment import Experiment
from jaxor.store.manifest import Manifest
from jaxor.store.paths import seal_geometry
from jaxor.store.shard import seal
from jaxor.workers import Answer, Task


def compute(task: Task, experiment: Experiment | None = None) -> Answer:
    """Perform a task.

    Parameters
    ----------
    task : Task
    experiment : Experiment, optional
        Needed if it has parts made in Python.
    """
    started = time.perf_counter()
    manifest = _manifest(task.manifest)
    made = experiment or Experiment.from_dict(manifest.experiment), manifest.lane_width, manifest.x64
    worker = _worker(*made)
    before = worker.compile_seconds
    result: Any
    if task.measuring is not None:
        result, epochs = _measured(_measurer(*made), task, manifest)
    elif manifest.kind == "statistics":
        result, epochs = _tally(worker, task)
    else:
        result = _block(worker, task, manifest)
        epochs = int(result.epochs.sum(dtype=np.int64))
    if task.seal and not isinstance(result, bytes):
        result = seal(result, manifest)
    return Answer(task.seeds, result, epochs, time.perf_counter() - started, worker.compile_seconds - before)


def _block(worker: Worker, task: Task, manifest: Manifest) -> Block:
    given, recording = task.arrays.get("given"), Recording.parse(manifest.traces)
    return worker.run(expand(task.seeds), recording, given, manifest.parameters)


def _tally(worker: Worker, task: Task) -> tuple[Tally, int]:
    """Counts of the runs, and their epochs; only one block is in memory at a time."""
    tally, epochs = Tally.empty(), 0
    for piece in pieces(task.seeds, itertools.repeat(task.block_seeds)):
        block = worker.run(expand(piece), Recording("none"), parameters="none")
        tally += Tally.of(block)
        epochs += int(block.epochs.sum(dtype=np.int64))
    return tally, epochs


def _measured(measurer: Measurer, task: Task, manifest: Manifest) -> tuple[Geometry | bytes, int]:
    """Measurements along paths, and the epochs of the runs."""
    measuring, arrays = Measuring.parse(task.measuring or ""), task.arrays
    ends = Ends(*(arrays[name] for name in Ends._fields)) if "params" in arrays else None
    how = {"given": arrays.get("given"), "ends": ends, "exact": arrays.get("exact")}
    geometry = measurer.measure(expand(task.seeds), measuring, **how)
    epochs = int(-(-geometry.steps.astype(np.int64) // measurer.steps_per_epoch).sum())
    return seal_geometry(geometry, measuring, manifest) if task.seal else geometry, epochs


@lru_cache(maxsize=8)
def _manifest(text: str) -> Manifest:
    """Read once: that of a wide net names every parameter."""
    return Manifest.from_json(text)


@lru_cache(maxsize=8)
def _worker(experiment: Experiment, lane_width: int, x64: bool) -> Worker:
    """Compiled programs, kept for the next call."""
    return Worker(experiment, lane_width, x64)


@lru_cache(maxsize=8)
def _measurer(experiment: Experiment, lane_width: int, x64: bool) -> Measurer:
    """Its programs are kept as those of the worker are."""
    return Measurer(_worker(experiment, lane_width, x64))
