"""Rows against a loop over single traces, written from the article's definition of its data set."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from jaxor import Run, get_experiment, open_run, simulate
from jaxor.analysis.rows import WINDOW, NoRows, Rows, rows_of
from jaxor.engine.status import Status
from jaxor.store.errors import TraceNotStored

SUCCESSFUL = "successful"


@cache
def abs1() -> Run:
    return simulate("abs1_convergence", range(3, 23))


@cache
def relu1() -> Run:
    """Runs that converge, runs that stall at accuracy 1 and runs that fail."""
    return simulate("relu1_normal", 40)


@cache
def thinned() -> Run:
    return simulate("relu1_normal", 40, traces="every=7")


@cache
def digits() -> Run:
    """Minibatches, 28 steps an epoch, recorded once an epoch."""
    experiment = get_experiment("digits_mlp").replace(**{"stop.loss": 0.45, "max_epochs": 12})
    return simulate(experiment, 4, traces="every=28")


def looped(
    run: Run, chosen: Any, *, per_epoch: int = 1, initial: bool = False, exact: bool = False
) -> list[dict[str, Any]]:
    """The rows of the chosen runs: a state, its reference, and epochs until the run's last recorded step."""
    rows = []
    for place in np.flatnonzero(chosen):
        trace = run.trace(int(run.seeds[place]))
        states = [(int(s), loss, params) for s, loss, params in zip(trace.step, trace.loss, trace.params, strict=True)]
        if initial:
            states.insert(0, (-1, run.initial_loss[place], run.initial_params[place]))
        last, _, final = states[-1]
        for number, (step, loss, state) in enumerate(states[:-1]):
            after, _, following = states[number + 1]
            reference, later = (goal(state), goal(following)) if exact else (final, final)
            gap = math.dist(state, reference)
            ratio = math.dist(following, later) / gap if gap else math.nan
            rows.append(
                {
                    "seed": run.seeds[place],
                    "step": step,
                    "remaining": (last - step) / per_epoch,
                    "state": state,
                    "reference": reference,
                    "loss": loss,
                    "decline": decline(states[: number + 1], per_epoch) if step >= 0 else 0.0,
                    "contraction": ratio ** (per_epoch / (after - step)),
                }
            )
    return rows


def goal(params: Any) -> np.ndarray:
    """The minimum of |w x + b| on centred XOR on the same side."""
    return np.array([0.5, -0.5, 0.0]) if params[0] > params[1] else np.array([-0.5, 0.5, 0.0])


def decline(states: list[tuple[int, Any, Any]], per_epoch: int) -> float:
    """Minus the slope of a straight line through the last logarithms of the loss."""
    recent = [(step / per_epoch, math.log(loss)) for step, loss, _ in states if step >= 0][-WINDOW:]
    return (
        -float(np.polyfit([epoch for epoch, _ in recent], [height for _, height in recent], 1)[0])
        if len(recent) > 1
        else 0.0
    )


def check(rows: Rows, expected: list[dict[str, Any]], rtol: float = 1e-6) -> None:
    assert len(rows) == len(expected) > 0
    for name in expected[0]:
        found, wanted = getattr(rows, name), np.array([row[name] for row in expected])
        if name in ("decline", "contraction"):
            np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=name)


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("run", [abs1, relu1, thinned])
def test_rows_are_those_of_a_loop_over_traces(run: Any, initial: bool):
    found = rows_of(run(), initial=initial)
    check(found, looped(run(), run().status == Status.CONVERGED, initial=initial))
    assert found.remaining.min() >= 1


def test_rows_of_successful_runs_are_of_all_with_accuracy_one():
    run = relu1()
    assert ((run.final_accuracy == 1) & (run.status == Status.STALLED)).any()  # else both choices were the same
    found = rows_of(run, which=SUCCESSFUL)
    check(found, looped(run, run.final_accuracy == 1))
    assert set(found.seed) > set(rows_of(run).seed)


@pytest.mark.parametrize("initial", [False, True])
def test_distances_to_the_exact_minimum(initial: bool):
    found = rows_of(abs1(), reference="exact", initial=initial)
    check(found, looped(abs1(), np.ones(len(abs1())), initial=initial, exact=True), rtol=1e-5)
    inner = found.step < 10  # later float32 rounds what little is left
    np.testing.assert_allclose(found.contraction[inner], 0.8, rtol=1e-3)


def test_minibatches_count_in_epochs():
    run = digits()
    found = rows_of(run)
    check(found, looped(run, run.status == Status.CONVERGED, per_epoch=28))
    assert run.experiment.steps_per_epoch == 28
    assert (found.remaining % 1).any()  # from the first step of an epoch to the last of another
    assert found.update.shape == (len(found), 0)


def test_minibatches_recorded_now_and_then_with_initial_states():
    run = digits()
    check(rows_of(run, initial=True), looped(run, run.status == Status.CONVERGED, per_epoch=28, initial=True))


def test_updates_are_differences_of_states():
    run, found = relu1(), rows_of(relu1(), initial=True)
    for seed in np.unique(found.seed):
        mine, before = found.seed == seed, run.initial_params[seed]
        states = np.vstack([before, found.state[mine]])
        np.testing.assert_array_equal(found.update[mine], np.diff(states, axis=0))
    assert not rows_of(thinned()).update.shape[1]


def test_a_run_directory_gives_the_same_rows_in_any_cut(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    here = rows_of(relu1(), initial=True)
    simulate("relu1_normal", 40, out=tmp_path / "run")
    stored = open_run(tmp_path / "run")
    blocks = Run.blocks
    monkeypatch.setattr(Run, "blocks", lambda run: blocks(run, max_bytes=30_000))
    assert sum(1 for _ in stored.blocks()) > 2
    there = rows_of(stored, initial=True)
    for name in vars(here):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name), err_msg=name)


def test_no_more_rows_than_asked_for_and_never_parts_of_runs():
    run, whole = relu1(), rows_of(relu1())
    few = rows_of(run, max_rows=400)
    assert 0 < len(few) < 480  # every n-th run, long or short
    sizes = dict(zip(*np.unique(whole.seed, return_counts=True), strict=True))
    for seed, size in zip(*np.unique(few.seed, return_counts=True), strict=True):
        assert sizes[seed] == size
    assert len(rows_of(run, max_rows=None)) == len(whole)


def test_a_run_with_a_single_record_has_its_initial_state_for_a_row():
    near = np.array([[0.5001, -0.5001, 0.0], [0.9, -0.2, 0.0]], np.float32)  # the first is below the tolerance at once
    run = simulate("abs1_convergence", initial_params=near)
    assert run.row_size[0] == 1 < run.row_size[1]
    assert set(rows_of(run).seed) == {1}
    check(rows_of(run, initial=True), looped(run, [True, True], initial=True))


def test_a_loss_of_zero_has_no_decline():
    experiment = get_experiment("abs1_convergence").replace(**{"optimizer.learning_rate": 0.5})
    run = simulate(experiment, 20, x64=True)  # one step is enough
    assert (run.trace(0).loss[1:] < 1e-30).all()
    assert any((run.trace(seed).loss == 0).any() for seed in range(20))
    check(rows_of(run), looped(run, np.ones(20)))


@pytest.mark.parametrize("traces", ["none", "loss"])
def test_runs_without_parameters_along_the_way_are_refused(traces: str):
    run = simulate("abs1_convergence", 3, traces=traces)
    with pytest.raises(TraceNotStored, match="were not recorded; simulate with --traces all, or --traces every=K"):
        rows_of(run)


def test_no_converged_run_is_an_error_that_says_how_runs_ended():
    run = simulate(get_experiment("abs1_convergence").replace(max_epochs=5), 7)
    with pytest.raises(NoRows, match=r"none of the 7 runs converged \(7 epoch_cap\), .* train for more epochs"):
        rows_of(run)
    failed = simulate(get_experiment("relu1_normal").replace(max_epochs=1), 3)
    with pytest.raises(NoRows, match=r"none of the 3 runs reached accuracy 1 \(3 epoch_cap\)"):
        rows_of(failed, which=SUCCESSFUL)


def test_other_models_have_no_exact_minimum():
    with pytest.raises(NoRows, match=r"known of \|w x \+ b\| .*\(--reference final"):
        rows_of(relu1(), reference="exact")


def test_runs_of_a_single_record_have_no_rows():
    near = np.array([[0.5001, -0.5001, 0.0]], np.float32)
    with pytest.raises(NoRows, match="no run took more than one recorded step"):
        rows_of(simulate("abs1_convergence", initial_params=near))


def test_initial_states_have_to_be_stored():
    run = simulate("abs1_convergence", 3, parameters="final")
    with pytest.raises(NoRows, match="initial parameters were not stored; simulate with --parameters both"):
        rows_of(run, initial=True)
    assert not rows_of(run).update.shape[1]  # the first step's change is not known
