"""Corollaries 4.3 and 4.7 on seeds: real runs beside a NumPy loop and the specification, and what is asked for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxor.analysis import corollaries
from jaxor.analysis.corollaries import many_classes, two_classes
from jaxor.analysis.descents import Descents
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.analysis.statements import Bound
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError
from tests.analysis.early import descend, first_layers


@pytest.mark.parametrize(
    ("data", "descent", "bound"),
    [("one_pair", 0.0698, None), pytest.param("antipodal", 0.0695, 0.0234, marks=pytest.mark.full)],
)
def test_descent_in_44_steps(data: str, descent: float, bound: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly 44 steps from each run's own first parameters, n = 20, d = 50, m = 1295."""
    monkeypatch.setattr(corollaries, "STREAMS", ())
    nets = SeparatedNets(data)
    found = two_classes(nets, 2)
    assert found.descents.steps == 44
    assert_allclose(found.descents.values, descent, atol=5e-4)
    for seed, fallen in enumerate(found.descents.values):
        a, b = first_layers(nets.descent(44), seed)
        assert_allclose(np.abs(a), 1 / np.sqrt(1295))
        path = descend(np.asarray(nets.built.inputs), np.asarray(nets.built.targets), a, b, 44)
        f = np.stack([np.maximum(path.x @ path.b[t].T, 0) @ path.a[t] for t in (0, 44)])
        assert_allclose(fallen, -np.diff(((f - path.y) ** 2).mean(1) / 2)[0], 1e-11)
    promised = found.descents.bound
    assert promised is not None and promised.bound is not None and promised.probability is not None
    if bound is not None:
        assert_allclose(promised.bound, bound, atol=5e-5)
    assert 0.01 < promised.bound < 0.03 and abs(promised.probability - 0.9) < 1e-9
    assert found.descents.kept is not None and found.descents.kept.count == 2
    table = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert table["population"] == [] and table["descents"]["bound"]["bound"] == promised.bound


class Asked:
    """What is asked of `descents`, which here takes no time."""

    def __init__(self) -> None:
        self.of: list[tuple[dict[str, Any], int, Bound | None, bool]] = []

    def __call__(self, made: Experiment, seeds: int, bound: Bound | None = None, *, x64: bool = False) -> Descents:
        self.of.append((made.to_dict(), seeds, bound, x64))
        return Descents(made, np.full(seeds, 0.3), bound)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    spy = Asked()
    monkeypatch.setattr(corollaries, "descents", spy)
    return spy


def test_population(asked: Asked) -> None:
    """Streams of 20 and 200 fresh points a step, judged on 1,000 others, from the same start."""
    told: list[str] = []
    nets = SeparatedNets(points=8, given_dimension=10, given_width=60)
    found = two_classes(nets, 5, stream_seeds=3, watch=told.append)
    (own, seeds, bound, x64), *streams = asked.of
    assert (seeds, x64, own["max_epochs"]) == (5, True, 44) and bound is not None
    assert own["optimizer"] | {"schedule": None} == {
        "name": "sgd", "learning_rate": 0.01, "weight_decay": 0.0, "schedule": None
    }  # fmt: skip
    assert [batch for batch, _ in found.population] == [20, 200]
    for size, (made, seeds, bound, x64) in zip((20, 200), streams, strict=True):
        assert (seeds, bound, x64) == (3, None, False)
        assert (made["task"]["n"], made["task"]["d"]) == (1000, 10)
        assert made["batch"] == {"mode": "stream", "size": size}
        assert made["init"] == own["init"] and made["max_epochs"] == 44
    assert told == [
        "antipodal: 44 steps of 5 seeds", "antipodal: a stream, 20 points a step",
        "antipodal: a stream, 200 points a step",
    ]  # fmt: skip


def test_many_classes(asked: Asked) -> None:
    """34 steps of B points drawn with replacement, kappa the largest that Corollary 4.7 allows."""
    found = many_classes(seeds=3, batches=(2, 64))
    assert [(made["loss"]["name"], made["batch"]["size"]) for made, *_ in asked.of] == [
        ("exponential", 2), ("exponential", 64), ("logistic", 2), ("logistic", 64)
    ]  # fmt: skip
    for made, seeds, bound, _ in asked.of:
        batch = made["batch"]["size"]
        assert made["batch"] == {"mode": "replacement", "size": batch, "steps": 1}
        assert made["max_epochs"] == 34 and seeds == 3
        assert_allclose(made["init"]["kappa"], min(0.001, 0.01 / (3 * batch)))
        assert made["init"]["name"] == "paper42" and made["init"]["dimension"] == 64
        assert bound is not None and bound.bound == 0.262533
        assert bound.premises["(3): batches drawn with replacement"]
        assert bound.premises["kappa <= min(eta / 10, eta / (3 B))"]
        assert bound.premises["4.4 (iii): g_min = 1/e"] == (made["loss"]["name"] == "exponential")
        failure = 0.1 + 800 * np.exp(-128) + 200 * 0.17**batch
        assert bound.probability == pytest.approx(max(0, 1 - failure))
        assert bound.vacuous == (batch == 2)  # 200 * .17^2 is above 1
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["by_batch"][1]["batch"] == 64


def test_batches_that_cannot_be(asked: Asked) -> None:
    for batch in (0, -3):
        with pytest.raises(ExperimentError, match=f"batches must be positive, got {batch}"):
            many_classes(seeds=1, batches=(batch,))
    assert not asked.of
