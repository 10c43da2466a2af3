"""Reports of paths: what stands where."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import jaxor
from jaxor.analysis.path_results import StudyResult, judge_paths, run_study
from jaxor.analysis.path_study import parse_study
from jaxor.engine.geometry import Geometry, Measuring, join
from jaxor.experiments.catalog import get_experiment
from jaxor.experiments.experiment import Experiment
from jaxor.report.geometry import paths_text, study_text
from tests.numpy_paths import quadratics, random_walks

STUDY = parse_study("mine", '''
title = "Two sizes"
factor = "batch size"
base = "digits_mlp"
seeds = 40
batches = [["B16", "B64"]]
optimizers = [["B16", "B64"]]
arms = [{label = "B16", changes = {"batch.size" = 16}}, {label = "B64"}]
notes = ["Walks and bowls."]
''')  # fmt: skip


def measured(experiment: Experiment, seeds: int, measuring: Measuring) -> Geometry:
    return random_walks(seeds) if experiment.name == "mine_B16" else quadratics(seeds)


@pytest.fixture(scope="module")
def study() -> StudyResult:
    return run_study(STUDY, measured, jaxor.simulate)


def sections(text: str) -> dict[str, str]:
    """Texts by their titles; the head has none."""
    parts = re.split(r"^(.+)\n-+$", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def row(table: str, first: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(first))
    return line.removeprefix(first).split()


def test_report_of_one_experiment(study: StudyResult) -> None:
    found = sections(paths_text(study.arms["B16"]))
    assert "mine_B16: 3,466 parameters" in found[""]
    assert "40 seeds, 60 steps; 40 converged" in found[""]
    assert "the mean of <g, d> weighted with the rates is above 0" in " ".join(found[""].split())
    tenths = found["Tenths of each run's own steps"]
    columns = study.arms["B16"].tenths.columns
    numbers = [float(cell) for cell in row(tenths, "    6")]
    wanted = [columns[name][5] for name in ("rsi", "eb", "gamma", "null_gamma", "flat_null", "ratio")]
    np.testing.assert_allclose(numbers[:6], wanted, rtol=0.01)
    positive = found["Steps with gamma above 0"].splitlines()[2].split()
    np.testing.assert_allclose(
        [float(x) for x in positive], list(study.arms["B16"].tenths.positive.values()), atol=5e-4
    )
    claims = found["Claims"]
    assert row(claims, "P1 ")[-3:] == ["0.95", "yes", "not"]
    assert row(claims, "P6 ")[-1] == "supported"
    beside = found["The same numbers elsewhere"]
    assert float(row(beside, "            gamma / null")[2]) == 1
    for claim in ("P1", "P4", "P5", "P6", "P7 decay", "P7 warm-up"):
        about = next(line for line in found["What the claims are"].splitlines() if line.startswith(f"{claim}:"))
        assert about
    assert found["What the claims are"].replace("\n", " ").count("the paper's body was not read") == 6


def test_report_says_what_was_not_bitwise_and_why_open() -> None:
    geometry = quadratics(20)
    geometry.difference[3] = 1e-6
    text = paths_text(judge_paths(get_experiment("digits_mlp"), geometry, Measuring("extra", 50)))
    assert "up to 1e-06 away from the runs' own final parameters" in text
    assert "50 steps after its end" in text
    assert "P1 is undecided: 20 seeds have a number, at least 32 are needed." in text


def test_report_names_replays_of_another_length() -> None:
    geometry = quadratics(20)
    geometry.difference[[3, 5]] = np.inf
    found = judge_paths(get_experiment("digits_mlp"), geometry, Measuring())
    assert "2 runs took another number of steps than when they were stored" in " ".join(paths_text(found).split())
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["other_lengths"] == 2


def test_report_shows_looks_and_how_many_seeds_a_number_is_of() -> None:
    text = paths_text(
        judge_paths(get_experiment("digits_mlp"), join([quadratics(20, 200), quadratics(20, 8)]), Measuring())
    )
    found = sections(text)
    assert "40" in row(found["Claims"], "P1 ")
    assert "20" in row(found["Claims"], "P4 ")  # 8 steps leave tenths without any
    assert len(row(found["Ten looks along each run"], "  10")) == 8


def test_short_runs_have_dashes() -> None:
    text = paths_text(judge_paths(get_experiment("digits_mlp"), random_walks(3, 4), Measuring()))
    assert row(sections(text)["Tenths of each run's own steps"], "    2") == ["-"] * 12


def test_verdict_table(study: StudyResult) -> None:
    text = study_text(study)
    found = sections(text)
    assert row(found["Verdicts"], "B16")[:7] == ["40", "60", "no", "yes", "no", "yes", "no"]
    assert row(found["Verdicts"], "B64")[:7] == ["40", "60", "yes", "yes", "yes", "yes", "yes"]
    assert row(found["Numbers, those of the null in brackets"], "B64")[2:4] == ["2.29", "(1.00)"]
    between = found["Between arms"]
    assert row(between, "P2  ")[:3] == ["B16,", "B64", "1.00"]
    assert row(between, "P2  ")[-1] == "undecided"
    assert "P2, B16, B64: the interval of share of seeds whose gamma grows with the batch holds 0.95." in between
    assert row(between, "P3  ")[-1] == "not"
    assert found["Notes"].strip() == "Walks and bowls."
    assert len(text.splitlines()) < 90  # a page or so
