"""Replay: the bits of the first pass, and every step seen once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpy.testing import assert_array_equal

import jaxor
from jaxor.engine.replay import Moment, replay
from jaxor.engine.status import Status
from jaxor.experiments.experiment import Experiment


def whole(moment: Moment) -> Mapping[str, Array]:
    """All there is to see."""
    flat = [jnp.concatenate([value.reshape(-1) for value in part.values()]) for part in moment[:3]]
    return dict(zip(("initial", "before", "after"), flat, strict=True)) | {"step": moment.step}


SGD = {"name": "sgd", "learning_rate": 0.1}
EXPERIMENTS = {
    "narrow": jaxor.get_experiment("relu1_normal").replace(max_epochs=70),
    "wide": Experiment(
        "net", task="antipodal", model={"name": "relu_net", "inputs": 50, "hidden": 9}, init="paper5", loss="quadratic",
        optimizer=SGD, max_epochs=20,
    ),
    "minibatches": jaxor.get_experiment("digits_mlp").replace(max_epochs=2),
    "diverging": jaxor.get_experiment("abs1_convergence").replace(
        max_epochs=100, optimizer=SGD | {"learning_rate": 3.0}, stop={}
    ),
    "chosen": jaxor.get_experiment("relu1_reinit_50th").replace(max_epochs=30),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",  # "chosen" is narrow too; minibatches and what diverges are replayed where paths are measured
    [pytest.param(name, marks=[pytest.mark.full] * (name not in ("wide", "chosen"))) for name in EXPERIMENTS],
)
def test_bits_are_those_of_the_run(name: str) -> None:
    made, seeds = EXPERIMENTS[name], np.array([4, 0, 19, 7, *range(20, 36)])  # more than a lane width
    run = jaxor.simulate(made, seeds, lane_width=16, traces="all")
    seen = replay(made, seeds, whole, lane_width=16)
    assert_array_equal(seen.seeds, seeds)
    for attribute in ("steps", "status", "final_params"):
        assert_array_equal(getattr(seen, attribute), getattr(run, attribute))
    if name == "diverging":
        assert (run.status == Status.DIVERGED).any()
    for row, seed in enumerate(seeds):
        trace, steps = run.trace(int(seed)), int(run.steps[row])
        assert_array_equal(seen.measured["after"][row, :steps], trace.params)
        assert_array_equal(seen.measured["before"][row, 1:steps], trace.params[: steps - 1])
        assert_array_equal(seen.measured["initial"][row, :steps], np.tile(run.initial_params[row], (steps, 1)))
        assert_array_equal(seen.measured["step"][row, :steps], np.arange(steps))
        assert np.isnan(seen.measured["after"][row, steps:]).all() and not seen.measured["step"][row, steps:].any()


def test_precision_and_progress() -> None:
    told: list[int] = []
    seen = replay(EXPERIMENTS["diverging"], np.arange(20), whole, lane_width=16, x64=True, watch=told.append)
    run: Any = jaxor.simulate(EXPERIMENTS["diverging"], 20, lane_width=16, x64=True)
    assert seen.final_params.dtype == np.float64
    assert_array_equal(seen.final_params, run.final_params)
    assert told == [16, 20]
