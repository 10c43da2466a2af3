"""Models against NumPy: outputs, gradients, and the layers that keep something while training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
import jaxor.experiments.experiment  # which brings every model
from jaxor.engine.parameters import flat_order
from jaxor.experiments.model import MODELS, Model, Params, plain
from jaxor.experiments.task import XOR_INPUTS
from tests import reference

KEY = jax.random.key(0)
ONE_HOT = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
ACTIVATIONS = {"abs": "abs", "relu": "relu", "leaky_relu": "leaky", "elu": "elu", "prelu": "prelu"}


def built(name: str, **options: Any) -> Model:
    return MODELS.build(MODELS.resolve({"name": name, **options}, "model"), "model")


def outputs(model: Model, params: Params, train: bool = False, state: Any = None) -> Any:
    state = model.init(KEY)[1] if state is None else state
    return model.apply(params, XOR_INPUTS, state, KEY, train)


def random_params(model: Model, seed: int = 0) -> Params:
    generator = np.random.default_rng(seed)
    return {name: jnp.asarray(generator.normal(size=value.shape)) for name, value in model.init(KEY)[0].items()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("units", [2, pytest.param(5, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", ["relu1", "two_layer"])
def test_outputs_and_gradients(kind: str, units: int, activation: str) -> None:
    slope, count, shape = -0.3, "units" if kind == "relu1" else "hidden", "one_layer" if kind == "relu1" else kind
    spec = reference.Spec(model=shape, activation=ACTIVATIONS[activation], slope=slope, hidden=units)
    with jax.enable_x64(True):
        model = built(kind, **{count: units}, activation=activation, slope=slope)
        order = flat_order(model)
        rows = np.random.default_rng(1).normal(size=(20, order.size))
        expected = reference.evaluate(spec, rows)
        targets = np.asarray(reference.XOR if kind == "relu1" else ONE_HOT, float)

        def loss(row: Any) -> Any:
            out, aux, state = outputs(model, order.unflatten(row), True)
            assert state == {}
            return jnp.mean((out - targets) ** 2), (out, aux["preactivation"])

        (value, (out, pre)), gradient = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True)))(rows)
        assert_allclose(value, expected.loss, 1e-12)
        assert_allclose(np.moveaxis(out.reshape(20, 4, -1), 1, 2), expected.output, 1e-12, 1e-14)
        assert_allclose(np.moveaxis(pre, 1, 2), expected.pre, 1e-12, 1e-14)
        assert_allclose(gradient, expected.gradient, 1e-12, 1e-13)


def test_abs1_is_relu1_with_one_absolute_unit() -> None:
    one, other = built("abs1"), built("relu1", units=1, activation="abs")
    params = random_params(one)
    assert flat_order(one) == flat_order(other)
    assert_array_equal(outputs(one, params)[0], outputs(other, params)[0])


@pytest.mark.parametrize(
    ("activation", "slope"), [("abs", 0.0), ("relu", 0.0), ("leaky_relu", -0.3), ("prelu", 0.25), ("elu", 1.0)]
)
def test_slopes_at_kinks_are_those_of_torch(activation: str, slope: float) -> None:
    model = built("relu1", units=1, activation=activation, slope=-0.3)
    params = {name: jnp.zeros_like(value) for name, value in model.init(KEY)[0].items()}
    params |= {"activation.weight": jnp.array([0.25])} if activation == "prelu" else {}
    gradient = jax.grad(lambda p: jnp.sum(outputs(model, p)[0]))(params)
    assert_array_equal(gradient["linear1.bias"], np.array([4 * slope], np.float32))
    assert_array_equal(outputs(model, params)[0], 0)


def test_parameters_that_are_not_drawn() -> None:
    params, state = built("relu1", activation="prelu").init(KEY)
    assert params["activation.weight"].tolist() == [0.25]
    assert params["linear1.bias"].tolist() == [0, 0]
    assert state == {}
    assert built("two_layer", confidence=True).init(KEY)[0]["confidence.confidence"].tolist() == [1]


def test_confidence_scales_the_outputs() -> None:
    with jax.enable_x64(True):
        model, base = built("two_layer", confidence=True), built("two_layer")
        params = random_params(model)
        c = params["confidence.confidence"]
        raw = outputs(base, params)[0]
        assert_allclose(outputs(model, params)[0], np.asarray(raw) * float(c[0]) ** 2, 1e-14)
        gradient = jax.grad(lambda p: jnp.mean((outputs(model, p)[0] - ONE_HOT) ** 2))(params)
        residual = 2 * (np.asarray(raw) * float(c[0]) ** 2 - ONE_HOT) / 8
        pull = np.sum(residual * np.asarray(raw)) * 2 * float(c[0])
        assert_allclose(gradient["confidence.confidence"], [pull], 1e-12)
        without = jax.grad(lambda p: jnp.mean((outputs(base, p)[0] * c**2 - ONE_HOT) ** 2))(params)
        assert_allclose(gradient["linear2.weight"], without["linear2.weight"], 1e-12)


# The magnitude eater


class Eater:
    """y = x (1 + (A - 1) / 10), then A becomes the mean norm of the points' x; A begins at 0."""

    def __init__(self) -> None:
        self.magnitude = 0.0

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = x * (1 + 0.1 * (self.magnitude - 1))
        self.magnitude = float(np.mean(np.linalg.norm(x, axis=1)))
        return y


def two_layer(params: Any, act: Any, eaters: tuple[Any, Any]) -> NDArray[np.float64]:
    p = {name: np.asarray(value, float) for name, value in params.items()}
    hidden = eaters[0](act(XOR_INPUTS @ p["linear1.weight"].T + p["linear1.bias"]))
    return eaters[1](hidden @ p["linear2.weight"].T + p["linear2.bias"])


@pytest.mark.parametrize(("activation", "act"), [("abs", np.abs), ("relu", lambda z: np.maximum(z, 0))])
def test_eater_follows_its_recurrence(activation: str, act: Any) -> None:
    with jax.enable_x64(True):
        model = built("two_layer", hidden=3, activation=activation, eater=True)
        without = built("two_layer", hidden=3, activation=activation)
        state, eaters = model.init(KEY)[1], (Eater(), Eater())
        assert {name: float(value) for name, value in state.items()} == {"eater1": 0, "eater2": 0}
        for step in range(6):
            params = random_params(model, step)
            used, _, unchanged = outputs(model, params, False, state)
            assert_allclose(used, two_layer(params, act, (np.asarray, np.asarray)), 1e-12)
            assert unchanged == state
            factors = tuple(1 + 0.1 * (eater.magnitude - 1) for eater in eaters)
            if step == 0:
                assert factors == (0.9, 0.9)
            out, _, new = outputs(model, params, True, state)
            assert_allclose(out, two_layer(params, act, eaters), 1e-12)
            assert_allclose([new["eater1"], new["eater2"]], [eater.magnitude for eater in eaters], 1e-12)

            def as_constant(p: Params, factors: Any = factors) -> Any:
                # the factors do not depend on this step's parameters
                scaled = p | {"linear2.weight": p["linear2.weight"] * factors[0]}
                return jnp.mean((outputs(without, scaled)[0] * factors[1] - ONE_HOT) ** 2)

            gradient = jax.grad(lambda p, s: jnp.mean((outputs(model, p, True, s)[0] - ONE_HOT) ** 2))(params, state)
            expected = jax.grad(as_constant)(params)
            for name in gradient:
                assert_allclose(gradient[name], expected[name], 1e-11, 1e-13)
            state = new


def test_eater_in_training() -> None:
    """Losses before each step, computed from the parameters after the step before."""
    run = jaxor.simulate("abs2_single_mse_eater", 3, traces="all", lane_width=16)
    for index, seed in enumerate(run.seeds):
        trace, eaters = run.trace(int(seed)), (Eater(), Eater())
        before = np.concatenate([run.initial_params[index][None], trace.params[:-1]])[:50]
        names = ("linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias")
        shapes = ((1, 2), (1,), (2, 1), (2,))
        for row, loss in zip(before, trace.loss, strict=False):
            parts = np.split(row.astype(float), [2, 3, 5])
            params = {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
            assert_allclose(np.mean((two_layer(params, np.abs, eaters) - ONE_HOT) ** 2), loss, 1e-5, 1e-7)
        params = dict(zip(names, np.split(run.final_params[index].astype(float), [2, 3, 5]), strict=True))
        params = {name: params[name].reshape(shape) for name, shape in zip(names, shapes, strict=True)}
        used = two_layer(params, np.abs, (np.asarray, np.asarray))
        assert_allclose(np.mean((used - ONE_HOT) ** 2), run.final_loss[index], 1e-5, 1e-7)


# Pivots


@pytest.mark.parametrize("name", ["abs1", "relu1"])
def test_a_jump_of_the_pivot_leaves_the_outputs_alone(name: str) -> None:
    with jax.enable_x64(True):
        model = built(name, pivot_scale=2.0, pivot_probability=1.0)
        assert model.prepare is not None
        params, state = random_params(model), model.init(KEY)[1]
        assert state["pivot"].tolist() == [0, 0]
        before = outputs(model, params, True, state)[0]
        for step in range(5):
            moved, new = model.prepare(params, state, jax.random.key(step))
            assert not np.allclose(new["pivot"], state["pivot"])
            shift = params["linear1.weight"] @ (new["pivot"] - state["pivot"])
            assert_allclose(moved["linear1.bias"], params["linear1.bias"] + shift, 1e-13)
            assert_array_equal(moved["linear1.weight"], params["linear1.weight"])
            assert_allclose(outputs(model, moved, True, new)[0], before, 1e-12)
            assert_allclose(outputs(model, moved, False, new)[0], before, 1e-12)
            params, state = moved, new


def test_the_pivot_turns_the_gradient() -> None:
    """dL/dw = sum_i dz_i (x_i - pivot), dL/db = sum_i dz_i; at pivot 0 that of the plain model."""
    with jax.enable_x64(True):
        model = built("relu1", pivot_scale=1.0, pivot_probability=1.0)
        assert model.prepare is not None
        params, state = random_params(model), model.init(KEY)[1]
        targets = reference.XOR.astype(float)

        def gradient(p: Params, s: Any) -> Params:
            return jax.grad(lambda q: jnp.mean((outputs(model, q, True, s)[0] - targets) ** 2))(p)

        at_zero = gradient(params, state)
        params, state = model.prepare(params, state, KEY)
        weight, bias = np.asarray(params["linear1.weight"]), np.asarray(params["linear1.bias"])
        away = XOR_INPUTS - np.asarray(state["pivot"])
        z = away @ weight.T + bias
        dz = (0.5 * (np.maximum(z, 0).sum(1) - targets))[:, None] * (z > 0)
        turned = gradient(params, state)
        assert_allclose(turned["linear1.weight"], dz.T @ away, 1e-12)
        assert_allclose(turned["linear1.bias"], dz.sum(0), 1e-12)
        assert_allclose(turned["linear1.bias"], at_zero["linear1.bias"], 1e-12)
        assert not np.allclose(turned["linear1.weight"], at_zero["linear1.weight"])


def test_law_of_the_jumps() -> None:
    n, probability, scale = 20_000, 0.1, 1.5
    model = built("abs1", pivot_scale=scale, pivot_probability=probability)
    assert model.prepare is not None
    params, state = model.init(KEY)
    keys = jax.random.split(jax.random.key(5), n)
    pivots = np.asarray(jax.vmap(lambda key: model.prepare(params, state, key)[1]["pivot"])(keys))  # type: ignore[misc]
    jumped = (pivots != 0).all(axis=1)
    assert abs(jumped.mean() - probability) < 5 * np.sqrt(probability * (1 - probability) / n)
    assert_array_equal(pivots[~jumped], 0)
    there = pivots[jumped]
    assert np.abs(there.mean(0)).max() < 5 * scale / np.sqrt(len(there))
    assert np.abs((there**2).mean(0) / scale**2 - 1).max() < 5 * np.sqrt(2 / len(there))
    assert abs(np.corrcoef(there.T)[0, 1]) < 5 / np.sqrt(len(there))


def test_pivots_in_training() -> None:
    """Without an optimizer only the pivot moves: the loss stays, and the biases tell where the pivot is."""
    experiment = jaxor.get_experiment("relu1_mse_pivot").replace(
        **{"optimizer.name": "none", "model.pivot_probability": 1.0, "max_epochs": 40, "init": "normal"}
    )
    run = jaxor.simulate(experiment.replace(stop={}), 50, lane_width=64)
    pivots = []
    for index in range(50):
        trace, start = run.trace(index), run.initial_params[index].astype(float)
        assert_allclose(trace.loss, np.full(40, trace.loss[0]), 2e-4, 2e-5)
        assert_array_equal(trace.params[:, :4], np.broadcast_to(run.initial_params[index][:4], (40, 4)))
        weight = start[:4].reshape(2, 2)
        if np.linalg.cond(weight) < 10:
            pivots.append(np.linalg.solve(weight, (trace.params[:, 4:] - start[4:]).astype(float).T).T)
    numbers = np.concatenate(pivots)
    assert len(numbers) > 1000
    assert np.abs(numbers.mean(0)).max() < 5 / np.sqrt(len(numbers))
    assert np.abs((numbers**2).mean(0) - 1).max() < 5 * np.sqrt(2 / len(numbers))
    assert_allclose(run.final_loss, run.initial_loss, 2e-4, 2e-5)


def test_a_still_pivot_is_no_pivot() -> None:
    model = built("relu1", pivot_scale=0.0)
    assert model.prepare is None
    assert model.init(KEY)[1] == {}


# Others


def test_mlp() -> None:
    with jax.enable_x64(True):
        model = built("mlp", widths=[2, 5, 4, 3])
        params = random_params(model)
        assert list(params) == [f"linear{layer}.{part}" for layer in (1, 2, 3) for part in ("weight", "bias")]
        assert [value.shape for value in params.values()] == [(5, 2), (5,), (4, 5), (4,), (3, 4), (3,)]
        values = XOR_INPUTS.astype(float)
        for layer in (1, 2, 3):
            values = values @ np.asarray(params[f"linear{layer}.weight"]).T + np.asarray(params[f"linear{layer}.bias"])
            values = np.maximum(values, 0) if layer < 3 else values
        got, aux, state = outputs(model, params)
        assert_allclose(got, values, 1e-12)
        assert (aux, state) == ({}, {})


def test_plain() -> None:
    model = plain({"scale": (), "weight": (3, 8), "bias": (3,)}, lambda p, x: p["scale"] + x @ p["weight"][:, :2].T)
    params, state = jax.vmap(model.init)(jax.random.split(KEY, 4000))
    assert set(params) == {"scale", "weight", "bias"}
    assert flat_order(model).names[:3] == ("scale", "weight[0,0]", "weight[0,1]")
    assert state == {}
    weight = np.asarray(params["weight"]).ravel()
    assert abs(weight.var() / (2 / 8) - 1) < 5 * np.sqrt(2 / weight.size)
    assert abs(weight.mean()) < 5 * 0.5 / np.sqrt(weight.size)
    assert not np.asarray(params["bias"]).any()
    assert not np.asarray(params["scale"]).any()


def test_names_and_options_are_listed() -> None:
    assert MODELS.names() == [
        "abs1", "conv_net", "encoder_decoder", "mlp", "quadratic", "relu1", "relu_net", "rosenbrock", "saddle",
        "transformer", "two_layer",
    ]  # fmt: skip
    assert MODELS.options("mlp") == ["widths"]
    assert MODELS.options("abs1") == ["pivot_scale", "pivot_probability"]
    assert MODELS.describe("abs1") == "One neuron, abs(W x + b); 3 parameters."
