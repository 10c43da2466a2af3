"""Ragged traces of any shape and with any bits come back as they were, whole, in part and by seed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from jaxor.engine.block import Block
from jaxor.engine.seeds import compress
from jaxor.store import shard
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.run import Run
from jaxor.store.schema import block_of, columns
from jaxor.store.sources import Shards
from tests.examples import examples
from tests.store.samples import manifest

many = settings(max_examples=examples(100), deadline=None)

MANIFESTS = st.builds(
    manifest,
    x64=st.booleans(),
    traces=st.sampled_from(["all", "loss", "none", "every=3"]),
    parameters=st.sampled_from(["both", "final", "none"]),
    param_names=st.sampled_from([("w",), ("w", "β", "hidden.weight[0, 0]")]),
)


@st.composite
def stored(draw: st.DrawFn) -> tuple[Manifest, Block]:
    """Runs with records of any number, and any bits everywhere: NaN of all kinds, infinities, -0, subnormals."""
    like = draw(MANIFESTS)
    row_size = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    sizes = {"seed": len(row_size), "obs": sum(row_size), "param": len(like.param_names)}
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), min_size=sizes["seed"], max_size=sizes["seed"], unique=True))
    arrays: dict[str, NDArray[Any]] = {}
    for name, variable in like.variables.items():
        shape = tuple(sizes[dim] for dim in variable.dims)
        arrays[name] = draw(hnp.arrays(variable.type(like.floats), shape))
    arrays["seed"] = np.sort(np.array(seeds, np.int64))
    if "row_size" in arrays:
        arrays["row_size"] = np.array(row_size, np.int32)
    return like, block_of(arrays)


def bits(arrays: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Equal only if types, shapes and every bit are; NaN and -0 are bits like any others."""
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def by_hand(like: Manifest, runs: Block, rows: slice) -> dict[str, NDArray[Any]]:
    """The variables of some runs: records are taken run by run, as the definition of a ragged array has it."""
    arrays = columns(runs)
    kept = range(len(runs))[rows]
    some = {name: array[rows] for name, array in arrays.items() if like.variables[name].dims[0] == "seed"}
    for name in arrays.keys() - some.keys():
        ends = np.cumsum(arrays["row_size"])
        parts = [arrays[name][ends[k] - arrays["row_size"][k] : ends[k]] for k in kept]
        some[name] = np.concatenate([arrays[name][:0], *parts])
    return some


def encode(like: Manifest, runs: Block) -> bytes:
    return shard.encode(runs, like.param_names, like.attributes())


@many
@given(stored(), st.none() | st.integers(0, 8), st.none() | st.integers(0, 8))
def test_any_runs_and_any_slice_of_them(made: tuple[Manifest, Block], start: int | None, stop: int | None) -> None:
    like, runs = made
    data, rows = encode(like, runs), slice(start, stop)
    assert bits(columns(shard.decode(data))) == bits(columns(runs))
    assert bits(columns(shard.decode(data, rows))) == bits(by_hand(like, runs, rows))


@many
@given(stored(), st.data())
def test_the_trace_of_every_seed(made: tuple[Manifest, Block], data: st.DataObject) -> None:
    """In memory in any order, and from two shards whose seeds interleave."""
    like, runs = made
    order = np.array(data.draw(st.permutations(range(len(runs)))))
    second = np.array(data.draw(st.lists(st.booleans(), min_size=len(runs), max_size=len(runs))))
    with TemporaryDirectory() as folder:
        shards = []
        for k, chosen in enumerate((~second, second)):
            if chosen.any():
                part = runs.take(np.flatnonzero(chosen))
                shards.append(Shard(Path(folder, f"{k}.h5"), compress(part.seeds)))
                shards[-1].path.write_bytes(encode(like, part))
        disk = Run(like, Shards(like, shards, runs.seeds[order]))
        memory = Run.from_block(like, runs.take(order))
        assert disk.seeds.tolist() == memory.seeds.tolist() == runs.seeds[order].tolist()
        for k, seed in enumerate(runs.seeds if like.traces != "none" else ()):
            expected = by_hand(like, runs, slice(k, k + 1))
            for run in (memory, disk):
                trace = run.trace(seed)
                found = {"trace_step": trace.step, "trace_loss": trace.loss}
                found |= {} if like.traces == "loss" else {"trace_params": trace.params}
                assert bits(found) == bits({name: expected[name] for name in found})
