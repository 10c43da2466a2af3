"""What is known exactly of the single neuron |w x + b| on centred XOR, measured on many seeds.

While the two points of class 1 stay on their sides of the boundary, the loss is a paraboloid with curvature 2 in all
directions. With d = w[0] - w[1] its minimum is a solution, +-(1/2, -1/2, 0), if |d| > |b|, and the spurious
(0, 0, +-1/2) with loss 1/4 if |b| > |d|. Gradient descent at rate 1/10 shortens the distance to it to 4/5 a step.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import binomtest

import jaxor
from jaxor import Run, Status, get_experiment
from tests.conftest import Row

Floats = NDArray[np.float64]
TABLE = "Closed forms of the single neuron"


def to_solution(params: NDArray[np.float32]) -> Floats:
    """Distance to the nearer of the two solutions, in float64."""
    theta = params.astype(float)
    solution = np.array([0.5, -0.5, 0])
    return np.minimum(np.linalg.norm(theta - solution, axis=1), np.linalg.norm(theta + solution, axis=1))


@cache
def straight() -> Run:
    return jaxor.simulate("abs1_convergence", seeds=10_000, traces=False)


def test_epochs_to_convergence(table_row: Row) -> None:
    """1 + ceil(ln(r / 10^-3.5) / ln(5/4)): the loss before step t is (r (4/5)^t)^2, and the last step is counted."""
    run = straight()
    exact = np.log(to_solution(run.initial_params) / 10**-3.5) / np.log(1.25)
    law = 1 + np.ceil(exact).astype(int)
    differ = np.flatnonzero(run.epochs != law)
    table_row(
        TABLE, law="epochs = 1 + ceil(ln(r / 10^-3.5) / ln(5/4)), 10,000 seeds", exact="100%",
        measured=f"{np.mean(run.epochs == law):.2%}",
        note="float32 decides where the logarithm is " + ", ".join(f"{exact[seed]:.4f}" for seed in differ),
    )  # fmt: skip
    assert len(differ) <= 10
    # A weight near 1/2 is rounded by up to 2^-25 a step, 1e-4 of the last distance, 10^-3.5. Steps before it add up to
    # at most five times as much, which moves the logarithm to base 5/4 by up to .002.
    assert np.abs(exact - np.round(exact))[differ].max(initial=0) < 0.002
    assert np.abs(run.epochs - law).max() <= 1
    assert set(run.status.tolist()) == {Status.CONVERGED}
    assert len(np.unique(law)) > 15


def test_exceptions_are_none_in_float64() -> None:
    """Started where the float32 runs started: then every epoch is as the law says, boundaries or not."""
    start = straight().initial_params
    run = jaxor.simulate("abs1_convergence", initial_params=start, x64=True, traces=False)
    law = 1 + np.ceil(np.log(to_solution(start) / 10**-3.5) / np.log(1.25))
    np.testing.assert_array_equal(run.epochs, law)


def test_the_path_is_a_straight_line_at_a_constant_ratio() -> None:
    run = jaxor.simulate("abs1_convergence", seeds=200)
    solution = np.array([0.5, -0.5, 0])
    for seed in run.seeds:
        start = run.initial_params[seed].astype(float)
        trace, goal = run.trace(seed), math.copysign(1, start[0] - start[1]) * solution
        shrunk = 0.8 ** np.arange(len(trace.loss) + 1)[:, None] * (start - goal)
        assert_allclose(trace.params - goal, shrunk[1:], 0, 3e-7)
        assert_allclose(trace.loss, np.sum(shrunk[:-1] ** 2, axis=1), 1e-4, 1e-9)


def test_losses_at_both_ends() -> None:
    run = straight()
    distance = to_solution(run.initial_params)
    assert_allclose(run.initial_loss, distance**2, 1e-5)
    assert_allclose(run.final_loss, (distance * 0.8**run.epochs) ** 2, 5e-3)
    assert (run.final_accuracy == 1).all()


def caught_runs(ratio: float, seeds: int) -> Run:
    """Biases drawn with `ratio` times the standard deviation of the weights; 60 epochs decide everything."""
    init = {"name": "normal", "std": 0.5, "bias_std": 0.5 * ratio}
    experiment = get_experiment("abs1_convergence").replace(init=init, max_epochs=60)
    return jaxor.simulate(experiment, seeds=seeds, traces=False, devices=1)


@pytest.mark.parametrize(
    ("ratio", "seeds"),
    [
        (1.0, 300_000),
        (3.0, 100_000),
        *(pytest.param(std, 100_000, marks=pytest.mark.full) for std in (0.25, 0.5)),
    ],
)
def test_the_probability_of_being_caught_in_a_spurious_minimum(ratio: float, seeds: int, table_row: Row) -> None:
    """P(|b| > |w[0] - w[1]|) for independent normal b and w[0] - w[1], whose scales are as `ratio` to sqrt(2)."""
    run = caught_runs(ratio, seeds)
    exact = 2 / math.pi * math.atan(ratio / math.sqrt(2))
    caught = run.final_accuracy < 1
    interval = binomtest(int(caught.sum()), seeds).proportion_ci(0.99)
    table_row(
        TABLE, law=f"P(caught), biases to weights {ratio:g}, {seeds:,} seeds", exact=f"{exact:.5f}",
        measured=f"{caught.mean():.5f}", note=f"99% interval {interval.low:.5f} to {interval.high:.5f}",
    )  # fmt: skip
    assert interval.low < exact < interval.high

    w0, w1, b = run.initial_params.astype(float).T
    margin = np.abs(b) - np.abs(w0 - w1)
    clear = np.abs(margin) > 1e-6
    np.testing.assert_array_equal(caught[clear], margin[clear] > 0)
    assert clear.mean() > 0.9999
    np.testing.assert_array_equal(run.status[clear] == Status.CONVERGED, margin[clear] < 0)
    assert_allclose(run.final_loss[clear & caught], 0.25, 1e-5)
    assert_allclose(
        np.abs(run.final_params[clear & caught]), np.tile([0, 0, 0.5], (np.sum(clear & caught), 1)), 0, 1e-4
    )


def test_the_formula_for_equal_scales() -> None:
    assert 2 / math.pi * math.atan(1 / math.sqrt(2)) == pytest.approx(0.39183, abs=5e-6)


def test_on_the_ridge_between_the_solutions() -> None:
    """w[0] = w[1] and b = 0: no force leads off the line, and w goes to 0, where the loss is 1/2."""
    run = jaxor.simulate("abs1_convergence", initial_params=[[w, w, 0] for w in (0.1, -0.75, 2.0)])
    assert set(run.status.tolist()) == {Status.EPOCH_CAP}
    assert_allclose(run.final_params, np.zeros((3, 3)), 0, 1e-30)
    assert_allclose(run.final_loss, 0.5, 1e-6)
    np.testing.assert_array_equal(run.final_params[:, 2], 0)
