"""Strategies by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jaxor import get_experiment
from jaxor.analysis.strategies import strategy, threshold_of

CONTROL = get_experiment("relu1_normal")
NORMAL = {"name": "normal", "std": 0.5, "bias_std": 0.0}


def init(text: str) -> dict[str, Any]:
    return strategy(text, CONTROL, draws=1000).experiment.to_dict()["init"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("below:0.0724", {"name": "loss_below", "threshold": 0.0724, "base": NORMAL}),
        ("above:.468", {"name": "loss_above", "threshold": 0.468, "base": NORMAL}),
        ("best:100", {"name": "best_of", "draws": 100, "base": NORMAL}),
        ("alive:0.3", {"name": "alive", "margin": 0.3, "base": NORMAL}),
        ("scaled:2", {"name": "scaled", "factor": 2.0, "base": NORMAL}),
        ("kaiming", {"name": "kaiming"}),
        ("normal:0.1", {"name": "normal", "std": 0.1, "bias_std": 0.0}),
        (
            "xavier+mirror+best:3",
            {"name": "best_of", "draws": 3, "base": {"name": "mirror", "base": {"name": "xavier"}}},
        ),
    ],
)  # fmt: skip
def test_parts_are_initializers_one_on_top_of_the_other(text: str, expected: dict[str, Any]):
    found = init(text)
    if "max_draws" in found:
        found.pop("max_draws")
    assert found == expected


def test_all_else_is_the_controls():
    changed = strategy("best:3", CONTROL).experiment
    assert changed.replace(init=CONTROL.init) == CONTROL


def test_percentages_are_of_the_law_below_them():
    plain, mirrored = (strategy(text, CONTROL, draws=20_000) for text in ("below:10%", "mirror+below:10%"))
    assert plain.threshold is not None and mirrored.threshold is not None
    assert plain.experiment.init.options["threshold"] == plain.threshold.value == pytest.approx(0.2428, abs=0.01)
    assert plain.threshold.interval.low < 0.2428 < plain.threshold.interval.high
    assert plain.threshold.draws == 20_000
    assert abs(mirrored.threshold.value - plain.threshold.value) > 0.05  # of mirrored draws


def test_intervals_of_percentiles_cover_as_they_say():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        low, high = threshold_of(random.random(200), 5).interval
        covered += low <= 0.05 <= high
    assert 0.945 <= covered / 2000 <= 0.985  # whole ranks cover a little more


def test_an_interval_that_draws_cannot_bound_is_open():
    low, high = threshold_of(np.arange(100.0), 1).interval
    assert (low, high) == (-np.inf, 3.0)  # with probability .99^100 = .37 all 100 draws are above the percentile
    assert threshold_of(np.arange(100.0), 99).interval.high == np.inf


def test_draws_without_a_loss_have_no_place_in_its_law():
    assert threshold_of([np.nan, 1, 2, 3, np.nan], 50) == threshold_of([1, 2, 3], 50)
    with pytest.raises(ValueError, match="none of 2 draws has a loss"):
        threshold_of([np.nan, np.nan], 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lower:3", "'lower:3' in the strategy 'lower:3' is unknown: a strategy is made of"),
        ("best", "best in the strategy 'best' needs a number"),
        ("best:2.7", "'best:2.7' in the strategy 'best:2.7': draws are a whole number"),
        ("first-batch:1e999", "draws are a whole number"),
        ("best:0", "draws must be positive, got 0"),
        ("below:1.2.3", "'1.2.3' in the strategy 'below:1.2.3' is not a number"),
        ("best:3%", "percentages are between 0 and 100 and go with below and above"),
        ("below:100%", "percentages are between 0 and 100"),
        ("best:3+kaiming", "a law comes first"),
        ("tiny:3", "tiny"),
        ("mirror:3", "'mirror:3' in the strategy 'mirror:3': mirror takes no number"),
        ("", "is unknown"),
    ],
)
def test_what_is_no_strategy(text: str, message: str):
    with pytest.raises(ValueError, match=r".*") as caught:
        strategy(text, CONTROL)
    assert message in str(caught.value) and "\n" not in str(caught.value)
