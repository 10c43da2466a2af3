"""What is kept of runs when nothing is kept of each: exact counts, the same in whatever order runs are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.engine.block import Block, Floats
from jaxor.engine.seeds import Ranges, compress, number, union
from jaxor.engine.status import Status

GROUPS = (len(Status), 2)
"""Runs are counted by status and by success (accuracy 1 after the last step: 1, else 0)."""

_INFINITY = 0x7F80  # bin of +inf; the largest finite one is just below, and that of NaN above


@dataclass(frozen=True, eq=False)
class Histogram:
    """Runs by one whole number that each has.

    Attributes
    ----------
    values : (n,) int64
        Ascending; only those that occur.
    counts : (n, 5, 2) int64
        Runs with that value, by status and success.
    """

    values: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.integer[Any]], group: NDArray[np.integer[Any]]) -> Histogram:
        """Count (n,) values of runs that belong to the (n,) groups ``2 * status + success``."""
        groups = GROUPS[0] * GROUPS[1]
        low, high = (int(values.min()), int(values.max())) if len(values) else (0, -1)
        if high - low < 4 * len(values):
            distinct, place = np.arange(low, high + 1), np.subtract(values, low, dtype=np.intp)
        else:  # a table would be mostly empty
            distinct, place = np.unique(values, return_inverse=True)
        place *= groups
        place += group
        counts = np.bincount(place, minlength=groups * len(distinct)).reshape(-1, groups)
        seen = counts.any(axis=1)
        return cls(distinct[seen].astype(np.int64), counts[seen].reshape(-1, *GROUPS))

    def __add__(self, other: Histogram) -> Histogram:
        values = np.union1d(self.values, other.values)
        counts = np.zeros((len(values), *GROUPS), np.int64)
        for part in (self, other):
            counts[np.searchsorted(values, part.values)] += part.counts
        return Histogram(values, counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return np.array_equal(self.values, other.values) and np.array_equal(self.counts, other.counts)


@dataclass(frozen=True)
class Tally:
    """Counts of the runs of some seeds. Tallies of different seeds add up, in any order to the same sum.

    Attributes
    ----------
    seeds : Ranges
        Whose runs are counted.
    epochs : Histogram
    initial_loss, final_loss : Histogram
        By the bins of `loss_bin`.
    """

    seeds: Ranges
    epochs: Histogram
    initial_loss: Histogram
    final_loss: Histogram

    @classmethod
    def of(cls, block: Block) -> Tally:
        """Count finished runs.

        Parameters
        ----------
        block : Block
            In any order; traces and parameters are not looked at.
        """
        group = 2 * block.status + (block.final_accuracy == 1)
        return cls(
            compress(block.seeds),
            Histogram.of(block.epochs, group),
            Histogram.of(loss_bin(block.initial_loss), group),
            Histogram.of(loss_bin(block.final_loss), group),
        )

    @classmethod
    def empty(cls) -> Tally:
        """No runs: what a sum starts from."""
        none = Histogram(np.empty(0, np.int64), np.empty((0, *GROUPS), np.int64))
        return cls((), none, none, none)

    def __add__(self, other: Tally) -> Tally:
        """Count both.

        Raises
        ------
        ValueError
            A seed is in both.
        """
        seeds = union(self.seeds, other.seeds)
        if number(seeds) < number(self.seeds) + number(other.seeds):
            raise ValueError("tallies with seeds in common cannot be added: runs would count twice")
        return Tally(
            seeds,
            self.epochs + other.epochs,
            self.initial_loss + other.initial_loss,
            self.final_loss + other.final_loss,
        )

    def __len__(self) -> int:
        return number(self.seeds)

    @property
    def runs(self) -> NDArray[np.int64]:
        """(5, 2) runs by status and success."""
        return self.epochs.counts.sum(axis=0)

    @property
    def successes(self) -> int:
        """Runs with accuracy 1 after their last step."""
        return int(self.runs[:, 1].sum())


def loss_bin(losses: ArrayLike) -> NDArray[np.int32]:
    """Number the bins of losses: equal for losses whose float32 start with the same 16 bits, ascending with the loss.

    So a bin goes from one bfloat16 number to the next and is at most 1/128 as wide as the losses in it. Both zeros are
    in bin 0, all NaN in one bin above infinity.

    Examples
    --------
    >>> loss_bin([0.0, 1.0, 1.007, 1.008]).tolist()
    [0, 16256, 16256, 16257]
    """
    with np.errstate(over="ignore"):  # a float64 may be infinite as float32
        floats = np.asarray(losses).astype(np.float32)
    bits = (floats + np.float32(0)).view(np.int32)  # -0 + 0 is 0
    bins = ((bits >> 31) & 0x7FFFFFFF) ^ bits  # negative floats descend where their bits ascend
    bins >>= 16
    nan = np.isnan(floats)
    return np.where(nan, np.int32(_INFINITY + 1), bins) if nan.any() else bins


def loss_of(bins: ArrayLike) -> Floats:
    """Middle of bins as float32; 0 for bin 0. It is at most 1/256 off any loss in the bin, and `loss_bin` undoes it.

    Examples
    --------
    >>> loss_of([0, 16256]).tolist()
    [0.0, 1.00390625]
    """
    bins = np.asarray(bins, np.int32)
    inside = np.where(bins < 0, bins > -_INFINITY - 1, (bins > 0) & (bins < _INFINITY))
    ordered = (bins << 16) | np.where(inside, 0x8000, np.where(bins < 0, 0xFFFF, 0)).astype(np.int32)
    bits = ordered ^ ((ordered >> 31) & 0x7FFFFFFF)
    return np.where(bins > _INFINITY, np.float32(np.nan), bits.view(np.float32))
