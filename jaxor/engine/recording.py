"""Traces: which steps are recorded, and how lanes' records become runs' traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Traces
from jaxor.engine.scalars import Split

DEFAULT_UP_TO = 256
"""Models with at most so many parameters have all traces recorded by default, others only losses."""


@dataclass(frozen=True)
class Recording:
    """What is recorded: nothing, losses, or losses and parameters; of every step or of every k-th and the last.

    Examples
    --------
    >>> Recording.parse("every=10")
    Recording(kind='all', every=10)
    >>> str(Recording.parse(True)), str(Recording.parse(None, parameters=3466))
    ('all', 'loss')
    """

    kind: str = "none"
    every: int = 1

    @classmethod
    def parse(cls, traces: bool | str | None, parameters: int = 0) -> Recording:
        """From what users write: True or "all", "loss", False or "none", "every=K"; None is the default.

        Raises
        ------
        ValueError
            Anything else.
        """
        if traces is None:
            return cls("all" if parameters <= DEFAULT_UP_TO else "loss")
        if isinstance(traces, bool):
            return cls("all" if traces else "none")
        if traces in ("all", "loss", "none"):
            return cls(traces)
        every = str(traces).removeprefix("every=")
        if str(traces).startswith("every=") and every.isascii() and every.isdecimal() and 0 < int(every[:11]) < 2**31:
            return cls("all", int(every))
        raise ValueError(f"traces must be all, loss, none or every=K with K from 1 to 2^31 - 1, got {traces!r:.60}")

    def __str__(self) -> str:
        return self.kind if self.every == 1 else f"every={self.every}"

    def keeps(self, step: NDArray[np.int32], last: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of the steps are recorded, given the last step of their runs."""
        return (step % self.every == 0) | (step == last)


class Recorder:
    """Collects what lanes did, call by call, and sorts it by run."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, slot: NDArray[np.int32], step: Any, loss: Any, params: Any) -> None:
        """Rows of one `advance`: ``(rows, lanes)`` arrays whose first row is from before; `params` may be None."""
        taken = np.diff(step, axis=0) > 0  # lanes that ended stand still
        last = taken & ~np.vstack([taken[1:], np.zeros_like(taken[:1])])  # perhaps of the run, at least of this call
        lane, row = np.nonzero((taken & (last | (step[:-1] % self._recording.every == 0))).T)
        part = [slot[lane], step[row, lane], loss[row + 1, lane]]
        if params is not None:
            part.append(
                np.stack([p[row + 1, lane] for p in params.parts], axis=1)
                if isinstance(params, Split)
                else params[row + 1, lane]
            )
        self._parts.append(tuple(part))

    def traces(self, steps: NDArray[np.int32]) -> Traces:
        """Traces of runs 0, 1, ... that took so many steps."""
        place, step, loss, *params = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        kept = np.flatnonzero(self._recording.keeps(step, steps[place] - 1))
        order = kept[np.argsort(place[kept], kind="stable")]  # a run's parts came in the order of its steps
        sizes = np.bincount(place[kept], minlength=len(steps)).astype(np.int32)
        return Traces(sizes, step[order], loss[order], params[0][order] if params else None)
