"""Programs are compiled once: not again for other seeds, refills or recordings that were there before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pytest

import jaxor
from jaxor import get_experiment, simulation
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Worker

LANES = 64
COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Everything that XLA compiles inside the ``with`` block, whoever asks for it."""
    seen: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_compilations_are_noticed() -> None:
    with compilations() as seen:
        jax.jit(lambda x: x * 12.25)(1.0)
    assert seen == [COMPILED]


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker(get_experiment("relu1_normal"), LANES)


def test_the_programs_of_a_simulation(worker: Worker) -> None:
    """Three for runs without traces, and one more for each kind of trace."""
    worker.run(np.arange(1000), Recording("none"))
    assert [key[0] for key in worker._compiled] == ["begin", "drain", "finish"]
    worker.run(np.arange(1000), Recording("all"))
    assert [key[0] for key in worker._compiled][3:] == ["advance all"]
    worker.run(np.arange(1000), Recording("loss"))
    assert [key[0] for key in worker._compiled][4:] == ["advance loss"]


@pytest.mark.parametrize("kind", ["none", "all", "loss"])
def test_other_seeds_compile_nothing(worker: Worker, kind: str) -> None:
    """As many blocks as one likes, refilled 15 times over, the last one not full."""
    worker.run(np.arange(1000), Recording(kind))
    programs, seconds = dict(worker._compiled), worker.compile_seconds
    assert seconds > 0
    with compilations() as seen:
        for seeds in (np.arange(1024), np.arange(5000, 6000), np.arange(970) * 7):
            worker.run(seeds, Recording(kind))
    assert seen == []
    assert worker._compiled == programs and worker.compile_seconds == seconds


def test_calls_of_simulate_share_programs() -> None:
    """Equal experiments, however they were made; another rate is another program."""
    experiment = get_experiment("abs1_convergence").replace(max_epochs=5)
    first = jaxor.simulate(experiment, 100, lane_width=LANES)
    again = get_experiment("abs1_convergence").replace(max_epochs=5)
    with compilations() as seen:
        second = jaxor.simulate(again, range(100, 200), lane_width=LANES)
    assert seen == []
    assert simulation.execute(simulation.prepare(again, 100, lane_width=LANES)).compile_seconds == 0
    assert len(first) == len(second) == 100
    with compilations() as seen:
        jaxor.simulate(experiment.replace(**{"optimizer.learning_rate": 0.02}), 100, lane_width=LANES)
    assert seen
