"""jaxor itself in the peers' form: its engine on processes that are up, each pinned to its core."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from bench.peers import Outcome, Train
from bench.peers.parallel import empty, on_processes

NAME = "jaxor"


def trainer(name: str, cores: int) -> Train:
    """Starts the processes; run k of the initial parameters is that of seed k."""
    train = on_processes(functools.partial(_train, name), cores, functools.partial(_engine, name))
    return lambda initial: train(np.arange(len(initial)), initial)


@functools.cache
def _engine(name: str) -> tuple[Any, int]:
    """A process's worker for an experiment, and how many runs it takes at a time."""
    from jaxor.engine.plan import plan
    from jaxor.engine.simulate import Worker
    from jaxor.experiments.catalog import get_experiment

    experiment = get_experiment(name)
    how = plan(experiment, traces="none")
    return Worker(experiment, how.lane_width), how.block_seeds


_kept = functools.lru_cache(maxsize=1)(empty)
"""The outcome is valid until the next call, see `on_threads`."""


def _train(name: str, seeds: Any, initial: Any) -> Outcome:
    from jaxor.engine.recording import Recording

    worker, block_seeds = _engine(name)
    outcome = _kept(*initial.shape)
    for begin in range(0, len(seeds), block_seeds):
        piece = slice(begin, begin + block_seeds)
        block = worker.run(seeds[piece], Recording("none"), initial[piece])
        for array, found in zip(outcome, (block.epochs, block.final_params, block.final_loss), strict=True):
            array[piece] = found
    return outcome
