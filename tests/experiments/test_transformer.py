"""The transformer against NumPy, one position at a time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor import Experiment
from jaxor.engine.step import Dynamics
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.transformer import transformer

KEY = jax.random.key(0)
Floats = NDArray[np.float64]
Arrays = dict[str, Floats]
SMALL: dict[str, Any] = {"vocabulary": 5, "window": 6, "width": 4, "heads": 2, "layers": 2}


def reference(params: Arrays, inputs: NDArray[Any], heads: int, layers: int) -> Floats:
    """Scores (window, vocabulary) after one window of characters."""

    def norm(name: str, value: Floats) -> Floats:
        return (value - value.mean()) / np.sqrt(value.var() + 1e-5) * params[f"{name}.weight"] + params[f"{name}.bias"]

    def linear(name: str, value: Floats) -> Floats:
        return params[f"{name}.weight"] @ value + params[f"{name}.bias"]

    values = [params["embedding.weight"][char] + params["position.weight"][t] for t, char in enumerate(inputs)]
    for layer in (f"layer{place + 1}" for place in range(layers)):
        inward = [linear(f"{layer}.attention.inward", norm(f"{layer}.norm1", value)) for value in values]
        queries, keys, contents = (np.split(np.array(part), heads, -1) for part in np.split(np.array(inward), 3, -1))
        for t in range(len(values)):
            found = []
            for query, key, content in zip(queries, keys, contents, strict=True):
                weights = np.exp(key[: t + 1] @ query[t] / np.sqrt(key.shape[1]))
                found.append(weights / weights.sum() @ content[: t + 1])
            values[t] = values[t] + linear(f"{layer}.attention.outward", np.concatenate(found))
            hidden = np.maximum(linear(f"{layer}.linear1", norm(f"{layer}.norm2", values[t])), 0)
            values[t] = values[t] + linear(f"{layer}.linear2", hidden)
    return np.array([linear("output", norm("norm", value)) for value in values])


def windows(n: int, **options: Any) -> NDArray[np.int32]:
    return np.random.default_rng(2).integers(options["vocabulary"], size=(n, options["window"]), dtype=np.int32)


def test_outputs() -> None:
    model, inputs, generator = transformer(**SMALL), windows(3, **SMALL), np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, KEY)[0]
    params = {name: generator.normal(size=value.shape) for name, value in shapes.items()}
    with jax.enable_x64(True):
        apply = jax.jit(lambda params: model.apply(params, inputs, {}, KEY, True)[0])
        got = np.asarray(apply({name: jnp.asarray(value) for name, value in params.items()}))
    assert_allclose(got, [reference(params, row, 2, 2) for row in inputs], 1e-11, 1e-11)


def test_no_position_sees_what_comes_later() -> None:
    model, inputs = transformer(**SMALL), windows(3, **SMALL)
    params = jax.jit(model.init)(KEY)[0]
    apply = jax.jit(lambda inputs: model.apply(params, inputs, {}, KEY, True)[0])
    before = np.asarray(apply(inputs))
    for place in range(SMALL["window"]):
        changed = inputs.copy()
        changed[1, place] = (changed[1, place] + 1) % SMALL["vocabulary"]
        after = np.asarray(apply(changed))
        assert_array_equal(after[1, :place], before[1, :place])
        assert (after[1, place:] != before[1, place:]).any(-1).all()  # and every one what came before it
        assert_array_equal(after[[0, 2]], before[[0, 2]])  # and no other window


def test_first_parameters() -> None:
    params = jax.jit(transformer().init)(KEY)[0]
    for name, value in params.items():
        array = np.asarray(value)
        if array.ndim == 2:
            assert abs(array.var() * array.shape[1] - 1) < 5 * np.sqrt(2 / array.size), name
        else:
            assert_array_equal(array, float("norm" in name and name.endswith("weight")))


def test_a_step_of_the_engine() -> None:
    """Whole numbers pass through it: the loss is NumPy's on the windows of the batch."""
    experiment = Experiment(
        "small", task={"name": "characters", "window": 8, "points": 64}, loss="cross_entropy", max_epochs=5,
        model={"name": "transformer", "window": 8, "width": 4, "heads": 1}, batch={"mode": "shuffle", "size": 16},
        optimizer={"name": "sgd", "learning_rate": 0.1},
    )  # fmt: skip
    dynamics, batch = Dynamics(experiment), np.arange(3, 51, 3)
    flat = 0.5 * np.random.default_rng(1).normal(size=dynamics.order.size)
    lane = jax.jit(lambda row: dynamics.step(dynamics.start(row, jax.random.key_data(KEY)), jnp.asarray(batch)))(flat)
    params = {name: np.asarray(value, float) for name, value in dynamics.order.unflatten(jnp.asarray(flat)).items()}
    scores = np.array([reference(params, window, 1, 1) for window in dynamics.law.task.inputs[batch]])
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    assert float(lane.loss) == pytest.approx(-np.mean(np.sum(dynamics.law.task.targets[batch] * logs, -1)), rel=1e-5)


@pytest.mark.parametrize("option", ["vocabulary", "window", "heads", "layers", "width"])
def test_impossible_options(option: str) -> None:
    with pytest.raises(ExperimentError, match=f"{option} must be"):
        transformer(**{option: 0})
    with pytest.raises(ExperimentError, match="width must be a positive multiple of heads, 3, got 32"):
        transformer(heads=3)


def test_another_alphabet_does_not_fit() -> None:
    with pytest.raises(ExperimentError, match="outputs have shape .*, the task's targets"):
        jaxor.get_experiment("characters_transformer").replace(**{"model.vocabulary": 36}).build()
