"""Small starts of two-layer nets: their scales, by the specification's formulas."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxor.experiments.experiment import Experiment
from jaxor.experiments.initialize import Setting
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.task import Task

D, M, KAPPA = 20, 64, 0.5


def drawn(init: Any, classes: int, bias: bool) -> dict[str, np.ndarray[Any, Any]]:
    """Parameters of 200 seeds."""
    inputs = np.zeros((4, D))
    task = Task(inputs, np.zeros((4, classes) if classes else 4), lambda outputs, targets: outputs.sum())
    model = {"name": "relu_net", "inputs": D, "hidden": M, "classes": classes, "bias": bias}
    experiment = Experiment("start", task=task, model=model, init=init, max_epochs=1, optimizer="none")
    model, init = experiment._build_taskless()[:2]
    setting = Setting(model, experiment._build_task(), lambda outputs, targets: outputs)
    draws = jax.vmap(lambda key: init(key, setting))(jax.random.split(jax.random.key(0), 200))
    return {name: np.asarray(value, np.float64) for name, value in draws.items()}


ROOT = 1 / np.sqrt(M)


@pytest.mark.parametrize(
    ("name", "classes", "bias", "std", "output", "signs", "offset"),
    [
        ("paper5", 0, False, KAPPA / np.sqrt(M * D), ROOT, True, None),
        ("paper42", 10, True, KAPPA / np.sqrt(M * (D + 1)), ROOT, False, KAPPA / np.sqrt(M * (D + 1))),
        ("notebook", 10, True, KAPPA, 1.0, True, KAPPA),
        ("pm1_sqrtm", 10, True, KAPPA / np.sqrt(M * (D + 1)), ROOT, True, KAPPA / np.sqrt(M * (D + 1))),
    ],
)
def test_scales(
    name: str, classes: int, bias: bool, std: float, output: float, signs: bool, offset: float | None
) -> None:
    params = drawn({"name": name, "kappa": KAPPA}, classes, bias)
    first, second = params["linear1.weight"], params["linear2.weight"]
    assert first.shape == (200, M, D) and second.shape == (200, max(classes, 1), M)
    assert abs(first.std() / std - 1) < 5 / np.sqrt(2 * first.size)
    assert abs(first.mean()) < 5 * std / np.sqrt(first.size)
    assert_allclose(np.abs(second), output, 1e-6)
    positive = (second > 0).mean()
    assert abs(positive - 0.5) < 2.5 / np.sqrt(second.size) if signs else positive == 1
    if offset is None:
        assert "linear1.bias" not in params
    else:
        assert_allclose(params["linear1.bias"], offset, 1e-6)


def test_dimension_before_a_rotation_sets_the_scale() -> None:
    own = drawn({"name": "paper5", "kappa": KAPPA}, 0, False)["linear1.weight"]
    wide = drawn({"name": "paper5", "kappa": KAPPA, "dimension": 4 * D}, 0, False)["linear1.weight"]
    assert_allclose(wide, own / 2, 1e-6)


def test_kappa_zero_starts_at_zero() -> None:
    assert_array_equal(drawn({"name": "notebook", "kappa": 0.0}, 10, True)["linear1.weight"], 0)


@pytest.mark.parametrize(
    ("init", "model", "message"),
    [
        ({"name": "paper5", "kappa": -1.0}, {}, "init.kappa must be 0 or positive, got -1.0"),
        ({"name": "paper42", "dimension": -1}, {}, "init.dimension must be 0"),
        ("paper5", {"bias": True}, "init paper5 is for a model without bias"),
        ("notebook", {"name": "abs1"}, "init notebook needs a model of two layers such as relu_net"),
    ],
)
def test_what_cannot_be(init: Any, model: dict[str, Any], message: str) -> None:
    table = {"name": "relu_net", "inputs": 2, "hidden": 3} | model
    if table["name"] == "abs1":
        table = {"name": "abs1"}
    with pytest.raises(ExperimentError, match=message):
        Experiment(
            "start", task="xor", model=table, init=init, max_epochs=1, optimizer={"name": "sgd", "learning_rate": 0.1}
        ).build()
