"""Interventions against plain loops over points and units."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.intervention import INTERVENTIONS, Intervention, Look
from jaxor.experiments.task import TASKS

X = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])
Y = np.array([0.0, 1, 1, 0])
Floats = NDArray[Any]


class DeadSamples:
    """Points that are misclassified and get no gradient."""

    def __init__(self, patience: int = 5, margin: float = 1e-4) -> None:
        self.patience, self.margin, self.count = patience, margin, [0, 0, 0, 0]

    def check(self, w: Floats, b: Floats) -> list[bool]:
        flagged = [False] * 4
        for i in range(4):
            pre = [float(w[k] @ X[i] + b[k]) for k in range(len(b))]
            out = sum(max(z, 0.0) for z in pre)
            score = sum((z > 0) * abs(2 / 4 * (out - Y[i])) for z in pre)
            dead = score == 0 and (out > 0.5) != (Y[i] == 1)
            self.count[i] = self.count[i] + 1 if dead else 0
            flagged[i] = self.count[i] > self.patience
        return flagged

    def fix(self, flagged: list[bool], w: Floats, b: Floats) -> None:
        for i in range(4):
            if not flagged[i]:
                continue
            z = w @ X[i] + b
            k = int(np.argmin(np.abs(z) / (np.linalg.norm(w, axis=1) + 1e-12)))
            w[k] += max(0.0, self.margin - z[k]) / (X[i] @ X[i] + 1e-12) * X[i]
            self.count[i] = 0


class Bounds:
    """Units whose hyperplane lies far out."""

    def __init__(self, radius: float = 1.4, patience: int = 3) -> None:
        self.radius, self.patience, self.count = radius, patience, [0] * 9

    def check(self, w: Floats, b: Floats) -> list[bool]:
        flagged = []
        for k in range(len(b)):
            far = abs(b[k]) / (np.linalg.norm(w[k]) + 1e-12) > self.radius
            self.count[k] = self.count[k] + 1 if far else 0
            flagged.append(self.count[k] > self.patience)
        return flagged

    def fix(self, flagged: list[bool], w: Floats, b: Floats) -> None:
        for k in range(len(b)):
            if flagged[k]:
                b[k], self.count[k] = 0.0, 0


def built(name: str, **options: Any) -> Intervention:
    rule, task = INTERVENTIONS.resolve({"name": name, **options}, "rule"), TASKS.resolve("xor", "task")
    return INTERVENTIONS.build(rule, "rule", TASKS.build(task, "task"))


def look(w: Floats, b: Floats, key: int = 0) -> Look:
    pre = X @ w.T + b
    params = {"linear1.weight": jnp.asarray(w), "linear1.bias": jnp.asarray(b)}
    outputs = jnp.asarray(np.maximum(pre, 0).sum(1))
    return Look(params, params, outputs, {"preactivation": jnp.asarray(pre)}, jax.random.key(key))


def states(seed: int, units: int, steps: int) -> list[tuple[Floats, Floats]]:
    """Weights and biases that change now and then, so that counters run and start again."""
    generator = np.random.default_rng(seed)
    w, b, found = np.zeros((units, 2)), np.zeros(units), []
    for step in range(steps):
        if step == 0 or generator.random() < 0.12:
            w = generator.normal(size=(units, 2)) * generator.choice([0.1, 0.5, 2])
            b = generator.normal(size=units) * generator.choice([0, 0.3, 1])
        found.append((w + 0.001 * generator.normal(size=w.shape), b.copy()))
    return found


@pytest.mark.parametrize(("name", "plain"), [("dead_samples", DeadSamples), ("bounds", Bounds)])
@pytest.mark.parametrize("units", [1, 2, 3])
def test_against_plain_loops(name: str, plain: Any, units: int) -> None:
    with jax.enable_x64(True):
        rule, own = built(name), plain()
        check, fix = jax.jit(rule.check), jax.jit(rule.fix)
        first = look(*states(0, units, 1)[0])
        state = rule.init(first.params)
        assert not np.asarray(state).any()
        flags = 0
        for step, (w, b) in enumerate(states(units, units, 400)):
            here = look(w, b, step)
            state, flagged = check(state, here)
            expected = own.check(w, b)
            assert np.asarray(flagged).tolist() == expected
            flags += sum(expected)
            fixed_w, fixed_b = w.copy(), b.copy()
            own.fix(expected, fixed_w, fixed_b)
            assert np.asarray(state).tolist() == own.count[: len(expected)]
            params = fix(flagged, here.params, here)
            assert_allclose(params["linear1.weight"], fixed_w, 1e-11, 1e-13)
            assert_allclose(params["linear1.bias"], fixed_b, 1e-12)
        assert flags > 10


@pytest.mark.parametrize(("patience", "steps"), [(0, 1), (2, 3), (5, 6)])
def test_patience_of_dead_samples(patience: int, steps: int) -> None:
    """A net of zeros: the two points of class 1 are dead from the first step on."""
    rule = built("dead_samples", patience=patience)
    here = look(np.zeros((2, 2)), np.zeros(2))
    state = rule.init(here.params)
    for step in range(1, steps + 1):
        state, flagged = rule.check(state, here)
        assert np.asarray(flagged).tolist() == [False, step == steps, step == steps, False]
    assert np.asarray(state).tolist() == [0, 0, 0, 0]


def test_a_repaired_point_is_just_inside_and_the_next_sees_it() -> None:
    rule = built("dead_samples", patience=0, margin=0.01)
    w, b = np.array([[0.3, 0.2], [-1.0, -1.0]]), np.array([-2.0, -3.0])
    here = look(w, b)
    flagged = jnp.array([False, True, True, False])
    params = rule.fix(flagged, here.params, here)
    fixed = np.asarray(params["linear1.weight"], float)
    only_first = np.asarray(rule.fix(jnp.array([False, True, False, False]), here.params, here)["linear1.weight"])
    second = built("dead_samples", patience=0, margin=0.01)
    after = look(only_first, b)
    again = second.fix(jnp.array([False, False, True, False]), after.params, after)["linear1.weight"]
    assert_allclose(fixed, again, 1e-6)
    assert_allclose(max(only_first @ X[1] + b), 0.01, 1e-4)
    assert_array_equal(params["linear1.bias"], b)


def test_right_answers_and_reached_points_are_not_dead() -> None:
    rule = built("dead_samples", patience=0)
    zero = np.zeros((2, 2))
    solved = np.array([[0.5, -0.5], [-0.5, 0.5]])
    for w, b in ((solved, np.zeros(2)), (zero, np.array([0.4, 0.0]))):
        here = look(w, b)
        assert not np.asarray(rule.check(rule.init(here.params), here)[1]).any()
    tie = look(zero, np.array([0.5, 0.0]))  # outputs are 1/2: not above it, so class 0, but with an active unit
    assert not np.asarray(rule.check(rule.init(tie.params), tie)[1]).any()


def test_a_unit_at_the_radius_is_not_too_far_out() -> None:
    rule = built("bounds", radius=1.5, patience=0)
    for distance, flagged in ((1.5, False), (1.5001, True), (-1.5001, True)):
        here = look(np.array([[2.0, 0.0]]), np.array([2 * distance]))
        assert np.asarray(rule.check(rule.init(here.params), here)[1]).tolist() == [flagged]
    lost = look(np.zeros((1, 2)), np.array([1e-6]))  # no weight at all: as far as can be
    assert np.asarray(rule.check(rule.init(lost.params), lost)[1]).tolist() == [True]


# Annealing


def temperature(out: Floats, scale: float, threshold: float) -> float:
    """Deviation of the noise."""
    losses = (out - Y) ** 2
    if losses.sum() <= 1e-9:
        return 0.0
    p = losses / losses.sum()
    u = (2 + float(np.sum(p * np.log2(p + 1e-9)))) / 2
    return scale * float(np.sqrt(np.sum(losses**2))) * u**2 if u > threshold else 0.0


def with_outputs(out: Floats, key: int = 0) -> Look:
    params = {"linear1.weight": jnp.ones((2, 2)), "linear1.bias": jnp.zeros(2)}
    return Look(params, params, jnp.asarray(out), {}, jax.random.key(key))


@pytest.mark.parametrize(("scale", "threshold"), [(0.1, 0.1), (0.3, 0.5)])
def test_size_of_the_noise(scale: float, threshold: float) -> None:
    with jax.enable_x64(True):
        rule, generator, sizes = built("annealing", scale=scale, threshold=threshold), np.random.default_rng(4), []
        check = jax.jit(lambda at: rule.check((), at)[1])
        for key in range(300):
            out = Y + (1 + generator.uniform(0, 2) * generator.normal(size=4)) * 10.0 ** generator.uniform(-3, 1)
            sizes.append(temperature(out, scale, threshold))
            assert_allclose(check(with_outputs(out, key)), sizes[-1], 1e-9, 1e-14)
        assert 20 < np.count_nonzero(sizes) < 280
        assert float(check(with_outputs(Y))) == 0  # nothing to share out
        assert float(check(with_outputs(Y + 1e-5))) == 0
        assert float(check(with_outputs(Y + 1.0))) == 0  # shared out evenly
        one_point = Y + np.array([0, 2.0, 0, 0])
        assert_allclose(check(with_outputs(one_point)), scale * 4.0, 1e-6)  # all on one point: u = 1


def test_noise_is_gaussian_on_every_parameter() -> None:
    rule, n = built("annealing"), 20_000
    out = Y + np.array([0, 1.0, 0, 0])
    size = temperature(out, 0.1, 0.1)

    def noise(key: Any) -> Any:
        here = with_outputs(out)._replace(key=key)
        fixed = rule.fix(rule.check((), here)[1], here.params, here)
        return jnp.concatenate([(fixed[name] - value).ravel() for name, value in here.params.items()])

    values = np.asarray(jax.vmap(noise)(jax.random.split(jax.random.key(8), n)), float) / size
    assert values.shape == (n, 6)
    assert np.abs(values.mean(0)).max() < 5 / np.sqrt(n)
    assert np.abs(values.var(0) - 1).max() < 5 * np.sqrt(2 / n)
    assert abs((values**4).mean() - 3) < 5 * np.sqrt(96 / values.size)
    assert np.abs(np.corrcoef(values.T) - np.eye(6)).max() < 5 / np.sqrt(n)


def test_no_noise_below_the_threshold() -> None:
    rule, here = built("annealing"), with_outputs(Y + 1.0)
    fixed = rule.fix(rule.check((), here)[1], here.params, here)
    for name, value in here.params.items():
        assert_array_equal(fixed[name], value)


# In training


def test_all_rules_look_before_any_acts() -> None:
    """Without an optimizer, parameters move by interventions alone; they follow the loops step by step."""
    rules = [{"name": "dead_samples", "patience": 2, "margin": 0.25}, {"name": "bounds", "radius": 1.0, "patience": 2}]
    experiment = Experiment("idle", "xor", "relu1", "none", 12, interventions=rules)
    generator = np.random.default_rng(9)
    start = np.concatenate([generator.normal(size=(300, 4)) * 0.4, generator.normal(size=(300, 2))], axis=1)
    run = jaxor.simulate(experiment, initial_params=start.astype(np.float32), traces="all", lane_width=512)
    both = differ = 0
    for row in range(300):
        w, b = run.initial_params[row, :4].astype(float).reshape(2, 2), run.initial_params[row, 4:].astype(float)
        dead, bounds = DeadSamples(2, 0.25), Bounds(1.0, 2)
        swapped_dead, swapped_bounds, swapped = DeadSamples(2, 0.25), Bounds(1.0, 2), (w.copy(), b.copy())
        trace = run.trace(row).params
        for step in range(12):
            flagged = dead.check(w, b), bounds.check(w, b)
            both += any(flagged[0]) and any(flagged[1])
            dead.fix(flagged[0], w, b)
            bounds.fix(flagged[1], w, b)
            assert_allclose(trace[step], [*w.ravel(), *b], 1e-5, 1e-6)
            flags = swapped_dead.check(*swapped), swapped_bounds.check(*swapped)
            swapped_bounds.fix(flags[1], *swapped)
            swapped_dead.fix(flags[0], *swapped)
        differ += not np.allclose(swapped[0], w)
    assert both > 5  # steps in which both rules act
    assert differ > 5  # the order of the fixes matters


def test_counters_belong_to_their_run() -> None:
    """A lane that is filled anew starts to count anew."""
    experiment = jaxor.get_experiment("relu1_monitor").replace(max_epochs=60)
    many = jaxor.simulate(experiment, 60, traces=False, lane_width=16)
    shifted = jaxor.simulate(experiment, range(29, 89), traces=False, lane_width=16)
    assert_array_equal(many.final_params[29:], shifted.final_params[:31])
