"""Lemmas along training: real runs beside a NumPy loop and the specification, and checks that notice what fails."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxor.analysis import lemmas as module
from jaxor.analysis.lemmas import STATEMENTS, Lemmas, Violations, lemmas, watched
from jaxor.analysis.partition import overlap_tolerance
from jaxor.analysis.separated_nets import SeparatedNets
from tests.analysis.early import Trajectory, descend, first_layers

NETS = SeparatedNets()
STEPS, SEEDS = 4, 2


@pytest.fixture(scope="module")
def seen() -> Lemmas:
    return lemmas(NETS, SEEDS, kappas=(0.01,), steps=STEPS)


def path_of(nets: SeparatedNets, seed: int) -> Trajectory:
    """A NumPy loop from a run's own first parameters."""
    x, y = (np.asarray(array, np.float64) for array in (nets.built.inputs, nets.built.targets))
    return descend(x, y, *first_layers(nets.descent(STEPS), seed), STEPS)


def test_figures_beside_a_loop(seen: Lemmas) -> None:
    path = path_of(NETS, 1)
    pre = np.einsum("nd,tmd->tnm", path.x, path.b)
    outputs = np.einsum("tnm,tm->tn", np.maximum(pre, 0), path.a)
    losses = ((outputs - path.y) ** 2).mean(1) / 2
    for name, expected in (
        ("loss", losses[:-1]), ("loss_after", losses[1:]), ("largest_output", np.abs(outputs).max(1)[:-1]),
        ("balance", ((path.a**2).sum(1) - (path.b**2).sum((1, 2)))[:-1]),
    ):  # fmt: skip
        assert seen.figures[name].shape == (SEEDS, STEPS)
        assert_allclose(seen.figures[name][1], expected, 1e-10)
    assert seen.figures["loss"][0, 0] != seen.figures["loss"][1, 0]  # seeds differ
    assert_array_equal(seen.hitting_times, STEPS - 2)  # |f| <= 1 at all s that were looked at


def test_true_living_become_half(seen: Lemmas) -> None:
    shares = seen.figures["fractions"]
    assert shares.shape == (SEEDS, STEPS, 4)
    assert_allclose(shares[:, 0], 0.25, atol=0.01)
    assert_array_equal(shares[:, 1:], np.broadcast_to([0.5, 0, 0, 0.5], (SEEDS, STEPS - 1, 4)))


def test_all_hold_at_the_corollarys_kappa(seen: Lemmas) -> None:
    assert [check.name for check in seen.checks] == [
        "6.1", *(f"6.2 {name}" for name in STATEMENTS), "6.3 P1", "6.3 P1", "6.3 P1", "6.3 P3", "6.4", "6.4", "6.4",
        "6.5", "6.6",
    ]  # fmt: skip
    assert {check.holds.count for check in seen.checks} == {SEEDS}
    worst = {(check.name, check.statement[:10]): check.worst for check in seen.checks}
    assert worst["6.4", "largest of"] == 0 and worst["6.6", "L(t+1) les"] < 0 < worst["6.5", "|grad L|^2"]
    assert_allclose(worst["6.1", "overlaps a"], seen.figures["overlap_deviation"][:, 0].max())


def test_sweep(seen: Lemmas) -> None:
    """The nets' own kappa first; at .01 what NumPy counts: S3 and S4 at step 0, S5 later."""
    assert [found.kappa for found in seen.sweep] == [5e-6, 0.01]
    assert not any(counts.any() for counts in seen.sweep[0].counts.values())
    path = path_of(replace(NETS, given_kappa=0.01), 1)
    pre = np.einsum("nd,tmd->tnm", path.x, path.b)
    true = path.y[:, None] * path.a[0] > 0
    signs = np.sign(pre)
    expected = {
        "S1": (true & (pre[:-1] > 0) & (pre[1:] <= 0)).sum(),
        "S2": (~true & (pre[:-1] <= 0) & (pre[1:] > 0)).sum(),
        "S3": (true & (pre[0] <= 0) & (pre[1] <= 0)).sum(),
        "S4": (~true & (pre[0] > 0) & (pre[1] > 0)).sum(),
        "S5": (signs[1:-1] * signs[2:] <= 0).sum(),
    }
    assert {name: int(counts[1]) for name, counts in seen.sweep[1].counts.items()} == expected
    assert (abs(seen.sweep[1].counts["S3"] - 97) < 60).all()  # 97 in the specification's one run
    assert seen.sweep[1].seeds == SEEDS and seen.sweep[1].broken("S3").count == SEEDS
    assert Violations(1.0, {"S1": np.array([0, 2, 0, 5])}).broken("S1").share == 0.5


def test_json(seen: Lemmas) -> None:
    table = json.loads(json.dumps(seen.to_dict(), allow_nan=False))
    assert table["hitting_times"] == [STEPS - 2] * SEEDS and table["steps"] == STEPS
    assert np.shape(table["bands"]["fractions"]["median"]) == (STEPS, 4)
    assert_allclose(table["bands"]["loss"]["median"], np.median(seen.figures["loss"], axis=0))
    assert_allclose(table["bands"]["loss"]["low"], np.quantile(seen.figures["loss"], 0.05, axis=0))
    assert "S1" not in table["bands"] and table["sweep"][1]["S3"] == seen.sweep[1].counts["S3"].tolist()


@pytest.mark.parametrize(
    ("figure", "at", "value", "name", "share"),
    [
        ("overlap_deviation", 0, 0.5, "6.1", 1 / 2),
        ("S1", 0, 1, "6.2 S1", 1 / 2),
        ("P1", 3, 1, "6.3 P1", 1 / 2),
        ("P1", 0, 1, "6.3 P1", 1),  # at step 0 the lemma says nothing
        ("outer_ratio", 2, 1.1, "6.3 P1", 1 / 2),
        ("output_ratio", 2, 1.1, "6.3 P3", 1 / 2),
        ("off_class", 2, 1e-30, "6.4", 1 / 2),
        ("off_class", 0, 0.1, "6.4", 1),
        ("entry_margin", 2, -1e-30, "6.4", 1 / 2),
        ("identity_error", 0, 2e-6, "6.4", 1 / 2),
        ("gradient_margin", 2, -1e-6, "6.5", 1 / 2),
        ("loss_after", 2, 9.0, "6.6", 1 / 2),
        ("loss", 2, np.nan, "6.6", 1 / 2),  # a run that diverged
    ],
)
def test_checks_notice(seen: Lemmas, figure: str, at: int, value: float, name: str, share: float) -> None:
    """One of two seeds breaks one statement at one step."""
    figures = {key: array.copy() for key, array in seen.figures.items()}
    figures[figure][1, at] = value
    found = module._checks(figures, overlap_tolerance(20, 1295))
    lowest = min(check.holds.share or 0 for check in found if check.name == name)
    assert_allclose(lowest, share)
    broken = replace(seen, figures=figures, checks=found)
    json.dumps(broken.to_dict(), allow_nan=False)


@pytest.mark.full
@pytest.mark.parametrize(("kappa", "pairs"), [(0.01, 97), (0.1, 5210)])
def test_violations_of_the_specifications_order(kappa: float, pairs: int) -> None:
    """So many pairs a seed break S3, and as many S4; S1 and S2 never do."""
    measured = watched(replace(NETS, given_kappa=kappa).descent(44), 4, only=STATEMENTS).measured
    assert set(measured) == set(STATEMENTS)
    counts = {name: measured[name].sum(1) for name in STATEMENTS}
    assert not counts["S1"].any() and not counts["S2"].any()
    for name in ("S3", "S4"):
        assert (abs(counts[name] - pairs) < 6 * np.sqrt(pairs)).all()
    assert_array_equal(counts["S5"], counts["S3"] + counts["S4"])


@pytest.mark.full
@pytest.mark.parametrize("data", ["antipodal", "one_pair"])
def test_no_violation_at_full_size(data: str) -> None:
    measured = watched(SeparatedNets(data).descent(44), 4, only=(*STATEMENTS, "fractions")).measured
    assert not any(measured[name].any() for name in STATEMENTS)
    assert_allclose(measured["fractions"][:, 0, 0], 0.25, atol=0.01)
    assert (measured["fractions"][:, 1:, 0] == 0.5).all()


def test_progress_and_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        lemmas(NETS, 0)
    with pytest.raises(ValueError, match="steps must be at least 2"):
        lemmas(NETS, 1, steps=1)
    told: list[str] = []

    def replayed(made: Any, seeds: Any, look: Any, *, x64: bool, watch: Any) -> None:
        assert x64
        watch(len(seeds))

    monkeypatch.setattr(module, "replay", replayed)
    watched(NETS.descent(3), 2, watch=told.append)
    assert told == ["antipodal-quadratic, kappa = 5e-06: 2 of 2 seeds"]
