"""Finished runs as arrays: what the engine hands on and the store seals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Traces:
    """Per-step records of several runs, one after the other (a contiguous ragged array).

    Attributes
    ----------
    row_size : (n,) int32
        Recorded steps of each run, in the order of the block's seeds.
    step : (obs,) int32
        Number of the step, from 0.
    loss : (obs,) float
        Loss before that step.
    params : (obs, P) float or None
        Parameters after that step; None if only losses were recorded.
    """

    row_size: NDArray[np.int32]
    step: NDArray[np.int32]
    loss: Floats
    params: Floats | None

    def rows(self, index: int) -> slice:
        """Where the records of the block's run number `index` lie."""
        end = int(np.sum(self.row_size[: index + 1], dtype=np.int64))
        return slice(end - int(self.row_size[index]), end)


@dataclass(frozen=True, eq=False)
class Block:
    """Finished runs of some seeds; the seed is the first axis of every array.

    Attributes
    ----------
    seeds : (n,) int64
    status : (n,) int8
        Values of `jaxor.Status`.
    steps, epochs : (n,) int32
        Steps taken, and epochs begun.
    initial_loss, final_loss, final_accuracy : (n,) float
        Over the whole task, by one forward pass each.
    initial_params, final_params : (n, P) float or None
        Flat parameters; None if they were not asked for.
    traces : Traces or None
    draws : (n,) int64 or None
        How many draws of first parameters were made, if the initializer chooses among several.
    """

    seeds: NDArray[np.int64]
    status: NDArray[np.int8]
    steps: NDArray[np.int32]
    epochs: NDArray[np.int32]
    initial_loss: Floats
    final_loss: Floats
    final_accuracy: Floats
    initial_params: Floats | None
    final_params: Floats | None
    traces: Traces | None
    draws: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def take(self, order: NDArray[np.intp]) -> Block:
        """The runs numbered `order`, in that order."""
        arrays: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "traces"}
        taken: dict[str, Any] = {name: None if array is None else array[order] for name, array in arrays.items()}
        return Block(**taken, traces=None if self.traces is None else _take_traces(self.traces, order))

    def lanes_used_together(self, width: int, look: int) -> float:
        """Share of lane-steps spent on live runs if `width` runs at a time begin together and end at a look.

        `look` is the number of steps between two looks at whether all have ended.
        """
        groups = np.resize(self.steps, (-(-len(self) // width), width))
        steps = -(-groups.max(axis=1) // look) * look
        return float(self.steps.mean() / max(steps.mean(), 1))


def _take_traces(traces: Traces, order: NDArray[np.intp]) -> Traces:
    starts = np.cumsum(traces.row_size, dtype=np.int64) - traces.row_size
    sizes = traces.row_size[order]
    ends = np.cumsum(sizes, dtype=np.int64)
    rows = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes - starts[order], sizes)
    return Traces(sizes, traces.step[rows], traces.loss[rows], None if traces.params is None else traces.params[rows])


def concatenate(blocks: Sequence[Block]) -> Block:
    """Several blocks of one simulation as one, in the order given."""
    first = blocks[0]

    def join(parts: Sequence[Any]) -> Any:
        return None if parts[0] is None else np.concatenate(parts)

    names = [f.name for f in fields(Block) if f.name != "traces"]
    traces = None
    if first.traces is not None:
        parts = [block.traces for block in blocks]
        traces = Traces(*(join([getattr(part, f.name) for part in parts]) for f in fields(Traces)))
    return Block(**{name: join([getattr(block, name) for block in blocks]) for name in names}, traces=traces)


def gather(blocks: Iterator[Block], runs: int) -> Block:
    """As `concatenate`, of blocks that come one by one and have so many runs together.

    Without traces each block is let go of once it is copied: the system gives memory away slowly.
    """
    first = next(blocks)
    if first.traces is not None:
        return concatenate([first, *blocks])
    parts: dict[str, Any] = {f.name: getattr(first, f.name) for f in fields(Block)}
    whole = {n: None if part is None else np.empty((runs, *part.shape[1:]), part.dtype) for n, part in parts.items()}
    begin = 0
    for block in itertools.chain([first], blocks):
        for name, array in whole.items():
            if array is not None:
                array[begin : begin + len(block)] = getattr(block, name)
        begin += len(block)
    return Block(**whole)  # type: ignore[arg-type]
