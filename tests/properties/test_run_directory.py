"""A run directory under anything that users, crashes and disks do to it, in any order."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import h5py
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import jaxor
from jaxor import simulation
from jaxor.engine.block import Block
from jaxor.engine.seeds import Ranges, compress, expand
from jaxor.job import Job
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.manifest import Manifest
from jaxor.store.merge import merge_runs
from jaxor.store.run import open_run
from jaxor.store.schema import columns
from jaxor.store.shard import seal, seed_range
from jaxor.store.verify import digest, verify_run
from jaxor.work import Where
from jaxor.workers import Answer, Task
from tests.examples import examples
from tests.store.samples import block

BLOCK_SEEDS = 3
SEEDS = st.sets(st.integers(0, 11) | st.sampled_from([50, 2**32 - 1]), min_size=1, max_size=8)
STRANGERS = ["notes.txt", "copy.h5", ".DS_Store", ".notes.tmp", "s000000000000-000000000002.h5.bak"]


@cache
def job() -> Job:
    """Made-up runs can be of it: it stops at the epoch cap only, far away."""
    experiment = jaxor.get_experiment("abs1_convergence").replace(**{"stop.loss": None, "max_epochs": 1000})
    made = simulation.prepare(experiment, 1, lane_width=16)
    return replace(made, plan=replace(made.plan, block_seeds=BLOCK_SEEDS))


def asking_for(seeds: set[int]) -> Job:
    ids = np.array(sorted(seeds), np.int64)
    wanted = compress(ids)
    return replace(job(), manifest=replace(job().manifest, seeds=wanted), wanted=wanted, seeds=ids)


@cache
def runs(seeds: Ranges) -> Block:
    return block(expand(seeds).tolist(), job().manifest)


@cache
def sealed(seeds: Ranges) -> bytes:
    return seal(runs(seeds), job().manifest)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C at a time of the test's choice."""


class Engine:
    """Instant; notes which seeds it was given, and may be interrupted."""

    def __init__(self, shards: int | None) -> None:
        self.computed: Counter[int] = Counter()
        self.shards_left = shards

    def __call__(self, task: Task, experiment: object) -> Answer:
        if self.shards_left == 0:
            raise Interrupted
        if self.shards_left is not None:
            self.shards_left -= 1
        assert task.seal and Manifest.from_json(task.manifest).identity == job().manifest.identity
        self.computed.update(expand(task.seeds).tolist())
        return Answer(task.seeds, sealed(task.seeds), len(task.seeds), 1e-3, 0.0)


def good(path: Path) -> dict[Path, set[int]]:
    """The good shards by the description of the format alone: name, hash, and the seeds that are in them."""
    found = {}
    for file in (path / "shards").glob("s*.h5"):
        extent, (*_, name_hash, _) = seed_range(file), file.name.split(".")
        data = file.read_bytes()
        if extent and hashlib.sha256(data).hexdigest()[:16] == name_hash:
            with h5py.File(file) as shard:
                seeds = np.asarray(shard["seed"]).tolist()
            if (seeds[0], seeds[-1]) == extent:
                found[file] = set(seeds)
    return found


class Directory(RuleBasedStateMachine):
    """What was asked for and what strangers left is remembered here; everything else is on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.path = self.folder / "run"
        self.asked: set[int] = set()
        self.strangers: dict[Path, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # What a user does

    @initialize(seeds=SEEDS)
    def start(self, seeds: set[int]) -> None:
        self.simulate(seeds)

    @rule(seeds=SEEDS)
    def ask_for_more(self, seeds: set[int]) -> None:
        self.simulate(seeds)

    @rule()
    def resume(self) -> None:
        self.simulate(self.asked)

    @rule(seeds=SEEDS, shards=st.integers(0, 3))
    def ask_and_interrupt(self, seeds: set[int], shards: int) -> None:
        self.simulate(seeds, shards)

    @rule(seeds=SEEDS, data=st.data())
    def merge_another_in(self, seeds: set[int], data: st.DataObject) -> None:
        """One whose shards are cut in another way."""
        left = set(data.draw(st.sets(st.sampled_from(sorted(seeds)))))
        before, held = self.held(), [*good(self.path)]
        with RunDirectory.create_or_open(self.folder / "other", asking_for(seeds).manifest) as other:
            for part in (left, seeds - left):
                if part:
                    ranges = compress(np.array(sorted(part)))
                    other.add(ranges, sealed(ranges))
        merged = merge_runs([other.path], self.path, resume=True)
        shutil.rmtree(other.path)
        assert (merged.added, merged.repeated) == (len(seeds - before), len(seeds & before))
        assert self.held() == before | seeds and good(self.path).keys() >= set(held)
        self.asked |= seeds

    @rule()
    def look(self) -> None:
        """A reader refuses what is not whole, and says how it is; it never changes anything."""
        before, held, found = self.files(), self.held(), verify_run(self.path)
        assert expand(found.seeds).tolist() == sorted(held)
        assert expand(found.missing).tolist() == sorted(self.asked - held)
        assert found.shards == len(good(self.path))
        no_good = len(self.listed()) + len(self.in_the_way()) - found.shards
        assert len(found.problems) == no_good
        if held and not no_good:
            assert found.digest == digest([columns(runs(compress(np.array(sorted(held)))))])
            assert open_run(self.path).seeds.tolist() == sorted(held)
        assert self.files() == before

    # What happens to it

    @rule(name=st.sampled_from(["shards/.s000000000000-000000000002.h5.4711.tmp", ".manifest.json.4711.tmp"]))
    def kill_a_writer(self, name: str) -> None:
        (self.path / name).write_bytes(b"half a fi")
        (self.path / "writer").write_text("process 4711 on elsewhere")

    @precondition(lambda self: self.listed())
    @rule(data=st.data(), place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
    def flip_a_byte(self, data: st.DataObject, place: float, flip: int) -> None:
        file = self.choose(data)
        content = bytearray(file.read_bytes())
        content[int(place * len(content))] ^= flip
        file.write_bytes(content)

    @precondition(lambda self: self.listed())
    @rule(data=st.data())
    def delete_a_shard(self, data: st.DataObject) -> None:
        self.choose(data).unlink()

    @precondition(lambda self: self.listed())
    @rule(data=st.data(), low=st.integers(0, 11))
    def rename_a_shard(self, data: st.DataObject, low: int) -> None:
        """To a name that tells other seeds."""
        file = self.choose(data)
        extent = seed_range(file)
        assert extent
        file.rename(file.with_name(f"s{low:012d}-{low + BLOCK_SEEDS:012d}.{file.name.split('.')[1]}.h5"))

    @rule(name=st.sampled_from(STRANGERS), inside=st.booleans(), content=st.binary(max_size=3))
    def drop_a_foreign_file(self, name: str, inside: bool, content: bytes) -> None:
        file = (self.path / "shards" if inside else self.path) / name
        file.write_bytes(content)
        self.strangers[file] = content

    @precondition(lambda self: self.strangers)
    @rule(data=st.data())
    def take_a_foreign_file_away(self, data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(sorted(self.strangers)))
        file.unlink()
        del self.strangers[file]

    # What always holds

    @invariant()
    def no_seed_is_in_two_good_shards(self) -> None:
        counted = Counter(seed for seeds in good(self.path).values() for seed in seeds)
        assert set(counted.values()) <= {1}

    @invariant()
    def nothing_foreign_is_gone(self) -> None:
        assert all(file.read_bytes() == content for file, content in self.strangers.items())

    def simulate(self, seeds: set[int], shards: int | None = None) -> None:
        """Ask for seeds; each that is missing is computed once, until Ctrl-C, and then they are all there."""
        engine, held, good_before, listed = Engine(shards), self.held(), good(self.path), self.listed()
        run, refusal = None, ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("jaxor.work.compute", engine)
            try:
                run = simulation.execute(asking_for(seeds), out=self.path, where=Where(1), resume=True).run
            except Interrupted:
                assert sum(engine.computed.values()) == BLOCK_SEEDS * (shards or 0)
            except StoreError as error:
                refusal = str(error)
        self.asked |= seeds
        assert not [*self.path.rglob(".*.4711.tmp"), *self.path.glob("writer")]
        assert {*self.listed()} >= {*listed} and good(self.path).keys() >= good_before.keys()
        assert self.held() == held | engine.computed.keys()
        assert engine.computed.keys() <= seeds - held and set(engine.computed.values()) <= {1}
        if self.in_the_way():
            assert not engine.computed and any(str(file) in refusal for file in self.in_the_way())
        elif refusal:  # of what was asked for earlier and not now, something is damaged
            assert "resume the simulation" in refusal or "give it its old name" in refusal
            assert seeds <= self.held() < self.asked
        elif run:
            assert run.seeds.tolist() == sorted(seeds) and seeds <= self.held()
            assert digest(columns(part) for part in run.blocks()) == digest([columns(runs(compress(run.seeds)))])

    def in_the_way(self) -> list[Path]:
        """Foreign files that a reader sees."""
        return [file for file in self.strangers if file.parent.name == "shards" and not file.name.startswith(".")]

    def held(self) -> set[int]:
        return set().union(*good(self.path).values())

    def listed(self) -> list[Path]:
        """Every file that a reader looks at, except strangers'."""
        return sorted({*(self.path / "shards").glob("[!.]*")} - self.strangers.keys())

    def choose(self, data: st.DataObject) -> Path:
        return data.draw(st.sampled_from(self.listed()))

    def files(self) -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in self.path.rglob("*") if file.is_file()}


def test_whatever_happens() -> None:
    run_state_machine_as_test(
        Directory, settings=settings(max_examples=examples(12), stateful_step_count=12, deadline=None)
    )
