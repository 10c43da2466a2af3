"""Derivatives at a kink are those of PyTorch: 0 of |z| and relu, the slope below of leaky and prelu, 1 of elu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpy.testing import assert_array_equal

from jaxor import Experiment
from jaxor.engine.step import Dynamics
from jaxor.experiments.initialize import Setting
from jaxor.experiments.model import activation_of
from tests import reference
from tests.engine.test_layout import compiled, joined
from tests.reference import Spec

RELU1: dict[str, Any] = {"name": "relu1"}
TWO_LAYER: dict[str, Any] = {"name": "two_layer"}
KINKS = [
    ({"name": "abs1"}, 0.0),
    *(
        (base | options, derivative)
        for base in (RELU1, TWO_LAYER)
        for options, derivative in [
            ({"activation": "abs"}, 0.0),
            ({"activation": "relu"}, 0.0),
            ({"activation": "leaky_relu", "slope": 0.1}, 0.1),
            ({"activation": "leaky_relu", "slope": -0.8}, -0.8),
            ({"activation": "prelu"}, 0.25),
            ({"activation": "elu"}, 1.0),
        ]
    ),
]


def layouts() -> list[Any]:
    return [
        pytest.param(jax.vmap, id="vmap"),
        pytest.param(joined, id="narrow"),
    ]


def rules(model: dict[str, Any]) -> Dynamics:
    task = "xor_one_hot" if model["name"] == "two_layer" else "xor"
    return Dynamics(Experiment("kink", task=task, model=model, optimizer="none", max_epochs=1))


@pytest.mark.parametrize("batch", layouts())
@pytest.mark.parametrize(("model", "derivative"), KINKS, ids=lambda value: str(value))
def test_derivative_of_the_outputs_where_all_pre_activations_are_zero(
    model: dict[str, Any], derivative: float, batch: Callable[..., Any]
) -> None:
    """With w = b = 0 every z is 0, and an output weight of 1 passes the derivative on to each hidden bias."""
    engine = rules(model)
    law, order = engine.law, engine.order

    def first_output(vector: Array) -> Array:
        outputs, _, _ = law.model.apply(order.unflatten(vector), law.task.inputs, {}, jax.random.key(0), True)
        return outputs.reshape(4, -1)[0, 0]

    start = np.array([float(name.startswith("linear2.weight[0,")) for name in order.names], np.float32)
    start[[name.startswith("activation") for name in order.names]] = 0.25
    lanes = np.repeat(start[None], 8, 0)
    lanes[4:, [name.startswith("linear1") for name in order.names]] = -0.0
    gradient = compiled(batch(jax.grad(first_output)))(jnp.asarray(lanes))
    at_biases = np.asarray(gradient)[:, [name.startswith("linear1.bias") for name in order.names]]
    assert_array_equal(at_biases, np.full_like(at_biases, derivative))


@pytest.mark.parametrize(
    ("name", "slope"), [("abs", 0.0), ("relu", 0.0), ("leaky_relu", -0.8), ("prelu", 0.25), ("elu", 0.0)]
)
def test_activations_are_those_of_the_reference_away_from_zero_too(name: str, slope: float) -> None:
    activation, _ = activation_of(name, slope)
    z = np.array([-3.5, -1e-3, -1e-20, -0.0, 0.0, 1e-20, 1e-3, 3.5], np.float32)

    def act(z: Array) -> Array:
        return activation(z, {"activation.weight": jnp.asarray([slope], jnp.float32)[0]})

    values, slopes = reference.activate(Spec(activation=name.removesuffix("_relu"), slope=slope), z, slope)
    both = compiled(jax.vmap(jax.value_and_grad(act)))(z)
    np.testing.assert_allclose(both, (values, slopes), 3e-7, 0)


@pytest.mark.parametrize("batch", layouts())
@pytest.mark.parametrize(
    ("model", "spec"),
    [
        ({"name": "abs1"}, Spec(activation="abs", hidden=1)),
        (TWO_LAYER | {"hidden": 1, "activation": "abs"}, Spec(model="two_layer", activation="abs", hidden=1)),
    ],
    ids=["abs1", "abs2"],
)
def test_a_boundary_through_two_points_leaves_the_bias_alone(
    model: dict[str, Any], spec: Spec, batch: Callable[..., Any]
) -> None:
    """Equal weights put two opposite points on the boundary; they push nothing, and the others cancel."""
    engine = rules(model)
    start = np.random.default_rng(0).normal(size=(1000, engine.order.size)).astype(np.float32)
    start[:, 1] = start[:, 0] * np.where(np.arange(1000) % 2, 1, -1)
    start[:, 2] = 0

    def loss(vector: Array) -> Array:
        setting = Setting(engine.law.model, engine.law.task, engine.law.loss)
        outputs, _, _ = setting.model.apply(
            engine.order.unflatten(vector), setting.task.inputs, {}, jax.random.key(0), True
        )
        return setting.loss(outputs, setting.task.targets)

    gradient = np.asarray(jax.jit(batch(jax.grad(loss)))(jnp.asarray(start)))
    assert_array_equal(gradient[:, 2], np.zeros(1000))
    np.testing.assert_allclose(gradient, reference.evaluate(spec, start).gradient, 1e-5, 1e-6)
