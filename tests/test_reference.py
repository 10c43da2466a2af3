"""The NumPy reference itself, against results of the original PyTorch code and against finite differences."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from tests import reference
from tests.reference import CONVERGED, DIVERGED, EPOCH_CAP, EXPERIMENTS, STALLED, Result, Spec, evaluate, simulate

ORACLES = Path(__file__).parent / "data" / "oracles"
STATUS = {"loss_threshold": CONVERGED, "convergence": STALLED, "epoch_cap": EPOCH_CAP}
TRAINED = [name for name in EXPERIMENTS if not name.endswith("init_dist")]

# Runs that end in another epoch, or for another reason or with another accuracy, than in the original.
# Everywhere else all runs agree.
KNOWN_TO_DIFFER = {
    # A plateau at loss 1/4, all outputs 1/2 up to rounding: when it stalls, and on which side of 1/2 the outputs then
    # lie, is decided by the last bit of the exponential function.
    "relu1_elu": {19, 38},
    # A plateau at loss .348, as above.
    "relu2_two_bce": {11},
    # In the original the hidden bias, whose gradient is 0 in real arithmetic, moves by rounding noise that Adam blows
    # up. Here it stays 0, and float64 gives the same epochs in all 50 runs.
    "abs2_single_mse": {
        *(0, 2, 3, 5, 6, 7, 8, 9, 11, 14, 17, 18, 19, 20, 22, 24, 26, 28, 30, 32, 34, 36, 39, 40, 41, 46, 47, 48),
    },
}
EXPONENTIAL = {"relu1_elu", "relu2_two_bce"}  # its last bit depends on the machine
NOISY_BIAS = {"abs1_normal", "abs1_tiny", "abs2_single_mse"}  # see the last entry above

# Largest difference of a final parameter between runs that agree, and of a parameter along the way.
TOLERANCE = {
    "relu1_elu": 1.5e-6,
    "relu2_two_mse_sgd": 8e-7,
    # At a loss of 1e-7 the gradient, a sigmoid minus 1, has one or two significant bits, and Adam follows its rounding.
    "relu2_two_bce": 0.03,
    "abs2_single_mse": 0.03,
}


@cache
def oracle(name: str) -> dict[str, NDArray[Any]]:
    with np.load(ORACLES / f"{name}.npz") as file:
        return dict(file)


@cache
def reproduced(name: str) -> Result:
    return simulate(EXPERIMENTS[name], oracle(name)["init_params"])


def agreeing(name: str) -> NDArray[np.bool_]:
    theirs, ours = oracle(name), reproduced(name)
    status = np.array([STATUS[reason] for reason in theirs["stop_reason"]])
    same = (ours.epochs == theirs["epochs_completed"]) & (ours.status == status)
    return same & (ours.final_accuracy == theirs["final_accuracy"])


def compared(name: str) -> list[int]:
    """Columns of the parameters that are more than noise."""
    noise = "linear1.bias[0]" if name in NOISY_BIAS else None
    return [column for column, param in enumerate(oracle(name)["param_names"]) if param != noise]


@pytest.mark.parametrize("name", TRAINED)
def test_runs_end_as_in_the_original(name: str) -> None:
    theirs, ours = oracle(name), reproduced(name)
    success = theirs["final_accuracy"] == 1
    assert_array_equal(ours.final_accuracy == 1, success)
    differ, known = set(np.flatnonzero(~agreeing(name)).tolist()), KNOWN_TO_DIFFER.get(name, set())
    assert differ <= known if name in EXPONENTIAL else differ == known
    if name != "abs2_single_mse":
        assert not success[list(known)].any()
    assert_array_equal(ours.n_fixes, theirs["n_fixes"])


@pytest.mark.parametrize("name", TRAINED)
def test_final_parameters_and_losses(name: str) -> None:
    theirs, ours, same = oracle(name), reproduced(name), agreeing(name)
    columns = compared(name)
    tolerance = TOLERANCE.get(name, 6e-7)
    assert_allclose(ours.final_params[same][:, columns], theirs["final_params"][same][:, columns], 0, tolerance)
    assert_allclose(ours.final_loss[same], theirs["final_loss"][same], 0, 1e-7)
    last = [trace[-1] for trace in ours.loss_trace]
    assert_allclose(np.array(last)[same], theirs["last_epoch_loss"][same], 0, 1e-7)
    assert_allclose([trace[0] for trace in ours.loss_trace], theirs["first_epoch_loss"], 3e-7)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "abs2_single_mse"])
def test_traces(name: str) -> None:
    theirs, ours, columns = oracle(name), reproduced(name), compared(name)
    losses = pairwise(theirs["trace_loss_offsets"])
    params = pairwise(theirs["trace_param_offsets"])
    for run, ((begin, end), (first, last)) in enumerate(zip(losses, params, strict=True)):
        epoch, path = theirs["trace_param_epoch"][first:last], theirs["trace_params"][first:last]
        assert_allclose(ours.param_trace[run][epoch][:, columns], path[:, columns], 0, TOLERANCE.get(name, 6e-7))
        loss = theirs["trace_loss"][begin:end].astype(float)
        if name in NOISY_BIAS:  # for opposite points, (s + b)^2 and (s - b)^2 have the mean s^2 + b^2
            loss[1:] -= path[:-1, 2].astype(float) ** 2
        assert_allclose(ours.loss_trace[run], loss, 3e-7, 3e-7)


@pytest.mark.parametrize("name", sorted(NOISY_BIAS))
def test_an_absolute_value_unit_keeps_a_zero_bias(name: str) -> None:
    theirs, ours = oracle(name), reproduced(name)
    assert all((path[:, 2] == 0).all() for path in ours.param_trace)
    assert np.abs(theirs["trace_params"][:, 2]).max() > 1e-3
    exact = simulate(EXPERIMENTS[name], theirs["init_params"].astype(float))
    assert_array_equal(ours.epochs, exact.epochs)
    assert_array_equal(ours.status, exact.status)


@pytest.mark.parametrize("name", ["abs1_convergence", "abs1_kaiming_mse", "relu2_two_mse_sgd"])
def test_gradient_descent_bit_for_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In PyTorch's own order (points left to right, step fused with one rounding), no bit of a parameter differs."""

    def fused(spec: Spec) -> Any:
        rate = float(np.float32(spec.learning_rate))
        return lambda params, gradient: (params - rate * gradient.astype(float)).astype(np.float32)

    monkeypatch.setattr(reference, "over_points", lambda a: reference.total(a, -1))
    monkeypatch.setattr(reference, "optimizer", fused)
    theirs = oracle(name)
    ours = simulate(EXPERIMENTS[name], theirs["init_params"])
    traced = len(theirs["trace_param_offsets"]) - 1
    assert_array_equal(ours.final_params, theirs["final_params"])
    assert_array_equal(np.concatenate(ours.param_trace[:traced]), theirs["trace_params"])
    assert_array_equal(ours.epochs, theirs["epochs_completed"])


@pytest.mark.parametrize("name", ["relu1_init_dist", "relu2_init_dist"])
def test_initial_loss_and_accuracy(name: str) -> None:
    theirs, ours = oracle(name), reproduced(name)
    assert_array_equal(ours.final_params, theirs["init_params"])
    assert_array_equal(ours.final_accuracy, theirs["final_accuracy"])
    assert_allclose(ours.final_loss, theirs["final_loss"], 3e-7)
    assert not ours.epochs.any()
    assert (ours.status == EPOCH_CAP).all()


ACTIVATIONS = [("abs", 0.0), ("relu", 0.0), ("leaky", 0.1), ("leaky", -0.8), ("elu", 0.0), ("prelu", 0.0)]
MODELS = [Spec(activation=kind, slope=slope, hidden=m) for kind, slope in ACTIVATIONS for m in (1, 2)]
MODELS += [
    Spec(model="two_layer", activation=kind, slope=slope, hidden=m, loss=loss)
    for kind, slope in ACTIVATIONS
    for m in (1, 2, 3)
    for loss in ("mse", "bce")
]


@pytest.mark.parametrize("spec", MODELS, ids=lambda s: f"{s.model}-{s.activation}{s.slope}-{s.hidden}-{s.loss}")
def test_gradients_are_finite_differences(spec: Spec) -> None:
    size = 3 * spec.hidden + (2 * spec.hidden + 2) * (spec.model == "two_layer") + (spec.activation == "prelu")
    params = np.random.default_rng(0).normal(size=(30, size))
    state = evaluate(spec, params)
    params = params[(np.abs(state.pre) > 1e-3).all(axis=(1, 2))]  # away from kinks
    assert len(params) > 20
    h = 1e-5
    shifts = h * np.eye(size)
    slopes = [(evaluate(spec, params + s).loss - evaluate(spec, params - s).loss) / (2 * h) for s in shifts]
    assert_allclose(evaluate(spec, params).gradient, np.stack(slopes, axis=1), 1e-7, 1e-8)


@pytest.mark.parametrize(
    ("activation", "slope", "derivative"),
    [("abs", 0.0, 0), ("relu", 0.0, 0), ("leaky", -0.8, -0.8), ("prelu", 0.25, 0.25), ("elu", 0.0, 1)],
)
def test_derivatives_at_kinks_are_those_of_pytorch(activation: str, slope: float, derivative: float) -> None:
    value, at_zero = reference.activate(Spec(activation=activation, slope=slope), np.zeros(1), slope)
    assert (value, at_zero) == (0, derivative)


def test_momentum_and_weight_decay() -> None:
    """Two steps by hand: while all pre-activations are positive, |z| = z and the loss is a parabola."""
    spec = Spec(activation="abs", hidden=1, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.5)
    start = np.array([[0.3, 0.2, 2.0]])  # d loss / dw = 2 w, d loss / db = 2 (b - 1/2)
    path = simulate(replace(spec, max_epochs=2, patience=None), start).param_trace[0]
    pull = np.array([0, 0, 1])  # the gradient with weight decay is 2.5 theta - pull
    velocity = 2.5 * start[0] - pull
    first = start[0] - 0.1 * velocity
    assert_allclose(path[0], first, 1e-14)
    assert_allclose(path[1], first - 0.1 * (0.9 * velocity + 2.5 * first - pull), 1e-14)


def test_a_diverging_run_stops_before_the_step_and_leaves_others_alone() -> None:
    spec = replace(EXPERIMENTS["abs1_convergence"], learning_rate=0.1)
    start = np.array([[0.3, -0.2, 0.0], [1e30, 0.0, 0.0], [np.nan, 0.0, 0.0]], np.float32)
    both, alone = simulate(spec, start), simulate(spec, start[:1])
    assert both.status.tolist() == [CONVERGED, DIVERGED, DIVERGED]
    assert both.epochs.tolist() == [alone.epochs[0], 0, 0]
    assert_array_equal(both.final_params[1:], start[1:])
    assert_array_equal(both.param_trace[0], alone.param_trace[0])
    blown_up = simulate(replace(spec, learning_rate=1e15), start[:1])
    assert blown_up.status.tolist() == [DIVERGED]
    assert blown_up.epochs[0] == len(blown_up.loss_trace[0]) == len(blown_up.param_trace[0]) > 0
    assert np.isfinite(blown_up.final_params).all()


def test_patience_counts_epochs_without_improvement() -> None:
    """A net of dead units never moves: its first loss is an improvement on nothing, the next eleven are none."""
    dead = np.array([[0.0, 0, 0, 0, -1, -1]])
    result = simulate(Spec(patience=10), dead)
    assert (result.status[0], result.epochs[0]) == (STALLED, 12)
    capped = simulate(Spec(patience=10, max_epochs=11), dead)
    assert (capped.status[0], capped.epochs[0]) == (EPOCH_CAP, 11)
    lenient = simulate(Spec(patience=0, stop_loss=0.6), dead)
    assert (lenient.status[0], lenient.epochs[0]) == (CONVERGED, 1)
    assert simulate(Spec(patience=0, stop_loss=0.5), dead).status[0] == STALLED  # below, not at, the threshold
