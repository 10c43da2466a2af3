"""Theorems of early-stage and global convergence as functions. Figures are those of the paper and the specification."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from jaxor.analysis.assumptions import Separation, geometry, separation
from jaxor.analysis.bounds import corollary_4_3, corollary_4_7, theorem_4_2, theorem_4_6
from jaxor.analysis.convergence import (
    FIRST_RATE,
    all_layers_curve,
    contraction,
    convergence_constant,
    input_layer_curve,
    theorem_5_2,
    theorem_5_3,
)
from jaxor.analysis.hitting import (
    corollary_4_3_steps,
    corollary_4_7_steps,
    output_bound,
    parameter_bounds,
    safe_steps,
)
from jaxor.analysis.statements import Bound, Setting

# Of the recorded runs of Theorem 5.3, with m = 1295 and delta = .1.
V, GAMMA, LAM = 0.018620025409585766, 0.4937323446995342, 0.18888026744392994


@pytest.fixture(scope="module")
def data() -> Separation:
    """Antipodal data of the recorded runs, n = 20, d = 50."""
    z = np.abs(np.random.default_rng(0).standard_normal((10, 50)))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return separation(np.vstack([z, -z]), np.repeat([1, -1], 10))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Points of norm 1 whose inner products are above 0."""
    points = np.abs(np.random.default_rng(1).standard_normal((100, 64)))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


BINARY = Setting(width=1295, kappa=5e-6, eta=0.01, loss="quadratic", delta=0.1, scheme="paper5")
GLOBAL = replace(BINARY, eta=FIRST_RATE, loss="exponential")
MANY = Setting(width=200, kappa=1e-6, eta=0.01, loss="exponential", delta=0.1, scheme="paper42", batch=64)


def failing(found: Bound) -> list[str]:
    return [name for name, value in found.premises.items() if value is False]


# Hitting times and Lemma 6.3


def test_hitting_times():
    rates = (0.01, 0.005, 0.002, 0.001)
    assert [corollary_4_7_steps(eta) for eta in rates] == [34, 69, 173, 346]
    assert [corollary_4_3_steps(eta) for eta in rates] == [44, 88, 220, 440]
    # The other reading of the table: the last t with (1 + eta)^2t <= 2.
    assert [max(t for t in range(1000) if (1 + eta) ** (2 * t) <= 2) for eta in rates] == [34, 69, 173, 346]


@pytest.mark.parametrize("one_class", [False, True])
def test_bounds_of_parameters_are_the_recursion(one_class: bool):
    rate = 0.01 if one_class else 0.02
    output, hidden = 0.7, 0.1
    for t in range(60):
        upper, lower = parameter_bounds(t, 0.01, 0.7, 0.1, one_class=one_class)
        assert (float(upper), float(lower)) == pytest.approx((output, hidden), rel=1e-12)
        # |f| <= active * m * |a| |b|, with |a| and |b| in units of 1 / sqrt(m).
        found = output_bound(t, 0.01, 0.25, hidden=0.1 / 0.7, one_class=one_class)
        assert float(found) == pytest.approx(0.25 * output * hidden / 0.7**2, rel=1e-12)
        output, hidden = output + rate * hidden, hidden + rate * output


def test_bound_of_outputs_in_closed_form():
    t = np.arange(100)
    expected = 0.5 * (1.02 ** (2 * t) - 0.98 ** (2 * t)) / 4
    np.testing.assert_allclose(output_bound(t, 0.01, 0.5), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("active", "one_class", "steps"), [(1.0, False, 36), (0.5, False, 52), (0.5, True, 105), (1.0, True, 72)]
)
def test_safe_steps(active: float, one_class: bool, steps: int):
    found = safe_steps(0.01, active, one_class=one_class)
    assert found == steps  # the last was not in the specification: asinh(2) / .02 = 72.2
    below, above = output_bound([found, found + 1], 0.01, active, one_class=one_class)
    assert below <= 1 < above


@pytest.mark.parametrize("eta", [1e-5, 0.3, 0.5, 3.0])
def test_safe_steps_at_any_rate(eta: float):
    for active in (1e-3, 1.0):
        found = safe_steps(eta, active)
        below, above = output_bound([found, found + 1], eta, active)
        assert below <= 1 < above


# Early stage


def test_corollary_4_3_of_the_specification(data: Separation):
    # gamma1 = .5 and gamma2 = 0: .193 * .5 - .0111.
    found = corollary_4_3(data, BINARY, gammas=(0.5, 0.0))
    assert found.bound == pytest.approx(0.0854) and found.steps == 44
    # By gamma1 and gamma2 of the data; measured was a descent of .0695.
    found = corollary_4_3(data, BINARY)
    assert found.bound == pytest.approx(0.02337, abs=5e-6)
    assert found.probability == pytest.approx(0.9)
    assert found.holds and not found.vacuous
    half = corollary_4_3(data, BINARY, gamma_norm=0.5)
    assert half.bound == pytest.approx((0.02337 + 0.0111) / 2 - 0.0111, abs=5e-6)


def test_corollary_4_3_of_equal_points():
    # All points of a class equal: gamma1 = gamma2 = 1/2, so at great width .193 / 2 - .0111; measured was .1014.
    # With factor 2 the same would be .182, which is why it is not offered.
    equal = separation([[1, 0]] * 10 + [[-1, 0]] * 10, [1] * 10 + [-1] * 10)
    found = corollary_4_3(equal, replace(BINARY, width=10**12))
    assert found.bound is not None and found.bound == pytest.approx(0.0854, abs=1e-5)
    assert found.bound < 0.1014 < 0.193 - 0.0111
    with pytest.raises(ValueError, match="1/4, 1/2 or 1.*refuted"):
        corollary_4_3(equal, BINARY, gamma_norm=2.0)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"width": 1294}, ["m >= max(144 ln(2 n^2 / delta), 4)"]),
        ({"kappa": 5.1e-6}, ["kappa <= min(eta / 2000, eta mu_0 / (3 n))"]),
        ({"loss": "logistic"}, ["quadratic loss"]),
        ({"scheme": "notebook"}, ["(5): initialised as paper5"]),
        ({"batch": 5}, ["(2): gradient descent on all points"]),
        ({"batch": 20}, ["(2): gradient descent on all points"]),
        ({"batch": 20, "replacement": False}, []),
    ],
)
def test_each_premise_of_corollary_4_3_can_fail(
    data: Separation, change: dict[str, int | float | str], names: list[str]
):
    found = corollary_4_3(data, replace(BINARY, **change))
    assert failing(found) == names and found.holds is not bool(names)
    assert found.bound is not None


def test_corollary_4_3_has_no_number_at_other_rates(data: Separation):
    found = corollary_4_3(data, replace(BINARY, eta=0.005, kappa=1e-6))
    assert found.bound is None and failing(found) == ["eta = .01"]
    assert "at eta = .01 only" in found.notes[0] and found.provenance["steps"] == "DER"


def test_kappa_of_corollary_4_3_by_what_is_known_of_mu0(data: Separation):
    name = "kappa <= min(eta / 2000, eta mu_0 / (3 n))"
    small = replace(data, samples=200, mu0=None, certificate=0.1)  # eta mu_0 / (3 n) at least 1.67e-6
    for kappa, value in ((1.66e-6, True), (1.68e-6, None), (4.9e-6, None), (5.1e-6, False)):
        assert corollary_4_3(small, replace(BINARY, kappa=kappa)).premises[name] is value
    exact = replace(small, mu0=0.1)
    assert corollary_4_3(exact, replace(BINARY, kappa=4e-6)).premises[name] is False
    assert corollary_4_3(replace(small, mu0=-math.inf), BINARY).premises[name] is False


def test_unknown_initialisation_is_undecided(data: Separation):
    found = corollary_4_3(data, replace(BINARY, scheme=None))
    assert found.premises["(5): initialised as paper5"] is None
    assert not found.holds and not failing(found)


def test_bound_that_says_nothing(data: Separation):
    found = corollary_4_3(data, replace(BINARY, width=10))
    assert found.bound is not None and found.bound < 0 and "says nothing" in found.notes[0]
    # 1 - delta - 2 m e^-2d is below 0 in two dimensions.
    flat = corollary_4_3(replace(data, dimension=2), BINARY)
    assert flat.probability == 0 and flat.vacuous


def test_probability_of_two_classes(data: Separation):
    found = corollary_4_3(replace(data, dimension=5), BINARY)
    assert found.probability == pytest.approx(1 - 0.1 - 2 * 1295 * math.exp(-10))


def test_shapes_of_theorems_4_2_and_4_6(data: Separation, images: np.ndarray):
    first, second = theorem_4_2(data, BINARY), theorem_4_6(geometry(images), MANY)
    for found in (first, second):
        assert found.bound is None and "Omega(1)" in found.notes[0] and "constant not given" in found.notes[0]
        assert not failing(found) and not found.holds and found.premises["d = Omega(log m)"] is None
    assert first.probability == pytest.approx(0.9) and second.probability is None
    assert failing(theorem_4_2(data, replace(BINARY, eta=0.011))) == ["eta <= .01"]
    assert failing(theorem_4_6(geometry(images), replace(MANY, loss="quadratic"))) == [
        "4.4 (ii): loss does not increase",
        "4.4 (iii): z0, g_min, g_max, h_max",
    ]
    assert "4.5: x_i.x_j > s for some s > -1" in failing(theorem_4_6(data, MANY))  # antipodes


def test_corollary_4_7_is_the_table(images: np.ndarray):
    points = geometry(images)
    for eta, steps in ((0.01, 34), (0.005, 69), (0.002, 173), (0.001, 346)):
        for width in (100, 200, 500, 1000):
            found = corollary_4_7(points, replace(MANY, eta=eta, width=width))
            assert found.bound == 0.262533 and found.steps == steps
            assert failing(found) == ([] if eta == 0.01 else ["eta = .01"])
            assert found.holds is (eta == 0.01)


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        ("exponential", []),
        ("logistic", ["4.4 (iii): g_min = 1/e"]),
        ("hinge", ["4.4 (i): loss twice differentiable"]),
        ("quadratic", ["4.4 (ii): loss does not increase"]),
    ],
)
def test_corollary_4_7_is_of_one_loss(images: np.ndarray, loss: str, names: list[str]):
    found = corollary_4_7(geometry(images), replace(MANY, loss=loss))
    assert set(names) <= set(failing(found)) and found.holds is (loss == "exponential")
    assert any("not covered" in note for note in found.notes) is (loss != "exponential")
    assert found.bound == 0.262533


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"width": 5}, "m >= 6"),
        ({"kappa": 0.01 / 180}, "kappa <= min(eta / 10, eta / (3 B))"),
        ({"batch": 1, "kappa": 0.0011}, "kappa <= min(eta / 10, eta / (3 B))"),
        ({"scheme": "notebook"}, "model (6): initialised as paper42"),
        ({"replacement": False}, "(3): batches drawn with replacement"),
        ({"batch": None}, "(3): batches drawn with replacement"),
    ],
)
def test_each_premise_of_corollary_4_7_can_fail(images: np.ndarray, change: dict[str, int | float | str], name: str):
    assert failing(corollary_4_7(geometry(images), replace(MANY, **change))) == [name]


def test_corollary_4_7_needs_inner_products_above_0(images: np.ndarray):
    crossing = geometry(np.vstack([images, np.eye(64)[:2]]))
    assert failing(corollary_4_7(crossing, MANY)) == ["4.5: s = 0, x_i.x_j > 0"]


def test_probability_of_corollary_4_7(images: np.ndarray):
    points = geometry(images)
    assert corollary_4_7(points, replace(MANY, batch=4)).probability == pytest.approx(0.9 - 200 * 0.17**4)
    assert corollary_4_7(points, replace(MANY, batch=2)).vacuous
    narrow = replace(points, dimension=4)
    assert corollary_4_7(narrow, MANY).probability == pytest.approx(0.9 - 800 * math.exp(-8))
    # Of all points in one batch B is their number.
    few = replace(points, samples=4)
    assert corollary_4_7(few, replace(MANY, batch=None)).probability == pytest.approx(0.9 - 200 * 0.17**4)


# Global convergence


def test_v_of_the_recorded_runs(data: Separation):
    assert data.gamma == pytest.approx(GAMMA, rel=1e-12) and data.lam == pytest.approx(LAM, rel=1e-10)
    assert convergence_constant(data, 1295, 0.1) == pytest.approx(V, rel=1e-12)
    assert convergence_constant(data, 1295, 0.1, prefactor=1 / 4) == pytest.approx(2 * V, rel=1e-12)


def test_branches_of_v(data: Separation):
    overlap = 0.5 - math.sqrt(8 * math.log(4000) / 1295)
    # Nearly orthogonal points of one class: the eigenvalue counts, as it reads and with its factor 2/n.
    apart = replace(data, gamma=0.01, lam=0.9)
    assert convergence_constant(apart, 1295, 0.1, literal=True) == pytest.approx(overlap * 0.9 / 8)
    assert convergence_constant(apart, 1295, 0.1) == pytest.approx(overlap * (0.1 + 0.9 * 0.01) / 8)
    assert convergence_constant(replace(apart, lam=1.2), 1295, 0.1) == pytest.approx(overlap * 0.12 / 8)
    # Shorter points: 2 ((|x|^2 - gamma) / n + gamma / 2).
    short = replace(data, smallest_norm=0.5, gamma=0.2, lam=0.0)
    assert convergence_constant(short, 1295, 0.1) == pytest.approx(overlap * 2 * (0.05 / 20 + 0.1) / 8)


def test_v_bounds_the_form_it_stands_for():
    # |grad_b L|^2 >= (1/8) sum of g_i g_j x_i.x_j / n^2 over pairs of one class, at great width, with g = -l'(z) >= 0;
    # by V that is at least V (sum of g / n)^2.
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(100):
        z = np.abs(rng.standard_normal((6, 20)) + rng.uniform(0, 3))
        z *= rng.uniform(rng.uniform(0.3, 1), 1, (6, 1)) / np.linalg.norm(z, axis=1, keepdims=True)
        v = convergence_constant(separation(np.vstack([z[:3], -z[3:]]), [1, 1, 1, -1, -1, -1]), 10**15, 0.1)
        for g in (np.ones(6), rng.exponential(size=6)):
            form = sum(g[i] * g[j] * (z[i] @ z[j]) for half in ((0, 1, 2), (3, 4, 5)) for i in half for j in half)
            ratios.append(form / 8 / (v * g.sum() ** 2))
    assert min(ratios) >= 1 - 1e-6
    assert min(ratios) < 1.2  # a much larger V would not do


def test_theorem_5_3_of_the_recorded_runs(data: Separation):
    # Measured ratios were at most .8482 and .9148.
    for loss, factor in (("exponential", 0.9906899872952071), ("logistic", 0.9976724968238018)):
        found = theorem_5_3(data, replace(GLOBAL, loss=loss))
        assert found.bound == pytest.approx(factor, rel=1e-12)
        assert not failing(found) and not found.holds  # orders of m and kappa
        assert found.probability == pytest.approx(0.9)
    assert contraction(1.0, V, 1.0) == pytest.approx(0.9906899872952071, rel=1e-14)


def test_premises_of_theorem_5_3(data: Separation):
    assert failing(theorem_5_3(data, GLOBAL, c=1.5)) == ["c <= 1/h"]
    assert theorem_5_3(data, GLOBAL, c=0.5).bound == pytest.approx(1 - V / 4)
    assert failing(theorem_5_3(data, replace(GLOBAL, eta=0.36))) == ["eta_0 <= 1/(2 sqrt 2)"]
    literal = convergence_constant(data, 1295, 0.1, prefactor=1, literal=True)
    assert theorem_5_3(data, GLOBAL, v=literal).bound == pytest.approx(1 - 4 * V)


@pytest.mark.parametrize("loss", ["hinge", "quadratic"])
def test_losses_without_assumption_5_1_have_no_rate(data: Separation, loss: str):
    run = replace(GLOBAL, loss=loss)
    for found in (theorem_5_3(data, run), theorem_5_2(data, run, eta=0.01, first_loss=0.9)):
        assert found.bound is None and "5.1: g_a, g_b, h" in failing(found) and "no bound" in found.notes[0]


def test_narrow_networks_have_no_rate(data: Separation):
    # V > 0 needs m > 32 ln(n^2 / delta) = 265.4.
    for width, positive in ((266, True), (265, False)):
        found = theorem_5_3(data, replace(GLOBAL, width=width))
        assert found.premises["V > 0"] is positive and (found.bound is not None) is positive


def test_theorem_5_2_is_what_its_descent_says(data: Separation):
    # From L(t+1) = L(t) - eta g_a^2 V L(t)^2 / 2, the slowest descent that the lower bound of the gradient allows.
    found = theorem_5_2(data, GLOBAL, eta=0.01, first_loss=0.94, r=2)
    assert found.bound == pytest.approx(0.01 * V * 0.94 / 2) and not failing(found) and not found.holds
    assert any("t^-2" in note for note in found.notes)
    loss, losses = 0.94, []
    for _ in range(1000):
        losses.append(loss)
        loss -= 0.01 * V * loss**2 / 2
    curve = all_layers_curve(np.arange(1, 1001), 0.94, found.bound or math.nan)
    assert (np.array(losses) <= curve * (1 + 1e-12)).all()
    np.testing.assert_allclose(losses, curve, rtol=1e-4)


def test_theorem_5_2_has_premises_of_its_own(data: Separation):
    assert failing(theorem_5_2(data, GLOBAL, eta=0.01, first_loss=0.9, r=0.5)) == ["r >= 1"]
    found = theorem_5_2(data, GLOBAL, eta=0.01, first_loss=0.9, t0=50)
    assert found.premises["T0 = 50 as the theorem has it"] is None
    assert theorem_5_2(data, replace(GLOBAL, loss="logistic"), eta=0.01, first_loss=0.9).bound == pytest.approx(
        0.01 * V / 4 * 0.9 / 2
    )


def test_curve_of_theorem_5_3():
    np.testing.assert_allclose(input_layer_curve([1, 2, 61], 0.9428, 0.99), 0.9428 * 0.99 ** np.array([0, 1, 60]))


# Nonsense


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": -3}, "width and batch"),
        ({"width": math.nan}, "width and batch"),
        ({"batch": 0}, "width and batch"),
        ({"kappa": 0.0}, "kappa"),
        ({"kappa": math.nan}, "kappa"),
        ({"eta": math.nan}, "learning rate"),
        ({"eta": -0.01}, "learning rate"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"loss": "huber"}, "exponential, logistic, hinge, quadratic, got 'huber'"),
    ],
)
def test_settings_that_no_run_has(change: dict[str, int | float | str], words: str):
    with pytest.raises(ValueError, match=words):
        replace(BINARY, **change)


def test_arguments_that_no_theorem_has(data: Separation):
    with pytest.raises(ValueError, match="gamma1 and gamma2 must be finite"):
        corollary_4_3(data, BINARY, gammas=(math.nan, 0.0))
    with pytest.raises(ValueError, match="c must be a positive number, got 0"):
        theorem_5_3(data, GLOBAL, c=0.0)
    with pytest.raises(ValueError, match="V must be finite"):
        theorem_5_3(data, GLOBAL, v=math.nan)
    with pytest.raises(ValueError, match="first_loss must be a positive number, got nan"):
        theorem_5_2(data, GLOBAL, eta=0.01, first_loss=math.nan)
    with pytest.raises(ValueError, match="learning rate"):
        theorem_5_2(data, GLOBAL, eta=0.0, first_loss=0.9)
    for width, delta, prefactor in ((0, 0.1, 0.125), (100, 1.0, 0.125), (100, 0.1, math.nan)):
        with pytest.raises(ValueError, match="width must be at least 1, delta"):
            convergence_constant(data, width, delta, prefactor=prefactor)
    with pytest.raises(ValueError, match="share of active neurons"):
        safe_steps(0.01, 0.0)
