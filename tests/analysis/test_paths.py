"""Constant speed and slow regions: planted ones are found, and none where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from jaxor import simulate
from jaxor.analysis.exact import nearest_minimum
from jaxor.analysis.paths import Regions, regions, speed
from jaxor.analysis.rows import Rows, rows_of

NAMES = ("weight[0]", "weight[1]")


def walk(steps: Any, runs: int = 40, seed: int = 0) -> tuple[Rows, np.ndarray]:
    """Runs straight to the origin; `steps` gives how far a step goes from a distance."""
    random = np.random.default_rng(seed)
    parts = []
    for number in range(runs):
        angle, distance = random.uniform(0, 2 * np.pi), random.uniform(5, 10)
        distances = [distance]
        while distances[-1] > 0.5:
            distances.append(distances[-1] - steps(distances[-1]))
        states = np.outer(distances, [np.cos(angle), np.sin(angle)])
        parts.append((np.full(len(states) - 1, number), states[1:], np.diff(states, axis=0)))
    seeds, states, updates = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    zeros = np.zeros(len(seeds))
    rows = Rows(seeds, zeros.astype(np.int32), zeros, states, np.zeros_like(states), zeros, zeros, zeros, updates)
    return rows, np.zeros_like(states)


@cache
def abs1() -> Rows:
    return rows_of(simulate("abs1_convergence", 60, x64=True), reference="exact")


def test_a_constant_speed_is_found():
    found = speed(*walk(lambda distance: 0.1))
    assert found is not None
    assert found.exponent == pytest.approx(0, abs=1e-9)
    assert found.fastest == pytest.approx(1)
    assert (found.constant_speed, found.constant_rate) == ("yes", "no")


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_other_exponents_are_found(exponent: float):
    found = speed(*walk(lambda distance: 0.02 * distance**exponent))
    assert found is not None
    assert found.exponent == pytest.approx(exponent)
    assert (found.constant_speed, found.constant_rate) == ("no", "yes" if exponent == 1 else "no")
    assert found.interval.low <= found.exponent + 1e-9 and found.exponent - 1e-9 <= found.interval.high


def test_the_speed_of_abs1_is_proportional_to_the_distance():
    found = speed(abs1(), nearest_minimum(abs1().state))
    assert found is not None
    assert found.exponent == pytest.approx(1, abs=1e-6)
    assert (found.constant_speed, found.constant_rate) == ("no", "yes")
    # The longest step is a run's first, the shortest that before its last row: rate .8 in between.
    _, steps = np.unique(abs1().seed, return_counts=True)
    assert found.fastest == pytest.approx(np.median(0.8 ** -(steps - 1.0)), rel=1e-6)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_a_constant_rate_is_not_denied_because_the_end_is_short_of_the_goal():
    """To where runs stopped the exponent of abs1 is .93; on the goal it is 1, but that presumes the law."""
    rows = rows_of(simulate("abs1_convergence", 60))
    ended = speed(rows, rows.reference)
    assert ended is not None and ended.exponent == pytest.approx(0.93, abs=0.01) and ended.shifted is None
    found = speed(rows, rows.reference, short=2.26e-4)
    assert found is not None and found.exponent == ended.exponent and found.shifted == pytest.approx(1, abs=2e-3)
    assert (found.constant_speed, found.constant_rate) == ("no", "undecided")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["shifted_interval"]["low"] < found.shifted


def test_speeds_too_scattered_to_tell_are_undecided():
    rows, goal = walk(lambda distance: 0.02 * distance, runs=3)
    scattered = np.random.default_rng(0).uniform(0.01, 3, (3, 1))[rows.seed]
    update = rows.update * scattered
    found = speed(replace(rows, update=update, state=rows.state - rows.update + update), goal)
    assert found is not None and found.interval.high - found.interval.low > 0.1
    assert found.constant_rate == "undecided"


def test_speed_is_not_known_without_every_step_nor_of_runs_that_stand_still():
    thinned = rows_of(simulate("abs1_convergence", 5, traces="every=5"))
    assert speed(thinned, thinned.reference) is None
    rows, goal = walk(lambda distance: 0.1)
    still = replace(rows, update=np.zeros_like(rows.update))
    assert speed(still, goal) is None


def through(slow: float, runs: int = 200) -> tuple[Rows, np.ndarray]:
    """Runs in the unit square, and residuals: in one corner they take `slow` epochs longer than a law says."""
    random = np.random.default_rng(3)
    seeds = np.repeat(np.arange(runs), 10)
    states = random.uniform(size=(len(seeds), 2))
    corner = (states[:, 0] > 0.75) & (states[:, 1] > 0.75)
    residual = slow * corner + 0.2 * random.normal(size=runs)[seeds] + 0.2 * random.normal(size=len(seeds))
    zeros = np.zeros(len(seeds))
    none = np.empty((len(seeds), 0))
    return Rows(seeds, zeros.astype(np.int32), zeros, states, states, zeros, zeros, zeros, none), residual


def found_in(slow: float) -> Regions:
    found = regions(*through(slow), NAMES)
    assert found is not None
    return found


def test_a_planted_slow_region_is_found():
    found = found_in(4.0)
    assert found.slow == "yes" and found.share > 0.8
    worst = found.regions[0]
    assert worst.excess == pytest.approx(4, abs=0.3)
    assert worst.interval is not None and worst.interval.low < worst.excess < worst.interval.high
    inside = sum(region.rows * region.excess for region in found.regions if region.excess > 1)
    assert inside == pytest.approx(4 * 1000 / 16, rel=0.3)
    assert "weight[0] <= 0.7" in found.rules and "weight[1] <= 0.7" in found.rules
    assert sum(region.rows for region in found.regions) == 1000  # half of the runs judge
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_no_slow_region_is_found_where_none_is():
    found = found_in(0.0)
    assert found.slow == "no" and abs(found.share) < 0.1
    assert [region.excess for region in found.regions] == sorted((r.excess for r in found.regions), reverse=True)


def test_a_region_of_about_one_epoch_is_undecided():
    assert found_in(1.0).slow == "undecided"


def test_a_handful_of_runs_has_no_regions():
    rows, residual = through(0.0, runs=3)
    assert regions(rows, residual, NAMES) is None
