"""mu_0 of Assumption 4.1 (ii): what every half-space must hold of two classes, exactly and from below.

Wang & Ma (NeurIPS 2022) ask for a constant mu_0 > 0 with ``min_i min_{v: v.x_i <= 0} max_{j: v.x_j > 0} Q_ij >= mu_0``,
``Q_ij = y_i y_j x_i.x_j``: a neuron v that is dead on a point i has to be active on a point that moves it towards i.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

LARGEST = 200
"""Points up to which `mu0` is computed."""
ANTIPODE = 1e-9
"""Points p and q are antipodes if ``|x_p + x_q|`` is at most this part of the longer one."""
# HiGHS meets its constraints to 1e-7, so for an empty cone the margin may come out as that much above 0.
_EMPTY = 1e-6


def mu0(inputs: ArrayLike, targets: ArrayLike) -> float:
    """The largest mu_0 of Assumption 4.1 (ii); -inf where there is none.

    For point i it is the largest mu for which no v is dead on i and on all of ``J(mu) = {j: Q_ij >= mu}``, so one of
    the values Q_ij, found by bisection; that no such v exists is a linear program (maximal margin 0). At most
    ``1 + n + n ceil(log2 n)`` programs, as a rule little more than n, since a point whose mu cannot be the smallest
    takes one. Source: Assumption 4.1 [TXT], algorithm [DER].

    Notes
    -----
    v is generic, ``v.x_j != 0`` for all j, as it is with probability 1. Taken literally v = 0 is dead on everything and
    no data would satisfy the assumption.

    Parameters
    ----------
    inputs : (n, d) array_like
    targets : (n,) array_like
        +1 and -1.

    Raises
    ------
    ValueError
        More than `LARGEST` points, or inputs and targets that are not what they should be.

    Examples
    --------
    >>> mu0([[1, 0], [0, 1], [-1, 0], [0, -1]], [1, 1, -1, -1])
    1.0
    >>> mu0([[1, 0], [0, 1]], [1, -1])  # v = (-1, -1) is dead on both
    -inf
    """
    points, labels = labelled(inputs, targets)
    n = len(points)
    if n > LARGEST:
        raise ValueError(
            f"mu0 of {n} points takes up to {1 + n + n * math.ceil(math.log2(n))} linear programs and is computed for "
            f"at most {LARGEST} points; `certificate` bounds it from below at any size"
        )
    values = labels[:, None] * labels * (points @ points.T)
    lengths = np.linalg.norm(points, axis=1)
    active = lengths > 0  # no neuron is ever active on a point at 0
    # Only inner products with v count, so as many coordinates as points are enough.
    directions = np.linalg.qr((points[active] / lengths[active, None]).T)[1].T

    def reaches(i: int, value: float) -> bool:
        near = values[i] >= value
        near[i] = True
        return not _dead_on_all(directions[near[active]])

    if not len(directions) or _dead_on_all(directions):
        return -math.inf
    smallest = math.inf
    for i in range(n):
        if i and reaches(i, smallest):
            continue
        falling = np.unique(values[i])[::-1].tolist()
        # The last value is reached: its J is all points.
        place = bisect_left(falling, True, hi=len(falling) - 1, key=lambda value, i=i: reaches(i, value))
        smallest = min(smallest, falling[place])
    return smallest


def certificate(inputs: ArrayLike, targets: ArrayLike) -> float:
    """A lower bound of mu_0, ``min_i max_p Q_ip`` over antipodal pairs; -inf without a pair.

    A pair is two points x_p and -x_p of opposite classes (to within `ANTIPODE`, for rounding). Every neuron is active
    on one of the two, and they have one value Q_ip, so each pair bounds mu_0 from below for each i [DER]. With one pair
    this is ``min_i |x_i.x_p|`` under Assumption 4.1 (i), and mu_0 itself where the other points are separable by class,
    as points in general position are if there are no more of them than dimensions. The paper's remark that one pair
    gives mu_0 = 1 is false.

    Parameters
    ----------
    inputs : (n, d) array_like
    targets : (n,) array_like
        +1 and -1.

    Raises
    ------
    ValueError
        Inputs and targets that are not what they should be.

    Examples
    --------
    >>> points, classes = [[1, 0], [0.6, 0.8], [-1, 0], [-0.8, -0.6]], [1, 1, -1, -1]
    >>> certificate(points, classes), mu0(points, classes)  # one pair: the first point and the third
    (0.6, 0.6)
    >>> certificate([[1, 0], [0, 1]], [1, -1])
    -inf
    """
    points, labels = labelled(inputs, targets)
    paired = points[labels > 0][_has_antipode(points[labels > 0], points[labels < 0])]
    if not len(paired):
        return -math.inf
    return float((labels[:, None] * (points @ paired.T)).max(axis=1).min())


def labelled(inputs: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats]:
    """Inputs (n, d) and targets (n,) of two classes, +1 and -1, in float64, checked.

    Raises
    ------
    ValueError
        Not of these shapes, not finite, no points, or other targets.

    Examples
    --------
    >>> labelled([[1, 0]], [-1])
    (array([[1., 0.]]), array([-1.]))
    """
    points, labels = finite_points(inputs), np.asarray(targets, np.float64)
    if labels.shape != points.shape[:1]:
        raise ValueError(f"targets must be one number for each of {len(points)} points, got shape {labels.shape}")
    if (wrong := labels[np.abs(labels) != 1]).size:
        raise ValueError(f"targets must be +1 or -1, got {wrong[0]:g}")
    return points, labels


def finite_points(inputs: Any) -> Floats:
    """Inputs (n, d) in float64, checked.

    Raises
    ------
    ValueError
        Not of that shape, not finite, or no points.

    Examples
    --------
    >>> finite_points([[1, 0]])
    array([[1., 0.]])
    """
    points = np.asarray(inputs, np.float64)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"inputs must be points by dimensions, at least one of each, got shape {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("inputs must be finite, got NaN or infinity")
    return points


def _has_antipode(points: Floats, others: Floats) -> Booleans:
    """Which of the points (k,) have their negative among the others."""
    found = np.zeros(len(points), bool)
    for k, point in enumerate(points):
        gaps = np.linalg.norm(others + point, axis=1)
        found[k] = (gaps <= ANTIPODE * np.maximum(np.linalg.norm(others, axis=1), np.linalg.norm(point))).any()
    return found & points.any(axis=1)


def _dead_on_all(directions: Floats) -> bool:
    """Whether some v has ``v.x < 0`` for all of these unit vectors (k, d)."""
    from scipy.optimize import linprog  # takes a second to import

    k, d = directions.shape
    margin = linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.column_stack([directions, np.ones(k)]),
        b_ub=np.zeros(k),
        bounds=[(-1, 1)] * d + [(0, 1)],
        method="highs",
    )
    if not margin.success:
        raise ArithmeticError(f"a linear program was not solved: {margin.message}")
    return -margin.fun > _EMPTY
