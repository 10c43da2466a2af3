"""However seeds are cut into shards and spread over directories, merging gives what one shard holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxor.engine.block import Block
from jaxor.engine.seeds import compress
from jaxor.engine.tally import Tally
from jaxor.store.directory import RunDirectory
from jaxor.store.merge import merge_runs
from jaxor.store.run import open_run, stream
from jaxor.store.schema import columns, counts
from jaxor.store.shard import seal
from jaxor.store.verify import verify_run
from tests.examples import examples
from tests.store.samples import block, manifest

UNIVERSE = (0, 1, 2, 3, 7, 8, 10, 2**32 - 1)  # few, so that shards need not be made again and again
Part = tuple[int, ...]


def parts_of(seeds: Sequence[int]) -> st.SearchStrategy[list[Part]]:
    """The seeds cut into parts that may interleave, in any order."""
    labels = st.lists(st.integers(0, 2), min_size=len(seeds), max_size=len(seeds))
    cut = labels.map(lambda chosen: [tuple(s for s, k in zip(seeds, chosen, strict=True) if k == n) for n in range(3)])
    return cut.map(lambda parts: [part for part in parts if part]).flatmap(st.permutations)


@st.composite
def overlapping(draw: st.DrawFn) -> list[list[Part]]:
    """Directories, each some seeds cut into parts; the same seed may be in several of them."""
    subsets = draw(st.lists(st.sets(st.sampled_from(UNIVERSE), min_size=1), min_size=1, max_size=3))
    return [draw(parts_of(sorted(seeds))) for seeds in subsets]


@st.composite
def disjoint(draw: st.DrawFn) -> list[list[Part]]:
    """Parts of a set of seeds dealt out to directories."""
    parts = draw(st.sets(st.sampled_from(UNIVERSE), min_size=1).map(sorted).flatmap(parts_of))
    holders = draw(st.lists(st.integers(0, 2), min_size=len(parts), max_size=len(parts)))
    dealt = [[part for part, k in zip(parts, holders, strict=True) if k == n] for n in range(3)]
    return [some for some in dealt if some]


@cache
def runs(seeds: Part) -> Block:
    """Some of them succeed."""
    made = block(seeds)
    return replace(made, final_accuracy=np.round(made.final_accuracy))


@cache
def sealed(seeds: Part, kind: str) -> bytes:
    return seal(runs(seeds) if kind == "runs" else Tally.of(runs(seeds)), manifest(kind=kind))


def write(path: Path, parts: list[Part], kind: str) -> Path:
    with RunDirectory.create_or_open(path, manifest([seed for part in parts for seed in part], kind=kind)) as directory:
        for part in parts:
            directory.add(compress(np.array(part)), sealed(part, kind))
    return path


@cache
def in_one_shard(seeds: Part, kind: str) -> str | None:
    with TemporaryDirectory() as folder:
        return verify_run(write(Path(folder, "run"), [seeds], kind)).digest


def by_hand(seeds: Part, kind: str) -> str:
    arrays = columns(runs(seeds)) if kind == "runs" else counts(Tally.of(runs(seeds)))
    lines = [f"{name} {hashlib.sha256(arrays[name].tobytes()).hexdigest()}\n" for name in sorted(arrays)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def seeds_of(directories: list[list[Part]]) -> Part:
    return tuple(sorted({seed for parts in directories for part in parts for seed in part}))


def check(directories: list[list[Part]], kind: str, folder: Path) -> Path:
    """Merge the directories, and compare with one shard and with what the digest is defined to be."""
    seeds = seeds_of(directories)
    sources = [write(folder / str(k), parts, kind) for k, parts in enumerate(directories)]
    merged = merge_runs(sources, folder / "all")
    found = verify_run(folder / "all")
    assert (found.problems, found.missing) == ([], ())
    assert found.seeds == merged.seeds == compress(np.array(seeds))
    assert merged.added == len(seeds)
    assert merged.repeated == sum(len(part) for parts in directories for part in parts) - len(seeds)
    assert found.digest == in_one_shard(seeds, kind) == by_hand(seeds, kind)
    return folder / "all"


@settings(max_examples=examples(30), deadline=None)
@given(overlapping())
def test_runs(directories: list[list[Part]]) -> None:
    with TemporaryDirectory() as folder:
        out = RunDirectory.open(check(directories, "runs", Path(folder)))
        streamed = np.concatenate([part.seeds for part in stream(out.manifest, out.shards())])
        assert streamed.tolist() == sorted(streamed.tolist()) == list(seeds_of(directories))


@settings(max_examples=examples(30), deadline=None)
@given(disjoint())
def test_statistics(directories: list[list[Part]]) -> None:
    with TemporaryDirectory() as folder:
        population: Any = open_run(check(directories, "statistics", Path(folder)))
        assert population.tally == Tally.of(runs(seeds_of(directories)))
