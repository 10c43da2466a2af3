"""``jaxor sampling``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Call

QUICK = ("sampling", "relu1_normal", "--seeds", 200, "--draws", 500, "--strategy", "best:5", "--devices", 1)


def test_tables_and_a_file(call: Call, tmp_path: Path):
    said = call(*QUICK)
    assert said.exit_code == 0, said.stderr
    assert said.stderr == ""
    assert "best:5" in said.stdout and said.stdout.endswith("Kept in outputs/relu1_normal-sampling.\n")
    kept = json.loads((tmp_path / "outputs/relu1_normal-sampling/study.json").read_text())
    again = call(*QUICK, "--json", "--out", "there", "--plots")  # compiled by now
    assert json.loads(again.stdout) == kept == json.loads((tmp_path / "there/study.json").read_text())
    assert {path.name for path in (tmp_path / "there").iterdir()} == {
        "study.json", "strategies.svg", "loss.svg", "draws.svg",
    }  # fmt: skip


def test_an_experiment_that_never_succeeds_is_drawn_too(call: Call):
    changes = [f"--set={change}" for change in ("max_epochs=1", "model.units=1", "stop.patience=none")]
    said = call(*QUICK[:2], *changes, "--plots", *QUICK[2:])
    assert said.exit_code == 0, said.stderr
    assert "never" in said.stdout and re.search(r"best k \(of those below\)( +-){5}\n", said.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("relu1_norml",), 2, "unknown experiment 'relu1_norml'; did you mean relu1_normal"),
        (("relu1_normal", "--strategy", "belo:3"), 2, "'belo:3' in the strategy 'belo:3' is unknown"),
        (("relu1_normal", "--seeds", 1), 2, "at least 2 seeds, got 1"),
        (("relu1_normal", "--draws", 0), 2, "at least 1, got 0"),
        (("relu1_normal", "--set", "model.units=0"), 2, "model.units must be positive"),
    ],
)
def test_what_cannot_be(call: Call, arguments: tuple[object, ...], code: int, message: str):
    said = call("sampling", *arguments)
    assert (said.exit_code, said.stdout) == (code, "")
    assert message in said.stderr and said.stderr.count("\n") == 1 and said.stderr.startswith("Error: ")


def test_a_threshold_that_no_draw_reaches(call: Call):
    said = call("sampling", "relu1_normal", "--seeds", 2, "--draws", 500, "--strategy", "below:1e-9", "--devices", 1)
    assert said.exit_code == 1
    assert "acceptable" in said.stderr and "probability" in said.stderr and said.stderr.count("\n") == 1
