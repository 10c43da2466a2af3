"""Laws of first parameters: by their moments, by exact relations, and by what a redraw promises."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor.engine.keys import INIT, run_key, stream
from jaxor.engine.parameters import flat_order
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.initialize import Setting
from jaxor.experiments.model import Model, Params, plain
from tests import reference

N = 20_000
Arrays = dict[str, NDArray[Any]]


def experiment(init: Any, model: Any = "relu1", **changes: Any) -> Experiment:
    name = model if isinstance(model, str) else getattr(model, "get", {}.get)("name", "")
    task = "xor_one_hot" if name in ("two_layer", "mlp") else "xor"
    return Experiment("drawn", task=task, model=model, init=init, optimizer="none", max_epochs=0, **changes)


def drawn(init: Any, model: Any = "relu1", n: int = N, root: int = 7) -> Arrays:
    """First parameters of runs 0 to n - 1."""
    law = experiment(init, model).build()
    setting = Setting(law.model, law.task, law.loss)

    def one(seed: Any) -> Params:
        return law.init(stream(run_key(root, seed), INIT), setting)

    return {name: np.asarray(value) for name, value in jax.vmap(one)(jnp.arange(n)).items()}


def flat(init: Any, model: Any = "relu1", n: int = N) -> NDArray[np.float32]:
    law = experiment(init, model).build()
    values = drawn(init, model, n)
    return np.concatenate([values[name].reshape(n, -1) for name in flat_order(law.model).shapes], axis=1)


def gaussian(values: NDArray[Any], std: float, mean: float = 0.0) -> None:
    """Independent N(mean, std^2): each place's mean and variance, all values' kurtosis, correlations of places."""
    values = values.reshape(len(values), -1).astype(float)
    n = len(values)
    assert np.abs(values.mean(0) - mean).max() < 5 * std / np.sqrt(n)
    assert np.abs(values.var(0) / std**2 - 1).max() < 5 * np.sqrt(2 / n)
    scaled = (values - mean) / std
    assert abs((scaled**4).mean() - 3) < 5 * np.sqrt(96 / values.size)
    correlation = np.atleast_2d(np.corrcoef(scaled.T)) - np.eye(values.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize(
    ("init", "model", "stds"),
    [
        ("normal", "abs1", {"linear1": 0.5}),
        ({"name": "normal", "std": 1.25}, "relu1", {"linear1": 1.25}),
        ("tiny", "relu1", {"linear1": 0.1}),
        ("large", "abs1", {"linear1": 4.0}),
        ("kaiming", "abs1", {"linear1": 1.0}),
        ("kaiming", {"name": "relu1", "units": 3}, {"linear1": 1.0}),
        ("xavier", "abs1", {"linear1": np.sqrt(2 / 3)}),
        ("xavier", "relu1", {"linear1": np.sqrt(1 / 2)}),
        ("model", "abs1", {"linear1": 1.0}),
        ("model", "relu1", {"linear1": 1.0}),
        *(
            pytest.param(
                "model",
                {"name": "two_layer", "hidden": m},
                {"linear1": 1.0, "linear2": np.sqrt(2 / (m + 2))},
                marks=[pytest.mark.full] * (m in (3, 4)),
            )
            for m in (1, 2, 3, 4, 8)
        ),
        ("kaiming", {"name": "two_layer", "hidden": 4}, {"linear1": 1.0, "linear2": np.sqrt(1 / 2)}),
        ("xavier", {"name": "two_layer", "hidden": 4}, {"linear1": np.sqrt(1 / 3), "linear2": np.sqrt(1 / 3)}),
        ("normal", {"name": "two_layer", "hidden": 2}, {"linear1": 0.5, "linear2": 0.5}),
        ("model", {"name": "mlp", "widths": [2, 5, 2]}, {"linear1": 1.0, "linear2": np.sqrt(2 / 5)}),
    ],
)
def test_weights_are_gaussian_and_biases_zero(init: Any, model: Any, stds: dict[str, float]) -> None:
    params = drawn(init, model)
    assert {name for name in params if name.endswith("weight")} == {f"{layer}.weight" for layer in stds}
    for layer, std in stds.items():
        gaussian(params[f"{layer}.weight"], std)
        assert not params[f"{layer}.bias"].any()
    weights = np.concatenate([params[f"{layer}.weight"].reshape(N, -1) / std for layer, std in stds.items()], axis=1)
    gaussian(weights, 1.0)  # layers are independent of each other


def test_named_deviations() -> None:
    """The figures that the descriptions give."""
    assert_allclose([np.sqrt(2 / 3), *np.sqrt(2 / (np.array([1, 2, 3, 4, 8]) + 2))], [
        0.8165, 0.8165, 0.7071, 0.6325, 0.5774, 0.4472,
    ], atol=5e-5)  # fmt: skip


def test_biases_of_normal() -> None:
    params = drawn({"name": "normal", "std": 0.3, "bias_std": 0.2})
    gaussian(params["linear1.weight"], 0.3)
    gaussian(params["linear1.bias"], 0.2)
    gaussian(np.concatenate([params["linear1.weight"].reshape(N, -1) / 0.3, params["linear1.bias"] / 0.2], 1), 1.0)
    assert not drawn({"name": "normal", "std": 0})["linear1.weight"].any()


def test_biased() -> None:
    params = drawn("biased")
    gaussian(params["linear1.weight"], 0.5)
    gaussian(params["linear1.bias"], 0.01, 0.1)
    params = drawn({"name": "biased", "base": "kaiming", "mean": -1, "std": 2}, {"name": "two_layer", "hidden": 3})
    gaussian(params["linear1.weight"], 1.0)
    gaussian(np.concatenate([params["linear1.bias"], params["linear2.bias"]], axis=1), 2.0, -1.0)
    fixed = drawn({"name": "biased", "mean": 0.25, "std": 0})
    assert (fixed["linear1.bias"] == 0.25).all()


@pytest.mark.parametrize("units", [2, 3])
def test_mirror_pairs_are_exact_negatives(units: int) -> None:
    model = {"name": "relu1", "units": units}
    base = {"name": "normal", "std": 0.5, "bias_std": 0.1}
    params, plain_params = drawn({"name": "mirror", "base": base}, model), drawn(base, model)
    for name, value in params.items():
        assert_array_equal(value[:, ::2], plain_params[name][:, ::2])
        assert_array_equal(value[:, 1::2], -value[:, : units // 2 * 2 : 2])
    if units == 2:
        gaussian(drawn("mirror")["linear1.weight"][:, 0], 0.5)


@pytest.mark.parametrize("radius", [1.4, 0.25])
def test_hyperplanes_of_the_hypersphere(radius: float) -> None:
    params = drawn({"name": "hypersphere", "radius": radius})
    weight, bias = params["linear1.weight"].astype(float), params["linear1.bias"]
    assert_allclose(bias / np.linalg.norm(weight, axis=2), radius, 5e-7)
    assert (bias > 0).all()
    gaussian(weight, 1.0)


@pytest.mark.parametrize("init", ["model", "normal", "kaiming", "biased", "mirror", "alive", "hypersphere"])
def test_other_parameters_are_left_alone(init: str) -> None:
    prelu = {"name": "relu1", "activation": "prelu"}
    assert (drawn(init, prelu)["activation.weight"] == 0.25).all()
    sure = {"name": "two_layer", "confidence": True}
    assert (drawn(init, sure)["confidence.confidence"] == 1).all()


def test_drawn_parameters_of_other_kinds_are_independent_of_the_weights() -> None:
    line = plain({"weight": (1, 2)}, lambda p, x: x @ p["weight"][0])

    def init(key: Any) -> Any:
        return {"weight": jnp.zeros((1, 2)), "scale": jax.random.normal(key, (2,))}, {}

    params = drawn("normal", Model(init, line.apply))
    gaussian(np.concatenate([params["weight"].reshape(N, 2) / 0.5, params["scale"]], axis=1), 1.0)


# Redraws


@pytest.mark.parametrize(
    ("base", "margin"),
    [("normal", 0.0), ("kaiming", 0.3), pytest.param("hypersphere", 0.3, marks=pytest.mark.full)],
)
def test_alive(base: Any, margin: float) -> None:
    params = flat({"name": "alive", "base": base, "margin": margin})
    pre = reference.evaluate(reference.Spec(), params).pre
    best = pre.max(axis=1)
    assert (best > margin).all()
    assert best.min() < margin + 0.02  # as they come: nothing is left out above the margin
    kept = reference.evaluate(reference.Spec(), flat(base)).pre.max(axis=1)
    alive = (kept > margin).all(axis=1)
    assert_array_equal(alive, ~(kept <= margin).any(axis=1))
    assert 0 < alive.mean() < 1


def test_a_redraw_is_the_base_law_given_the_condition() -> None:
    """Compared with what is left of many draws without a condition."""
    params = flat({"name": "alive", "base": "normal"})
    many = flat("normal", n=6 * N)
    accepted = many[(reference.evaluate(reference.Spec(), many).pre.max(axis=1) > 0).all(axis=1)]
    share = len(accepted) / len(many)
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / len(many))
    for power in (1, 2):
        left, right = params[:, :4].astype(float) ** power, accepted[:, :4].astype(float) ** power
        spread = np.sqrt(left.var(0) / len(left) + right.var(0) / len(right))
        assert (np.abs(left.mean(0) - right.mean(0)) < 5 * spread).all()


@pytest.mark.parametrize(
    ("name", "threshold", "model", "base"),
    [
        ("loss_below", 0.0724, "relu1", "normal"),
        ("loss_above", 0.468, "relu1", "normal"),
        pytest.param("loss_above", 1.5, "abs1", "large", marks=pytest.mark.full),
        ("loss_below", 0.326, "two_layer", "model"),
    ],
)
def test_loss_thresholds(name: str, threshold: float, model: str, base: str) -> None:
    params = flat({"name": name, "threshold": threshold, "base": base}, model, 5000)
    spec = reference.Spec(
        model="two_layer" if model == "two_layer" else "one_layer",
        activation="abs" if model == "abs1" else "relu",
        hidden=1 if model == "abs1" else 2,
    )
    losses = reference.evaluate(spec, params).loss
    assert (losses < threshold).all() if name == "loss_below" else (losses > threshold).all()
    assert abs(losses / threshold - 1).min() < 0.02


def test_dead_points_given_the_loss() -> None:
    """A class-1 point that no unit sees costs a quarter alone, so low losses rule it out."""
    dead, n = {}, 5000
    for threshold in (0.0724, 0.468):
        pre = reference.evaluate(reference.Spec(), flat({"name": "loss_below", "threshold": threshold}, n=n)).pre
        dead[threshold] = (pre.max(axis=1)[:, 1:3] <= 0).any(axis=1).mean()
    assert dead[0.0724] == 0
    assert abs(dead[0.468] - 0.3896) < 5 * np.sqrt(0.3896 * 0.6104 / n)


def test_no_acceptable_draw() -> None:
    params = drawn({"name": "alive", "margin": 1e3, "max_draws": 3})
    assert all(np.isnan(value).all() for value in params.values())
    failed = np.isnan(drawn({"name": "alive", "max_draws": 2})["linear1.bias"][:, 0]).mean()
    assert abs(failed - 0.75**2) < 5 * np.sqrt(0.75**2 * (1 - 0.75**2) / N)


def test_a_draw_depends_on_root_seed_and_seed_alone() -> None:
    start = jaxor.get_experiment("relu1_reinit_25th").replace(max_epochs=0)
    many = jaxor.simulate(start, 300, traces=False)
    few = jaxor.simulate(start, np.array([271, 3, 50]), traces=False)
    assert_array_equal(few.initial_params, many.initial_params[[271, 3, 50]])
    assert_array_equal(few.initial_loss, many.initial_loss[[271, 3, 50]])
    assert_array_equal(few.final_params, few.initial_params)
    assert len(np.unique(many.initial_params[:, 0])) == 300
    # the rest of the experiment plays no part
    other = start.replace(max_epochs=2, name="other", stop={}, **{"optimizer.name": "sgd"})
    assert_array_equal(jaxor.simulate(other, range(3, 5), traces=False).initial_params, many.initial_params[3:5])
    drawn_alone = drawn(start.init, n=300, root=0)["linear1.weight"].reshape(300, 4)
    assert_allclose(drawn_alone, many.initial_params[:, :4], 1e-6)
    assert not (drawn(start.init, n=300, root=1)["linear1.weight"].reshape(300, 4) == drawn_alone).any()


# The law of the initial loss, against 400,000 draws of the original


RECORDED = 400_000


def losses_and_outputs(model: str, spec: reference.Spec, init: str, n: int) -> reference.Evaluation:
    return reference.evaluate(spec, flat(init, model, n))


def share(hits: NDArray[np.bool_], expected: float, rounding: Any = 0.0005) -> None:
    spread = np.sqrt(expected * (1 - expected) * (1 / len(hits) + 1 / RECORDED))
    assert abs(hits.mean() - expected) < 4 * spread + rounding


@pytest.mark.parametrize(
    ("model", "init", "mean", "quantiles", "levels"),
    [
        (
            "relu1", "normal", 0.595, {0.5: 0.493, 0.25: 0.340, 0.01: 0.0747},
            {0.0: 0.024, 0.25: 0.219, 0.5: 0.515, 0.75: 0.219, 1.0: 0.024},
        ),
        (
            "two_layer", "model", 1.50, {0.5: 1.056, 0.25: 0.663, 0.01: 0.348},
            {0.25: 0.146, 0.5: 0.708, 0.75: 0.146},
        ),
    ],
)  # fmt: skip
def test_law_of_the_initial_loss(
    model: str, init: str, mean: float, quantiles: dict[float, float], levels: dict[float, float]
) -> None:
    n = 100_000
    spec = reference.Spec(model="two_layer" if model == "two_layer" else "one_layer")
    state = losses_and_outputs(model, spec, init, n)
    losses = state.loss.astype(float)
    digits = 0.005 if mean == 1.50 else 0.0005
    assert abs(losses.mean() - mean) < 4 * losses.std() * np.sqrt(1 / n + 1 / RECORDED) + digits
    for level, value in quantiles.items():
        unit = 0.00005 if value < 0.1 else 0.0005
        rounding = np.mean(np.abs(losses - value) < 20 * unit) / 40  # how much of the law lies within the last digit
        share(losses < value, level, rounding)
    accuracy = reference.accuracy(state.output)
    for level, expected in levels.items():
        share(accuracy == level, expected)
    if model == "relu1":
        assert abs(losses.std() - 0.391) < 0.005
        dead = state.pre.max(axis=1) <= 0
        share(dead.any(axis=1), 0.7502, 0.00005)
        share(dead[:, 1:3].any(axis=1), 0.5008, 0.00005)
        share(dead.any(axis=1), 0.75, 0)  # exact
        share(dead[:, 1:3].any(axis=1), 0.5, 0)


def test_initial_losses_of_the_engine_are_those_of_the_draws() -> None:
    run = jaxor.simulate("relu1_init_dist", 1000, traces=False)
    expected = reference.evaluate(reference.Spec(), np.asarray(run.initial_params)).loss
    assert_allclose(run.initial_loss, expected, 1e-6)
    assert_array_equal(run.initial_loss, run.final_loss)
    assert not run.epochs.any()
