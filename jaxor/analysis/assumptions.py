"""Assumptions 4.1, 4.4, 4.5 and 5.1 of the theory of early-stage and global convergence, checked on losses and data.

Wang & Ma, Early Stage Convergence and Global Convergence of Training Mildly Parameterized Neural Networks (NeurIPS
2022). Tags say how certain a reading is: [TXT] read in the text, [OCR?] damaged in the copy at hand, the reading that
fits; [DER] derived anew, [OPQ] a constant from appendices that were not at hand, [NB] from the authors' notebook.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.halfspaces import LARGEST, certificate, finite_points, labelled, mu0

Floats = NDArray[np.float64]

ROUNDING = 1e-6
"""By so much a norm may be above 1, and an inner product has to be above -1; unit inputs may come from float32."""


@dataclass(frozen=True)
class LossConstants:
    """Constants of a loss l(z), z = y.f, as the paper has them; None where the assumption does not hold.

    Attributes
    ----------
    z0, g_min, g_max, h_max : float or None
        Assumption 4.4 (iii): ``g_min <= -l'(z) <= g_max`` and ``0 <= l''(z) <= h_max`` on [0, z0) [OCR?: one bound of
        the interval is damaged; on all of [0, inf) no g_min would do].
    g_a, g_b, h : float or None
        Assumption 5.1: ``-l'/l <= g_b`` and ``0 <= l''/l <= h`` everywhere, ``g_a <= -l'/l`` for z >= 0 [TXT].
    smooth : bool
        Twice differentiable everywhere, as Assumption 4.4 (i) asks. Hinge is not, at z = 1, though the paper lists it.
    sharp : mapping
        Best values of those constants that the paper states wider [DER].
    """

    z0: float | None = None
    g_min: float | None = None
    g_max: float | None = None
    h_max: float | None = None
    g_a: float | None = None
    g_b: float | None = None
    h: float | None = None
    smooth: bool = True
    sharp: Mapping[str, float] = field(default_factory=dict)


LOSSES: Mapping[str, LossConstants] = {
    "exponential": LossConstants(z0=1, g_min=1 / math.e, g_max=1, h_max=1, g_a=1, g_b=1, h=1),
    "logistic": LossConstants(
        z0=1, g_min=1 / 4, g_max=1 / 2, h_max=1, g_a=1 / 2, g_b=1, h=1,
        sharp={"g_min": 1 / (1 + math.e), "h_max": 1 / 4, "g_a": 1 / (2 * math.log(2))},
    ),
    "hinge": LossConstants(z0=1, g_min=1, g_max=1, h_max=0, smooth=False),
    "quadratic": LossConstants(),
}  # fmt: skip
"""``e^-z``, ``log(1 + e^-z)``, ``max(0, 1 - z)``, and ``(y - f)^2 / 2``, which grows for z > 1."""


class Cosines(NamedTuple):
    """Cosines of the angles between points."""

    min: float
    mean: float


def cosines(inputs: ArrayLike) -> Cosines:
    """Smallest and mean cosine over all n^2 pairs of points, each with itself included; one with a point at 0 is 0.

    Parameters
    ----------
    inputs : (n, d) array_like

    Raises
    ------
    ValueError
        Not finite points.

    Examples
    --------
    >>> cosines([[1, 0], [0, 2]])
    Cosines(min=0.0, mean=0.5)
    """
    points = finite_points(inputs)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    units = points / np.where(lengths > 0, lengths, 1)
    table = units @ units.T
    return Cosines(float(table.min()), float(table.mean()))


@dataclass(frozen=True)
class Geometry:
    """What Assumption 4.5 asks of inputs.

    Attributes
    ----------
    samples, dimension : int
    smallest_norm, largest_norm : float
    s_hat : float
        Smallest inner product of two points; the assumption holds with any s in (-1, s_hat).
    """

    samples: int
    dimension: int
    smallest_norm: float
    largest_norm: float
    s_hat: float

    def premises(self) -> dict[str, bool | None]:
        """Assumption 4.5 and ``|x| <= 1`` [TXT], one by one."""
        return {"|x_i| <= 1": self._short, "4.5: x_i.x_j > s for some s > -1": self.s_hat > -1 + ROUNDING}

    @property
    def _short(self) -> bool:
        return self.largest_norm <= 1 + ROUNDING


def geometry(inputs: ArrayLike) -> Geometry:
    """Norms and the smallest inner product of points.

    Parameters
    ----------
    inputs : (n, d) array_like

    Raises
    ------
    ValueError
        Not finite points.

    Examples
    --------
    >>> geometry([[1, 0], [0.6, 0.8]]).s_hat
    0.6
    >>> geometry([[1, 0], [-1, 0]]).premises()
    {'|x_i| <= 1': True, '4.5: x_i.x_j > s for some s > -1': False}
    """
    points = finite_points(inputs)
    lengths = np.linalg.norm(points, axis=1)
    samples, dimension = points.shape
    return Geometry(samples, dimension, float(lengths.min()), float(lengths.max()), float((points @ points.T).min()))


@dataclass(frozen=True)
class Separation(Geometry):
    """What Assumption 4.1 asks of two classes, and the constants of eq. (7) and Corollary 4.3 that follow from data.

    Attributes
    ----------
    balanced : bool
        As many points of class +1 as of class -1, so n is even.
    ordered : bool
        The first half is class +1, as the assumption numbers the points; no statement depends on their order.
    gamma : float
        Smallest inner product of two points of one class, each with itself included; gamma of eq. (7) [TXT].
    across : float
        Largest inner product of points of two classes; -inf if there is one class. The copy at hand prints ``< 0``
        where ``<= 0`` may be meant [OCR?]; nothing needs the strict one, `strict` tells them apart.
    lam : float
        Smallest eigenvalue of the two classes' Gram matrices; lambda of eq. (7) [OCR?].
    gamma1, gamma2 : float
        ``(1/n^2) sum x_i.x_j (pi - theta_ij) / pi`` and ``(1/n^2) sum x_i.x_j`` over pairs of one class, theta_ij the
        angle between them: those of Corollary 4.3 up to one factor [DER; eq. (10) was not at hand].
    certificate : float
        Lower bound of mu_0 through antipodal pairs, see `jaxor.analysis.halfspaces.certificate`.
    mu0 : float or None
        See `jaxor.analysis.halfspaces.mu0`; None above `jaxor.analysis.halfspaces.LARGEST` points.
    """

    balanced: bool
    ordered: bool
    gamma: float
    across: float
    lam: float
    gamma1: float
    gamma2: float
    certificate: float
    mu0: float | None

    def premises(self) -> dict[str, bool | None]:
        """Assumption 4.1 and ``|x| <= 1`` [TXT], one by one; None where mu_0 was not computed and has no certificate.

        Assumption 4.5 is not among them: it is another theorem's, and antipodal points violate it.
        """
        low, high = self.mu0_range
        return {
            "|x_i| <= 1": self._short,
            "4.1 (i): n even, classes of one size": self.balanced,
            "4.1 (i): x_i.x_j > 0 within a class": self.gamma > 0,
            "4.1 (i): x_i.x_j <= 0 across classes": self.across <= 0,
            "4.1 (ii): mu_0 > 0": decided(low > 0, high <= 0),
        }

    @property
    def strict(self) -> bool:
        """Whether inner products across classes are below 0, not only at most 0."""
        return self.across < 0

    @property
    def mu0_range(self) -> tuple[float, float]:
        """Bounds of mu_0, equal where it is known; it is at most the largest norm squared [TXT: at most 1]."""
        return (self.certificate, self.largest_norm**2) if self.mu0 is None else (self.mu0, self.mu0)


def separation(inputs: ArrayLike, targets: ArrayLike) -> Separation:
    """Check two classes of points against Assumption 4.1; mu_0 takes some ten seconds for 200 points, memory is n^2.

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
    >>> corners = separation([[1, 0], [0.6, 0.8], [-1, 0], [-0.6, -0.8]], [1, 1, -1, -1])
    >>> corners.mu0, corners.gamma, all(corners.premises().values())
    (1.0, 0.6, True)
    """
    points, labels = labelled(inputs, targets)
    n = len(points)
    table, same = points @ points.T, labels[:, None] == labels
    kinds = [table[np.ix_(labels == kind, labels == kind)] for kind in np.unique(labels)]
    lengths = np.linalg.norm(points, axis=1)
    scale = np.outer(lengths, lengths)
    angles = np.arccos(np.clip(table / np.where(scale > 0, scale, 1), -1, 1))
    within = table * same
    return Separation(
        **vars(geometry(points)),
        balanced=int(labels.sum()) == 0,
        ordered=bool((labels[: n // 2] == 1).all() and (labels[n // 2 :] == -1).all()),
        gamma=float(table[same].min()),
        across=float(table[~same].max(initial=-math.inf)),
        lam=max(0.0, min(float(np.linalg.eigvalsh(kind)[0]) for kind in kinds)),  # rounding aside they are not below 0
        gamma1=float((within * (1 - angles / math.pi)).sum()) / n**2,
        gamma2=float(within.sum()) / n**2,
        certificate=certificate(points, labels),
        mu0=mu0(points, labels) if n <= LARGEST else None,
    )


def decided(true: bool, false: bool) -> bool | None:
    """What two facts say of a premise: True, False, or None if neither settles it.

    Examples
    --------
    >>> decided(True, False), decided(False, True), decided(False, False)
    (True, False, None)
    """
    return True if true else False if false else None
