"""Optimizers and schedules against optax and against their formulas in float64 NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from jaxor.experiments.optimizer import OPTIMIZERS, scale_by_adam

STEPS, SIZE = 200, 5

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("constant", {}),
    ("linear", {"steps": 50}),
    ("linear", {"steps": 500, "end_factor": 0.5}),
    ("exponential", {"steps": 20, "factor": 0.5}),
    ("exponential", {"steps": 100, "factor": 2.0}),
    ("piecewise", {"steps": 120, "factors": [0.0, 1.5, 0.25, 0.25, 0.125]}),
    ("piecewise", {"steps": 7, "factors": [1.0, 0.0]}),
    ("cosine", {"steps": 60, "end_factor": 0.1}),
    ("cosine", {"steps": 150, "warmup": 30}),
    ("cosine", {"steps": 150, "warmup": 149, "end_factor": 0.25}),
]


def built(name: str, **options: Any) -> optax.GradientTransformation:
    return OPTIMIZERS.build(OPTIMIZERS.resolve({"name": name, **options}, "optimizer"), "optimizer")


def gradients(scale: float = 1.0) -> NDArray[np.float32]:
    """Of very different sizes, as they are along a run."""
    generator = np.random.default_rng(2)
    sizes = 10.0 ** generator.uniform(-6, 1, size=(STEPS, SIZE))
    return np.asarray(scale * sizes * generator.normal(size=(STEPS, SIZE)), np.float32)


START = np.random.default_rng(3).normal(size=SIZE).astype(np.float32)


def path(optimizer: optax.GradientTransformation, pulls: NDArray[np.float32]) -> NDArray[np.float32]:
    """Parameters after each step."""

    def step(carry: Any, gradient: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    start = jnp.asarray(START)
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, (start, optimizer.init(start)), pulls)[1])())


def rate(name: str, options: dict[str, Any], step: int) -> float:
    """The factor of the learning rate at a step."""
    end = options.get("end_factor", 0.0)
    steps, warmup = options.get("steps", 1), options.get("warmup", 0)
    if name == "linear":
        return 1 + (end - 1) * min(step / steps, 1)
    if name == "piecewise":
        return np.interp(step, np.linspace(0, steps, len(options["factors"])), options["factors"])
    if name == "exponential":
        return options["factor"] ** (step / steps)
    if name == "cosine":
        if step < warmup:
            return step / warmup
        along = min((step - warmup) / (steps - warmup), 1)
        return end + (1 - end) * (1 + np.cos(np.pi * along)) / 2
    return 1.0


@pytest.mark.parametrize(("b1", "b2", "eps"), [(0.9, 0.99, 1e-8), (0.9, 0.999, 1e-8), (0.0, 0.5, 1e-3)])
def test_adam_is_that_of_optax(b1: float, b2: float, eps: float) -> None:
    """In float64; in float32 optax loses digits of 1 - b2^t, up to 1e-4 at the first steps with b2 = .999."""

    def directions(optimizer: optax.GradientTransformation, dtype: Any) -> Any:
        update, state = jax.jit(optimizer.update), optimizer.init(jnp.zeros(SIZE, dtype))
        found = []
        for gradient in gradients().astype(dtype):
            direction, state = update(gradient, state)
            found.append(np.asarray(direction))
        return np.array(found)

    ours, theirs = scale_by_adam(b1, b2, eps), optax.scale_by_adam(b1, b2, eps)
    with jax.enable_x64(True):
        exact = directions(theirs, np.float64)
        assert_allclose(directions(ours, np.float64), exact, 1e-12, 1e-12)
    assert_allclose(directions(ours, np.float32), exact, 1e-6, 1e-6)
    assert_allclose(directions(theirs, np.float32), exact, 1e-6 if b2 < 0.999 else 1e-4, 1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam(decay: float) -> None:
    """As torch writes it: bias corrections of the step and of the square root."""
    params, m, v, expected = START.astype(float), 0.0, 0.0, []
    for t, gradient in enumerate(gradients().astype(float), 1):
        gradient = gradient + decay * params
        m, v = m + (1 - 0.9) * (gradient - m), 0.99 * v + (1 - 0.99) * gradient**2
        params = params - 0.01 / (1 - 0.9**t) * m / (np.sqrt(v) / np.sqrt(1 - 0.99**t) + 1e-8)
        expected.append(params)
    got = path(built("adam", learning_rate=0.01, weight_decay=decay), gradients())
    assert_allclose(got, np.array(expected), 1e-5, 1e-5)
    theirs = optax.chain(optax.add_decayed_weights(decay), optax.adam(0.01, 0.9, 0.99, 1e-8))
    assert_allclose(got, path(theirs, gradients()), 2e-6, 2e-6)


def test_first_step_of_adam_is_the_learning_rate() -> None:
    optimizer = built("adam", learning_rate=0.01)
    start = jnp.zeros(3)
    updates, _ = optimizer.update(jnp.array([1e-3, -5.0, 0.0]), optimizer.init(start), start)
    assert_allclose(np.asarray(updates), [-0.01, 0.01, 0], 2e-5)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_momentum(nesterov: bool, decay: float) -> None:
    """As torch writes it: no damping, and the learning rate outside the velocity."""
    params, velocity, expected = START.astype(float), np.zeros(SIZE), []
    for gradient in gradients().astype(float):
        gradient = gradient + decay * params
        velocity = 0.8 * velocity + gradient
        params = params - 0.01 * (gradient + 0.8 * velocity if nesterov else velocity)
        expected.append(params)
    options = {"learning_rate": 0.01, "momentum": 0.8, "nesterov": nesterov}
    got = path(built("momentum", **options, weight_decay=decay), gradients())
    assert_allclose(got, np.array(expected), 1e-5, 1e-5)
    if not decay:
        assert_allclose(got, path(optax.sgd(0.01, 0.8, nesterov), gradients()), 1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_sgd(decay: float) -> None:
    params, expected = START.astype(float), []
    for gradient in gradients().astype(float):
        params = params - 0.1 * (gradient + decay * params)
        expected.append(params)
    got = path(built("sgd", learning_rate=0.1, weight_decay=decay), gradients())
    assert_allclose(got, np.array(expected), 1e-5, 1e-5)
    if not decay:
        assert_array_equal(got, path(optax.sgd(0.1), gradients()))


def test_none_takes_no_step() -> None:
    assert_array_equal(path(built("none"), gradients()), np.broadcast_to(START, (STEPS, SIZE)))


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules(name: str, options: dict[str, Any]) -> None:
    """With a gradient of one, the step is the learning rate."""
    pulls = np.ones((STEPS, SIZE), np.float32)
    optimizer = built("sgd", learning_rate=0.5, schedule={"name": name, **options})
    steps = -np.diff(path(optimizer, pulls).astype(float), axis=0, prepend=START[None])
    expected = [0.5 * rate(name, options, step) for step in range(STEPS)]
    assert_allclose(steps, np.broadcast_to(np.array(expected)[:, None], steps.shape), 0, 1e-5)


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("linear", {"steps": 50, "end_factor": 0.5}, optax.linear_schedule(0.5, 0.25, 50)),
        ("exponential", {"steps": 20, "factor": 0.5}, optax.exponential_decay(0.5, 20, 0.5)),
        ("cosine", {"steps": 60, "end_factor": 0.1}, optax.cosine_decay_schedule(0.5, 60, 0.1)),
        (
            "cosine",
            {"steps": 150, "warmup": 30, "end_factor": 0.1},
            optax.warmup_cosine_decay_schedule(0.0, 0.5, 30, 150, 0.05),
        ),
    ],
)
def test_schedules_are_those_of_optax(name: str, options: dict[str, Any], theirs: optax.Schedule) -> None:
    for optimizer, base in (("sgd", optax.identity()), ("adam", scale_by_adam(0.9, 0.99, 1e-8))):
        ours = built(optimizer, learning_rate=0.5, schedule={"name": name, **options})
        expected = optax.chain(base, optax.scale_by_learning_rate(theirs))
        assert_array_equal(path(ours, gradients()), path(expected, gradients()))


def test_the_schedule_counts_steps_of_its_own_run() -> None:
    """In the engine a lane that is filled anew starts its schedule anew."""
    import jaxor

    experiment = jaxor.get_experiment("abs1_normal").replace(
        **{"optimizer.schedule": {"name": "exponential", "steps": 3, "factor": 0.5}, "max_epochs": 40, "stop.loss": 0.1}
    )
    many = jaxor.simulate(experiment, 200, traces=False, lane_width=16)
    shifted = jaxor.simulate(experiment, range(101, 301), traces=False, lane_width=16)
    assert len(set(many.epochs.tolist())) > 3
    assert_array_equal(many.final_params[101:], shifted.final_params[:99])
