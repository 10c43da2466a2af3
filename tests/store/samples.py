"""Made-up finished runs; what a run holds depends on its seed alone, as with real ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.testing import assert_array_equal

from jaxor.engine.block import Block
from jaxor.engine.seeds import compress
from jaxor.engine.tally import Tally
from jaxor.store.directory import RunDirectory
from jaxor.store.manifest import Manifest
from jaxor.store.schema import block_of, columns
from jaxor.store.shard import seal


def manifest(seeds: Iterable[int] = range(10), **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "experiment": {"name": "zwei_geraden_ä", "task": {"name": "xor"}, "max_epochs": 7, "stop": {"patience": 3}},
        "seeds": compress(np.array([*seeds], np.int64)),
        "lane_width": 64,
        "x64": False,
        "traces": "all",
        "parameters": "both",
        "layout": "lanes_last",
        "prng": "threefry2x32",
        "versions": {"jaxor": "0.1.0", "jax": "0.10.2"},
        "platform": {"machine": "x86_64", "device": "cpu"},
        "param_names": ("hidden.weight[0, 0]", "β", "w"),
    }
    return Manifest(**(values | changes))


def block(seeds: Iterable[int], like: Manifest | None = None) -> Block:
    """Runs of the seeds, in that order; every fifth one recorded no step at all."""
    like = like or manifest()
    seeds = [*seeds]
    runs = [_run(seed, like) for seed in seeds]
    joined = {}
    for name, variable in like.variables.items():
        shape = (0, *(len(like.param_names) for _ in variable.dims[1:]))
        parts = [np.empty(shape), *(run[name] for run in runs)]
        joined[name] = np.concatenate(parts).astype(variable.type(like.floats))
    return block_of(joined)


def _run(seed: int, like: Manifest) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    steps = 0 if seed % 5 == 0 else seed % 7 + 1
    width = len(like.param_names)
    run = {name: random.normal(size=(1, width) if "param" in v.dims else 1) for name, v in like.variables.items()}
    run |= {
        "seed": np.array([seed]),
        "status": random.choice([1, 3] if like.experiment.get("stop", {}).get("patience") is not None else [3], 1),
        "final_accuracy": random.random(1),
        "row_size": np.array([steps]),
    }
    run |= {"steps": np.array([steps]), "epochs": np.array([steps]), "trace_step": np.arange(steps)}
    run |= {"trace_loss": 1 + random.random(steps), "trace_params": random.normal(size=(steps, width))}
    if steps:
        run["final_params"] = run["trace_params"][-1:]
    return run


def add(directory: RunDirectory, finished: Block | Tally) -> Path:
    """Seal runs, or counts of them, and keep them."""
    seeds = finished.seeds if isinstance(finished, Tally) else compress(finished.seeds)
    return directory.add(seeds, seal(finished, directory.manifest))


def store(path: Path, *parts: Iterable[int], **changes: Any) -> Path:
    """A run directory with a shard of made-up runs for each of the parts."""
    with RunDirectory.create_or_open(path, manifest(range(40), **changes)) as directory:
        for part in parts:
            add(directory, block(part, directory.manifest))
    return path


def assert_equal_blocks(one: Block, other: Block) -> None:
    ours, theirs = columns(one), columns(other)
    assert list(ours) == list(theirs)
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype, name
        assert_array_equal(ours[name], theirs[name], err_msg=name)


def without(block: Block, *names: str) -> Block:
    values: dict[str, Any] = {f.name: getattr(block, f.name) for f in fields(block)}
    values |= dict.fromkeys(names)
    return Block(**values)
