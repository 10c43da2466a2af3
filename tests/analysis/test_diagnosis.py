"""Whole diagnoses: of the runs of the original code, with the figures of its reports, and of runs with gaps."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxor
from jaxor import Run, Status, StoreError
from jaxor.analysis.answers import answers
from jaxor.analysis.diagnosis import Diagnosis, diagnose
from jaxor.analysis.findings import Failures
from jaxor.analysis.finished import finished
from jaxor.analysis.subject import Subject
from jaxor.job import prepare
from jaxor.report.diagnoses import diagnosis_text, failures_text
from tests.reference import EXPERIMENTS, evaluate
from tests.test_reference import STATUS, oracle

UNKNOWN_STATE = "the model has a state that is not stored"


def arrays(name: str) -> dict[str, Any]:
    runs = oracle(name)
    return {
        "initial_params": runs["init_params"],
        "final_params": runs["final_params"],
        "epochs": runs["epochs_completed"],
        "status": [STATUS[reason] for reason in runs["stop_reason"]],
        "final_loss": runs["final_loss"],
        "final_accuracy": runs["final_accuracy"],
    }


@cache
def original(name: str) -> Diagnosis:
    return diagnose(finished(name, **arrays(name)))


def test_the_report_on_relu1():
    found = original("relu1_normal")
    assert found.success.count == 29 and found.left_out == {}
    assert found.dead_points == (("1", 29, 13, 16, 16, 0), ("0.75", 21, 0, 21, 13, 20), ("all", 50, 13, 37, 29, 20))
    assert found.mirror_pairs is not None and found.mirror_pairs[:3] == (50, 29, 15)
    assert found.mirror_pairs.cosine == pytest.approx((29, -0.99335, 0.0097), abs=5e-5)
    assert found.clusters is not None and found.nearest is not None
    layers = found.clusters["layers, all runs"].clusters
    assert (len(layers.size), layers.noise) == (5, 26)
    assert found.nearest["class 1"] == pytest.approx((100, 1.272, 0.31), abs=5e-3)
    text = diagnosis_text(found)
    assert "29 of 50 runs with accuracy .75 or more" in text and "15 a perfect one" in text
    assert "0.75        21         0          21          13          20" in text
    assert max(map(len, text.splitlines())) <= 102


def test_the_report_on_mirrored_weights():
    """In the report 984 of 984 pairs of 1,000 runs are perfect, angles 45.15 +- 25.63, 87.64 +- 1.66; here are 300."""
    found = original("relu1_mirror")
    assert found.mirror_pairs is not None and found.mirror_pairs[:3] == (297, 297, 297) and found.runs == 300
    assert found.dead_points is not None and found.dead_points[-1][1:] == (300, 300, 0, 0, 0)
    assert found.failure_angles is not None and found.displacement is not None
    success, failure = found.failure_angles["success"], found.failure_angles["failure"]
    assert (success.values, failure.values) == (594, 6)
    assert [success.mean, success.sd, failure.mean] == pytest.approx([45.15, 25.63, 87.64], abs=3)
    reported = [48.9, 53.0, 72.6, 126.2, 163.8, 171.8]
    assert [one.mean for one in found.displacement["angle"]] == pytest.approx(reported, rel=0.12)
    assert [one.rows for one in found.displacement["angle"]] == [60, 90, 150, 150, 90, 60]


def test_the_plateaus_of_the_two_layer_net():
    failures = original("relu2_two_mse_sgd").failures
    assert failures is not None and failures.runs == 40
    eighth, sixth = failures.plateaus
    assert (eighth.plateau.runs, eighth.plateau.accuracy, eighth.plateau.errors) == (33, 0.75, (0, 0, 0.25, 0.25))
    assert (sixth.plateau.runs, sixth.plateau.accuracy) == (7, 0.75)
    assert_allclose([eighth.plateau.loss, sixth.plateau.loss], [1 / 8, 1 / 6], rtol=1e-5)
    assert eighth.outputs is not None and sixth.outputs is not None
    assert sorted(map(tuple, np.abs(np.round(eighth.outputs, 2)))) == [(0, 1), (0.5, 0.5), (0.5, 0.5), (1, 0)]
    assert_allclose(oracle("relu2_two_mse_sgd")["final_loss"][sixth.seed], 1 / 6, rtol=1e-3)


@pytest.mark.parametrize("name", ["relu1_elu", "relu2_two_bce", "abs2_single_mse"])
def test_answers_are_those_of_the_reference(name: str):
    params = oracle(name)["final_params"]
    found, expected = answers(jaxor.get_experiment(name), params), evaluate(EXPERIMENTS[name], params)
    outputs = found.outputs if found.outputs.ndim == 3 else found.outputs[..., None]
    assert_allclose(outputs, np.moveaxis(expected.output, 1, 2), atol=2e-6)
    assert_allclose(found.loss, expected.loss, rtol=1e-4, atol=1e-7)
    assert_allclose(found.errors.mean(axis=1), found.loss, rtol=1e-4, atol=1e-7)


def test_many_nets_are_answered_in_pieces(monkeypatch: pytest.MonkeyPatch):
    params = oracle("relu1_normal")["final_params"]
    whole = answers(jaxor.get_experiment("relu1_normal"), params)
    monkeypatch.setattr("jaxor.analysis.answers.AT_ONCE", 7 * 4)
    pieces = answers(jaxor.get_experiment("relu1_normal"), params)
    assert [part.shape for part in pieces] == [part.shape for part in whole]
    assert_allclose(pieces.outputs, whole.outputs, atol=1e-7)


def test_pieces_and_limits_change_nothing_but_clusters(monkeypatch: pytest.MonkeyPatch):
    before = original("relu1_normal").to_dict()
    monkeypatch.setattr("jaxor.analysis.findings.AT_ONCE", 3 * 4 * 2)
    monkeypatch.setattr("jaxor.analysis.findings.CLUSTERED", 10)
    found = diagnose(finished("relu1_normal", **arrays("relu1_normal")))
    after = found.to_dict()
    table = after.pop("clusters")["weights, success"]
    assert (table["rows"], table["used"]) == (58, 10)
    assert table["noise"] + sum(one["size"] for one in table["clusters"]) == 10
    assert "first 10 of 58" in diagnosis_text(found)
    for name in ("clusters", "distances"):
        before.pop(name)
        after.pop(name, None)
    assert after == before


def test_runs_that_were_never_started_are_left_out():
    given = arrays("relu1_normal")
    given = {name: np.array(values) for name, values in given.items()}
    for name in ("final_params", "final_loss", "final_accuracy"):
        given[name][:20] = np.nan
    given["status"][:20] = Status.UNSTARTED
    found = diagnose(finished("relu1_normal", **given))
    rest = diagnose(finished("relu1_normal", **{name: values[20:] for name, values in given.items()}))
    assert (found.runs, found.unstarted) == (30, 20)
    ours, others = found.to_dict(), rest.to_dict()
    for table, shift in ((ours, 0), (others, 20)):
        del table["identity"], table["unstarted"]
        for one in table["failures"]["plateaus"]:
            one["seed"] += shift
    assert ours == others
    assert "20 without first parameters left out" in " ".join(diagnosis_text(found).split())


def test_a_state_that_is_not_stored():
    """Where a pivot has jumped, biases alone do not say where a hyperplane is."""
    found = diagnose(jaxor.simulate("relu1_mse_pivot", seeds=10, traces="none", devices=1))
    unknown = {"dead_units", "nearest", "distances"}
    assert found.left_out.keys() == unknown and all(UNKNOWN_STATE in reason for reason in found.left_out.values())
    assert found.mirror_pairs is not None and found.mirror_pairs.found > 0
    assert diagnosis_text(found).replace("\n", " ").count(UNKNOWN_STATE) == len(unknown)


def test_a_state_that_does_not_matter_when_in_use():
    assert diagnose(jaxor.simulate("abs2_single_mse_eater", seeds=4, traces="none", devices=1)).left_out.keys() == {
        "mirror_pairs"
    }


def untrained_digits() -> Run:
    """Two nets as they may be at first."""
    params = 0.1 * np.random.default_rng(0).normal(size=(2, len(prepare("digits_mlp", 1).manifest.param_names)))
    loss = answers(jaxor.get_experiment("digits_mlp"), params).loss
    return finished(
        "digits_mlp", initial_params=params, final_params=params, epochs=[0, 0], status=[Status.EPOCH_CAP] * 2,
        final_loss=loss, final_accuracy=[0.1, 0.1],
    )  # fmt: skip


def test_other_tasks_and_more_layers():
    found = diagnose(untrained_digits())
    assert found.left_out.keys() == {"nearest", "distances", "failure_angles"}
    assert found.dead_points is not None and found.dead_points[-1][-2:] == (None, None)
    assert found.failures is not None and found.failures.plateaus[0].outputs is None
    json.dumps(found.to_dict(), allow_nan=False)
    assert "the task has not just two classes" in diagnosis_text(found)


def renamed(run: Run) -> Run:
    """The same runs of a model whose parameters have other names."""
    names = tuple(name.replace("linear1", "hidden") for name in run.param_names)
    return Run(replace(run.manifest, param_names=names), run._source, experiment=run.experiment)


def test_models_without_that_layer():
    found = diagnose(renamed(finished("relu1_normal", **arrays("relu1_normal"))))
    parts = "dead_points dead_units mirror_pairs nearest distances clusters failure_angles displacement"
    assert [*found.left_out] == parts.split()
    assert all("no hidden layer linear1.weight" in reason for reason in found.left_out.values())
    assert found.failures is not None and found.failures.plateaus[0].plateau.errors == (0, 0, 0, 1)


def test_a_task_that_is_not_known():
    """The experiment cannot be built again if it was made in Python."""
    run = finished("relu1_normal", **arrays("relu1_normal"))
    table = run.manifest.experiment | {"task": {"python": "mine"}}
    found = diagnose(Run(replace(run.manifest, experiment=table), run._source))
    assert found.left_out.keys() == {"dead_points", "dead_units", "nearest", "distances", "failure_angles"}
    assert "the task is not known" in found.left_out["dead_points"]
    assert found.failures is not None and found.failures.plateaus[0].plateau.runs == 21


def test_parameters_that_were_not_stored():
    final = diagnose(jaxor.simulate("relu1_normal", seeds=20, traces="none", parameters="final", devices=1))
    assert final.left_out == dict.fromkeys(
        ("dead_points", "failure_angles", "displacement"),
        "initial parameters were not stored; simulate with --parameters both",
    )
    with pytest.raises(StoreError, match="final_params were not stored; simulate with --parameters both"):
        diagnose(jaxor.simulate("relu1_normal", seeds=20, traces="none", parameters="none", devices=1))


def test_nothing_to_look_at():
    given = arrays("relu1_normal") | {"status": np.full(50, Status.UNSTARTED)}
    with pytest.raises(StoreError, match="holds no runs that were started, so there is nothing to look at"):
        Subject(finished("relu1_normal", **given))


def test_runs_from_elsewhere_are_kept_as_they_are():
    given = arrays("abs1_kaiming_mse")
    run = finished("abs1_kaiming_mse", **given)
    for name, values in given.items():
        assert_allclose(getattr(run, name), values)
    assert_allclose(run.initial_loss, oracle("abs1_kaiming_mse")["first_epoch_loss"], rtol=1e-5)
    assert len(run) == 50 and run.seeds.tolist() == list(range(50)) and (run.steps == run.epochs).all()


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("final_params", np.zeros((50, 5)), r"final_params must have shape \(50, 6\), .* got \(50, 5\)"),
        ("epochs", np.zeros(49, int), r"epochs must have shape \(50,\), .* got \(49,\)"),
        ("initial_params", np.full((50, 6), np.nan), "initial_params must be finite"),
    ],
)
def test_arrays_that_do_not_fit(name: str, values: Any, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        finished("relu1_normal", **(arrays("relu1_normal") | {name: values}))


def test_failures_that_have_no_loss_in_common_are_counted():
    text = failures_text(Failures(101, ()))
    assert text == "No loss is shared by a hundredth of the 101 failed runs, to within .005."
    assert failures_text(Failures(0, ())) == "No run failed."
