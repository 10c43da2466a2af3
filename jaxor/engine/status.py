"""How a run ends."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Why a run stopped; one value for every finished run.

    If several reasons hold at the same step, the first in this order counts:
    ``DIVERGED``, ``CONVERGED``, ``STALLED``, ``EPOCH_CAP``.

    Examples
    --------
    >>> Status(1).name, Status.STALLED.words
    ('STALLED', 'no improvement for longer than the patience')
    """

    CONVERGED = 0
    STALLED = 1
    EPOCH_CAP = 2
    DIVERGED = 3

    @property
    def words(self) -> str:
        """What it means."""
        return _WORDS[self]


_WORDS = {
    Status.CONVERGED: "loss below the threshold",
    Status.STALLED: "no improvement for longer than the patience",
    Status.EPOCH_CAP: "epoch cap reached first",
    Status.DIVERGED: "loss, gradient or parameters not finite",
}
