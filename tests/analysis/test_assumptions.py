"""Assumptions of the theory of early-stage convergence. Figures of the specification are named as such."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from jaxor.analysis import halfspaces
from jaxor.analysis.assumptions import LOSSES, cosines, geometry, separation
from jaxor.analysis.halfspaces import LARGEST, certificate, mu0
from jaxor.experiments.task import digits

# l, l' and l'' of z.
FORMULAS = {
    "exponential": (lambda z: np.exp(-z), lambda z: -np.exp(-z), lambda z: np.exp(-z)),
    "logistic": (
        lambda z: np.log1p(np.exp(-z)),
        lambda z: -1 / (1 + np.exp(z)),
        lambda z: 1 / (2 + np.exp(z) + np.exp(-z)),
    ),
    "hinge": (lambda z: np.maximum(0, 1 - z), lambda z: -1.0 * (z < 1), lambda z: 0 * z),
}
INSIDE = np.linspace(0, 1, 10_001)[:-1]
LINE = np.linspace(-30, 30, 60_001)


def units(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def positive(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Rows of norm 1 with cosines between 0 and 1."""
    return units(np.abs(rng.standard_normal((n, d))))


def halves(n: int) -> np.ndarray:
    return np.repeat([1, -1], n // 2)


def one_pair(seed: int, n: int = 20, d: int = 50) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z, w = positive(rng, n // 2, d), positive(rng, n // 2, d)
    w[0] = z[0]
    return np.vstack([z, -w])


@pytest.mark.parametrize("name", FORMULAS)
def test_constants_near_zero(name: str):
    _, first, second = FORMULAS[name]
    found = LOSSES[name]
    assert found.z0 == 1 and found.g_min and found.g_max and found.h_max is not None
    slopes, curves = -first(INSIDE), second(INSIDE)
    # The greatest lower and the least upper bound, but for what the paper rounds.
    assert slopes.min() == pytest.approx(found.sharp.get("g_min", found.g_min), rel=2e-4)
    assert slopes.max() == pytest.approx(found.g_max)
    assert curves.max() == pytest.approx(found.sharp.get("h_max", found.h_max))
    assert found.g_min <= slopes.min() and curves.min() >= 0 and curves.max() <= found.h_max


@pytest.mark.parametrize("name", ["exponential", "logistic"])
def test_constants_of_exponential_tails(name: str):
    loss, first, second = (formula(LINE) for formula in FORMULAS[name])
    found = LOSSES[name]
    assert found.g_a and found.g_b and found.h
    slopes, curves = -first / loss, second / loss
    assert slopes[LINE >= 0].min() == pytest.approx(found.sharp.get("g_a", found.g_a))
    assert found.g_a <= slopes[LINE >= 0].min() + 1e-12
    assert slopes.max() == pytest.approx(found.g_b) and slopes.max() <= found.g_b + 1e-12
    assert curves.min() >= 0 and curves.max() == pytest.approx(found.h) and curves.max() <= found.h + 1e-12


def test_losses_outside_the_assumptions():
    # Hinge is 0 beyond 1 and has a kink there; the quadratic loss (1 - z)^2 / 2 grows beyond 1.
    assert LOSSES["hinge"].g_a is None and not LOSSES["hinge"].smooth
    assert LOSSES["quadratic"].z0 is None and LOSSES["quadratic"].g_a is None
    assert all(LOSSES[name].smooth for name in ("exponential", "logistic", "quadratic"))


def test_cosines_of_digits():
    # Specification: .2766 and .6932; without pairs of a point and itself the mean would be .6929.
    images = digits().inputs[:1000].astype(np.float64)
    found = cosines(images)
    assert found.min == pytest.approx(0.2766, abs=5e-5) and found.mean == pytest.approx(0.6932, abs=5e-5)
    assert geometry(units(images)).s_hat == pytest.approx(found.min)


def test_geometry():
    found = geometry([[3, 4], [0, 1], [-1, 0]])
    assert (found.samples, found.dimension, found.smallest_norm, found.largest_norm) == (3, 2, 1, 5)
    assert found.s_hat == -3
    assert list(found.premises().values()) == [False, False]
    # Antipodes of norm 1 violate Assumption 4.5 whatever the rounding, shorter ones do not.
    z = positive(np.random.default_rng(0), 8, 30)
    for length, holds in ((1, False), (1 - 1e-8, False), (0.99, True)):
        assert geometry(length * np.vstack([z, -z])).premises()["4.5: x_i.x_j > s for some s > -1"] is holds
    assert geometry(np.float32(z)).premises()["|x_i| <= 1"]


def test_separation_of_antipodal_classes():
    z = positive(np.random.default_rng(0), 10, 50)
    found = separation(np.vstack([z, -z]), halves(20))
    table = z @ z.T
    assert found.gamma == pytest.approx(table.min()) and found.across == pytest.approx(-table.min())
    assert found.lam == pytest.approx(np.linalg.eigvalsh(table)[0])
    pairs = [table[i, j] for i in range(10) for j in range(10)]
    parts = [t * (math.pi - math.acos(min(t, 1.0))) / math.pi for t in pairs]
    assert found.gamma2 == pytest.approx(2 * sum(pairs) / 20**2) and found.gamma1 == pytest.approx(2 * sum(parts) / 400)
    assert found.mu0 == pytest.approx(1) and found.ordered and found.strict
    assert list(found.premises().values()) == [True] * 5


def test_order_of_points_changes_nothing_else():
    points, order = one_pair(3), np.random.default_rng(0).permutation(20)
    one, other = separation(points, halves(20)), separation(points[order], halves(20)[order])
    assert one.ordered and not other.ordered
    for name, value in vars(one).items():
        if name != "ordered":
            assert vars(other)[name] == pytest.approx(value), name


@pytest.mark.parametrize(
    ("points", "targets", "failing"),
    [
        ([[1, 0], [-1, 0], [-0.6, -0.8]], [1, -1, -1], ["balanced"]),
        ([[1, 0], [0, 1], [-1, 0], [0, -1]], [1, 1, -1, -1], ["within"]),
        ([[1, 0], [0.6, 0.8]], [1, -1], ["across", "mu0"]),
        ([[2, 0], [-1, 0]], [1, -1], ["norm"]),
        ([[1, 0], [0.6, 0.8]], [1, 1], ["balanced", "mu0"]),
    ],
)
def test_each_premise_of_assumption_4_1_can_fail(points: list[list[float]], targets: list[int], failing: list[str]):
    names = ["norm", "balanced", "within", "across", "mu0"]
    found = separation(points, targets).premises()
    assert [name for name, value in zip(names, found.values(), strict=True) if value is False] == failing


def test_classes_across_each_other_may_be_orthogonal():
    found = separation([[1, 0], [-0.0, 1]], [1, -1])
    assert not found.strict and found.premises()["4.1 (i): x_i.x_j <= 0 across classes"]


def scanned(points: np.ndarray, labels: np.ndarray) -> float:
    """mu_0 in two dimensions by its definition: one v from every arc between directions across some point."""
    edges = np.sort(
        np.concatenate([np.arctan2(points[:, 1], points[:, 0]) + s * math.pi / 2 for s in (1, -1)]) % math.tau
    )
    middles = (edges + np.append(edges[1:], edges[0] + math.tau)) / 2
    smallest = math.inf
    for v in np.column_stack([np.cos(middles), np.sin(middles)]):
        active = points @ v > 0
        for i in np.flatnonzero(~active):
            values = labels[i] * labels[active] * (points[active] @ points[i])
            smallest = min(smallest, values.max(initial=-math.inf))
    return smallest


def test_mu0_in_the_plane_is_what_the_definition_says():
    rng = np.random.default_rng(5)
    found, scan = [], []
    for n in (2, 3, 4, 5, 6, 8) * 8:
        points, labels = rng.standard_normal((n, 2)), rng.choice([-1, 1], n)
        found.append(mu0(points, labels))
        scan.append(scanned(points, labels))
    np.testing.assert_allclose(found, scan, rtol=1e-12)
    assert 10 < np.isinf(found).sum() < 40 and (np.array(found) > 0).any()


def test_mu0_of_antipodal_data_is_1():
    for seed, n, d in ((0, 20, 50), (1, 8, 3)):
        z = positive(np.random.default_rng(seed), n // 2, d)
        assert mu0(np.vstack([z, -z]), halves(n)) == pytest.approx(1)
        assert certificate(np.vstack([z, -z]), halves(n)) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_one_antipodal_pair_gives_the_certificate_and_not_1(seed: int):
    # The paper: "if there exists (x_0, y_0) such that (-x_0, -y_0) is also in S, then ... mu_0 = 1".
    points = one_pair(seed)
    found = mu0(points, halves(20))
    assert found == pytest.approx(np.abs(points @ points[0]).min())
    assert found == pytest.approx(certificate(points, halves(20)))
    assert 0.3 < found < 0.7


def test_classes_without_a_pair_have_no_mu0():
    rng = np.random.default_rng(0)
    points = np.vstack([positive(rng, 10, 50), -positive(rng, 10, 50)])
    found = separation(points, halves(20))
    assert found.mu0 == -math.inf and found.certificate == -math.inf
    assert found.premises()["4.1 (ii): mu_0 > 0"] is False


def test_more_points_than_dimensions_need_no_pair():
    rng = np.random.default_rng(0)
    points = np.vstack([positive(rng, 30, 4), -positive(rng, 30, 4)])
    assert certificate(points, halves(60)) == -math.inf
    assert 0 < mu0(points, halves(60)) < 1


def test_mu0_does_not_depend_on_lengths_but_for_its_values_nor_on_points_at_zero():
    points = one_pair(0)
    assert mu0(0.1 * points, halves(20)) == pytest.approx(0.01 * mu0(points, halves(20)))
    # No neuron is active on a point at 0, so it does not help the others; its own value is 0.
    rng = np.random.default_rng(0)
    apart = np.vstack([positive(rng, 5, 20), -positive(rng, 5, 20)])
    apart[0] = 0
    assert mu0(apart, halves(10)) == -math.inf
    points[1] = 0
    assert mu0(points, halves(20)) == 0
    assert mu0(np.zeros((2, 3)), halves(2)) == certificate(np.zeros((2, 3)), halves(2)) == -math.inf


def test_mu0_takes_few_linear_programs(monkeypatch: pytest.MonkeyPatch):
    points, calls, solve = one_pair(0, n=40), [], halfspaces._dead_on_all
    monkeypatch.setattr(halfspaces, "_dead_on_all", lambda directions: calls.append(1) or solve(directions))
    mu0(points, halves(40))
    assert 40 < len(calls) < 3 * 40  # bisection for every point would take more than 5 * 40


def test_certificate_knows_pairs_but_for_rounding():
    points, targets = [[1, 0], [0.6, 0.8], [-1, 0], [-0.8, -0.6]], [1, 1, -1, -1]
    assert certificate(points, targets) == 0.6
    for gap, is_pair in ((1e-12, True), (1e-6, False)):
        near = np.array(points)
        near[2, 1] += gap
        assert (certificate(near, targets) > 0) is is_pair
    assert certificate(points, [1, 1, 1, -1]) == -math.inf  # antipodes of one class are no pair


def test_many_points_have_a_certificate_only():
    n = LARGEST + 2
    z = positive(np.random.default_rng(0), n // 2, 30)
    paired = np.vstack([z, -z])
    with pytest.raises(ValueError, match="1819 linear programs.*at most 200.*certificate"):
        mu0(paired, halves(n))
    found = separation(paired, halves(n))
    assert found.mu0 is None and found.mu0_range == pytest.approx((1, 1))
    assert found.premises()["4.1 (ii): mu_0 > 0"] is True
    unknown = replace(found, certificate=-math.inf)
    assert unknown.premises()["4.1 (ii): mu_0 > 0"] is None


@pytest.mark.parametrize(
    ("points", "targets", "words"),
    [
        ([[1.0, 0.0]], [1, -1], "one number for each of 1 points"),
        ([[1.0, 0.0]], [0], r"must be \+1 or -1, got 0"),
        ([[1.0, 0.0]], [math.nan], r"must be \+1 or -1, got nan"),
        ([[1.0, math.nan]], [1], "must be finite"),
        ([1.0, 0.0], [1, 1], "points by dimensions"),
        (np.zeros((0, 3)), [], "at least one of each"),
    ],
)
def test_nonsense_is_refused(points: list[list[float]], targets: list[float], words: str):
    for function in (mu0, certificate, separation):
        with pytest.raises(ValueError, match=words):
            function(points, targets)
