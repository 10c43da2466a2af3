"""The queue of lanes: whichever seeds wait in whichever order, each runs once, and as it would alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxor
from jaxor.engine.block import Block
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Worker
from tests.examples import examples
from tests.store.samples import assert_equal_blocks

LANES = 16
SEEDS = np.arange(8 * LANES)  # one compiled program takes so many, and then all that follows uses that one


@pytest.fixture(scope="module")
def worker() -> Worker:
    """Of runs that take from twenty epochs to all there are."""
    return Worker(jaxor.get_experiment("relu1_normal").replace(max_epochs=150), LANES)


@pytest.fixture(scope="module")
def all_at_once(worker: Worker) -> dict[str, Block]:
    return {kind: worker.run(SEEDS, Recording(kind)) for kind in ("none", "all")}


def test_their_lengths_are_very_different(all_at_once: dict[str, Block]) -> None:
    """What follows would be empty otherwise."""
    steps = all_at_once["none"].steps
    assert steps.max() > 5 * steps.min() and len(np.unique(steps)) > 50


@settings(max_examples=examples(60), deadline=None)
@given(
    seeds=st.lists(st.sampled_from(SEEDS.tolist()), min_size=1, max_size=60, unique=True),
    kind=st.sampled_from(["none", "all"]),
    together=st.booleans(),
)
def test_any_seeds_in_any_order(
    worker: Worker, all_at_once: dict[str, Block], seeds: list[int], kind: str, together: bool
) -> None:
    """Refilled by the device, refilled by the host, and a lane width at a time."""
    expected = all_at_once[kind].take(np.array(seeds))
    worker._together = together  # what the block before decides
    spent = worker.lane_steps
    block = worker.run(np.array(seeds), Recording(kind))
    assert block.seeds.tolist() == seeds
    assert_equal_blocks(block, expected)
    if kind == "all":
        assert block.traces is not None and block.traces.row_size.tolist() == block.steps.tolist()
    elif not together:  # no more steps than if each seed had the lanes to itself
        assert block.steps.sum() <= worker.lane_steps - spent <= LANES * (block.steps + worker.program.look).sum()
