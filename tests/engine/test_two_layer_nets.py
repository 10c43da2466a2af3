"""Two-layer ReLU nets as the engine trains them, beside a plain NumPy loop in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.engine.plan import plan
from jaxor.experiments.adaptive import FIRST_RATE
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError

Floats = NDArray[np.float64]
N, D, M = 8, 6, 40

LOSSES: dict[str, tuple[Callable[[Floats], Any], Callable[[Floats], Any]]] = {
    "logistic": (lambda z: np.logaddexp(0, -z), lambda z: -1 / (1 + np.exp(z))),
    "exponential": (lambda z: np.exp(-z), lambda z: -np.exp(-z)),
    "hinge": (lambda z: np.maximum(0, 1 - z), lambda z: (z < 1) * -1.0),
}


def experiment(loss: str, optimizer: Any, steps: int = 12, **parts: Any) -> Experiment:
    table: dict[str, Any] = {
        "task": {"name": "antipodal", "n": N, "d": D},
        "model": {"name": "relu_net", "inputs": D, "hidden": M},
        "init": {"name": "paper5", "kappa": 0.1},
    }
    return Experiment("net", loss=loss, optimizer=optimizer, max_epochs=steps, **(table | parts))


class Net:
    """Model (4) of one seed with its gradient written out."""

    def __init__(self, params: Floats, loss: str) -> None:
        self.b, self.a, self.loss = params[: M * D].reshape(M, D).copy(), params[M * D :].copy(), loss
        rows = np.abs(np.random.default_rng(0).standard_normal((N // 2, D)))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.x, self.y = np.concatenate([rows, -rows]), np.repeat([1.0, -1.0], N // 2)

    def look(self) -> tuple[float, Floats, Floats]:
        """Loss, and its gradients in a and b."""
        z = self.x @ self.b.T
        f = np.maximum(z, 0) @ self.a
        if self.loss == "quadratic":
            value, slope = np.mean((f - self.y) ** 2) / 2, f - self.y
        else:
            of, derivative = LOSSES[self.loss]
            value, slope = np.mean(of(self.y * f)), derivative(self.y * f) * self.y
        error = slope / N
        return float(value), np.maximum(z, 0).T @ error, ((z > 0) * error[:, None] * self.a).T @ self.x

    def step(self, rate: Callable[[float, float], float], train_output: bool = True) -> float:
        loss, a, b = self.look()
        a = a if train_output else np.zeros_like(a)
        size = rate(loss, float((a**2).sum() + (b**2).sum()))
        self.a -= size * a
        self.b -= size * b
        return loss


def first_params() -> Floats:
    signs = np.random.default_rng(6).choice([-1, 1], M)
    return np.concatenate([np.random.default_rng(5).normal(0, 0.3, M * D), signs / np.sqrt(M)])


def trained(
    net: Net, rate: Callable[[int], Callable[[float, float], float]], steps: int, **options: Any
) -> list[float]:
    return [net.step(rate(t), **options) for t in range(steps)]


@pytest.mark.parametrize(
    ("loss", "train_output"),
    [
        ("quadratic", True),
        ("hinge", True),
        ("quadratic", False),  # which has nothing to do with the loss
        # Rates that follow the loss, and classes, have these too, below.
        *(pytest.param(loss, True, marks=pytest.mark.full) for loss in ("exponential", "logistic")),
        *(pytest.param(loss, False, marks=pytest.mark.full) for loss in LOSSES),
    ],
)
def test_gradient_descent(loss: str, train_output: bool) -> None:
    model = {"name": "relu_net", "inputs": D, "hidden": M, "train_output": train_output}
    made = experiment(loss, {"name": "sgd", "learning_rate": 0.1}, model=model)
    run = jaxor.simulate(made, initial_params=first_params()[None], traces="all", x64=True)
    net = Net(first_params(), loss)
    losses = trained(net, lambda t: lambda loss, square: 0.1, 12, train_output=train_output)
    assert_allclose(run.trace(0).loss, losses, 1e-12)
    assert_allclose(run.final_params[0], np.concatenate([net.b.ravel(), net.a]), 1e-11, 1e-13)
    assert (run.final_params[0, M * D :] == first_params()[M * D :]).all() != train_output


POWER = {"name": "power_law", "learning_rate": 0.05, "power": 2.0, "constant_steps": 4}
LITERAL = {"name": "power_law_literal", "learning_rate": 0.05, "v": 3.0, "g_a": 0.5, "constant_steps": 4}


@pytest.mark.parametrize("loss", ["exponential", pytest.param("logistic", marks=pytest.mark.full)])
def test_rates_that_follow_the_loss(loss: str) -> None:
    def power(t: int) -> Callable[[float, float], float]:
        if t < 5:
            return lambda loss, square: FIRST_RATE if t == 0 else 0.05
        return lambda loss, square: 2 * loss / (t * square)

    def inverse(t: int) -> Callable[[float, float], float]:
        return lambda loss, square: FIRST_RATE if t == 0 else 0.7 / loss

    for optimizer, rate in (({"name": "inverse_loss", "learning_rate": 0.7}, inverse), (POWER, power)):
        run = jaxor.simulate(
            experiment(loss, optimizer), initial_params=first_params()[None], traces="loss", x64=True
        )  # fmt: skip
        assert_allclose(run.trace(0).loss, trained(Net(first_params(), loss), rate, 12), 1e-9)


def test_literal_rate_and_its_cap() -> None:
    """2 r / (g_a^2 V t L) from step 5 on; capped it is never more than 1 / (L (|theta|^2 + 1))."""
    for capped in (False, True):
        net = Net(first_params(), "exponential")
        caps = 0

        def rate(t: int, net: Net = net, capped: bool = capped) -> Callable[[float, float], float]:
            if t < 5:
                return lambda loss, square: FIRST_RATE if t == 0 else 0.05

            def literal(loss: float, square: float) -> float:
                nonlocal caps
                free, cap = 2 / (0.25 * 3 * t * loss), 1 / (loss * ((net.a**2).sum() + (net.b**2).sum() + 1))
                caps += free > cap
                return min(free, cap) if capped else free

            return literal

        made = experiment("exponential", LITERAL | {"capped": capped}, steps=8)
        run = jaxor.simulate(made, initial_params=first_params()[None], traces="loss", x64=True)
        assert_allclose(run.trace(0).loss, trained(net, rate, 8), 1e-8)
        assert caps > 0


def test_classes_and_bias() -> None:
    """Model (6), the true class's logit: one step of gradient descent, written out."""
    task = {"name": "images", "source": "digits", "count": 30}
    model = {"name": "relu_net", "inputs": 64, "hidden": 5, "classes": 10, "bias": True}
    made = experiment(
        "logistic", {"name": "sgd", "learning_rate": 0.5}, steps=1, task=task, model=model,
        init={"name": "notebook", "kappa": 0.1},
    )  # fmt: skip
    run = jaxor.simulate(made, 1, x64=True, traces=False)
    x, y = _images(made)
    first = run.initial_params[0]
    b, c, a = first[:320].reshape(5, 64), first[320:325], first[325:].reshape(10, 5)
    z = x @ b.T + c
    own = y @ a  # the true class's weights
    margin = (np.maximum(z, 0) * own).sum(1)
    slope = -1 / (1 + np.exp(margin)) / len(x)
    hidden = (z > 0) * own * slope[:, None]
    expected = [b - 0.5 * hidden.T @ x, c - 0.5 * hidden.sum(0), a - 0.5 * (y * slope[:, None]).T @ np.maximum(z, 0)]
    assert_allclose(run.final_params[0], np.concatenate([part.ravel() for part in expected]), 1e-12)
    assert_allclose(run.initial_loss, np.logaddexp(0, -margin).mean(), 1e-12)


def _images(made: Experiment) -> tuple[Floats, Floats]:
    task = made.build().task
    return np.asarray(task.inputs, np.float64), np.asarray(task.targets, np.float64)


def test_replacement_with_steps_of_its_own() -> None:
    """34 steps of any batch size are 34 epochs of one step; other lengths of an epoch draw other batches."""
    batch = {"mode": "replacement", "size": 4, "steps": 1}
    model = {"name": "relu_net", "inputs": D, "hidden": 2}
    made = experiment("quadratic", {"name": "sgd", "learning_rate": 0.1}, steps=34, batch=batch, model=model)
    assert (jaxor.simulate(made, 2, traces=False).steps == 34).all()
    assert made.steps_per_epoch == 1
    assert made.replace(**{"batch.steps": 5}).steps_per_epoch == 5
    usual = made.replace(batch={"mode": "replacement", "size": 4})
    assert usual.steps_per_epoch == N // 4
    assert "steps" not in usual.to_dict()["batch"]


def test_a_stream_that_many_points_judge_is_laid_out_wide() -> None:
    """A narrow program is as long as the points are many: one of 1,000 points compiled for minutes."""
    nets = SeparatedNets(points=4, given_dimension=3, given_width=8)
    assert plan(nets.descent(3)).layout == "narrow"
    made = nets.descent(3, batch={"mode": "stream", "size": 20})
    assert plan(made).layout == "narrow"
    assert plan(made.replace(**{"task.n": 1000})).layout == "wide"


def test_stream_sees_fresh_points_and_judges_on_the_tasks() -> None:
    """A learning rate so small that parameters stand still: losses of batches scatter around the population's."""
    made = experiment(
        "quadratic", {"name": "sgd", "learning_rate": 1e-12}, steps=60, batch={"mode": "stream", "size": 4}
    )
    run = jaxor.simulate(made, initial_params=np.tile(first_params(), (2, 1)), traces="loss", x64=True)
    losses = np.array([run.trace(seed).loss for seed in (0, 1)])
    assert len(np.unique(losses)) == 120  # no two batches are alike, in no run
    assert_allclose(run.final_loss, Net(first_params(), "quadratic").look()[0], 1e-6)
    rows = np.abs(np.random.default_rng(1).standard_normal((100_000, D)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    f = [
        np.maximum(sign * rows @ first_params()[: M * D].reshape(M, D).T, 0) @ first_params()[M * D :]
        for sign in (1, -1)
    ]
    risk = ((f[0] - 1) ** 2 + (f[1] + 1) ** 2).mean() / 4
    assert abs(losses.mean() - risk) < 5 * losses.std() / np.sqrt(120)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "xor", "batch": {"mode": "stream", "size": 2}}, "batch.mode stream needs a task with a population"),
        ({"batch": {"mode": "stream"}}, "batch.size must be a positive whole number"),
        ({"batch": {"mode": "shuffle", "size": 2, "steps": 3}}, "batch.steps must be left out unless"),
        ({"batch": {"mode": "replacement", "size": 2, "steps": 0}}, "batch.steps must be a positive whole number"),
        (
            {"optimizer": {"name": "power_law", "learning_rate": 0.1, "power": 0.5}},
            "optimizer.power must be at least 1",
        ),
        ({"optimizer": {"name": "inverse_loss", "first_rate": 0.0}}, "optimizer.first_rate must be positive"),
        ({"optimizer": LITERAL | {"v": -1.0}}, "optimizer.v must be positive"),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    made = experiment("quadratic", {"name": "sgd", "learning_rate": 0.1})
    with pytest.raises(ExperimentError, match=message):
        made.replace(
            model={"name": "relu_net", "inputs": 2 if "task" in changes else D, "hidden": M}, **changes
        ).build()


def test_a_run_does_not_depend_on_where_it_lies() -> None:
    made = experiment("logistic", {"name": "sgd", "learning_rate": 0.1})
    run = jaxor.simulate(made, 40)
    other = jaxor.simulate(made, [37, 3, 16])
    assert_array_equal(other.final_params, run.final_params[[37, 3, 16]])
