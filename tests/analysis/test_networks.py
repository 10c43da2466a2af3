"""Training of small networks against plain loops in float64."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from jaxor.analysis.networks import Layers, Network, initial_layers

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(60, 4)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5, 0.0] + np.sin(3 * X[:, 0]) + 3).astype(np.float32)
GROUPS = np.repeat(np.arange(5), 12)

NETWORKS = {
    "linear": {"hidden": (), "learning_rate": 0.01, "weight_decay": 1e-4},
    "one hidden layer": {"hidden": (8,), "learning_rate": 0.01},
    "two hidden layers": {"hidden": (8, 5), "learning_rate": 0.01, "weight_decay": 0.1},
}


def loss_and_gradient(layers: Layers, X: Any, y: Any) -> tuple[float, Layers]:
    """Mean squared error by the chain rule."""
    inputs = [X]
    for weights, biases in layers:
        inputs.append(np.maximum(inputs[-1] @ weights + biases, 0))
    weights, biases = layers[-1]
    error = (inputs[-2] @ weights + biases)[:, 0] - y
    delta = (2 / len(y) * error)[:, None]
    gradient: Layers = []
    for (weights, _), values in zip(layers[::-1], inputs[-2::-1], strict=True):
        gradient.insert(0, (values.T @ delta, delta.sum(0)))
        delta = (delta @ weights.T) * (values > 0)
    return float(np.mean(error**2)), gradient


class Steps(NamedTuple):
    """Parameters before every step and after the last, and losses before every step."""

    layers: list[Layers]
    training: list[float]
    watched: list[float]


def adam_steps(network: Network, steps: int, rows: Any = (X, Y), watched: Any = (X, Y)) -> Steps:
    """Adam by the formulas of Kingma & Ba with torch's settings, in float64."""
    start = initial_layers([X.shape[1], *network.hidden, 1], network.random_state)
    layers = [(np.float64(weights), np.float64(biases)) for weights, biases in start]
    mean = [[np.zeros_like(array) for array in layer] for layer in layers]
    square = [[np.zeros_like(array) for array in layer] for layer in layers]
    found = Steps([layers], [], [])
    for step in range(1, steps + 1):
        loss, gradient = loss_and_gradient(layers, *rows)
        found.training.append(loss)
        found.watched.append(loss_and_gradient(layers, *watched)[0])
        changed = []
        for place, layer in enumerate(layers):
            arrays = []
            for kind, array in enumerate(layer):
                g = gradient[place][kind] + network.weight_decay * array
                m = mean[place][kind] = 0.9 * mean[place][kind] + 0.1 * g
                v = square[place][kind] = 0.999 * square[place][kind] + 0.001 * g**2
                m, v = m / (1 - 0.9**step), v / (1 - 0.999**step)
                arrays.append(array - network.learning_rate * m / (np.sqrt(v) + 1e-8))
            changed.append(tuple(arrays))
        layers = changed
        found.layers.append(layers)
    return found


def steps_until_idle(losses: list[float], patience: int) -> int:
    best, idle = np.inf, 0
    for step, loss in enumerate(losses, 1):
        idle = 0 if loss < best else idle + 1
        best = min(best, loss)
        if idle >= patience:
            return step
    return len(losses)


def assert_layers(network: Network, layers: Layers, atol: float) -> None:
    for weights, biases, expected in zip(network.coefs_, network.intercepts_, layers, strict=True):
        assert weights.dtype == biases.dtype == np.float32
        assert_allclose(weights, expected[0], rtol=0, atol=atol)
        assert_allclose(biases, expected[1], rtol=0, atol=atol)


def test_first_parameters_are_uniform_within_torchs_bounds():
    for inputs, (weights, biases) in zip((18, 400), initial_layers([18, 400, 30], 0), strict=True):
        assert weights.shape[0] == inputs
        for values in (weights, biases):
            assert values.dtype == np.float32
            # All within the bounds, which the largest of n comes near; the variance of the uniform law is bound^2 / 3.
            scaled = values.ravel() * inputs**0.5
            assert 1 - 10 / scaled.size < np.abs(scaled).max() <= 1
            deviation = np.sqrt(4 / 45 / scaled.size)  # of the mean of squares
            assert abs(np.mean(scaled**2) - 1 / 3) < 4 * deviation
            assert abs(np.mean(scaled)) < 4 / np.sqrt(3 * scaled.size)


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("steps", [1, 50])
def test_steps_are_those_of_adam(options, steps):
    network = Network(**options, steps=steps).fit(X, Y)
    expected = adam_steps(network, steps).layers[steps]
    assert_layers(network, expected, atol=2e-6 if steps == 1 else 2e-5)
    assert_allclose(np.mean((network.predict(X) - Y) ** 2), loss_and_gradient(expected, X, Y)[0], rtol=1e-5)
    assert network.steps_ == steps


def test_the_first_step_goes_against_the_gradient_by_the_learning_rate():
    network = Network(hidden=(), learning_rate=0.01, steps=1).fit(X, Y)
    ((weights, biases),) = initial_layers([4, 1], 0)
    _, ((slope, offset),) = loss_and_gradient([(weights, biases)], X, Y)
    assert_allclose(network.coefs_[0], weights - 0.01 * np.sign(slope), rtol=0, atol=1e-6)
    assert_allclose(network.intercepts_[0], biases - 0.01 * np.sign(offset), rtol=0, atol=1e-6)


@pytest.mark.parametrize("patience", [1, 3, 10])
def test_patience_counts_steps_since_the_lowest_training_loss_and_restores_nothing(patience):
    network = Network(hidden=(), learning_rate=0.8, steps=120, patience=patience).fit(X, Y)
    expected = adam_steps(network, 120)
    steps = steps_until_idle(expected.training, patience)
    assert steps < 120
    assert network.steps_ == steps
    assert_layers(network, expected.layers[steps], atol=2e-5)
    assert_allclose(network.best_loss_, min(expected.training[:steps]), rtol=1e-5)


def test_patience_that_is_not_used_up_changes_nothing():
    patient = Network(steps=40, patience=50).fit(X, Y)
    assert_array_equal(patient.predict(X), Network(steps=40).fit(X, Y).predict(X))


def test_validation_watches_whole_groups_and_keeps_the_best_parameters():
    network = Network(hidden=(8,), learning_rate=0.3, steps=80, patience=7, validation=0.2).fit(X, Y, groups=GROUPS)
    fits = []
    for group in range(5):
        inside = GROUPS == group
        expected = adam_steps(network, 80, rows=(X[~inside], Y[~inside]), watched=(X[inside], Y[inside]))
        steps = steps_until_idle(expected.watched, 7)
        if np.isclose(network.best_loss_, min(expected.watched[:steps]), rtol=1e-4):
            fits.append(group)
            assert network.steps_ == steps < 80
            assert_layers(network, expected.layers[int(np.argmin(expected.watched[:steps]))], atol=1e-4)
    assert len(fits) == 1


def test_other_random_states_set_other_groups_aside():
    fits = [Network(steps=1, validation=0.2, random_state=state) for state in range(8)]
    places = [tuple(fit._split(GROUPS, len(GROUPS))[1]) for fit in fits]
    assert len(set(places)) > 1


@pytest.mark.parametrize("groups, seen", [(None, "got 0"), (np.zeros(60), "got 1")])
def test_validation_needs_groups(groups, seen):
    with pytest.raises(ValueError, match=f"sets whole groups aside.*{seen}"):
        Network(validation=0.1).fit(X, Y, groups=groups)


def test_training_that_diverges_is_an_error():
    with pytest.raises(ValueError, match="training diverged within 5 steps, with features up to .*e.30 and targets"):
        Network(hidden=(), steps=5).fit(X * np.float32(1e30), Y)


def test_coefficients_are_those_of_linear_models_only():
    line = Network(hidden=(), steps=3).fit(X, Y)
    assert_allclose(line.predict(X), X @ line.coef_ + line.intercept_, rtol=1e-6)
    network = Network(hidden=(3,), steps=3).fit(X, Y)
    assert not hasattr(network, "coef_")
    assert not hasattr(network, "intercept_")


def test_random_state_fixes_every_bit():
    network = Network(steps=30)
    first = network.fit(X, Y).predict(X)
    assert_array_equal(cast(Any, clone(network)).fit(X, Y).predict(X), first)
    assert_array_equal(network.fit(X, Y).predict(X), first)
    assert not np.array_equal(Network(steps=30, random_state=1).fit(X, Y).predict(X), first)


@pytest.mark.full  # compiles for many shapes
def test_network_keeps_the_conventions_of_scikit_learn():
    check_estimator(Network(learning_rate=0.01), on_skip=None)
