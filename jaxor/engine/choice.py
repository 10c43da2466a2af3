"""Finding the draws that a selection takes: those of many runs are scored at once, several of each if few are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

AHEAD = 0.25
"""Part of the expected number of draws up to an acceptable one that is scored at once: more would be in vain."""

HOPELESS = 100
"""A selection is given up if so many times the draws of one run hold no acceptable one for any of the runs."""

ENOUGH = 10**6
"""It is not given up after fewer draws: that the few runs of a block are out of luck is no reason to end the others."""

Scores = Callable[[NDArray[np.int64], NDArray[np.int32]], tuple[NDArray[Any], NDArray[Any]]]
"""Scores of some draws (m,) of the runs (m,), and how many draws of the innermost law each took."""


@dataclass(frozen=True)
class Chosen:
    """What a selection took.

    Attributes
    ----------
    draw : (n,) int32
        Number of the draw.
    draws : (n,) int64
        How many draws of the innermost law were made until it was known.
    found : (n,) bool
        Whether there was one.
    """

    draw: NDArray[np.int32]
    draws: NDArray[np.int64]
    found: NDArray[np.bool_]


class NoAcceptableDraw(ValueError):
    """No draw was acceptable, of so many that hardly any run would find one.

    Attributes
    ----------
    experiment : str
    tried : int
        Draws that were looked at.
    most : int
        Draws that a run may take.
    """

    def __init__(self, experiment: str, tried: int, most: int) -> None:
        self.experiment, self.tried, self.most = experiment, tried, most
        super().__init__(
            f"the initializer of {experiment} found none of {tried:,} draws acceptable, so the probability of one that "
            f"is lies below {none_of(tried):.1g} (95 %) and a run that may take {most:,} would hardly ever start; "
            "relax its condition or raise init.max_draws"
        )

    def __reduce__(self) -> tuple[Any, ...]:  # workers send it home
        return type(self), (self.experiment, self.tried, self.most)


def none_of(tried: int) -> float:
    """Largest probability, by a 95 % interval, of what none of so many independent trials showed.

    Examples
    --------
    >>> round(none_of(1000), 5)  # the rule of three
    0.00299
    """
    return 1 - 0.05 ** (1 / tried)


def choose(
    scores: Scores, seeds: NDArray[np.int64], below: float, most: int, lowest: bool, at_once: int, name: str
) -> Chosen:
    """The first draw of each run with a score below the limit; if none is and `lowest`, the one with the lowest.

    All runs that go on have had the same number of draws. The next draws of all of them are scored together, so the
    machine is busy with one run left as with a million.

    Parameters
    ----------
    scores : Scores
    seeds : (n,) int64
    below : float
    most : int
        Draws of a run at most.
    lowest : bool
    at_once : int
        Draws that are worth scoring at once.
    name : str
        Of the experiment, for messages.

    Raises
    ------
    NoAcceptableDraw
    """
    count = len(seeds)
    draw, draws, found = np.zeros(count, np.int32), np.zeros(count, np.int64), np.zeros(count, bool)
    best = np.full(count, np.inf)
    left, next_draw, tried, hits = np.arange(count), 0, 0, 0
    while len(left) and next_draw < most:
        some = _width(len(left), tried, hits, at_once, lowest)
        numbers = np.arange(next_draw, min(next_draw + some, most), dtype=np.int32)
        score, made = _grid(scores, seeds[left], numbers)
        acceptable = score < np.asarray(below, score.dtype)
        hit = acceptable.any(axis=1)
        last = np.where(hit, acceptable.argmax(axis=1), len(numbers) - 1)
        rows = np.arange(len(left))
        draws[left] += np.cumsum(made, axis=1, dtype=np.int64)[rows, last]
        tried, hits = tried + int(last.sum()) + len(left), hits + int(hit.sum())
        chosen = np.where(hit, last, np.where(np.isnan(score), np.inf, score).argmin(axis=1))
        better = hit | (score[rows, chosen] < best[left])
        draw[left[better]] = numbers[chosen[better]]
        best[left[better]] = score[rows, chosen][better]
        found[left] = hit
        left, next_draw = left[~hit], next_draw + len(numbers)
        if not hits and not lowest and tried >= max(HOPELESS * most, ENOUGH):
            raise NoAcceptableDraw(name, tried, most)
    if lowest:
        found = np.isfinite(best)
    return Chosen(draw, draws, found)


def _width(runs: int, tried: int, hits: int, at_once: int, lowest: bool) -> int:
    """Draws of each run to score next."""
    room = max(at_once // runs, 1)
    if lowest:  # all will be needed
        return room
    return max(room, int(min(AHEAD * tried / (hits + 1), 8 * at_once / runs)))


def _grid(scores: Scores, seeds: NDArray[np.int64], numbers: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and draws (runs, numbers)."""
    shape = len(seeds), len(numbers)
    score, made = scores(np.repeat(seeds, shape[1]), np.tile(numbers, shape[0]))
    return score.reshape(shape), made.reshape(shape)
