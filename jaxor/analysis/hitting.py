"""Hitting times of the early stage, and the exponential bounds of Lemma 6.3 behind them.

Wang & Ma (NeurIPS 2022), section 6.1.2; tags as in `assumptions`. While |f| <= 1 every residual is at most 2, so with
quadratic loss one step of model (4) gives ``|a_k| += 2 eta |b_k|`` and ``|b_k| += 2 eta |a_k|`` at most: sums of the
two grow by the factor 1 + 2 eta, their differences by 1 - 2 eta. From the first step on a neuron is active on one
class only, half of the points, and 2 eta becomes eta.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def corollary_4_7_steps(eta: float) -> int:
    """T(eta) of Corollary 4.7 and Table 1, ``floor(ln 2 / (2 eta))``: all four values of the table [DER].

    Raises
    ------
    ValueError
        `eta` is not a positive number.

    Examples
    --------
    >>> [corollary_4_7_steps(eta) for eta in (0.01, 0.005, 0.002, 0.001)]
    [34, 69, 173, 346]
    """
    return math.floor(math.log(2) / (2 * checked_eta(eta)))


def corollary_4_3_steps(eta: float) -> int:
    """T(eta) that agrees with T = 44 of Corollary 4.3 at eta = .01, ``floor(ln(1 + sqrt 2) / (2 eta))`` [DER, a guess].

    Raises
    ------
    ValueError
        `eta` is not a positive number.

    Examples
    --------
    >>> corollary_4_3_steps(0.01)
    44
    """
    return math.floor(math.asinh(1) / (2 * checked_eta(eta)))


def parameter_bounds(
    steps: ArrayLike, eta: float, output: float, hidden: float = 0.0, *, one_class: bool = False
) -> tuple[Floats, Floats]:
    """Upper bounds of |a_k| and |b_k| after so many steps, Lemma 6.3 (P1) [DER; the text's thresholds are unreadable].

    ``((1 + 2 eta)^t (A + B) +- (1 - 2 eta)^t (A - B)) / 2`` as long as |f| <= 1 on all points.

    Parameters
    ----------
    steps : array_like
        t, from 0.
    eta : float
        Learning rate.
    output, hidden : float
        A = |a_k| and B = |b_k| at the start.
    one_class : bool
        Take eta for 2 eta: neurons that are active on one of two classes of one size. Of the first step that is true
        only up to the outputs at the start, small as the initial scale.

    Raises
    ------
    ValueError
        `eta` is not a positive number.

    Examples
    --------
    >>> upper, lower = parameter_bounds([0, 1], 0.01, output=1.0)
    >>> upper.round(4).tolist(), lower.round(4).tolist()
    ([1.0, 1.0], [0.0, 0.02])
    """
    rate = checked_eta(eta) * (1 if one_class else 2)
    return coupled(np.asarray(steps, np.float64), rate, output, hidden)


def coupled(steps: Any, rate: float, output: Any, hidden: Any) -> tuple[Any, Any]:
    """Two numbers of which each grows by `rate` times the other in a step, after so many; arrays of NumPy or JAX.

    Examples
    --------
    >>> coupled(2, 0.5, 1.0, 0.0)
    (1.25, 1.0)
    """
    grown, shrunk = (1 + rate) ** steps * (output + hidden), (1 - rate) ** steps * (output - hidden)
    return (grown + shrunk) / 2, (grown - shrunk) / 2


def output_bound(
    steps: ArrayLike, eta: float, active: float = 1.0, *, hidden: float = 0.0, one_class: bool = False
) -> Floats:
    """Upper bound of |f(x_i)| after so many steps, Lemma 6.3 (P3) [DER]: neurons active on x_i times |a_k| |b_k|.

    At ``hidden`` 0 it is ``active ((1 + 2 eta)^2t - (1 - 2 eta)^2t) / 4``.

    Parameters
    ----------
    steps : array_like
        t, from 0.
    eta : float
        Learning rate.
    active : float
        Share of neurons that are active on x_i: 1 is safe, from the first step on it is that of one sign of a_k,
        nearly 1/2.
    hidden : float
        Largest |b_k| at the start, in units of |a_k| = 1 / sqrt(m), so about kappa.
    one_class : bool
        As in `parameter_bounds`.

    Raises
    ------
    ValueError
        `eta` is not a positive number, or `active` not between 0 and 1.

    Examples
    --------
    >>> float(output_bound(36, 0.01).round(3)), float(output_bound(37, 0.01).round(3))
    (0.982, 1.026)
    """
    upper, lower = parameter_bounds(steps, eta, 1.0, hidden, one_class=one_class)
    return _checked_share(active) * upper * lower


def safe_steps(eta: float, active: float = 1.0, *, one_class: bool = False) -> int:
    """Largest t at which `output_bound`, from b_k = 0, is at most 1: |f| <= 1 up to there, so T >= t - 1 [DER].

    Stands for T_e of Lemma 6.3, whose thresholds are unreadable; T is the paper's hitting time, which asks for |f| <= 1
    up to T + 1 and that no a_k changes its sign.

    Parameters
    ----------
    eta, active, one_class
        As in `output_bound`.

    Raises
    ------
    ValueError
        As `output_bound`.

    Examples
    --------
    >>> safe_steps(0.01), safe_steps(0.01, 0.5), safe_steps(0.01, 0.5, one_class=True)
    (36, 52, 105)
    """
    rate = checked_eta(eta) * (1 if one_class else 2)
    beyond = math.ceil(math.log(4 / _checked_share(active) + 1) / math.log1p(rate)) + 1  # twice what is needed
    return bisect_right(range(beyond), 1.0, key=lambda t: float(output_bound(t, eta, active, one_class=one_class))) - 1


def checked_eta(eta: float) -> float:
    """The learning rate, if it is one.

    Raises
    ------
    ValueError
        It is not a positive number.

    Examples
    --------
    >>> checked_eta(0.01)
    0.01
    """
    if not 0 < eta < math.inf:
        raise ValueError(f"a learning rate must be a positive number, got {eta}")
    return eta


def _checked_share(active: float) -> float:
    if not 0 < active <= 1:
        raise ValueError(f"the share of active neurons must be above 0 and at most 1, got {active}")
    return active
