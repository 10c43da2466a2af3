"""Traces: which steps are recorded, and how lanes' records become runs' traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Traces

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

    def number(self, step: Any) -> Any:
        """Number of a step's record in its run, for steps that are recorded."""
        return step if self.every == 1 else -(-step // self.every)

    def sizes(self, steps: NDArray[np.int32]) -> NDArray[np.int32]:
        """How many records runs leave that take so many steps."""
        return np.where(steps > 0, self.number(steps - 1) + 1, 0).astype(np.int32)


class Recorder:
    """Collects what lanes did, call by call, and sorts it by run."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, slot: NDArray[np.int32], taken: Any, step: Any, loss: Any, params: Any) -> None:
        """Records of one `advance`, ``(steps, lanes, ...)``; `params` may be None."""
        step = step - 1  # the number of the step that was taken
        kept = taken
        if self._recording.every > 1:  # the last step of a call is perhaps the last of its run
            last = taken & ~np.vstack([taken[1:], np.zeros_like(taken[:1])])
            kept = taken & (last | (step % self._recording.every == 0))
        at = np.flatnonzero(kept)
        rows = [np.broadcast_to(slot, taken.shape), step, loss] + [params] * (params is not None)
        self._parts.append(tuple(array.reshape(taken.size, *array.shape[2:]).take(at, axis=0) for array in rows))

    def traces(self, steps: NDArray[np.int32]) -> Traces:
        """Traces of runs 0, 1, ... that took so many steps."""
        every, last = self._recording.every, steps - 1
        sizes = self._recording.sizes(steps)
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        place, step, *rest = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        if every > 1:
            kept = np.flatnonzero((step % every == 0) | (step == last[place]))
            place, step, *rest = (array.take(kept, axis=0) for array in (place, step, *rest))
        order = np.empty(len(step), np.intp)
        order[starts[place] + self._recording.number(step)] = np.arange(len(step))
        step, loss, *params = (array.take(order, axis=0) for array in (step, *rest))
        return Traces(sizes, step, loss, params[0] if params else None)
