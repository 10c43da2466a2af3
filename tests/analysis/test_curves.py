from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxor import Status, TraceNotStored, get_experiment, simulate
from jaxor.analysis.curves import Plane, loss_curves, path, some_seeds
from jaxor.store.run import Run


@pytest.fixture(scope="module")
def run() -> Run:
    return simulate("relu1_normal", seeds=40)


def test_losses_of_runs_that_ended_stay(run: Run):
    seeds, steps = [7, 3, 30], [0, 1, 50, 10_000]
    found = loss_curves(run, seeds, steps)
    for row, seed in enumerate(seeds):
        trace = run.trace(seed)
        for column, step in enumerate(steps):
            expected = trace.loss[step] if step < len(trace.loss) else run.final_loss[seed]
            assert found[row, column] == expected


def test_of_thinned_traces_the_last_recorded_loss_before_a_step_is_taken(run: Run):
    thinned = simulate("relu1_normal", seeds=40, traces="every=7")
    steps = np.arange(60)
    found = loss_curves(thinned, run.seeds, steps)
    for row, seed in enumerate(run.seeds):
        for step in steps:
            trace = thinned.trace(seed)
            before = trace.loss[trace.step <= step]
            assert found[row, step] == (before[-1] if step < thinned.steps[row] else thinned.final_loss[row])


def test_without_traces_there_are_no_curves():
    with pytest.raises(TraceNotStored):
        loss_curves(simulate("relu1_normal", seeds=40, traces="none"), [0], [0])


def test_a_path_goes_from_first_to_last_parameters(run: Run):
    found = path(run, 5)
    assert_array_equal(found[[0, -1]], np.stack([run.initial_params[5], run.final_params[5]]))
    assert len(found) == run.steps[5] + 1


def test_without_traces_first_parameters_are_not_even_read():
    with pytest.raises(TraceNotStored):
        path(simulate("relu1_normal", seeds=40, traces="none", parameters="none"), 0)


def test_the_plane_is_that_of_the_largest_variances():
    points = np.random.default_rng(0).normal(size=(500, 5)) * [1, 5, 0.1, 3, 0.2]
    plane = Plane.of(points)
    values, vectors = np.linalg.eigh(np.cov(points.T))
    assert_allclose(plane.shares, values[[-1, -2]] / values.sum(), rtol=1e-10)
    assert_allclose(np.abs((plane.directions * vectors.T[[-1, -2]]).sum(axis=1)), 1)
    assert_allclose(plane.project(points).mean(axis=0), 0, atol=1e-12)
    assert (np.abs(plane.directions).max(axis=1) == plane.directions.max(axis=1)).all(), "signs are arbitrary"


@pytest.mark.parametrize("points", [np.ones((5, 3)), np.ones((5, 1)), np.ones((1, 3)), np.empty((0, 3))])
def test_what_has_no_plane(points: np.ndarray):
    with pytest.raises(ValueError, match="a plane needs"):
        Plane.of(points)


def test_seeds_are_the_first_of_those_that_started():
    rare = get_experiment("relu1_reinit_25th").replace(**{"init.max_draws": 2})
    run = simulate(rare, seeds=200, traces="none")
    found = some_seeds(run, 10)
    assert (run.status == Status.UNSTARTED).any()
    assert list(found) == [True, False]
    assert_array_equal(found[True], run.seeds[run.final_accuracy == 1][:10])
    assert_array_equal(found[False], run.seeds[run.final_accuracy < 1][:10])


def test_what_no_seed_has_come_to_is_not_among_them():
    run = simulate("abs1_convergence", seeds=5, traces="none")
    assert list(some_seeds(run, 3)) == [True]
