"""What is summed up of looks, against loops over runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose

from jaxor.analysis.path_looks import looks
from jaxor.engine.geometry import BATCHES, FRACTIONS, LAGS, LOOKS, Geometry
from tests.numpy_paths import quadratics

RUNS = 5


def made() -> Geometry:
    """With random numbers in the place of what a bowl has; one run is short of minibatches and of late lags."""
    random = np.random.default_rng(0)
    batch_dot = random.normal(1, 1, (RUNS, LOOKS, BATCHES))
    batch_dot[2, :, 4:] = np.nan
    lag_cosine = random.uniform(-1, 1, (RUNS, LOOKS, len(LAGS)))
    lag_cosine[:, 7:, -1] = np.nan
    return replace(
        quadratics(RUNS), batch_dot=batch_dot, batch_gradient2=random.uniform(1, 2, (RUNS, LOOKS, BATCHES)),
        lag_cosine=lag_cosine, full_loss=random.uniform(0, 100, (RUNS, LOOKS)),
        reference_loss=random.uniform(0, 1, RUNS), line_loss=np.linspace(5, 1, FRACTIONS) + np.zeros((RUNS, 1)),
    )  # fmt: skip


def test_columns_by_loops() -> None:
    geometry = made()
    found, distance2 = looks(geometry).columns, geometry.at_looks("distance2")
    for look in (0, 4, 9):
        spreads, gammas, convex = [], [], []
        for run in range(RUNS):
            there = ~np.isnan(geometry.batch_dot[run, look])
            rsi = geometry.batch_dot[run, look][there] / distance2[run, look]
            spreads.append(rsi.std(ddof=1) / abs(rsi.mean()))
            eb = np.sqrt(geometry.batch_gradient2[run, look][there] / distance2[run, look])
            gammas.extend(rsi / eb)
            gap = geometry.full_loss[run, look] - geometry.reference_loss[run] - geometry.full_dot[run, look]
            convex.append(gap <= 0)
        assert_allclose(found["batch_spread"][look], np.median(spreads))
        assert_allclose(found["batch_gamma"][look], np.median(gammas))
        assert_allclose(found["star_convex"][look], np.mean(convex))
        assert_allclose(found["full_loss"][look], np.median(geometry.full_loss[:, look]))
        assert_allclose(found["lag_10"][look], np.median(geometry.lag_cosine[:, look, LAGS.index(10)]))
    assert 0 < found["star_convex"].mean() < 1
    assert np.isnan(found["lag_50"]).tolist() == [False] * 7 + [True] * 3
    assert_allclose(found["full_gamma"], 1, rtol=0.05)  # the gradient of a bowl points to the end, if not quite there


def test_the_line() -> None:
    geometry = made()
    assert (looks(geometry).falling, looks(geometry).highest) == (1, 1)
    geometry.line_loss[0, 10] = 25.0
    geometry.line_loss[1, 5] += 1e-15  # rounding
    geometry.line_loss[2:4] = [[5, *[10.0] * (FRACTIONS - 1)]]
    found = looks(geometry)
    assert_allclose((found.falling, found.highest), (2 / 5, 2))
    geometry.line_loss[4, 3] = np.inf
    assert_allclose(looks(geometry).falling, 1 / 4)
    geometry.line_loss[:] = np.nan
    assert np.isnan([looks(geometry).falling, looks(geometry).highest]).all()
