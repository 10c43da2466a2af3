"""`--keep statistics` and `--until`: what is printed and stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import netCDF4
import pytest

import jaxor
from jaxor.analysis.statistics import Ending, Losses, LossGroup, PopulationSummary
from jaxor.engine.status import Status
from jaxor.estimates import Interval, Quantiles, Share, confidence_sequence
from jaxor.report.summaries import info_text, summary_table
from tests.cli.conftest import Call
from tests.store.samples import manifest

RULE = "halfwidth(success)<=0.05"


def test_json_has_the_keys_and_the_figures_of_runs(call: Call):
    tables = [
        json.loads(call("simulate", "relu1_normal", "--seeds", 300, "--keep", kept, "--json").stdout)
        for kept in ("runs", "statistics")
    ]
    runs, counts = tables
    assert counts.keys() - runs.keys() == {"success_sequence", "until", "success_by_initial_loss"}
    for name in ("experiment", "identity", "seeds", "status", "success", "epochs"):
        assert counts[name] == runs[name]
    assert counts["path"] == runs["path"] + "-statistics" and counts["until"] is None
    assert sum(group["runs"] for group in counts["success_by_initial_loss"]) == 300
    assert counts["final_loss"]["q50"] == pytest.approx(runs["final_loss"]["q50"], rel=1 / 128)

    info = json.loads(call("info", counts["path"], "--json").stdout)
    assert info["kind"] == "statistics" and (info["seeds_asked"], info["seeds_missing"]) == ([[0, 300]], 0)
    assert all(info[name] == counts[name] for name in info.keys() & counts.keys())


def test_the_table_is_in_tenths_by_initial_loss(call: Call):
    text = call("simulate", "relu1_normal", "--seeds", 3000, "--keep", "statistics").stdout
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and lines[0] == "relu1_normal: 3,000 runs, seeds 0 to 2,999"
    head = next(k for k, line in enumerate(lines) if line.split() == "initial loss runs success Wilson 95 %".split())
    rows = lines[head + 1 : head + 11]
    assert all(" to " in row for row in rows) and not lines[head + 11]
    assert "every look" not in text and "until" not in text
    assert "counted in bins and are accurate to 0.4 %" in " ".join(text.split())


def test_until_says_whether_its_rule_holds(call: Call):
    arguments = ["relu1_normal", "--keep", "statistics", "--until", RULE, "--out", "run", "--devices", 1]
    result = call("simulate", *arguments)
    population: Any = jaxor.open_run("run")
    low, high = confidence_sequence(population.success.count, len(population))
    assert (high - low) / 2 <= 0.05 and population.until == RULE
    for text in (result.stdout, call("info", "run").stdout):
        assert f"{RULE} holds: {(high - low) / 2:.3g} after {len(population):,} runs" in " ".join(text.split())
        assert "Wilson 95 %" in text and f"at every look, 95 %: {100 * low:.3f} %" in text
        assert "Robbins' beta-binomial mixture" in " ".join(text.split())
    again = call("simulate", *arguments, "--resume")
    assert again.exit_code == 0 and "nothing left to compute" in again.stdout


def test_the_seeds_can_end_before_the_rule_holds(call: Call):
    arguments = ["relu1_normal", "--keep", "statistics", "--until", RULE, "--seeds", 100]
    assert f"{RULE} does not hold:" in " ".join(call("simulate", *arguments).stdout.split())
    table = json.loads(call("simulate", *arguments, "--resume", "--json").stdout)
    assert table["seeds"] == 100 and table["until"]["rule"] == RULE and not table["until"]["holds"]
    low, high = table["success_sequence"].values()
    assert table["until"]["halfwidth"] == (high - low) / 2 > 0.05


def test_an_unfinished_rule_asks_for_as_many_as_it_takes():
    nothing = Losses(None, 0)
    figures = PopulationSummary(
        0, dict.fromkeys(Status, 0), Share.of(0, 0), None, None, nothing, nothing, None, Interval(0, 1),
        Ending(RULE, 0.5, False), (),
    )  # fmt: skip
    text = info_text(figures, manifest((), kind="statistics", until=RULE), 0, 99, Path("run"))
    assert "as many as it takes; 0 done" in text and "No runs yet." in text


def test_export(call: Call):
    call("simulate", "relu1_normal", "--seeds", 300, "--keep", "statistics", "--out", "run")
    assert call("export", "run", "counts.nc").exit_code == 0
    with netCDF4.Dataset("counts.nc") as file:
        assert file["runs_by_epochs"][:].sum() == 300 and file["seed_ranges"][:].tolist() == [[0, 300]]


def test_no_seeds_and_no_rule_is_misuse(call: Call):
    result = call("simulate", "--keep", "statistics")
    assert (result.exit_code, result.stdout) == (2, "") and "--seeds is missing" in result.stderr


def test_the_table_of_a_billion_runs_fits_into_80_columns():
    epochs, losses = Quantiles(10, 20_000.25, 30_000, 40_000, 50_000, 30_000.75), Quantiles(*[1.23e-10] * 6)
    total = 10**9
    half = Share.of(total // 2, total)
    figures = PopulationSummary(
        total, dict.fromkeys(Status, total // 4), Share.of(total, total), epochs, epochs, Losses(losses, 0),
        Losses(losses, 123_456), None, confidence_sequence(total, total), Ending(RULE, 0.04, True),
        (LossGroup(1.23e-10, 1.24e-10, total, half),) * 10,
    )  # fmt: skip
    assert max(map(len, summary_table(figures).splitlines())) <= 80
