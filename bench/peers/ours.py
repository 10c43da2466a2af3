"""jaxor itself in the peers' form: its engine on processes that are up, each pinned to its core."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from bench.peers import Outcome, Train
from bench.peers.parallel import on_processes

NAME = "jaxor"


def trainer(name: str, cores: int) -> Train:
    """Starts the processes; run k of the initial parameters is that of seed k."""
    train = on_processes(functools.partial(_train, name), cores, functools.partial(_engine, name))
    return lambda initial: train(np.arange(len(initial)), initial)


@functools.cache
def _engine(name: str) -> tuple[Any, int]:
    """A process's worker for an experiment, and how many runs it takes at a time."""
    from jaxor.engine.simulate import Worker, plan
    from jaxor.experiments.catalog import get_experiment

    experiment = get_experiment(name)
    how = plan(experiment, traces="none")
    return Worker(experiment, how.lane_width), how.block_seeds


def _train(name: str, seeds: Any, initial: Any) -> Outcome:
    from jaxor.engine.recording import Recording

    worker, block_seeds = _engine(name)
    outcome = Outcome(
        np.empty(len(seeds), np.int32), np.empty(initial.shape, np.float32), np.empty(len(seeds), np.float32)
    )
    for begin in range(0, len(seeds), block_seeds):
        piece = slice(begin, begin + block_seeds)
        block = worker.run(seeds[piece], Recording("none"), initial[piece])
        for array, found in zip(outcome, (block.epochs, block.final_params, block.final_loss), strict=True):
            array[piece] = found
    return outcome
