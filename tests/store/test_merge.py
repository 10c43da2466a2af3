"""Run directories of one simulation put together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxor
from jaxor.store import shard
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.merge import merge_runs
from jaxor.store.run import open_run
from jaxor.store.verify import verify_run
from tests.store.samples import add, assert_equal_blocks, block, manifest
from tests.store.test_directory import damage, snapshot, start

OTHERS = {"jaxor": "0.1.0", "jax": "0.11"}


def whole(path: Path) -> Any:
    run = open_run(path)
    return next(iter(run.blocks()))


def test_disjoint_directories(tmp_path: Path) -> None:
    shards = start(tmp_path / "a", range(5), range(10, 12)) + start(tmp_path / "b", range(5, 10))
    before = snapshot(tmp_path / "a") | snapshot(tmp_path / "b")
    merged = merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert (merged.seeds, merged.added, merged.repeated) == (((0, 12),), 12, 0)
    assert snapshot(tmp_path / "a") | snapshot(tmp_path / "b") == before
    assert {p.name: p.read_bytes() for p in (tmp_path / "out" / "shards").iterdir()} == {
        p.name: p.read_bytes() for p in shards
    }
    assert_equal_blocks(whole(tmp_path / "out"), block(range(12)))
    assert RunDirectory.open(tmp_path / "out").manifest.seeds == ((0, 12),)


def test_overlaps_are_kept_once(tmp_path: Path) -> None:
    start(tmp_path / "a", range(8), [20, 22])
    start(tmp_path / "b", range(5, 10), [20, 22])
    start(tmp_path / "c", [7, 9, 10, 20])
    merged = merge_runs([tmp_path / name for name in "abc"], tmp_path / "out")
    assert (merged.added, merged.repeated) == (13, 8)
    assert_equal_blocks(whole(tmp_path / "out"), block([*range(11), 20, 22]))


@pytest.mark.parametrize("name", ["final_loss", "trace"])
def test_overlaps_must_be_equal(tmp_path: Path, name: str) -> None:
    start(tmp_path / "a", range(8))
    runs = block(range(5, 10))
    assert runs.traces is not None
    other = replace(runs, final_loss=np.nextafter(runs.final_loss, np.float32(9)))
    if name == "trace":
        other = replace(runs, traces=replace(runs.traces, loss=np.nextafter(runs.traces.loss, np.float32(9))))
    with RunDirectory.create_or_open(tmp_path / "b", manifest(range(5, 10))) as directory:
        add(directory, other)
    with pytest.raises(StoreError, match=f"has other {name}.* for seeds 5 to 7 than"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert_equal_blocks(whole(tmp_path / "out"), block(range(8)))


def test_it_goes_on_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(tmp_path / "a", range(5), range(5, 9))
    start(tmp_path / "b", range(9, 12))
    kept = RunDirectory.add

    def interrupt(self: RunDirectory, *arguments: Any) -> Path:
        if any((self.path / "shards").iterdir()):
            raise KeyboardInterrupt
        return kept(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(StoreError, match="add --resume"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    merged = merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", resume=True)
    assert (merged.added, merged.repeated) == (7, 5)
    assert_equal_blocks(whole(tmp_path / "out"), block(range(12)))


def test_what_was_asked_for_is_still_missing(tmp_path: Path) -> None:
    start(tmp_path / "a", range(5))
    with RunDirectory.create_or_open(tmp_path / "b", manifest(range(5, 9))):
        pass
    merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert verify_run(tmp_path / "out").missing == ((5, 9),)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lane_width": 2}, "differ in lane_width: they hold different simulations"),
        ({"kind": "statistics"}, r"differ in kind \(runs and statistics\)"),
        ({"traces": "loss"}, r"differ in traces \(all and loss\)"),
        ({"versions": OTHERS}, "differ in versions .*--allow-mixed"),
    ],
)
def test_only_one_simulation(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    start(tmp_path / "a", range(5))
    with RunDirectory.create_or_open(tmp_path / "b", manifest(range(5, 9), **changes)):
        pass
    with pytest.raises(StoreError, match=f"{tmp_path}/a and {tmp_path}/b cannot be merged, since they {sentence}"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_mixed_directory_is_not_taken_for_a_plain_one(tmp_path: Path) -> None:
    start(tmp_path / "a", range(5))
    with RunDirectory.create_or_open(
        tmp_path / "a", manifest(range(9), versions=OTHERS), resume=True, allow_mixed=True
    ) as directory:
        other = manifest(versions=OTHERS)
        runs = block(range(5, 9))
        directory.add(((5, 9),), shard.seal(runs, other))
    with pytest.raises(StoreError, match=r"was made by jax 0.11, .*, others by jax 0.10.2.*--allow-mixed"):
        merge_runs([tmp_path / "a"], tmp_path / "out")
    assert merge_runs([tmp_path / "a"], tmp_path / "out", allow_mixed=True).added == 9


def test_mixed_shards_say_what_made_them(tmp_path: Path) -> None:
    start(tmp_path / "a", range(5))
    start(tmp_path / "b", range(3, 9), versions=OTHERS)
    merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", allow_mixed=True)
    directory = RunDirectory.open(tmp_path / "out")
    said = [shard.attributes(found.path, directory.manifest)["source"] for found in directory.shards()]
    assert said == ["jax 0.10.2, jaxor 0.1.0", "jax 0.11, jaxor 0.1.0"]
    assert_equal_blocks(whole(tmp_path / "out"), block(range(9)))


def test_damage_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    start(tmp_path / "a", range(5))
    (bad,) = start(tmp_path / "b", range(5, 9))
    damage(bad)
    with pytest.raises(StoreError, match=f"{bad} is damaged"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_runs([], tmp_path / "out")


def test_partitions_of_a_simulation_have_its_digest(tmp_path: Path) -> None:
    """As a job array does it: ranges of seeds in directories of their own."""
    for name, seeds in (("whole", range(60)), ("a", range(25)), ("b", range(25, 60))):
        jaxor.simulate("relu1_normal", seeds, out=tmp_path / name, devices=1)
    merge_runs([tmp_path / "b", tmp_path / "a"], tmp_path / "out")
    one, other = verify_run(tmp_path / "whole"), verify_run(tmp_path / "out")
    assert one.digest == other.digest and one.problems == other.problems == []


def test_damaged_statistics_that_a_rule_had_asked_for(tmp_path: Path) -> None:
    """An --until that was interrupted has not yet noted for which seeds it asks."""
    for seeds in (range(20), range(20, 40)):
        jaxor.simulate("relu1_normal", seeds, keep="statistics", out=tmp_path / "plain", resume=True, devices=1)
    listing = RunDirectory.open(tmp_path / "plain")
    shards = {found.seeds: found.path.read_bytes() for found in listing.shards()}
    unfinished = replace(listing.manifest, seeds=(), until="halfwidth(success)<=0.01")
    with RunDirectory.create_or_open(tmp_path / "a", unfinished) as directory:
        paths = [directory.add(seeds, data) for seeds, data in shards.items()]
    merge_runs([tmp_path / "a"], tmp_path / "fine")
    assert RunDirectory.open(tmp_path / "fine").manifest.seeds == ((0, 40),)
    damage(paths[0])
    with pytest.raises(StoreError, match="is damaged"):
        open_run(tmp_path / "a")
    with pytest.raises(StoreError, match="is damaged"):
        merge_runs([tmp_path / "a"], tmp_path / "out")


def test_statistics(tmp_path: Path) -> None:
    for name, seeds in (("whole", range(60)), ("a", range(25)), ("b", range(25, 60)), ("c", range(20, 30))):
        jaxor.simulate("relu1_normal", seeds, keep="statistics", out=tmp_path / name, devices=1)
    merged = merge_runs([tmp_path / "b", tmp_path / "a", tmp_path / "a"], tmp_path / "out")
    assert (merged.added, merged.repeated) == (60, 25)
    assert verify_run(tmp_path / "out").digest == verify_run(tmp_path / "whole").digest
    with pytest.raises(StoreError, match="counts cannot be taken apart"):
        merge_runs([tmp_path / "a", tmp_path / "c"], tmp_path / "other")
