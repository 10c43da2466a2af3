"""The optimizer's state along recorded runs, against plain NumPy loops and against the steps that were taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jaxor import Run, get_experiment, simulate
from jaxor.analysis.moments import moments
from jaxor.analysis.rows import rows_of

X = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], float)
Y = np.array([0.0, 1, 1, 0])
RELU1 = get_experiment("relu1_normal")


def relu1_gradient(params: np.ndarray) -> np.ndarray:
    """Of the mean squared error of relu(w1.x + b1) + relu(w2.x + b2)."""
    w, b = params[:4].reshape(2, 2), params[4:]
    pre = X @ w.T + b
    upstream = (2 / 4) * (np.maximum(pre, 0).sum(axis=1) - Y)[:, None] * (pre > 0)
    return np.concatenate([(upstream.T @ X).ravel(), upstream.sum(axis=0)])


def along(run: Run, seed: int) -> Any:
    """Gradients at the parameters before each step."""
    before = np.vstack([run.initial_params[seed], run.trace(seed).params[:-1]]).astype(float)
    return [relu1_gradient(params) for params in before]


@pytest.fixture(scope="module")
def trained() -> tuple[Run, Any, dict[str, np.ndarray]]:
    run = simulate(RELU1, 12, x64=True)
    rows = rows_of(run)
    return run, rows, moments(run, rows)


def test_adams_moments_are_those_of_a_loop(trained: Any):
    run, rows, found = trained
    mu_columns = np.column_stack([found[f"mu({name})"] for name in run.param_names])
    nu_columns = np.column_stack([found[f"nu({name})"] for name in run.param_names])
    for seed in np.unique(rows.seed):
        mu, nu, expected = np.zeros(6), np.zeros(6), []
        for gradient in along(run, seed):
            mu, nu = 0.9 * mu + 0.1 * gradient, 0.99 * nu + 0.01 * gradient**2
            expected.append((mu, nu))
        mine = rows.seed == seed
        steps = rows.step[mine]
        np.testing.assert_allclose(mu_columns[mine], np.array([e[0] for e in expected])[steps], rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(nu_columns[mine], np.array([e[1] for e in expected])[steps], rtol=1e-7, atol=1e-15)
    np.testing.assert_allclose(found["mu_weight"], 1 - 0.9 ** (rows.step + 1.0))
    np.testing.assert_allclose(found["nu_weight"], 1 - 0.99 ** (rows.step + 1.0))


@pytest.mark.parametrize("x64", [True, False])
def test_adams_moments_explain_every_step_that_was_taken(x64: bool):
    run = simulate(RELU1, 12, x64=x64)
    rows = rows_of(run)
    found = moments(run, rows)
    for place, name in enumerate(run.param_names):
        mu = found[f"mu({name})"] / (1 - 0.9 ** (rows.step + 1.0))
        nu = found[f"nu({name})"] / (1 - 0.99 ** (rows.step + 1.0))
        np.testing.assert_allclose(rows.update[:, place], -0.01 * mu / (np.sqrt(nu) + 1e-8), atol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_that_of_a_loop(nesterov: bool):
    optimizer = {"name": "momentum", "learning_rate": 0.02, "momentum": 0.8, "nesterov": nesterov}
    run = simulate(RELU1.replace(optimizer=optimizer), 6, x64=True)
    rows = rows_of(run, which="successful", initial=True)
    found = moments(run, rows)
    assert list(found) == [f"trace({name})" for name in run.param_names]
    columns = np.column_stack(list(found.values()))
    for seed in np.unique(rows.seed):
        velocity, expected = np.zeros(6), [np.zeros(6)]
        for gradient in along(run, seed):
            velocity = 0.8 * velocity + gradient
            expected.append(velocity)
        mine = rows.seed == seed
        np.testing.assert_allclose(columns[mine], np.array(expected)[rows.step[mine] + 1], rtol=1e-7, atol=1e-12)
    if not nesterov:
        later = rows.step >= 0
        np.testing.assert_allclose(rows.update[later], -0.02 * columns[later], atol=1e-9)


def test_minibatches_are_drawn_again_as_they_were():
    experiment = RELU1.replace(batch={"mode": "shuffle", "size": 2}, max_epochs=30)
    run = simulate(experiment.replace(**{"stop.loss": 0.2}), 20)
    rows = rows_of(run)
    assert run.experiment.steps_per_epoch == 2
    found = moments(run, rows)
    for place, name in enumerate(run.param_names):
        mu = found[f"mu({name})"] / (1 - 0.9 ** (rows.step + 1.0))
        nu = found[f"nu({name})"] / (1 - 0.99 ** (rows.step + 1.0))
        np.testing.assert_allclose(rows.update[:, place], -0.01 * mu / (np.sqrt(nu) + 1e-8), atol=1e-6)


def test_rows_in_any_order_and_of_some_runs_have_their_own_moments(trained: Any):
    run, rows, found = trained
    index = np.random.default_rng(0).permutation(len(rows))[:100]
    some = moments(run, rows.take(index))
    for name, values in found.items():
        np.testing.assert_array_equal(some[name], values[index])


def test_nothing_where_there_is_no_state_or_it_cannot_be_followed():
    run = simulate("abs1_convergence", 3)
    assert moments(run, rows_of(run)) == {}
    thinned = simulate(RELU1, 12, traces="every=5")
    assert moments(thinned, rows_of(thinned)) == {}
