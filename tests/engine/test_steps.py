"""One step and its stop rules: against a plain Python loop, the NumPy reference, and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor import Experiment, Run, Status, Task, get_experiment
from jaxor.experiments.model import plain
from tests import reference
from tests.conftest import Row
from tests.reference import EXPERIMENTS, Result, Spec

CONVERGED, STALLED, EPOCH_CAP, DIVERGED, _ = Status

# Stop rules on losses as one likes: the parameters of a seed are a table of its losses and the place in it. Every step
# moves the place on by one, so the losses before the steps are the table from its beginning.

LENGTH = 24


def _advance_place() -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jnp.zeros_like(updates).at[0].set(1), state

    return optax.GradientTransformation(lambda params: (), update)


OUTLIERS = {3e38: math.inf, 2e38: -math.inf, 1e38: math.nan}
"""Numbers that stand for losses that initial parameters may not hold."""


NO_TASK = Task(np.zeros((1, 1), np.float32), np.zeros(1, np.float32), lambda outputs, targets: jnp.ones(()))


def _recite(outputs: jax.Array, targets: Any) -> jax.Array:
    loss = outputs[0]
    for code, value in OUTLIERS.items():
        loss = jnp.where(loss == np.float32(code), value, loss)
    return loss


SHAPES = {"place": (1,), "losses": (LENGTH,)}
# One of each, so that equal rules are the same experiment, which is compiled once.
TABLE = plain(SHAPES, lambda params, inputs: params["losses"][params["place"].astype(jnp.int32)])
NEXT_PLACE = _advance_place()


def recital(**rules: Any) -> Experiment:
    """An experiment whose losses are given by the initial parameters."""
    parts: dict[str, Any] = {
        "task": NO_TASK,
        "model": TABLE,
        "loss": _recite,
        "optimizer": NEXT_PLACE,
        "max_epochs": LENGTH - 1,
    }
    return Experiment("recital", **(parts | rules))


def told(losses: NDArray[Any], experiment: Experiment) -> tuple[int, Status]:
    """Steps and status by the rules as they are written down, one loss after the other, in real numbers."""
    stop, best, stale = experiment.stop, math.inf, 0
    for step, loss in enumerate(map(float, losses[: experiment.max_epochs])):
        if not math.isfinite(loss):
            return step, DIVERGED
        if stop.loss is not None and loss < stop.loss:
            return step + 1, CONVERGED
        stale = 0 if best - loss > stop.min_improvement else stale + 1
        best = min(best, loss)
        if stop.patience is not None and stale > stop.patience:
            return step + 1, STALLED
    return experiment.max_epochs, EPOCH_CAP


def neighbours(threshold: float) -> list[float]:
    """The float32 numbers at and around a threshold."""
    at = np.float32(threshold)
    return [float(np.nextafter(at, np.float32(0))), float(at), float(np.nextafter(at, np.float32(1)))]


RULES: list[tuple[dict[str, Any], list[float]]] = [
    # float32 has .7 a little lower, .1 a little higher.
    (
        {"stop": {"patience": 4, "min_improvement": 0.25, "loss": 0.7}, "max_epochs": 16},
        [*neighbours(0.7), *np.arange(1, 4, 0.125)],
    ),
    ({"stop": {"patience": 1, "min_improvement": 1e-24}}, [1, 1 - 2**-24, 1e-20, 1e-23, 1e-25, 2e-25, 0.5]),
    ({"stop": {"patience": 2, "loss": 0.1}}, [1, 2, 0.5, *neighbours(0.1), *OUTLIERS]),
]


# Two of these rules alone, another threshold that float32 has a little higher, more patience, three rules
# in a longer run, and a cap of one, which is also checked against the reference.
RARELY: list[tuple[dict[str, Any], list[float]]] = [
    ({"stop": {"loss": 0.7}, "max_epochs": 16}, [1, 2, 3, 4, 5, 6, 7, 8, *neighbours(0.7)]),
    ({"stop": {"patience": 4, "min_improvement": 0.25}}, np.arange(0, 3, 0.125).tolist()),
    ({"stop": {"loss": 1e-7}, "max_epochs": 17}, [1, 2, 3, 4, 5, 6, 7, 8, *neighbours(1e-7)]),
    ({"stop": {"patience": 3}}, [1, 1.5, 0.5, *neighbours(0.25), 2, 3]),
    ({"stop": {"patience": 3, "loss": 0.5}, "max_epochs": 5}, [1, 2, *neighbours(0.5), 1e38]),
    ({"max_epochs": 1}, [1, 0, -1, *OUTLIERS]),
]


@pytest.mark.parametrize(
    ("rules", "values"),
    [*RULES, *(pytest.param(*rule, marks=pytest.mark.full) for rule in RARELY)],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_any_losses_end_a_run_as_the_rules_say(rules: dict[str, Any], values: list[float]) -> None:
    """Losses at a threshold and next to it, several rules at one step, NaN: random ones, in thousands of runs."""
    experiment = recital(**rules)
    coded = np.random.default_rng(0).choice(np.array(values, np.float32), size=(3000, LENGTH))
    losses = coded.copy()
    for code, value in OUTLIERS.items():
        losses[coded == np.float32(code)] = value
    steps, status = np.array([told(row, experiment) for row in losses]).T
    assert len({*zip(steps, status, strict=True)}) > 1

    run = jaxor.simulate(experiment, initial_params=np.hstack([np.zeros((3000, 1)), coded]), traces="all")
    assert_array_equal(run.steps, steps)
    assert_array_equal(run.status, status)
    assert_array_equal(run.final_params[:, 0], steps)  # the step of the stopping epoch was taken
    assert_array_equal(run.initial_loss, losses[:, 0])
    for seed in range(0, len(run), 50):
        assert_array_equal(run.trace(seed).loss, losses[seed, : steps[seed]])
        assert_array_equal(run.trace(seed).params[:, 0], np.arange(1, steps[seed] + 1))


def test_reasons_that_meet_at_one_step() -> None:
    """Diverged before converged before stalled before the cap."""
    experiment = recital(stop={"patience": 2, "loss": 0.1})  # compiled for the losses above
    last = experiment.max_epochs
    losses = np.tile(np.arange(LENGTH + 9.0, 9, -1), (4, 1))  # better and better until the last four steps
    losses[:, last - 4 : last] = [[1, 1, 1, 1e38], [1, 2, 2, 0.05], [1, 1, 1, 1], [1, 1, 0.9, 0.9]]
    run = jaxor.simulate(experiment, initial_params=np.hstack([np.zeros((4, 1)), losses]))
    assert run.status.tolist() == [DIVERGED, CONVERGED, STALLED, EPOCH_CAP]
    assert run.steps.tolist() == [last - 1, last, last, last]


def bare(loss: Any, rate: float, **rules: Any) -> Experiment:
    """Gradient descent on a function of one number."""
    parts: dict[str, Any] = {
        "task": NO_TASK,
        "model": plain({"x": (1,)}, lambda params, inputs: params["x"]),
        "loss": lambda outputs, targets: loss(outputs[0]),
        "optimizer": {"name": "sgd", "learning_rate": rate},
        "max_epochs": 5,
    }
    return Experiment("bare", **(parts | rules))


def test_a_gradient_that_is_not_finite() -> None:
    """sqrt has an infinite slope at 0, where the loss is finite and below the threshold."""
    run = jaxor.simulate(bare(jnp.sqrt, 0.1, stop={"loss": 1e-3}), initial_params=[[0.0], [4.0]], traces=False)
    assert run.status.tolist() == [DIVERGED, EPOCH_CAP]
    assert run.steps.tolist() == [0, 5]
    assert run.final_params[0] == 0 and run.final_loss[0] == 0
    still = jaxor.simulate(bare(jnp.sqrt, 0.1, optimizer="none"), initial_params=[[0.0], [4.0]], traces=False)
    assert still.status.tolist() == [DIVERGED, EPOCH_CAP]  # even if the step makes nothing of it


def test_a_step_that_is_not_finite() -> None:
    """Loss and gradient of x^2 are finite at 10^4, but 10^38 times the gradient is not; at 0 there is no step."""
    run = jaxor.simulate(bare(jnp.square, 1e38), initial_params=[[1e4], [0.0]], traces=False)
    assert run.status.tolist() == [DIVERGED, EPOCH_CAP]
    assert run.steps.tolist() == [0, 5]
    assert run.final_params.ravel().tolist() == [1e4, 0]


# Against the NumPy reference, from the initial parameters that jaxor draws


def case(name: str) -> tuple[Experiment, Spec]:
    return get_experiment(name), EXPERIMENTS[name]


MOMENTUM = {"name": "momentum", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01}
SGD = Spec(optimizer="sgd", learning_rate=0.05, momentum=0.9, weight_decay=0.01, max_epochs=600, patience=20)
CASES = {
    **{name: case(name) for name in ("abs1_normal", "relu1_normal", "relu1_monitor", "relu1_elu")},
    **{name: case(name) for name in ("relu2_two_mse_sgd", "relu2_two_bce")},
    "relu1_prelu": (get_experiment("relu1_prelu"), Spec(activation="prelu", max_epochs=5000)),
    "relu1, momentum and decay": (get_experiment("relu1_convergence").replace(optimizer=MOMENTUM), SGD),
    "relu2, Adam and decay": (
        get_experiment("relu2_two_mse_l2reg").replace(max_epochs=300),
        Spec(model="two_layer", weight_decay=0.1, max_epochs=300),
    ),
}
# Runs that fail on a plateau, where one bit of an exponential decides when they stall.
KNIFE_EDGES = {"relu1_elu": {113}}
SEEDS = 300


@cache
def both(name: str, x64: bool) -> tuple[Run, Result]:
    experiment, spec = CASES[name]
    # In float32 at the width at which other tests compile the same programs.
    run = jaxor.simulate(experiment, SEEDS, x64=x64, lane_width=304 if x64 else None)
    return run, reference.simulate(spec, run.initial_params)


OFTEN = ("relu2_two_mse_sgd", "relu1, momentum and decay")  # and relu1_normal in float32, below


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in OFTEN else [pytest.mark.full]) for name in CASES]
)
def test_float64_runs_are_those_of_the_reference(name: str, table_row: Row) -> None:
    run, theirs = both(name, x64=True)
    assert run.final_params.dtype == run.final_loss.dtype == np.float64
    same = (run.epochs == theirs.epochs) & (run.status == theirs.status)
    assert set(np.flatnonzero(~same).tolist()) <= KNIFE_EDGES.get(name, set())
    assert_array_equal(run.final_accuracy[same], theirs.final_accuracy[same])
    params = np.abs(run.final_params - theirs.final_params)[same].max()
    losses, paths = [], []
    for seed in np.flatnonzero(same).tolist():
        trace = run.trace(seed)
        losses.append(np.abs(trace.loss - theirs.loss_trace[seed]).max())
        paths.append(np.abs(trace.params - theirs.param_trace[seed]).max())
    counts = ", ".join(f"{np.sum(run.status == status)} {status.name.lower()}" for status in Status)
    table_row(
        f"Against the NumPy reference in float64, {SEEDS} seeds", experiment=name, equal=f"{same.mean():.1%}",
        **{"final params": f"{params:.0e}", "trace params": f"{max(paths):.0e}", "trace losses": f"{max(losses):.0e}"},
        ends=counts,
    )  # fmt: skip
    assert params < 1e-10
    assert max(losses) < 1e-10
    assert max(paths) < 1e-9
    assert_allclose(run.final_loss[same], theirs.final_loss[same], 1e-7, 1e-12)


@pytest.mark.parametrize("name", ["relu1_normal", "relu2_two_mse_sgd"])
def test_float32_runs_are_those_of_the_reference(name: str) -> None:
    run, theirs = both(name, x64=False)
    assert run.final_params.dtype == run.final_loss.dtype == np.float32
    same = (run.epochs == theirs.epochs) & (run.status == theirs.status)
    assert same.mean() > 0.99
    assert np.abs(run.epochs - theirs.epochs).max() <= 1
    assert_array_equal(run.final_accuracy, theirs.final_accuracy)
    difference = np.abs(run.final_params - theirs.final_params).max(axis=1)[same]
    assert np.quantile(difference, 0.98) < 2e-6
    assert difference.max() < 1e-4


@pytest.mark.parametrize("name", ["relu1_normal", "relu2_two_mse_sgd"])
def test_every_step_is_accounted_for(name: str) -> None:
    run, _ = both(name, x64=False)
    counts = [np.sum(run.status == status) for status in Status]
    assert sum(counts) == len(run) == SEEDS
    assert run.row_size.sum() == run.steps.sum()
    assert_array_equal(run.epochs, run.steps)
    stop = run.experiment.stop
    for seed in range(SEEDS):
        trace = run.trace(seed)
        assert_array_equal(trace.step, np.arange(int(run.steps[seed])))
        assert_array_equal(trace.params[-1], run.final_params[seed])  # frozen from then on
        assert trace.loss[0] == pytest.approx(run.initial_loss[seed], rel=5e-7)
        below = np.flatnonzero(trace.loss < stop.loss)
        assert below.tolist() == ([len(trace.loss) - 1] if run.status[seed] == CONVERGED else [])
    assert np.all(run.steps[run.status == EPOCH_CAP] == run.experiment.max_epochs)


@pytest.mark.parametrize("cap", [0, 1])
def test_caps_of_no_step_and_of_one(cap: int) -> None:
    experiment, spec = CASES["relu1_normal"]
    run = jaxor.simulate(experiment.replace(max_epochs=cap), 50)
    theirs = reference.simulate(replace(spec, max_epochs=cap), run.initial_params)
    assert set(run.status.tolist()) == {EPOCH_CAP}
    assert set(run.steps.tolist()) == set(run.epochs.tolist()) == {cap}
    assert_allclose(run.final_params, theirs.final_params, 0, 1e-7)
    assert [len(run.trace(seed).loss) for seed in run.seeds] == [cap] * 50
    assert np.array_equal(run.final_params, run.initial_params) == (cap == 0)


# Divergence


@cache
def swept(rate: float) -> tuple[Run, Result]:
    """Two-layer nets, of which some start far out: at the same rate some diverge and others converge."""
    experiment, spec = CASES["relu2_two_mse_sgd"]
    start = both("relu2_two_mse_sgd", x64=False)[0].initial_params
    start = start * np.repeat(np.array([1, 2, 4, 64], np.float32), SEEDS // 4)[:, None]
    run = jaxor.simulate(experiment.replace(**{"optimizer.learning_rate": rate}), initial_params=start)
    return run, reference.simulate(replace(spec, learning_rate=rate), start)


RATES = [0.5, *(pytest.param(rate, marks=pytest.mark.full) for rate in (2.0, 5.0))]


@pytest.mark.parametrize("rate", RATES)
def test_runs_diverge_at_the_step_of_the_reference(rate: float, table_row: Row) -> None:
    run, theirs = swept(rate)
    gone = run.status == DIVERGED
    steps = f"{run.steps[gone].min()} to {run.steps[gone].max()}"
    table_row(
        f"Runs that diverge: relu2_two_mse_sgd, {SEEDS} seeds", rate=rate, diverged=np.sum(gone),
        converged=np.sum(run.status == CONVERGED), **{"equal to the reference": np.sum(run.status == theirs.status)},
        **{"steps before": steps},
    )  # fmt: skip
    assert_array_equal(gone, theirs.status == DIVERGED)
    assert_array_equal(run.steps[gone], theirs.epochs[gone])
    assert 10 < gone.sum() <= SEEDS


@pytest.mark.parametrize("rate", RATES)
def test_diverged_runs_keep_their_last_finite_parameters(rate: float) -> None:
    run, theirs = swept(rate)
    gone = np.flatnonzero(run.status == DIVERGED)
    assert np.isfinite(run.final_params).all()
    assert len(np.unique(run.steps[gone])) > 1
    for seed in gone.tolist():
        trace = run.trace(seed)
        last = trace.params[-1] if len(trace.loss) else run.initial_params[seed]
        assert np.isfinite(trace.loss).all()
        assert_array_equal(run.final_params[seed], last)
    early = gone[run.steps[gone] < 8]  # before rounding differences are blown up
    assert_allclose(run.final_params[early], theirs.final_params[early], 1e-3)
    others = run.status != DIVERGED
    assert np.isfinite(run.final_loss[others]).all()
    assert np.isfinite(run.final_accuracy).all()


def test_a_diverging_lane_leaves_the_others_alone() -> None:
    run, _ = swept(0.5)
    others = np.flatnonzero(run.status != DIVERGED)
    assert 0 < len(others) < len(run)
    alone = jaxor.simulate(run.experiment, seeds=others, initial_params=run.initial_params[others])
    for name in ("status", "steps", "initial_loss", "final_params", "final_loss", "final_accuracy"):
        assert_array_equal(getattr(alone, name), getattr(run, name)[others])
    for seed in others[::7]:
        assert_array_equal(alone.trace(seed).params, run.trace(seed).params)


def test_parameters_too_large_for_a_loss() -> None:
    start = np.array([[1e30, 0, 0], [1e38, -1e38, 1e38], [0.3, -0.2, 0], [-1e38, 0, 0]], np.float32)
    run = jaxor.simulate("abs1_convergence", initial_params=start)
    alone = jaxor.simulate("abs1_convergence", seeds=[2], initial_params=start[2:3])
    assert run.status.tolist() == [DIVERGED, DIVERGED, CONVERGED, DIVERGED]
    assert run.steps.tolist() == [0, 0, alone.steps[0], 0]
    assert_array_equal(run.final_params[[0, 1, 3]], start[[0, 1, 3]])
    assert_array_equal(run.final_params[2], alone.final_params[0])
    assert len(run.trace(0).loss) == 0


def test_momentum_with_nesterov() -> None:
    """Two steps by hand on x^2 / 2 with friction .9 and rate .1."""
    experiment = bare(
        lambda x: x * x / 2, 1.0, max_epochs=2,
        optimizer={"name": "momentum", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
    )  # fmt: skip
    x, velocity = 1.0, 0.0
    for _ in range(2):
        velocity = 0.9 * velocity + x
        x -= 0.1 * (x + 0.9 * velocity)
    run = jaxor.simulate(experiment, initial_params=[[1.0]], x64=True, traces=False)
    assert_allclose(run.final_params, [[x]], 1e-14)
