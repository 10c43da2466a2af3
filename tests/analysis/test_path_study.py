"""Study files: what they may say, what is made of them, and those that come with jaxor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

import jaxor
from jaxor.analysis.over_seeds import share_figure
from jaxor.analysis.path_results import judge_paths, run_study
from jaxor.analysis.path_study import list_studies, load_study, parse_study
from jaxor.engine.geometry import Geometry, Measuring
from jaxor.experiments.experiment import Experiment
from tests.numpy_paths import quadratics, random_walks

SOUND: dict[str, Any] = {
    "title": "Two sizes", "factor": "batch size", "base": "digits_mlp", "seeds": 40,
    "arms": [
        {"label": "B16", "changes": {"batch.size": 16, "optimizer.learning_rate": 0.05, "max_epochs": 40}},
        {"label": "B64"},
        {"label": "full", "changes": {"batch": {"mode": "full"}}, "reference": "extra", "extra": 50},
    ],
    "batches": [["B16", "B64"]], "optimizers": [["B16", "B64"]], "thresholds": {"above_null": 0.9}, "notes": ["Note."],
}  # fmt: skip


def parsed(**changes: Any) -> Any:
    table = {key: value for key, value in (SOUND | changes).items() if value is not None}
    return parse_study("mine", tomli_w.dumps(table))


def arms(*rows: Any) -> dict[str, Any]:
    return {"arms": list(rows), "batches": [], "optimizers": []}


def test_arms_are_changed_experiments() -> None:
    study = parsed()
    small, middle, full = study.arms
    assert small.experiment.to_dict()["optimizer"]["learning_rate"] == 0.05
    assert (small.experiment.batch.size, middle.experiment.batch.size, full.experiment.batch.mode) == (16, 64, "full")
    assert [arm.experiment.name for arm in study.arms] == ["mine_B16", "mine_B64", "mine_full"]
    assert [str(arm.measuring) for arm in study.arms] == ["final", "final", "extra50"]
    assert (study.thresholds.above_null, study.thresholds.stable) == (0.9, 3.0)


def ported(**changes: Any) -> dict[str, Any]:
    return arms({"label": "a", "changes": changes}) | {"rates": ["a"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": None}, "title is missing"),
        ({"tittle": "x"}, "tittle is not a key of a study; did you mean title"),
        ({"title": 3}, "title must be a text, got 3"),
        ({"seeds": 0}, "seeds must be a whole number above 0, got 0"),
        ({"seeds": True}, "seeds must be a whole number above 0, got True"),
        ({"arms": []}, r"arms must be a list of tables, one at least, got \[\]"),
        ({"arms": ["B16"]}, r"arms\[0\] must be a table, got 'B16'"),
        (arms({}), r"arms\[0\].label is missing"),
        (arms({"label": ""}), r"arms\[0\].label must be a text, got ''"),
        (arms({"label": "a", "base": "digts_mlp"}), r"arms\[0\] \(a\): unknown experiment 'digts_mlp'; did you"),
        (arms({"label": "a", "changes": {"batch.sise": 3}}), r"arms\[0\] \(a\): batch.sise is not a key"),
        (arms({"label": "a", "changes": 3}), r"arms\[0\].changes must be a table of an experiment's keys, got 3"),
        (arms({"label": "a", "reference": "end"}), r"arms\[0\] \(a\): reference must be final, exact or extra"),
        (arms({"label": "a b"}, {"label": "a_b"}), "labels must differ by more than signs, got mine_a_b twice"),
        ({"batches": "B16"}, "batches must be a list of lists of labels, got 'B16'"),
        ({"batches": [["B16", 3]]}, r"batches\[0\] must be a list of texts"),
        ({"batches": [["B16", "B46"]]}, r"batches\[0\] names the unknown arm 'B46'; did you mean B"),
        ({"batches": [["B16"]]}, r"batches\[0\] must name two arms or more, each once"),
        ({"optimizers": [["B16", "B16"]]}, r"optimizers\[0\] must name two arms or more, each once"),
        ({"batches": [["B64", "B16"]]}, r"by ascending size, got B64 \(64\), B16 \(16\)"),
        ({"batches": [["B64", "full"]]}, "compared by batch size, but differ in reference"),
        ({"thresholds": {"stble": 1}}, "thresholds.stble is not a threshold"),
        ({"rates": ["B46"]}, "rates names the unknown arm 'B46'; did you mean B"),
        (ported(**{"optimizer.name": "adam"}), r"rates \(a\): .* plain SGD at a constant rate, got adam"),
        (ported(**{"optimizer.schedule": {"name": "linear", "steps": 9}}), "plain SGD at a constant rate, got sgd"),
        (ported(**{"stop.loss": 0.1}), r"rates \(a\): .* runs with equally many steps; leave out their stop rules"),
        (ported(**{"stop.patience": 3}), "leave out their stop rules"),
        (arms({"label": "a"}) | {"reference": "exact"}, r"arms\[0\] \(a\): no exact minimum is known for mine_a; take"),
        ({"notes": "Note."}, "notes must be a list of texts, got 'Note.'"),
    ],
)  # fmt: skip
def test_malformed_studies(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parsed(**changes)
    assert "\n" not in str(error.value)


def test_other_differences_than_the_batch() -> None:
    rows = [{"label": "a"}, {"label": "b", "changes": {"batch.size": 256, "model.widths": [64, 8, 10]}}]
    with pytest.raises(ValueError, match="a and b are compared by batch size, but differ in model.widths"):
        parsed(**arms(*rows) | {"batches": [["a", "b"]]})


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    with pytest.raises(ValueError, match="cannot read the study .*mine.toml: No such file"):
        load_study(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        load_study(file)
    file.write_text("title = ")
    with pytest.raises(ValueError, match="mine.toml: not valid TOML"):
        load_study(file)
    file.write_text(tomli_w.dumps(SOUND))
    assert load_study(str(file)).arm("B64").experiment.name == "mine_B64"
    with pytest.raises(ValueError, match="unknown study 'digitz'; did you mean digits"):
        load_study("digitz")
    named_otherwise = [tmp_path / "mine.txt", file.rename(tmp_path / "mine")]
    for path in named_otherwise:
        with pytest.raises(ValueError, match=f"^the name of a study's file must end in .toml, got {path}$"):
            load_study(path)


@pytest.mark.parametrize("name", list_studies())
def test_studies_that_come_with_jaxor(name: str) -> None:
    study = load_study(name)
    assert study.seeds >= study.thresholds.seeds
    if study.batches:  # seeds that all agree are enough to decide
        assert share_figure("x", np.ones(study.seeds), study.thresholds.growing, {}).answer == "supported"
    for arm in study.arms:
        Experiment.from_toml(arm.experiment.to_toml())


def test_the_table_that_thresholds_were_read_off() -> None:
    """Section 6: rate, steps by epochs of 112, 28 and 7 batches, and full batch."""
    study = load_study("digits")
    found = []
    for label in ("SGD B16", "SGD B64", "SGD B256", "SGD full"):
        experiment = study.arm(label).experiment
        table = experiment.to_dict()
        steps = experiment.max_epochs * (1797 // table["batch"].get("size", 1797))
        found.append((table["optimizer"]["learning_rate"], steps))
    assert found == [(0.05, 4480), (0.1, 1680), (0.2, 840), (0.1, 1500)]


def measured(experiment: Experiment, seeds: int, measuring: Measuring) -> Geometry:
    """The smaller batch walks, the others descend."""
    return random_walks(seeds) if experiment.name == "mine_B16" else quadratics(seeds)


def test_study_runs_arm_by_arm() -> None:
    said: list[str] = []
    found = run_study(parsed(), measured, jaxor.simulate, said.append)
    assert said == list(found.arms) == ["B16", "B64", "full"]
    answers = {label: {one.claim: one.answer for one in arm.verdicts} for label, arm in found.arms.items()}
    assert [answers[label]["P1"] for label in answers] == ["supported"] * 3  # above .9 of the null
    assert [answers[label]["P5"] for label in answers] == ["not", "supported", "supported"]
    claims = {one.verdict.claim: one for one in found.comparisons}
    assert {name: one.verdict.figures[0].value for name, one in claims.items() if name != "P3"} == {"P2": 1, "P2'": 1}
    assert claims["P3"].labels == ("B16", "B64")
    assert claims["P3"].verdict.answer == "supported"
    table = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert table["arms"]["full"]["reference"] == "extra50"
    assert table["arms"]["B16"]["verdicts"][0]["figures"][1]["beside"]["null"] == 1
    assert len(table["arms"]["B64"]["tenths"]["columns"]["gamma"]) == 10


def test_result_of_one_experiment() -> None:
    experiment = parsed().arm("B64").experiment
    found = judge_paths(experiment, quadratics(), Measuring())
    assert (found.seeds, found.parameters, found.steps, found.status) == (32, 3466, (60, 60), {"converged": 32})
    assert found.closed
    assert found.verdicts[0].answer == "supported"
