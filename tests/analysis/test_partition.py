"""The neuron partition against loops over points and neurons, planted violations, and the recorded runs."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxor.analysis.partition import (
    Neurons,
    expected_overlaps,
    fractions,
    overlap_tolerance,
    overlaps,
    same_class,
    violations,
)
from tests.analysis.early import antipodal, small

SWEEP = {0.01: 97, 0.1: 5210}
"""Violations of S3, and as many of S4, by kappa, of one run with other numbers: the oracle's kappa_violations."""


def pair_set(pre: float, side: float) -> str:
    if side == 0:
        return "none"
    return ("T" if side > 0 else "F") + ("L" if pre > 0 else "D")


def planted() -> tuple[Neurons, Neurons]:
    """Random pairs at two times, with zeros in both and neurons that change their side."""
    rng = np.random.default_rng(2)
    pre, side = rng.integers(-2, 3, (2, 6, 9)).astype(float), rng.integers(-1, 2, (2, 6, 9)).astype(float)
    return Neurons(jnp.asarray(pre[0]), jnp.asarray(side[0])), Neurons(jnp.asarray(pre[1]), jnp.asarray(side[1]))


def test_fractions_count_strictly_living_pairs():
    neurons, _ = planted()
    sets = Counter(map(pair_set, np.ravel(neurons.pre), np.ravel(neurons.side)))
    assert sets["none"] > 0 and (np.asarray(neurons.pre) == 0).any()
    assert_allclose(fractions(neurons), [sets[name] / 54 for name in ("TL", "TD", "FL", "FD")], rtol=1e-6)


@pytest.mark.parametrize("step", [0, 1, 7])
def test_violations_are_those_of_a_loop(step: int):
    before, after = planted()
    count = Counter()
    for i, k in np.ndindex(6, 9):
        old, new = float(before.pre[i, k]), float(after.pre[i, k])
        was, now = pair_set(old, float(before.side[i, k])), pair_set(new, float(after.side[i, k]))
        count["S1"] += was == "TL" and now != "TL"
        count["S2"] += was == "FD" and now != "FD"
        count["S3"] += step == 0 and was == "TD" and now != "TL"
        count["S4"] += step == 0 and was == "FL" and now != "FD"
        count["S5"] += step > 0 and not (old > 0 and new > 0) and not (old < 0 and new < 0)
    assert violations(before, after, step) == count and count["S1"] and count["S2"]


def test_one_neuron_that_dies_or_changes_its_side_is_counted_at_its_points():
    with jax.enable_x64(True):
        run = antipodal(steps=2)
        after = run.neurons(2)
        k = int(np.flatnonzero(run.a[0] > 0)[0])
        dead = Neurons(after.pre.at[3, k].set(0.0), after.side)
        turned = Neurons(after.pre, after.side.at[:, k].multiply(-1))
        clean = dict.fromkeys(("S1", "S2", "S3", "S4", "S5"), 0)
        assert violations(run.neurons(1), after, 1) == clean
        assert violations(run.neurons(1), dead, 1) == clean | {"S1": 1, "S5": 1}
        assert violations(run.neurons(1), turned, 1) == clean | {"S1": 10, "S2": 10}


@pytest.mark.parametrize(("kappa", "recorded"), SWEEP.items())
def test_large_initial_scales_break_as_many_as_recorded(kappa: float, recorded: int):
    run = antipodal(kappa)
    with jax.enable_x64(True):
        count = jax.jit(jax.vmap(violations))
        counts = count(run.neurons(slice(0, 44)), run.neurons(slice(1, 45)), np.arange(44))
        total = {name: int(np.sum(np.asarray(pairs))) for name, pairs in counts.items()}
    assert total["S1"] == total["S2"] == 0
    assert recorded / 2 < total["S3"] < 2 * recorded and recorded / 2 < total["S4"] < 2 * recorded
    assert total["S5"] == total["S3"] + total["S4"]  # each of them crosses once, later


def test_overlaps_are_those_of_a_loop():
    with jax.enable_x64(True):
        run = small()
        neurons = run.neurons(0)
        sets = [{k for k in range(9) if run.y[i] * run.a[0, k] > 0 and run.b[0, k] @ run.x[i] > 0} for i in range(6)]
        shares = [[len(one & other) / 9 for other in sets] for one in sets]
        assert_allclose(overlaps(neurons), shares, rtol=1e-14)


def test_initial_overlaps_are_as_near_to_the_angles_as_lemma_6_1_has_it():
    with jax.enable_x64(True):
        run = antipodal()
        found = np.asarray(overlaps(run.neurons(0)))
    same = same_class(run.y)
    cosines = np.clip(run.x @ run.x.T, -1, 1)
    expected = (np.pi - np.arccos(cosines)) / (4 * np.pi)
    assert_allclose(expected_overlaps(run.x), expected, atol=1e-8)
    assert 0 < np.abs(found - expected)[same].max() < overlap_tolerance(20, 1295)
    assert np.abs(found - expected)[same].mean() < 0.02 < expected[same].std()  # it tells angles apart
    with pytest.raises(ValueError, match="delta must be between 0 and 1, got 1"):
        overlap_tolerance(20, 1295, delta=1)
