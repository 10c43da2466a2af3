from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from jaxor.analysis.statistics import Losses, PopulationSummary, success_by_initial_loss, summary
from jaxor.engine.status import Status
from jaxor.engine.tally import Tally, loss_bin
from jaxor.estimates import Quantiles, Share, quantiles, wilson
from jaxor.store.run import Run
from tests.store.samples import manifest


@dataclass
class Runs:
    """What `summary` looks at."""

    status: Any
    epochs: Any
    initial_loss: Any
    final_loss: Any
    final_accuracy: Any
    manifest = manifest(range(0))

    def __post_init__(self) -> None:
        for f in fields(self):
            setattr(self, f.name, np.asarray(getattr(self, f.name)))

    def __len__(self) -> int:
        return len(self.status)


def summed(**arrays: Any):
    run: Any = Runs(**arrays)
    return summary(run)


def test_losses_that_are_not_finite_are_counted_and_left_out():
    losses = Losses.of(np.array([1, np.nan, 3, np.inf, -np.inf], np.float32))
    assert losses == Losses(Quantiles(1, 1.5, 2, 2.5, 3, 2), 3)
    assert Losses.of(np.array([np.nan])) == Losses(None, 1)


def test_summary_tells_converged_runs_from_all():
    figures = summed(
        status=[0, 0, 1, 2, 3], epochs=[10, 20, 30, 800, 4], initial_loss=[1, 2, 3, 4, 5],
        final_loss=[0, 0, 0.25, 0.5, np.nan], final_accuracy=[1, 1, 1, 0.75, np.nan],
    )  # fmt: skip
    assert figures.status == {Status.CONVERGED: 2, Status.STALLED: 1, Status.EPOCH_CAP: 1, Status.DIVERGED: 1}
    assert figures.success == Share(3, 0.6, *wilson(3, 5))
    assert figures.epochs == Quantiles(4, 10, 20, 30, 800, 172.8)
    assert figures.epochs_converged == Quantiles(10, 12.5, 15, 17.5, 20, 15)
    assert figures.censored == 3
    assert figures.final_loss == Losses(Quantiles(0, 0, 0.125, 0.3125, 0.5, 0.1875), 1)


def test_unstarted_runs_have_no_epochs_and_losses_and_no_success():
    nan = np.nan
    figures = summed(
        status=[0, 4, 1, 4, 3], epochs=[10, 0, 30, 0, 4], initial_loss=[1, nan, 3, nan, 5],
        final_loss=[0, nan, 0.5, nan, np.inf], final_accuracy=[1, nan, 0.75, nan, 0.5],
    )  # fmt: skip
    assert figures.status[Status.UNSTARTED] == figures.unstarted == 2 and figures.started == 3
    assert figures.success == Share(1, 0.2, *wilson(1, 5))
    assert figures.epochs == pytest.approx(Quantiles(4, 7, 10, 20, 30, 44 / 3))
    assert figures.censored == 2
    assert figures.initial_loss == Losses(Quantiles(1, 2, 3, 4, 5, 3), 0)
    assert figures.final_loss == Losses(Quantiles(0, 0.125, 0.25, 0.375, 0.5, 0.25), 1)


def test_draws_are_summed_up_where_there_was_a_choice():
    import jaxor

    chosen = jaxor.get_experiment("relu1_reinit_25th").replace(**{"init.max_draws": 3})
    run = jaxor.simulate(chosen, 300, traces="none")
    table = summary(run).to_dict()
    figures = quantiles(run.draws)
    assert figures and table["draws"] == {"total": run.draws.sum()} | figures._asdict()
    assert table["status"]["unstarted"] == (run.status == 4).sum() > 0
    json.dumps(table, allow_nan=False)
    counted = summary(jaxor.simulate(chosen, 300, keep="statistics")).to_dict()
    assert "draws" not in counted  # they are not counted
    for name in ("seeds", "status", "success", "epochs"):
        assert counted[name] == table[name]
    assert counted["initial_loss"]["nonfinite"] == counted["final_loss"]["nonfinite"] == 0


def test_summary_of_no_runs_and_of_none_converged_is_json():
    none = summed(status=np.empty(0, np.int8), epochs=[], initial_loss=[], final_loss=[], final_accuracy=[])
    assert none.success == Share(0, None, 0.0, 1.0)
    diverged = summed(status=[3], epochs=[1], initial_loss=[1], final_loss=[np.inf], final_accuracy=[0])
    for figures in (none, diverged):
        table = json.loads(json.dumps(figures.to_dict(), allow_nan=False))
        assert table["epochs"]["converged"] == dict.fromkeys(Quantiles._fields)
        assert table["final_loss"]["mean"] is None
    assert diverged.to_dict()["final_loss"]["nonfinite"] == 1


def test_summary_of_a_simulation(simulated: Run):
    figures = summary(simulated)
    converged = [int(epochs) for epochs, status in zip(simulated.epochs, simulated.status, strict=True) if status == 0]
    assert figures.seeds == len(simulated) == sum(figures.status.values())
    assert figures.status[Status.CONVERGED] == len(converged) and 0 < len(converged) < len(simulated)
    assert figures.epochs_converged and figures.epochs_converged.q50 == statistics.median(converged)
    assert figures.success.count == sum(accuracy == 1 for accuracy in simulated.final_accuracy.tolist())


def test_summary_of_counts_is_that_of_the_runs(simulated: Run):
    import jaxor

    counted = summary(jaxor.simulate("relu1_normal", seeds=101, keep="statistics"))
    runs = summary(simulated)
    assert isinstance(counted, PopulationSummary)
    for name in ("seeds", "status", "success", "epochs", "epochs_converged", "censored"):
        assert getattr(counted, name) == getattr(runs, name)
    for ours, theirs in ((counted.initial_loss, runs.initial_loss), (counted.final_loss, runs.final_loss)):
        assert ours.nonfinite == theirs.nonfinite
        assert ours.quantiles == pytest.approx(theirs.quantiles, rel=1 / 256)
    table = counted.to_dict()
    assert table.keys() >= runs.to_dict().keys()
    assert "draws" not in table and "unstarted" not in table["status"]
    assert table["until"] is None and set(table["success_sequence"]) == {"low", "high"}
    json.dumps(table, allow_nan=False)


def test_success_by_initial_loss_is_in_tenths():
    import jaxor

    run = jaxor.simulate("relu1_normal", seeds=2000, traces="none")
    population = jaxor.simulate("relu1_normal", seeds=2000, keep="statistics")
    groups = success_by_initial_loss(population)
    assert len(groups) == 10 and sum(group.runs for group in groups) == 2000
    assert all(one.high < other.low for one, other in pairwise(groups))
    bins = loss_bin(run.initial_loss)
    for group in groups:
        inside = (bins >= loss_bin(group.low)) & (bins <= loss_bin(group.high))
        assert abs(group.runs - 200) < 40 and group.runs == inside.sum()
        assert group.success == Share.of(int((run.final_accuracy[inside] == 1).sum()), group.runs)


def test_counts_of_no_runs_are_json():
    from jaxor.store.population import Population
    from tests.store.samples import manifest

    table = summary(Population(manifest((), kind="statistics"), Tally.empty())).to_dict()
    assert json.loads(json.dumps(table, allow_nan=False))["success_by_initial_loss"] == []


@pytest.fixture
def simulated() -> Run:
    import jaxor

    return jaxor.simulate("relu1_normal", seeds=101, traces="none")
