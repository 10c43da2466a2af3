"""RSI, EB and the cosine gamma along optimisation paths, and what they bound and prescribe.

Of parameters w_t before step t, the gradient g_t that the step sees, and d_t = w_t - w* from a reference w*: RSI_t is
<g_t, d_t> / ||d_t||^2, EB_t is ||g_t|| / ||d_t||, gamma_t their ratio (Guille-Escuret, Naganuma, Fatras and Mitliagkas,
"No Wrong Turns", ICML 2024, measure these with the final iterate as w*). All functions take inner products and squared
lengths, whose leading axes broadcast, and compute in float64. Where ||d||^2 is no normal number of its type RSI, EB and
gamma are NaN, where ||g||^2 is none gamma and the local rate are; nothing is clipped.

T1, class of functions: `worst_case`. T2, exact along any path: `rate_factor`. T3, in expectation (derived from T2): if
E<g, d> >= mu ||d||^2 and E||g||^2 <= L^2 ||d||^2 + s2 given w_t, then E||d_{t+1}||^2 <= (1 - 2 eta mu + eta^2 L^2)
||d_t||^2 + eta^2 s2, down to eta s2 / (2 mu - eta L^2); s2 = 0 is interpolation. T4, learning rates: `local_rate`.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Measured(Protocol):
    """What has inner products and squared lengths of each step as (n, T), as `Geometry` and walks have."""

    def padded(self, name: str) -> NDArray[np.floating[Any]]:
        """One of the quantities of each step, NaN beyond a run's end."""
        ...


class Forms(NamedTuple):
    """RSI, EB, gamma and the locally optimal learning rate, arrays of one shape."""

    rsi: Floats
    eb: Floats
    gamma: Floats
    local_rate: Floats


def rsi(dot: ArrayLike, distance2: ArrayLike) -> Floats:
    """Restricted secant inequality at one point, <g, d> / ||d||^2; in units of 1 / learning rate.

    Examples
    --------
    >>> float(rsi(3.0, 2.0)), float(rsi(0.0, 0.0))
    (1.5, nan)
    """
    return _float(dot) / _normal(distance2)


def eb(gradient2: ArrayLike, distance2: ArrayLike) -> Floats:
    """Error bound at one point, ||g|| / ||d||, never below the size of RSI; 0 where the gradient is.

    Examples
    --------
    >>> float(eb(8.0, 2.0))
    2.0
    """
    return np.sqrt(_float(gradient2) / _normal(distance2))


def gamma(dot: ArrayLike, distance2: ArrayLike, gradient2: ArrayLike) -> Floats:
    """Cosine of g and d, RSI / EB; above 0 where a small enough step along -g comes nearer to the reference.

    Examples
    --------
    >>> float(gamma(3.0, 2.0, 8.0))
    0.75
    """
    return _float(dot) / np.sqrt(_normal(distance2) * _normal(gradient2))


def local_rate(dot: ArrayLike, gradient2: ArrayLike) -> Floats:
    """Locally optimal learning rate, <g, d> / ||g||^2 = RSI / EB^2.

    T4: it minimises `rate_factor`, whose value there is 1 - gamma^2, and a rate comes nearer to w* only if it is
    between 0 and twice this one (derived; Polyak's step with what an oracle knows). Of RSI and EB^2 as `pooled` gives
    them it is that of the batches or of the window.

    Examples
    --------
    >>> float(local_rate(3.0, 8.0))
    0.375
    """
    return _float(dot) / _normal(gradient2)


def rate_factor(eta: ArrayLike, rsi: ArrayLike, eb: ArrayLike) -> Floats:
    """Factor of ||d||^2 in one step of gradient descent, 1 - 2 eta RSI + eta^2 EB^2.

    T2: exact at every point of every path, for any w* (derived).

    Examples
    --------
    >>> float(rate_factor(0.1, 2.0, 2.0))
    0.64
    """
    eta = _float(eta)
    return 1 - 2 * eta * _float(rsi) + (eta * _float(eb)) ** 2


def worst_case(mu: ArrayLike, L: ArrayLike, eta: ArrayLike, steps: ArrayLike) -> Floats:
    """T1: bound of ||d_n||^2 / ||d_0||^2 after n steps of gradient descent, (1 - 2 eta mu + eta^2 L^2)^n.

    Holds, and is attained, over all functions whose RSI to the nearest minimiser is everywhere at least mu and whose EB
    is at most L (Guille-Escuret et al., "Gradient descent is optimal under lower restricted secant inequality and upper
    error bound", NeurIPS 2022, arXiv 2203.00342, Proposition 1 and Theorem 2). The best rate is mu / L^2, with factor
    1 - (mu / L)^2. By T2 it also holds along a single path for mu and L that hold at the points visited; with the final
    iterate as w* that is a statement of consistency and no forecast.

    Examples
    --------
    >>> float(worst_case(1.0, 2.0, 0.25, 2))
    0.5625
    """
    return rate_factor(eta, mu, L) ** _float(steps)


def predicted_distance(distance2: ArrayLike, eta: ArrayLike, rsi: ArrayLike, eb: ArrayLike) -> Floats:
    """Distances after each step from RSI and EB before it, by T2.

    Parameters
    ----------
    distance2 : (...) array_like
        Before the first step.
    eta, rsi, eb : (..., T) array_like

    Returns
    -------
    (..., T) float64

    Examples
    --------
    >>> predicted_distance(1.0, 0.1, [2.0, 2.0], [2.0, 2.0])
    array([0.8 , 0.64])
    """
    return np.sqrt(_float(distance2)[..., None] * np.cumprod(rate_factor(eta, rsi, eb), axis=-1))


def steps_remaining(
    distance2: ArrayLike, tolerance: ArrayLike, rsi: ArrayLike, eb: ArrayLike, eta: ArrayLike
) -> Floats:
    """Steps until the distance is at most `tolerance` if the factor stays: whole numbers, inf if it is 1 or more.

    With the final iterate as w* this knows the future.

    Examples
    --------
    >>> steps_remaining([1.0, 1e-9], 1e-4, 2.0, 2.0, 0.1), float(steps_remaining(1.0, 0.1, 1.0, 5.0, 0.1))
    (array([42.,  0.]), inf)
    """
    factor, squared = rate_factor(eta, rsi, eb), _float(tolerance) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.ceil(np.log(_float(distance2) / squared) / -np.log(np.maximum(factor, 0)))
    steps = np.where(factor >= 1, np.inf, np.maximum(steps, 1))
    return np.where(_float(distance2) <= squared, 0.0, steps)


def star_gap(loss: ArrayLike, reference_loss: ArrayLike, dot: ArrayLike) -> Floats:
    """f(w_t) - f(w*) - <grad f(w_t), d_t>: at most 0 where f is star-convex towards w* (Zhou et al., ICLR 2019).

    Examples
    --------
    >>> float(star_gap(1.0, 0.0, 2.0))
    -1.0
    """
    with np.errstate(invalid="ignore"):  # losses that are infinite
        return _float(loss) - _float(reference_loss) - _float(dot)


def pooled(dot: ArrayLike, distance2: ArrayLike, gradient2: ArrayLike, axis: int | None = -1) -> tuple[Floats, Floats]:
    """Mean RSI and mean EB^2 over the minibatches or the window along an axis, NaN left out; None: over all.

    Their `local_rate` is the rate that is best for all of them at once, with factor 1 - RSI^2 / EB^2; a mean of local
    rates is not (T4, derived). A window that slides is an axis of `numpy.lib.stride_tricks.sliding_window_view`.

    Examples
    --------
    >>> mean_rsi, mean_eb2 = pooled([1.0, 3.0], [1.0, 1.0], [2.0, 14.0])
    >>> float(mean_rsi), float(mean_eb2), float(local_rate(mean_rsi, mean_eb2))
    (2.0, 8.0, 0.25)
    """
    means = (rsi(dot, distance2), _float(gradient2) / _normal(distance2))
    there = np.isfinite(means[0]) & np.isfinite(means[1])
    count = _normal(there.sum(axis=axis))
    first, second = (np.where(there, values, 0).sum(axis=axis) / count for values in means)
    return first, second


def across_cosine(g: ArrayLike, d: ArrayLike, other_g: ArrayLike, other_d: ArrayLike) -> Floats:
    """Cosine between the parts of two gradients across (orthogonal to) their own d.

    Parameters
    ----------
    g, d, other_g, other_d : (..., D) array_like

    Returns
    -------
    (...) float64
        NaN where a gradient has no part across that is more than rounding.

    Examples
    --------
    >>> float(across_cosine([1.0, 2.0], [1.0, 0.0], [7.0, -3.0], [4.0, 0.0])), float(across_cosine([2], [1], [2], [1]))
    (-1.0, nan)
    """
    (first, length), (second, other_length) = _across(g, d), _across(other_g, other_d)
    return (first * second).sum(axis=-1) / (length * other_length)


def _across(g: ArrayLike, d: ArrayLike) -> tuple[Floats, Floats]:
    """The part of g across d and its length, NaN if it is no longer than the rounding of g."""
    g, d = np.asarray(g), np.asarray(d)
    rounding = 4 * np.finfo(np.result_type(g, d, np.float32)).eps
    g, d = _float(g), _float(d)
    part = g - rsi((g * d).sum(axis=-1), (d * d).sum(axis=-1))[..., None] * d
    length = np.linalg.norm(part, axis=-1)
    return part, np.where(length > rounding * np.linalg.norm(g, axis=-1), length, np.nan)


def forms(dot: ArrayLike, distance2: ArrayLike, gradient2: ArrayLike) -> Forms:
    """All four from inner products and squared lengths."""
    return Forms(
        rsi(dot, distance2), eb(gradient2, distance2), gamma(dot, distance2, gradient2), local_rate(dot, gradient2)
    )


def along(measured: Measured, variant: Literal["gradient", "update"] = "gradient") -> Forms:
    """RSI, EB, gamma and local rate of each step, (n, T) each; NaN beyond a run's end.

    Parameters
    ----------
    measured : Geometry or Walk
    variant : {"gradient", "update"}
        Of g_t, as the paper has it, or of the step s_t = w_t - w_{t+1} that the optimizer took. Then RSI and EB are in
        units of 1 / (rate of that step) and the local rate in units of that rate, which need not be known.

    Examples
    --------
    >>> import jaxor
    >>> geometry = jaxor.measure_run(jaxor.simulate("abs1_convergence", seeds=2))
    >>> round(float(along(geometry).rsi[0, 0]), 3), round(float(along(geometry, "update").rsi[0, 0]), 3)
    (2.002, 0.2)
    """
    dot, squared = ("dot", "gradient2") if variant == "gradient" else ("step_dot", "step2")
    return forms(measured.padded(dot), measured.padded("distance2"), measured.padded(squared))


def contraction(measured: Measured) -> Floats:
    """||d_{t+1}||^2 / ||d_t||^2 of each step (n, T) by T2 in the update variant: exact for every optimizer."""
    found = along(measured, "update")
    return rate_factor(1.0, found.rsi, found.eb)


def _float(values: ArrayLike) -> Floats:
    return np.asarray(values, np.float64)


def _normal(values: ArrayLike) -> Floats:
    """In float64; NaN where a value is not finite, or not above the smallest normal number of its own type."""
    values = np.asarray(values)
    smallest = np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).tiny
    return np.where((values > smallest) & np.isfinite(values), _float(values), np.nan)
