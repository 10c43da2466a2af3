"""How a run ends."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Status(IntEnum):
    """Why a run stopped; one value for every finished run.

    If several reasons hold at the same step, the first in this order counts:
    ``DIVERGED``, ``CONVERGED``, ``STALLED``, ``EPOCH_CAP``. ``UNSTARTED`` are runs without first parameters: of those
    that the initializer drew none was acceptable.

    Examples
    --------
    >>> Status(1).name, Status.STALLED.words
    ('STALLED', 'no improvement for longer than the patience')
    >>> Status.EPOCH_CAP.label
    'epoch cap'
    """

    CONVERGED = 0
    STALLED = 1
    EPOCH_CAP = 2
    DIVERGED = 3
    UNSTARTED = 4

    @property
    def label(self) -> str:
        """Its name in a table or plot."""
        return self.name.lower().replace("_", " ")

    @property
    def words(self) -> str:
        """What it means."""
        return _WORDS[self]


_WORDS = {
    Status.CONVERGED: "loss below the threshold",
    Status.STALLED: "no improvement for longer than the patience",
    Status.EPOCH_CAP: "epoch cap reached first",
    Status.DIVERGED: "loss, gradient or parameters not finite",
    Status.UNSTARTED: "no acceptable draw of first parameters",
}


def by_status(counts: Iterable[int]) -> dict[Status, int]:
    """Runs by status from counts in the order of `Status`; that none is unstarted goes without saying.

    Examples
    --------
    >>> list(by_status([9, 0, 1, 0, 0])) == [Status.CONVERGED, Status.STALLED, Status.EPOCH_CAP, Status.DIVERGED]
    True
    """
    counted = zip(Status, counts, strict=True)
    return {status: count for status, count in counted if count or status != Status.UNSTARTED}
