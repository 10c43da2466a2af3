"""Seeds: a list in the user's order, or ascending ranges, which take the same memory for ten and for a billion."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ranges = tuple[tuple[int, int], ...]
"""Ascending ranges (start, stop) that neither overlap nor touch."""

MAX_SEED = 2**32 - 1
"""Keys are made of seeds as 32-bit numbers."""


def check_seeds(seeds: range | ArrayLike) -> NDArray[np.int64]:
    """Seeds as the user lists them, in that order.

    Raises
    ------
    ValueError
        Not a list of different whole numbers from 0 to 2^32 - 1.
    """
    if isinstance(seeds, range):
        check_extent(seeds)
        return np.arange(seeds.start, seeds.stop, seeds.step, dtype=np.int64)
    array = np.asarray(seeds)
    if array.shape == (0,):
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"seeds must be a number or a list of whole numbers, got {seeds!r:.60}")
    check_extent((int(array.min()), int(array.max())))
    ordered = np.sort(ids := array.astype(np.int64))
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(f"seeds must differ, but {twice[0]} is given more than once")
    return ids


def check_extent(seeds: range | tuple[int, int]) -> None:
    """Refuse seeds whose keys would not be their own, by the first and the last of them.

    Raises
    ------
    ValueError
        One is below 0 or above 2^32 - 1.
    """
    if seeds and not 0 <= min(seeds[0], seeds[-1]) <= max(seeds[0], seeds[-1]) <= MAX_SEED:
        low, high = sorted((seeds[0], seeds[-1]))
        raise ValueError(f"seeds must be between 0 and 2^32 - 1, got {low} to {high}")


def compress(seeds: NDArray[np.integer[Any]]) -> Ranges:
    """Turn seeds, in any order, into ascending ranges.

    Examples
    --------
    >>> compress(np.array([7, 0, 1, 2, 8]))
    ((0, 3), (7, 9))
    """
    if len(seeds) == 0:
        return ()
    gaps = np.diff(seeds)
    if np.any(gaps < 1):
        seeds = np.sort(seeds)  # np.unique takes 8 s for 10 million
        gaps = np.diff(seeds)
    ends = np.flatnonzero(gaps > 1)
    starts, stops = seeds[np.append(0, ends + 1)], seeds[np.append(ends, -1)] + 1
    return tuple(zip(starts.tolist(), stops.tolist(), strict=True))


def expand(ranges: Ranges) -> NDArray[np.int64]:
    """List the seeds in the ranges, ascending.

    Examples
    --------
    >>> expand(((0, 3), (7, 9)))
    array([0, 1, 2, 7, 8])
    """
    return np.concatenate([np.empty(0, np.int64), *(np.arange(start, stop) for start, stop in ranges)])


def ranges_of(pairs: NDArray[np.integer[Any]]) -> Ranges:
    """Ranges from an (n, 2) array.

    Raises
    ------
    ValueError
        They do not ascend, overlap or touch.
    """
    ends = pairs.ravel().tolist()
    if any(end >= after for end, after in itertools.pairwise(ends)):
        raise ValueError("the ranges of seeds do not ascend")
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def number(ranges: Ranges) -> int:
    """Count the seeds in the ranges.

    Examples
    --------
    >>> number(((0, 3), (7, 9)))
    5
    """
    return sum(stop - start for start, stop in ranges)


def union(*ranges: Ranges) -> Ranges:
    """Merge several sets of ranges.

    Examples
    --------
    >>> union(((0, 3), (7, 9)), ((3, 5), (8, 10)))
    ((0, 5), (7, 10))
    """
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(itertools.chain(*ranges)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)


def difference(ranges: Ranges, taken: Ranges) -> Ranges:
    """Leave out what is taken.

    Examples
    --------
    >>> difference(((0, 10), (20, 30)), ((3, 5), (8, 22)))
    ((0, 3), (5, 8), (22, 30))
    """
    left: list[tuple[int, int]] = []
    holes = iter(taken)
    hole = next(holes, None)
    for start, stop in ranges:
        while hole is not None and hole[0] < stop:
            if start < hole[0]:
                left.append((start, hole[0]))
            start = max(start, hole[1])
            if hole[1] > stop:
                break  # it may reach into the next range
            hole = next(holes, None)
        if start < stop:
            left.append((start, stop))
    return tuple(left)


def within(ranges: Ranges, start: int, stop: int) -> Ranges:
    """Keep the seeds from `start` up to but without `stop`.

    Examples
    --------
    >>> within(((0, 10), (20, 30)), 5, 21)
    ((5, 10), (20, 21))
    """
    cut = ((max(start, low), min(stop, high)) for low, high in ranges)
    return tuple((low, high) for low, high in cut if low < high)


def pieces(ranges: Ranges, sizes: Iterable[int]) -> Iterator[Ranges]:
    """Cut ranges, in order, into pieces with so many seeds each; the last may be smaller.

    Examples
    --------
    >>> list(pieces(((0, 3), (7, 9)), itertools.repeat(2)))
    [((0, 2),), ((2, 3), (7, 8)), ((8, 9),)]
    """
    sizes, piece, room = iter(sizes), [], 0
    for start, stop in ranges:
        while start < stop:
            room = room or next(sizes)
            end = min(stop, start + room)
            piece.append((start, end))
            room -= end - start
            start = end
            if not room:
                yield tuple(piece)
                piece = []
    if piece:
        yield tuple(piece)


def split(ranges: Ranges, cuts: Iterable[int]) -> Iterator[Ranges]:
    """Cut ranges at certain seeds, ascending; parts without seeds are left out.

    Examples
    --------
    >>> list(split(((0, 3), (7, 30)), [2, 4, 6, 20]))
    [((0, 2),), ((2, 3),), ((7, 20),), ((20, 30),)]
    """
    part: list[tuple[int, int]] = []
    cuts = itertools.chain(cuts, itertools.repeat(MAX_SEED + 1))
    cut = next(cuts)
    for start, stop in ranges:
        while start < stop:
            while cut <= start:
                if part:
                    yield tuple(part)
                    part = []
                cut = next(cuts)
            part.append((start, min(stop, cut)))
            start = part[-1][1]
    if part:
        yield tuple(part)
