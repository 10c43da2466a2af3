"""Paths by tenths, and the walks beside them, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxor.analysis.path_tables import tenths
from jaxor.analysis.path_views import group_medians, views
from jaxor.analysis.walks import Walk, closed_form
from jaxor.engine.geometry import Geometry, join
from tests.numpy_paths import quadratics, random_walks

RAGGED = join([random_walks(2, 60, 30), random_walks(1, 41, 30), random_walks(1, 7, 30)])


def runs_of(geometry: Geometry, name: str) -> list[np.ndarray]:
    """A quantity of each run, without padding."""
    return np.split(getattr(geometry, name), np.cumsum(geometry.steps)[:-1])


def gammas(geometry: Geometry) -> list[np.ndarray]:
    parts = zip(*(runs_of(geometry, name) for name in ("dot", "distance2", "gradient2")), strict=True)
    return [dot / np.sqrt(distance2 * gradient2) for dot, distance2, gradient2 in parts]


def test_medians_of_groups() -> None:
    rng = np.random.default_rng(0)
    values, group = rng.normal(size=500), rng.integers(0, 40, 500)
    values[::7], group[group == 13] = np.nan, 14
    wanted = [np.nanmedian(values[group == k]) if k != 13 else np.nan for k in range(40)]
    assert_allclose(group_medians(values, group, 40), wanted)


def test_tenths_are_of_each_runs_own_steps() -> None:
    seen = views(RAGGED, closed_form(RAGGED), 30)
    pooled: list[list[float]] = [[] for _ in range(10)]
    for run, gamma in enumerate(gammas(RAGGED)):
        parts: list[list[float]] = [[] for _ in range(10)]
        for t, value in enumerate(gamma):
            parts[math.floor(10 * t / len(gamma) + 1e-12)].append(value)
        for k, part in enumerate(parts):
            pooled[k] += part
            wanted = np.median(part) if part else np.nan
            assert_allclose(seen.gradient.tenths("gamma")[run, k], wanted)
    assert_allclose(seen.gradient.pooled("gamma"), [np.median(part) for part in pooled])


def test_shares_of_positive_steps_by_hand() -> None:
    found = tenths(views(RAGGED, closed_form(RAGGED), 30)).positive
    everything = np.concatenate(gammas(RAGGED))
    early = [gamma[: math.ceil(0.95 * len(gamma))] for gamma in gammas(RAGGED)]
    assert_allclose(found["all"], np.mean(everything > 0))
    assert_allclose(found["early"], np.mean(np.concatenate(early) > 0))
    assert_allclose(found["worst"], min(np.mean(gamma > 0) for gamma in early))
    assert found["all"] > found["early"] > found["worst"]


def test_walk_beside_the_steps() -> None:
    """Of steps that are all as long the null is 1 / sqrt(T - t), at looks too."""
    geometry = quadratics(2, 20)
    same = Walk(*(np.ones((2, 20)) for _ in range(5)))
    flat = views(geometry, closed_form(same), 400)
    left = 20 - np.arange(20)
    assert_allclose(flat.null.gamma, np.tile(1 / np.sqrt(left), (2, 1)))
    assert_allclose(flat.gradient.ratio, np.tile(np.sqrt(left), (2, 1)))
    at = geometry.look_step[0]
    labels = geometry.labels_dot / np.sqrt(geometry.labels_gradient2 * geometry.at_looks("distance2"))
    assert_allclose(flat.labels.ratio, labels * np.sqrt(left)[at])
    assert_allclose(tenths(flat).columns["flat_null"][-1], np.median([1, 1 / np.sqrt(2)]))


def test_controls_are_seen_from_other_points() -> None:
    geometry = quadratics(4, 20)
    seen = views(geometry, closed_form(geometry), 400)
    assert_allclose(seen.other.rsi, geometry.padded("other_dot") / geometry.padded("other_distance2"))
    assert_allclose(seen.random.eb**2, geometry.padded("gradient2") / geometry.padded("random_distance2"))


def test_controls_end_with_the_first_95_percent() -> None:
    """Of 60 steps the last look, 57, is late."""
    seen = views(random_walks(3), closed_form(random_walks(3)), 400)
    for whole in (False, True):
        there = ~np.isnan(seen.controls(whole=whole)["random labels"].gamma)
        assert there.sum(axis=1).tolist() == [10 if whole else 9] * 3


def test_opening_by_hand() -> None:
    """Of a run of 60 and one of 41 steps, the first four."""
    seen = views(RAGGED.take(np.array([0, 2])), closed_form(RAGGED.take(np.array([0, 2]))), 30)
    found = tenths(seen).opening
    rates = np.median(seen.update.local_rate[:, :4], axis=0)
    assert found == (rates[0], rates.max(), rates.argmax())


def test_simulated_walks_are_averaged_by_steps_to_go() -> None:
    seen = views(RAGGED, Walk(**{name: RAGGED.padded(name).astype(np.float64) for name in Walk.__annotations__}))
    last = [gamma[::-1] for gamma in gammas(RAGGED)]
    means = [np.mean([gamma[k] for gamma in last if len(gamma) > k]) for k in range(60)]
    for run, gamma in enumerate(last):
        assert_allclose(seen.null.gamma[run, : len(gamma)][::-1], gamma)
        assert_allclose(seen.null.ratio[run, : len(gamma)][::-1], gamma / means[: len(gamma)])
        assert_allclose(seen.gradient.ratio[run], seen.null.ratio[run])  # the walks are the runs themselves
        assert np.isnan(seen.null.ratio[run, len(gamma) :]).all()
    assert not seen.closed
    assert set(np.unique(seen.null.positive[~np.isnan(seen.null.positive)])) == {0, 1}


def test_null_of_other_runs() -> None:
    with pytest.raises(ValueError, match=r"4 of 60 steps at most, got 3 x 60"):
        views(RAGGED, closed_form(random_walks(3, 60, 30)), 30)
