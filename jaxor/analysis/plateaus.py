"""Where failed runs got stuck."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.diagnostics import Floats
from jaxor.estimates import Share

MOST = 8
"""Plateaus at most."""

LEAST = 0.01
"""Share of the runs that a plateau has at least."""

ALIKE = 0.02
"""How far errors of points may be apart and still count as the same."""


class Plateau(NamedTuple):
    """Failed runs that ended with about the same loss.

    `loss` and `spread` are their median and the distance from lowest to highest, `accuracy` their commonest one.
    `errors` (points,) are the commonest errors of the points, ascending, and `sharing` the runs that have these; empty
    and None if errors are not known. `example` is the row of a run in the middle of them.
    """

    runs: int
    loss: float
    spread: float
    accuracy: float
    errors: tuple[float, ...]
    sharing: Share | None
    example: int


def plateaus(
    loss: ArrayLike, errors: ArrayLike | None, accuracy: ArrayLike, width: float = 0.005
) -> tuple[Plateau, ...]:
    """Where runs got stuck: the losses that most of them ended with, and the errors that the points then have.

    The stretch of so much loss that holds most runs is the first plateau, that with most of the others the next one,
    and so on, as long as there are enough. So they are found also where many runs are on the way from one to another.

    Parameters
    ----------
    loss, accuracy : (n,) array_like
        After the last step; losses that are not finite are left out.
    errors : (n, points) array_like or None
        The loss of each point; their order does not matter, since the points of XOR can be exchanged.
    width : float
        Of a plateau.

    Examples
    --------
    >>> errors = [[0, 0.25, 0, 0.25], [0.25, 0, 0.2501, 0], [0.25] * 4]
    >>> found = plateaus([0.125, 0.1251, 0.25], errors, [0.75, 0.75, 0.5])
    >>> [(one.runs, one.errors) for one in found]
    [(2, (0.0, 0.0, 0.25, 0.25)), (1, (0.25, 0.25, 0.25, 0.25))]
    """
    loss, accuracy = np.asarray(loss, np.float64), np.asarray(accuracy)
    errors = None if errors is None else np.sort(np.asarray(errors, np.float64), axis=1)
    finite = np.flatnonzero(np.isfinite(loss))
    left = finite[np.argsort(loss[finite], kind="stable")]
    least, found = LEAST * len(left), []
    while len(left) and len(found) < MOST:
        ends = np.searchsorted(loss[left], loss[left] + width, side="right")
        start = int((ends - np.arange(len(left))).argmax())
        group = left[start : ends[start]]
        if len(group) < least:
            break
        found.append(_plateau(group, loss[group], None if errors is None else errors[group], accuracy[group]))
        left = np.delete(left, slice(start, ends[start]))
    return tuple(found)


def _plateau(group: NDArray[np.intp], loss: Floats, errors: Floats | None, accuracy: Floats) -> Plateau:
    """The runs `group`, by ascending loss, with what they have."""
    levels, times = np.unique(accuracy, return_counts=True)
    alike, common, sharing = np.arange(len(group)), (), None
    if errors is not None:
        patterns, counts = np.unique(errors.round(2), axis=0, return_counts=True)
        pattern = patterns[counts.argmax()] + 0.0  # no -0
        alike = np.flatnonzero((np.abs(errors - pattern) <= ALIKE).all(axis=1))
        common, sharing = tuple(pattern.tolist()), Share.of(len(alike), len(group))
    return Plateau(
        len(group), float(np.median(loss)), float(np.ptp(loss)), float(levels[times.argmax()]), common, sharing,
        int(group[alike[len(alike) // 2]]),
    )  # fmt: skip
