"""jaxor itself in the peers' form: worker processes that are up, each pinned to its core, as `jaxor.simulate` has them.

Arrays go through files in memory, so that what is measured is the training and not a pipe. As a program
(``python -m bench.peers.ours EXPERIMENT CORE``) this module is such a worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import Outcome, Train

NAME = "jaxor"

SHARED = Path("/dev/shm")  # noqa: S108 (a directory of this process is made in it)


class Team:
    """Workers for one experiment."""

    def __init__(self, name: str, cores: int) -> None:
        available = sorted(os.sched_getaffinity(0))[:cores]
        self._folder = tempfile.TemporaryDirectory(dir=SHARED if SHARED.is_dir() else None)
        self._workers = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, name, str(core)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for core in available
        ]  # fmt: skip

    def train(self, initial: Any) -> Outcome:
        """Runs from initial parameters (n, P)."""
        folder = Path(self._folder.name)
        np.save(folder / "initial.npy", initial)
        for name, dtype, shape in _results(initial.shape):
            np.lib.format.open_memmap(folder / name, "w+", dtype, shape)
        self.ask(folder, len(initial))
        return Outcome.of(*(np.load(folder / name) for name, _, _ in _results(initial.shape)))

    def ask(self, folder: Path | str, runs: int) -> None:
        """Have so many runs trained; those of seeds 0, 1, ... where the folder is ``-``."""
        bounds = np.linspace(0, runs, len(self._workers) + 1).astype(int)
        for worker, start, stop in zip(self._workers, bounds[:-1], bounds[1:], strict=True):
            assert worker.stdin  # noqa: S101 (a pipe)
            print(folder, start, stop, file=worker.stdin, flush=True)
        for worker in self._workers:
            assert worker.stdout  # noqa: S101 (a pipe)
            if worker.stdout.readline() != "done\n":
                raise RuntimeError("a jaxor worker ended")

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.communicate()


def trainer(name: str, cores: int) -> Train:
    """Starts the workers; on one core this process is the worker."""
    return Team(name, cores).train if cores > 1 else _alone(name)


def _alone(name: str) -> Train:
    run, block_seeds = _runner(name)

    def train(initial: Any) -> Outcome:
        pieces = [slice(begin, begin + block_seeds) for begin in range(0, len(initial), block_seeds)]
        blocks = [run(piece.start, initial[piece]) for piece in pieces]
        names = ("epochs", "final_params", "final_loss")
        return Outcome.of(*(np.concatenate([getattr(block, name) for block in blocks]) for name in names))

    return train


def _runner(name: str) -> tuple[Any, int]:
    """A function from a first seed and initial parameters, or a number of runs, to a block; and how many it takes."""
    from jaxor.engine.recording import Recording
    from jaxor.engine.simulate import Worker, plan
    from jaxor.experiments.catalog import get_experiment

    experiment = get_experiment(name)
    how = plan(experiment, traces="none")
    worker = Worker(experiment, how.lane_width)

    def run(start: int, given: Any) -> Any:
        runs = given if isinstance(given, int) else len(given)
        return worker.run(np.arange(start, start + runs), Recording("none"), None if isinstance(given, int) else given)

    return run, how.block_seeds


def _results(shape: tuple[int, ...]) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    yield "epochs.npy", np.int32, shape[:1]
    yield "params.npy", np.float32, shape
    yield "loss.npy", np.float32, shape[:1]


def main(name: str, core: int) -> None:
    """Serve requests ``FOLDER START STOP``."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # before JAX starts its threads
    run, block_seeds = _runner(name)
    for line in sys.stdin:
        folder, start, stop = line.rsplit(maxsplit=2)
        arrays: list[Any] = []
        if folder != "-":
            arrays = [np.load(Path(folder) / "initial.npy", "r")]
            arrays += [np.load(Path(folder) / file, "r+") for file, _, _ in _results(arrays[0].shape)]
        for begin in range(int(start), int(stop), block_seeds):
            part = slice(begin, min(begin + block_seeds, int(stop)))
            block = run(begin, np.asarray(arrays[0][part]) if arrays else part.stop - begin)
            for array, values in zip(arrays[1:], (block.epochs, block.final_params, block.final_loss), strict=False):
                array[part] = values
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
