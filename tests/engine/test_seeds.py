"""Ranges of seeds are sets of seeds: every operation is compared with that of Python's sets."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from jaxor.engine.seeds import (
    MAX_SEED,
    Ranges,
    check_seeds,
    compress,
    difference,
    expand,
    number,
    pieces,
    ranges_of,
    split,
    union,
    within,
)

SEEDS = st.lists(st.integers(0, 40) | st.integers(0, 2**62), unique=True)
FEW = st.frozensets(st.integers(0, 40))


def listed(seeds: frozenset[int]) -> Ranges:
    return compress(np.array(sorted(seeds), np.int64))


@settings(deadline=None)
@given(SEEDS)
def test_ranges_hold_the_same_seeds(seeds: list[int]) -> None:
    ranges = compress(np.array(seeds, np.int64))
    assert sum(stop - start for start, stop in ranges) == len(seeds)
    assert all(stop < start for (_, stop), (start, _) in zip(ranges, ranges[1:], strict=False))
    assert_array_equal(expand(ranges), sorted(seeds))
    assert expand(ranges).dtype == np.int64


@settings(deadline=None)
@given(st.lists(SEEDS))
def test_union_of_ranges(sets: list[list[int]]) -> None:
    merged = union(*(compress(np.array(seeds, np.int64)) for seeds in sets))
    assert merged == compress(np.array([seed for seeds in sets for seed in seeds], np.int64))


def test_ten_million_seeds_are_quick() -> None:
    start = time.process_time()
    seeds = expand(((0, 10_000_000),))
    assert compress(seeds) == ((0, 10_000_000),)
    assert len(union(compress(seeds[::100]), ((5, 6),))) == 100_001
    assert time.process_time() - start < 3


@given(FEW, FEW)
def test_difference(seeds: frozenset[int], taken: frozenset[int]) -> None:
    assert difference(listed(seeds), listed(taken)) == listed(seeds - taken)


@given(FEW, st.integers(0, 45), st.integers(0, 45))
def test_within(seeds: frozenset[int], start: int, stop: int) -> None:
    assert within(listed(seeds), start, stop) == listed(frozenset(s for s in seeds if start <= s < stop))


@given(FEW, st.lists(st.integers(1, 9), min_size=41, max_size=41))
def test_pieces_have_the_sizes_asked_for(seeds: frozenset[int], sizes: list[int]) -> None:
    found = list(pieces(listed(seeds), sizes))
    assert [seed for piece in found for seed in expand(piece)] == sorted(seeds)
    assert [number(piece) for piece in found[:-1]] == sizes[: max(len(found) - 1, 0)]
    assert all(0 < number(piece) <= size for piece, size in zip(found, sizes, strict=False))


@given(FEW, st.lists(st.integers(0, 45), unique=True).map(sorted))
def test_split_parts_have_no_cut_inside(seeds: frozenset[int], cuts: list[int]) -> None:
    found = list(split(listed(seeds), cuts))
    assert [seed for part in found for seed in expand(part)] == sorted(seeds)
    wanted = [[s for s in sorted(seeds) if a <= s < b] for a, b in itertools.pairwise([0, *cuts, 100])]
    assert [expand(part).tolist() for part in found] == [part for part in wanted if part]


def test_the_largest_seed() -> None:
    assert check_seeds([MAX_SEED]).tolist() == [2**32 - 1] == check_seeds(range(MAX_SEED, 2**32)).tolist()
    assert list(split(((0, 2**32),), [2**31])) == [((0, 2**31),), ((2**31, 2**32),)]
    for seeds in ([2**32], range(2**32, 2**32 + 1), [-1], range(-1, 3), range(3, -2, -1)):
        with pytest.raises(ValueError, match="between 0 and 2"):
            check_seeds(seeds)


@given(FEW)
def test_ranges_as_an_array(seeds: frozenset[int]) -> None:
    array = np.array(listed(seeds), np.int64).reshape(-1, 2)
    assert ranges_of(array) == listed(seeds)
    for wrong in (array[:, ::-1], np.concatenate([array, array])):
        if seeds:
            with pytest.raises(ValueError, match="do not ascend"):
                ranges_of(wrong)
