"""How a run ends."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Why a run stopped; one value for every finished run.

    If several reasons hold at the same step, the first in this order counts:
    ``DIVERGED``, ``CONVERGED``, ``STALLED``, ``EPOCH_CAP``.

    Examples
    --------
    >>> Status(1).name, Status.STALLED.sentence
    ('STALLED', 'the loss stopped improving for longer than the patience')
    """

    CONVERGED = 0
    STALLED = 1
    EPOCH_CAP = 2
    DIVERGED = 3

    @property
    def sentence(self) -> str:
        """The status in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.CONVERGED: "the loss before a step fell below the threshold",
    Status.STALLED: "the loss stopped improving for longer than the patience",
    Status.EPOCH_CAP: "the epoch cap was reached",
    Status.DIVERGED: "a loss, gradient or parameter was no longer finite",
}
