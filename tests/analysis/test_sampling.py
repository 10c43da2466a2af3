"""A study is what one gets by simulating its strategies by hand."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

import jaxor
from jaxor import Status
from jaxor.analysis.arms import ratio_of_medians
from jaxor.analysis.diagnostics import dead_points, hidden_layer
from jaxor.analysis.sampling import Study, study
from jaxor.experiments.task import argmax_accuracy
from jaxor.report.samplings import initializer_text, study_text

SEEDS, XOR = 2000, np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
CONTROL = jaxor.get_experiment("relu1_normal")
NAMES = ["below:0.0724", "best:10"]
UNTIL_THE_CAP: dict[str, Any] = {"stop.patience": None}
"""Without patience each strategy is simulated once; with it, a second time without."""


@cache
def found() -> Study:
    return study(CONTROL, NAMES, SEEDS, draws=20_000, devices=1)


def by_hand(init: object, patience: bool = True) -> jaxor.Run:
    changes = {} if patience else {"stop.patience": None}
    return jaxor.simulate(CONTROL.replace(init=init, **changes), SEEDS, traces="none", devices=1)


@pytest.mark.parametrize("patience", [True, False])
def test_an_arm_is_its_simulation(patience: bool):
    run = by_hand({"name": "loss_below", "threshold": 0.0724}, patience)
    arm = (found().arms if patience else found().arms_without_patience)[1]
    success = run.final_accuracy == 1
    assert (arm.name, arm.runs, arm.unstarted) == ("below:0.0724", SEEDS, 0)
    assert arm.success.count == success.sum()
    assert arm.epochs is not None and arm.epochs.q50 == np.median(run.epochs)
    assert arm.epochs_of_successes is not None and arm.epochs_of_successes.q25 == np.quantile(run.epochs[success], 0.25)
    assert arm.converged == np.sum(success & (run.status == Status.CONVERGED))
    assert (arm.steps, arm.draws) == (pytest.approx(run.steps.mean()), pytest.approx(run.draws.mean()))
    assert arm.final_loss is not None and arm.final_loss.q50 == pytest.approx(np.median(run.final_loss))
    assert arm.draws_of_a_success == pytest.approx(run.draws.sum() / success.sum())
    assert arm.cost(10) == pytest.approx((10 * run.draws.sum() + run.steps.sum()) / success.sum())


def test_the_control_is_beside_them_and_faster_by_is_a_ratio_of_medians():
    control, below = found().arms[:2]
    run = by_hand(CONTROL.init)
    assert control.success.count == (run.final_accuracy == 1).sum() and control.speedup is None
    assert control.epochs_of_successes and below.epochs_of_successes and below.speedup
    assert below.speedup.value == control.epochs_of_successes.q50 / below.epochs_of_successes.q50
    assert below.speedup.interval.low <= below.speedup.value <= below.speedup.interval.high


def test_the_mechanism_is_that_of_the_controls_own_draws():
    run = by_hand(CONTROL.init)
    dead = dead_points(hidden_layer(run.initial_params, run.param_names), XOR)
    states = found().arms[0].states
    assert states is not None
    assert states[2].runs == dead[:, 1:3].any(axis=1).sum()
    assert states[0].runs == (~dead.any(axis=1)).sum()
    gain = found().arms[1].gain
    assert gain is not None and gain.avoided + gain.remaining == pytest.approx(gain.total)
    assert gain.total == pytest.approx((found().arms[1].success.count - found().arms[0].success.count) / SEEDS)
    odd = found().exceptions
    success = run.final_accuracy == 1
    assert odd is not None and odd.dead_succeeded == np.sum(success & dead[:, 1:3].any(axis=1))


def test_what_is_computed_from_the_control_is_what_simulations_give():
    """The best of 10 by weights on the control's runs, and by choosing among 10 draws."""
    computed, simulated = dict(found().best_of)[10], found().arms[2]
    assert simulated.draws == 10
    spread = np.sqrt(0.15 * 0.85 * (1 / SEEDS + 10 / SEEDS))
    assert computed.success == pytest.approx(simulated.success.share, abs=5 * spread)


def test_a_control_that_chooses_among_draws_pays_for_all_of_them():
    control = CONTROL.replace(init={"name": "best_of", "draws": 5}, **UNTIL_THE_CAP)
    chosen = study(control, ["best:2"], 200, draws=100, devices=1)
    control, twice = chosen.arms
    assert (control.draws, twice.draws) == (5, 10)
    assert [outcome.draws for _, outcome in chosen.best_of[:2]] == [5, 10]
    for one in chosen.recommendations:
        assert one.control == pytest.approx(control.cost(one.draw_cost))


@cache
def short() -> Study:
    """Two epochs of batches of one point, with runs that do not start."""
    batch = {"mode": "shuffle", "size": 1}
    control = CONTROL.replace(init={"name": "alive", "max_draws": 1}, batch=batch, max_epochs=2, **UNTIL_THE_CAP)
    return study(control, ["best:2"], 100, draws=100, devices=1)


def test_runs_without_parameters_are_failures_but_no_part_of_the_mechanism():
    none = short()
    arm = none.arms[0]
    assert arm.states is not None and arm.unstarted > 50 and arm.success.high > arm.success.count / 100
    assert sum(group.runs for group in arm.states) == 100 - arm.unstarted
    assert all(one.draws == 100 - arm.unstarted and np.isfinite(one.value) for one in none.law.percentiles)
    text = " ".join(study_text(none).split())
    assert f"control: {arm.unstarted} runs found no acceptable draw and count as failures." in text
    assert "Runs that found no acceptable draw are left out here." in text


def test_medians_are_those_of_resamples():
    random = np.random.default_rng(0)
    one, other = random.integers(50, 100, 301), random.integers(20, 60, 400)
    ratio = ratio_of_medians(one, other)
    assert ratio is not None and ratio.value == np.median(one) / np.median(other)
    plain = [np.median(random.choice(one, 301)) / np.median(random.choice(other, 400)) for _ in range(2000)]
    assert ratio.interval == pytest.approx(np.percentile(plain, [2.5, 97.5]), rel=0.02)
    assert ratio_of_medians([], other) is None and ratio_of_medians(one, [0, 0]) is None


def test_json_has_all_of_it():
    table = json.loads(json.dumps(found().to_dict(), allow_nan=False))
    assert table["control"]["name"] == "relu1_normal" and table["seeds"] == SEEDS
    assert [arm["name"] for arm in table["arms"]] == ["control", *NAMES]
    assert table["threshold_errors"][0]["draws"] is None


def test_the_text_says_what_was_found():
    text, arm = study_text(found()), found().arms[1]
    assert f"{100 * (arm.success.share or 0):.1f} %" in text
    assert "The same without patience" in text and "Thresholds from a sample" in text
    assert max(map(len, text.splitlines())) <= 160


def test_tasks_and_models_without_dead_points_say_so():
    task = jaxor.Task(XOR.astype(np.float32), np.eye(4, dtype=np.float32), argmax_accuracy)
    sgd = {"name": "sgd", "learning_rate": 0.1}
    parts = {"model": {"name": "mlp", "widths": [2, 1, 4]}, "optimizer": sgd, "max_epochs": 3, "init": "model"}
    four = study(jaxor.Experiment("four", task=task, **parts), ["below:50%"], 16, draws=200, devices=1)
    assert four.arms[0].states is None and four.exceptions is None and four.distance is None
    assert four.arms_without_patience == ()
    threshold = four.arms[1].threshold
    assert threshold is not None and four.arms[1].initial_loss is not None
    assert four.arms[1].initial_loss.max < threshold.value
    assert "Left out: dead points, the task has not just two classes" in study_text(four)


def test_a_draw_is_scored_on_all_points_where_a_step_takes_a_batch():
    text = " ".join(study_text(short()).split())
    words = "a forward pass over one batch; a draw that is scored on all points takes about 4 of them, 1.33."
    assert f"1/3: {words}" in text


@pytest.mark.parametrize(("seeds", "message"), [(1, "at least 2 seeds, got 1"), (0, "at least 2 seeds, got 0")])
def test_too_few_seeds(seeds: int, message: str):
    with pytest.raises(ValueError, match=message):
        study(CONTROL, NAMES, seeds)


def test_initializers_in_words():
    init = CONTROL.replace(init={"name": "loss_below", "threshold": 0.3}).to_dict()["init"]
    assert initializer_text(init) == "loss_below(threshold 0.3, max_draws 1e+06) of normal(std 0.5, bias_std 0)"
