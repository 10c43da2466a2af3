"""Descents: what is made of the falls of many seeds, runs that diverge and single seeds among them."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from jaxor.analysis import descents as module
from jaxor.analysis.descents import Descents, descents
from jaxor.analysis.statements import Bound
from jaxor.engine.status import Status
from jaxor.experiments.catalog import get_experiment
from jaxor.experiments.experiment import Experiment

XOR = get_experiment("abs1_convergence").replace(stop={}, max_epochs=6)
BOUND = Bound("Lemma", "descent, at least", 0.5, 6, "any", 0.9, {"n > 0": True, "m = Omega(1)": None}, {"bound": "TXT"})


def found(values: list[float], bound: Bound | None = None, made: Experiment = XOR) -> Descents:
    return Descents(made, np.array(values), bound)


def test_figures_are_scipys() -> None:
    values = [0.5, 0.25, 0.75, 0.625]
    some = found(values, BOUND)
    assert some.steps == 6
    assert_allclose(some.mean, np.mean(values))
    assert_allclose(some.sd, stats.tstd(values))
    assert_allclose(some.interval, stats.ttest_1samp(values, 0).confidence_interval(0.95))
    assert some.kept is not None and (some.kept.count, some.kept.share) == (3, 0.75)  # .5 itself is enough
    assert found(values).kept is None


def test_steps_are_epochs_times_steps() -> None:
    made = Experiment(
        "net", task="antipodal", model={"name": "relu_net", "inputs": 50, "hidden": 2}, loss="quadratic", max_epochs=7,
        optimizer={"name": "sgd", "learning_rate": 0.1}, batch={"mode": "shuffle", "size": 5},
    )  # fmt: skip
    assert found([0.5], made=made).steps == 28
    assert found([0.5], made=made.replace(batch={"mode": "replacement", "size": 5, "steps": 1})).steps == 7


@pytest.mark.parametrize("values", [[0.25], [0.25, math.nan]])
def test_what_json_cannot_hold(values: list[float]) -> None:
    """One seed has no spread; a run that diverged has no descent, and with it all seeds have none."""
    table = json.loads(json.dumps(found(values, BOUND).to_dict(), allow_nan=False))
    assert table["values"] == [0.25, None][: len(values)]
    assert table["mean"] == (0.25 if len(values) == 1 else None)
    assert table["sd"] is table["low"] is table["high"] is None
    assert table["bound"]["premises"] == {"n > 0": True, "m = Omega(1)": None}
    assert table["bound"]["holds"] is False and table["bound"]["vacuous"] is False
    kept = found([1.0, math.nan], BOUND).kept
    assert kept is not None and kept.count == 1


def test_runs_that_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their last loss is that of the last finite parameters, infinite or not: no descent either way."""
    asked: list[object] = []

    def simulated(made: Experiment, seeds: int, **options: object) -> SimpleNamespace:
        asked.append((made, seeds, options["x64"]))
        status = np.array([Status.EPOCH_CAP, Status.DIVERGED, Status.DIVERGED, Status.CONVERGED])
        first, last = np.full(4, 0.5, np.float32), np.array([0.25, np.inf, 9.0, 0.0], np.float32)
        return SimpleNamespace(status=status, initial_loss=first, final_loss=last)

    monkeypatch.setattr(module, "simulate", simulated)
    assert_array_equal(descents(XOR, 4, x64=True).values, [0.25, math.nan, math.nan, 0.5])
    assert asked == [(XOR, 4, True)]
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        descents(XOR, 0)
