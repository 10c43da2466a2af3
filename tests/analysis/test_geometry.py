"""RSI, EB, gamma and local rates: identities, theorems and closed forms, along paths of plain NumPy loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from jaxor.analysis import geometry
from jaxor.analysis.geometry import across_cosine, along, contraction, forms, pooled, rate_factor, worst_case
from jaxor.analysis.walks import Walk

Floats = NDArray[np.float64]
MINIMUM = np.array([0.5, -0.5, 0.0])
CORNERS = np.array([[-1, -1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]], float)


class Path(NamedTuple):
    """Parameters (T + 1, D) and gradients (T, D)."""

    params: Floats
    gradients: Floats

    def measured(self, reference: Floats | None = None) -> Walk:
        """As one run; the reference is the final iterate unless it is given."""
        g, s = self.gradients, self.params[:-1] - self.params[1:]
        d = self.params[:-1] - (self.params[-1] if reference is None else reference)
        pairs = {"dot": (g, d), "distance2": (d, d), "gradient2": (g, g), "step_dot": (s, d), "step2": (s, s)}
        return Walk(**{name: (one * other).sum(1)[None] for name, (one, other) in pairs.items()})


def descent(gradient: Callable[[Floats], Floats], start: Floats, rates: Any, momentum: float = 0.0) -> Path:
    params, gradients, velocity = [start], [], np.zeros_like(start)
    for rate in rates:
        gradients.append(gradient(params[-1]))
        velocity = momentum * velocity + gradients[-1]
        params.append(params[-1] - rate * velocity)
    return Path(np.array(params), np.array(gradients))


def adam(gradient: Callable[[Floats], Floats], start: Floats, rates: Any) -> Path:
    params, gradients, m, v = [start], [], 0.0, 0.0
    for t, rate in enumerate(rates, 1):
        gradients.append(gradient(params[-1]))
        m, v = 0.9 * m + 0.1 * gradients[-1], 0.99 * v + 0.01 * gradients[-1] ** 2
        params.append(params[-1] - rate * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8))
    return Path(np.array(params), np.array(gradients))


EIGENVALUES = np.array([0.5, 0.7, 1.0, 1.7, 3.0])
MU, L = 0.5, 3.0


@cache
def hessian() -> Floats:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    return turn @ np.diag(EIGENVALUES) @ turn.T


def quadratic(rates: Any, start: int = 1) -> Path:
    return descent(lambda w: hessian() @ w, np.random.default_rng(start).normal(size=5), rates)


def abs1_gradient(w: Floats, batch: Any = slice(None)) -> Floats:
    """Of the mean squared error of |w x + b| on centred XOR."""
    u, y = CORNERS[batch], np.array([0, 1, 1, 0])[batch]
    z = u @ w
    return 2 * ((abs(z) - y) * np.sign(z)) @ u / len(u)


def abs1(steps: int) -> Path:
    return descent(abs1_gradient, np.array([0.9, -0.4, 0.3]), np.full(steps, 0.1))


PATHS: dict[str, Callable[[], Path]] = {
    "sgd": lambda: quadratic(np.linspace(0.3, 0.01, 60)),
    "momentum": lambda: descent(lambda w: hessian() @ w, np.arange(1.0, 6.0), np.full(60, 0.05), 0.9),
    "adam": lambda: adam(lambda w: hessian() @ w, np.arange(1.0, 6.0), np.full(60, 0.1)),
}


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("variant", ["gradient", "update"])
def test_identities(kind: str, variant: Any) -> None:
    """I2, and that the local rate is the minimum of the factor."""
    found = along(PATHS[kind]().measured(np.zeros(5)), variant)
    measured = PATHS[kind]().measured(np.zeros(5))
    d, g = np.sqrt(measured.distance2), np.sqrt(measured.gradient2 if variant == "gradient" else measured.step2)
    assert (abs(found.rsi) <= found.eb * (1 + 1e-12)).all()
    assert_allclose(found.gamma, found.rsi / found.eb, 1e-12)
    assert_allclose(found.rsi * d, found.gamma * g, 1e-12)
    assert_allclose(found.local_rate * found.eb**2, found.rsi, 1e-12)
    best = rate_factor(found.local_rate, found.rsi, found.eb)
    assert_allclose(best, 1 - found.gamma**2, 1e-9, 1e-12)
    for beside in (0.9, 1.1):
        assert (rate_factor(beside * found.local_rate, found.rsi, found.eb) > best).all()
    assert_allclose(rate_factor(2 * found.local_rate, found.rsi, found.eb), 1, 1e-12)


@pytest.mark.parametrize("kind", PATHS)
def test_one_step_multiplies_the_squared_distance_by_the_factor(kind: str) -> None:
    """I1 for T2: in the update variant of every optimizer, in the gradient variant of gradient descent alone."""
    path = PATHS[kind]()
    measured = path.measured(np.zeros(5))
    ratio = (path.params[1:] ** 2).sum(1) / (path.params[:-1] ** 2).sum(1)
    assert_allclose(contraction(measured)[0], ratio, 1e-11, 1e-12)
    if kind == "sgd":
        found, rates = along(measured), np.linspace(0.3, 0.01, 60)
        assert_allclose(rate_factor(rates, found.rsi, found.eb)[0], ratio, 1e-12)
        expected = np.linalg.norm(path.params[1:], axis=1)[None]
        got = geometry.predicted_distance(measured.distance2[:, 0], rates, found.rsi, found.eb)
        assert_allclose(got, expected, 1e-11)


def test_where_a_length_is_zero() -> None:
    found = forms([0.0, 0.0, -1.0], [0.0, 4.0, 4.0], [4.0, 0.0, 1.0])
    assert_array_equal(found.rsi, [np.nan, 0, -0.25])
    assert_array_equal(found.eb, [np.nan, 0, 0.5])
    assert_array_equal(found.gamma, [np.nan, np.nan, -0.5])
    assert_array_equal(found.local_rate, [0, np.nan, -1])
    lost = np.array([1e-40], np.float32)  # below the smallest normal number, where digits are lost
    assert np.isnan(geometry.rsi(lost, lost)).all() and geometry.rsi(1e-40, 1e-40) == 1


def test_lengths_that_overflow_have_no_ratios() -> None:
    found = forms(*(np.array(pair, np.float32) for pair in ((1, np.inf), (np.inf, np.inf), (1, np.inf))))
    assert np.isnan([found.rsi, found.eb, found.gamma]).all()


def test_a_quadratic() -> None:
    """I4: all that eigenvalues between mu and L say of the distance to the minimum."""
    path = quadratic(np.full(80, 0.2))
    found = along(path.measured(np.zeros(5)))
    rsi, eb, slack = found.rsi, found.eb, 1e-9
    assert (rsi >= MU - slack).all() and (rsi <= eb + slack).all() and (eb <= L + slack).all()
    assert (eb**2 <= L * rsi + slack).all() and (eb**2 >= MU * rsi - slack).all()
    assert (found.local_rate >= 1 / L - slack).all() and (found.local_rate <= 1 / MU + slack).all()
    assert (found.gamma >= 2 * np.sqrt(MU * L) / (MU + L) - slack).all()
    loss = (path.params[:-1] @ hessian() * path.params[:-1]).sum(1) / 2
    assert_allclose(found.local_rate[0], 2 * loss / (path.gradients**2).sum(1), 1e-9)  # twice Polyak's step
    assert_allclose(geometry.star_gap(loss, 0, 2 * loss), -loss)
    slow, fast = np.linalg.eigh(hessian())[1][:, [0, -1]].T
    middle = slow / np.sqrt(MU) + fast / np.sqrt(L)  # where Kantorovich's inequality is attained
    assert_allclose(forms(middle @ hessian() @ middle, middle @ middle, sum((hessian() @ middle) ** 2)).gamma,
                    2 * np.sqrt(MU * L) / (MU + L))  # fmt: skip


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_the_worst_case_holds_along_a_path(rate: float) -> None:
    """I5, with the mu and L of the points that are visited."""
    measured = quadratic(np.full(50, rate)).measured(np.zeros(5))
    found = along(measured)
    bound = worst_case(found.rsi.min(), found.eb.max(), rate, np.arange(50))
    assert (measured.distance2[0] / measured.distance2[0, 0] <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize("turn", [0.0, 0.8])
def test_the_worst_case_is_attained(turn: float) -> None:
    """By fields of one length that stand at one angle to the way to the minimum: mu = L cos, isotropic at angle 0."""
    field = 2 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    path = descent(lambda w: field @ w, np.array([1.0, 2.0]), np.full(20, 0.3))
    got = (path.params**2).sum(1) / 5
    assert_allclose(got, worst_case(2 * np.cos(turn), 2, 0.3, np.arange(21)), 1e-10)
    best = np.cos(turn) / 2  # mu / L^2
    assert rate_factor(best, 2 * np.cos(turn), 2) == pytest.approx(1 - np.cos(turn) ** 2)


def test_noise_has_a_floor() -> None:
    """T3: isotropic quadratic of curvature 2 with noise of variance s2, exact in expectation."""
    noise, eta = np.random.default_rng(4).normal(size=(400, 3000)) * 0.5, 0.1
    w = np.full(3000, 3.0)
    for row in noise:
        w = w - eta * (2 * w + row)
    floor = eta * 0.25 / (2 * 2 - eta * 4)
    assert np.mean(w**2) == pytest.approx(floor, rel=5 * np.sqrt(2 / 3000))


def test_invariance() -> None:
    """I6: rotations change nothing; c times the loss and a times the parameters have powers of c and a."""
    path, rng = quadratic(np.full(30, 0.2)), np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    base = np.array(along(path.measured()))
    c, a = 7.0, 3.0
    same = np.array(along(Path(path.params @ turn, path.gradients @ turn).measured()))
    loss = np.array(along(Path(path.params, c * path.gradients).measured()))
    scaled = np.array(along(Path(path.params / a, a * path.gradients).measured()))  # v = w / a
    for got, powers in ((same, [1, 1, 1, 1]), (loss, [c, c, 1, 1 / c]), (scaled, [a**2, a**2, 1, a**-2])):
        assert_allclose(got[:, 0], base[:, 0] * np.array(powers)[:, None], 1e-8)


def test_abs1_with_the_exact_minimum() -> None:
    """I9: RSI = EB = 2, gamma = 1, local rate .5, factor .64 at rate .1."""
    measured = abs1(25).measured(MINIMUM)
    found = along(measured)
    for got, expected in zip(found, (2, 2, 1, 0.5), strict=True):
        assert_allclose(got, expected, 1e-10)
    assert_allclose(rate_factor(0.1, found.rsi, found.eb), 0.64, 1e-10)
    assert_allclose(contraction(measured), 0.64, 1e-10)
    got = geometry.steps_remaining(measured.distance2, 1e-3, found.rsi, found.eb, 0.1)[0]
    r = np.sqrt(measured.distance2[0])
    assert_array_equal(got, np.ceil(np.log(r / 1e-3) / -np.log(0.8)))


def test_abs1_with_the_final_iterate_and_its_bias() -> None:
    """I9 and N5: 2 / (1 - .8^(T - t)), less than 5 % too much from 13.6 steps before the end on backwards."""
    path = abs1(60)
    found = along(path.measured())
    left = np.arange(60, 0, -1)
    for got in (found.rsi, found.eb):
        assert_allclose(got[0], 2 / (1 - 0.8**left), 1e-7)
        assert_array_equal(got[0] / 2 - 1 < 0.05, left > 13.6)
    assert np.log(21) / -np.log(0.8) == pytest.approx(13.6, abs=0.05)


def test_steps_remaining_at_its_ends() -> None:
    steps = geometry.steps_remaining([1.0, 1.0, 0.01, np.nan], 0.1, [1.0, 2.0, 2.0, 2.0], [5.0, 2.0, 2.0, 2.0], 0.5)
    assert_array_equal(steps, [np.inf, 1, 0, np.nan])  # a factor of 5.25, of 0, nothing left to go, no distance


@pytest.mark.parametrize(
    ("size", "square", "rate", "factor"),
    [(1, 12, 1 / 6, 2 / 3), (2, 20 / 3, 0.3, 0.4), (3, 44 / 9, 9 / 22, 2 / 11), (4, 4, 0.5, 0)],
)
def test_minibatches_of_abs1(size: int, square: float, rate: float, factor: float) -> None:
    """I10, over all batches without replacement."""
    d = np.array([0.2, 0.05, -0.1])
    g = np.array([abs1_gradient(MINIMUM + d, list(batch)) for batch in combinations(range(4), size)])
    mean_rsi, mean_eb2 = pooled(g @ d, np.full(len(g), d @ d), (g * g).sum(1))
    assert mean_rsi == pytest.approx(2)
    assert mean_eb2 == pytest.approx(square)
    best = geometry.local_rate(mean_rsi, mean_eb2)
    assert best == pytest.approx(rate)
    assert rate_factor(best, mean_rsi, np.sqrt(mean_eb2)) == pytest.approx(factor, abs=1e-12)


def test_batches_of_one_partition() -> None:
    """I12: their RSI averages to that of all points, their EB^2 to no less: the local rate is no higher."""
    rng = np.random.default_rng(6)
    inputs, targets, d = rng.normal(size=(60, 4)), rng.normal(size=60), rng.normal(size=4)
    rows = 2 * (inputs @ d - targets)[:, None] * inputs
    full = rows.mean(0)
    every = forms(full @ d, d @ d, full @ full)
    for batches in (2, 6, 60):
        g = rows.reshape(batches, -1, 4).mean(1)
        mean_rsi, mean_eb2 = pooled(g @ d, np.full(batches, d @ d), (g * g).sum(1))
        assert mean_rsi == pytest.approx(float(every.rsi))
        assert mean_eb2 > every.eb**2
        assert 0 < geometry.local_rate(mean_rsi, mean_eb2) < every.local_rate
    alike = np.tile(full, (6, 1))  # no noise: equal
    means = pooled(alike @ d, np.full(6, d @ d), (alike * alike).sum(1))
    assert geometry.local_rate(*means) == pytest.approx(float(every.local_rate))


def test_pooling_leaves_out_what_is_not_there() -> None:
    means = pooled([[1.0, np.nan, 3.0], [np.nan, 1.0, 1.0]], [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], np.full((2, 3), 2.0))
    assert_array_equal(means, [[2.0, np.nan], [2.0, np.nan]])


def test_cosines_across() -> None:
    """Parts along d, however long, have no part in them."""
    rng = np.random.default_rng(7)
    d, other_d = rng.normal(size=(2, 9, 6))
    across, other = (np.linalg.svd(x[..., None, :])[2][:, 1] for x in (d, other_d))  # unit vectors orthogonal to d
    got = across_cosine(across + 5 * d, d, 3 * other - 2 * other_d, other_d)
    assert_allclose(got, (across * other).sum(1), 1e-9)
    assert_allclose(across_cosine(across + d, d, -across, d), -1)
    for kind in (np.float32, np.float64):  # what is left is rounding
        assert np.isnan(across_cosine((0.3 * d).astype(kind), d.astype(kind), across, other_d)).all()
    assert np.isnan(across_cosine(across, 0 * d, across, other_d)).all()


def test_gradient_descent_towards_its_own_end_is_positive_on_average_whatever_the_landscape() -> None:
    """N1 and N2, on gradients drawn at random, and with a rate of 0 at the end."""
    rng, rates = np.random.default_rng(8), np.linspace(0.5, 0.0, 21)
    path = descent(lambda w: rng.normal(size=3), np.zeros(3), rates)
    measured = path.measured()
    total = np.sum(2 * rates * measured.dot - rates**2 * measured.gradient2)
    assert total == pytest.approx(float(measured.distance2[0, 0]), rel=1e-12)
    found = np.array(along(measured))[:, 0]
    assert_allclose(found[:, -2], [1 / rates[-2], 1 / rates[-2], 1, rates[-2]], 1e-12)
    assert np.isnan(found[:3, -1]).all() and found[3, -1] == 0


def test_the_cosine_fails_at_a_saddle() -> None:
    """To the stationary point it goes from 1 to -1; to the path's own end it is positive all the same."""
    path = descent(lambda w: np.array([2.0, -2.0]) * w, np.array([1.0, 0.01]), np.full(100, 0.05))
    found = along(path.measured(np.zeros(2)))
    assert found.gamma[0, 0] > 0.99 and found.gamma[0, -1] < -0.99
    assert (along(path.measured()).gamma > 0).all()


def test_the_properties_fail_in_a_valley_that_is_too_steep_for_the_rate() -> None:
    """With a rate that settles the cosine is positive nearly everywhere in Rosenbrock's valley."""

    def slope(w: Floats) -> Floats:
        wall = w[1] - w[0] ** 2
        return np.array([-2 * (1 - w[0]) - 400 * w[0] * wall, 200 * wall])

    steep, fine = (descent(slope, np.array([-0.1, 0.2]), np.full(1000, rate)) for rate in (4e-3, 1e-3))
    for reference in (np.ones(2), None):
        found = along(steep.measured(reference))
        assert (found.gamma > 0).mean() < 0.85
        medians = [np.median(part) for part in np.array_split(found.eb[0], 10)[1:8]]
        assert max(medians) / min(medians) > 10
    assert (along(fine.measured(np.ones(2))).gamma > 0).mean() > 0.95
