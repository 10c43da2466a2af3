"""`jaxor diagnose`: what is printed and kept, and the sentence when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxor
from jaxor.analysis.diagnosis import diagnose
from jaxor.report.diagnoses import diagnosis_text
from jaxor.report.drawing import save_plot
from jaxor.report.hyperplanes import LINES, diagnosis_plots
from jaxor.store.run import Run, open_run
from tests.analysis.test_diagnosis import untrained_digits
from tests.cli.conftest import Call, Process

KEPT = Path("derived") / "diagnosis.json"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories of runs."""
    folder = tmp_path_factory.mktemp("runs")
    jaxor.simulate("relu1_normal", seeds=400, out=folder / "relu1", traces="none", devices=1)
    jaxor.simulate("relu1_normal", seeds=20, out=folder / "bare", traces="none", parameters="none", devices=1)
    jaxor.simulate("relu1_normal", seeds=20, out=folder / "statistics", keep="statistics", devices=1)
    return folder


def opened(path: Path) -> Run:
    run = open_run(path)
    assert isinstance(run, Run)
    return run


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("nothing", 1, "is not a run directory"),
        ("statistics", 2, "holds statistics and no single runs; simulate with --keep runs to diagnose"),
        ("bare", 1, "final_params were not stored; simulate with --parameters both"),
    ],
)
def test_directories_that_cannot_be_diagnosed(call: Call, runs: Path, name: str, code: int, sentence: str):
    result = call("diagnose", runs / name, "--plots")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1 and sentence in result.stderr
    assert not (runs / name / "derived").exists()


def test_nothing_but_the_report_is_printed(process: Process, runs: Path):
    command = process("diagnose", runs / "relu1")
    out, err = command.communicate()
    path = runs / "relu1" / KEPT
    assert (command.returncode, err) == (0, "")
    assert out == f"{diagnosis_text(diagnose(opened(runs / 'relu1')))}\n\nKept in {path}.\n"


def test_json_is_what_is_kept(call: Call, runs: Path):
    result = call("diagnose", runs / "relu1", "--json")
    table = json.loads(result.stdout)
    assert table.pop("path") == str(runs / "relu1") and result.stderr == ""
    assert table == json.loads((runs / "relu1" / KEPT).read_text())
    run = opened(runs / "relu1")
    success = run.final_accuracy == 1
    assert (table["runs"], table["success"]["count"]) == (400, success.sum())
    assert [row["runs"] for row in table["dead_points"]] == [
        *np.unique(-run.final_accuracy, return_counts=True)[1],
        400,
    ]
    assert table["failures"]["runs"] == (~success).sum()
    assert call("verify", runs / "relu1").exit_code == 0


def test_plots_lie_beside_it(call: Call, runs: Path):
    result = call("diagnose", runs / "relu1", "--plots")
    folder = runs / "relu1" / "derived" / "diagnosis"
    names = ["hyperplanes.svg", "failures.svg", "displacement.svg"]
    assert result.stdout.endswith(f"plots in {folder}: {', '.join(names)}.\n")
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)


def test_links_are_not_followed(call: Call, tmp_path: Path):
    jaxor.simulate("relu1_normal", seeds=5, out=tmp_path / "run", traces="none", devices=1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "derived").symlink_to(tmp_path / "elsewhere")
    result = call("diagnose", "run")
    assert (result.exit_code, result.stdout) == (1, "") and "is a link" in result.stderr
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_what_is_drawn(runs: Path, tmp_path: Path):
    """Lines are where pre-activations are 0; bars are counts of losses; equal figures are equal bytes."""
    run = opened(runs / "relu1")
    figures = diagnosis_plots(diagnose(run))
    failed = np.flatnonzero(run.final_accuracy < 1)
    hyperplanes = figures["hyperplanes"].axes
    good = 400 - len(failed)
    assert [axes.get_title(loc="left") for axes in hyperplanes] == [
        f"{good} successful runs",
        f"{len(failed)} failed runs",
    ]
    params = run.final_params[failed[:LINES]].astype(float)
    for (x0, y0), (x1, y1) in hyperplanes[1].collections[0].get_segments():  # pyright: ignore[reportAttributeAccessIssue]
        for unit in (0, 1):
            w1, w2, b = params[:, 2 * unit], params[:, 2 * unit + 1], params[:, 4 + unit]
            scale = np.hypot(w1, w2) * 20
            if (np.abs(w1 * x0 + w2 * y0 + b) + np.abs(w1 * x1 + w2 * y1 + b) < 1e-6 * scale).any():
                break
        else:
            pytest.fail("a line is no unit's hyperplane")
    bars: Any = figures["failures"].axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(len(failed), abs=2)  # a frame leaves out extremes
    again = diagnosis_plots(diagnose(opened(runs / "relu1")))
    for name, figure in figures.items():
        assert "relu1_normal" in figure.get_suptitle()
        first, second = (
            save_plot(one[name], tmp_path / f"{number}.svg") for number, one in enumerate((figures, again))
        )
        assert first.read_bytes() == second.read_bytes()


def test_what_cannot_be_drawn_is_not_there(runs: Path):
    assert [*diagnosis_plots(diagnose(untrained_digits()))] == ["failures", "displacement"]
    mirrored = diagnosis_plots(diagnose(jaxor.simulate("abs1_tiny", seeds=20, traces="none", devices=1)))
    assert [*mirrored] == ["hyperplanes", "displacement"] and len(mirrored["hyperplanes"].axes) == 1
