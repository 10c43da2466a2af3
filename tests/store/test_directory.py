from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from jaxor.engine.seeds import expand
from jaxor.store import shard
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.run import open_run
from tests.store.samples import add, assert_equal_blocks, block, manifest, without


def start(path: Path, *parts: Iterable[int], **changes: Any) -> list[Path]:
    """A run directory with a shard for each part."""
    seeds = [seed for part in parts for seed in part]
    with RunDirectory.create_or_open(path, manifest(seeds, **changes)) as directory:
        return [add(directory, block(sorted(part), directory.manifest)) for part in parts]


def snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    files = [path, *path.rglob("*")]
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in files}


def test_starts_and_reopens(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rün 1"
    shards = start(path, range(5), range(5, 9))
    assert sorted(p.name for p in path.iterdir()) == ["manifest.json", "run.lock", "shards"]
    directory = RunDirectory.open(path)
    assert directory.manifest == manifest(range(9))
    assert [found.path for found in directory.shards()] == shards
    assert directory.inspect().seeds == ((0, 9),)
    for found in directory.shards():
        assert_equal_blocks(shard.decode(found.path), block(expand(found.seeds)))
    assert directory.bytes_on_disk() == sum(p.stat().st_size for p in [*shards, path / "manifest.json"])


def test_equal_runs_are_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        start(tmp_path / name, range(5), range(5, 9))
    contents = [
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")} for name in "ab"
    ]
    assert contents[0] == contents[1]


# The out directory: what is started, what is extended, what is refused.


@pytest.mark.parametrize("resume", [False, True])
def test_a_missing_or_empty_directory_is_started(tmp_path: Path, resume: bool) -> None:
    left_by_a_kill = tmp_path / "killed"
    (left_by_a_kill / "shards").mkdir(parents=True)
    (left_by_a_kill / "run.lock").touch()
    (left_by_a_kill / ".manifest.json.77.tmp").write_text("half")
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty", "killed"):
        with RunDirectory.create_or_open(tmp_path / name, manifest(), resume) as directory:
            assert directory.missing(((0, 10),)) == ((0, 10),)
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["manifest.json", "run.lock", "shards"]


def test_the_same_simulation_needs_resume(tmp_path: Path) -> None:
    start(tmp_path, range(5))
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match=f"{tmp_path} holds this simulation already.*--resume"):
        RunDirectory.create_or_open(tmp_path, manifest(range(99)))
    assert snapshot(tmp_path) == before


def test_resume_extends(tmp_path: Path) -> None:
    start(tmp_path, range(5))
    with RunDirectory.create_or_open(tmp_path, manifest([3, 4, 5, 6, 20]), resume=True) as directory:
        assert directory.manifest.seeds == ((0, 7), (20, 21))
        assert directory.missing(((3, 4), (5, 7), (20, 21))) == ((5, 7), (20, 21))
        add(directory, block([5, 6, 20]))
        assert directory.missing(((0, 7),)) == ()
    assert RunDirectory.open(tmp_path).manifest.seeds == ((0, 7), (20, 21))
    assert_array_equal(open_run(tmp_path).seeds, [0, 1, 2, 3, 4, 5, 6, 20])


def test_resume_with_nothing_new_leaves_the_manifest(tmp_path: Path) -> None:
    start(tmp_path, range(5))
    before = (tmp_path / "manifest.json").stat().st_mtime_ns
    with RunDirectory.create_or_open(tmp_path, manifest(range(3)), resume=True):
        pass
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("resume", [False, True])
def test_another_simulation_is_refused(tmp_path: Path, resume: bool) -> None:
    start(tmp_path, range(5))
    before = snapshot(tmp_path)
    other = manifest(experiment=manifest().experiment | {"max_epochs": 8}, lane_width=2)
    with pytest.raises(StoreError, match=r"another simulation.*max_epochs, lane_width") as caught:
        RunDirectory.create_or_open(tmp_path, other, resume)
    assert manifest().identity[:8] in str(caught.value) and other.identity[:8] in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        {"traces": "loss"},
        {"parameters": "final"},
        {"layout": "wide"},
        {"versions": {"jaxor": "0.1.0", "jax": "0.11"}},
        {"platform": {"machine": "arm64"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_resume_goes_on_as_it_began(tmp_path: Path, change: dict[str, Any]) -> None:
    start(tmp_path, range(5))
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match=f"begun with {next(iter(change))} = "):
        RunDirectory.create_or_open(tmp_path, manifest(**change), resume=True)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_runs_and_statistics_are_kept_apart(tmp_path: Path, resume: bool) -> None:
    start(tmp_path, range(5))
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match=f"{tmp_path} holds runs of this simulation, not statistics; choose another"):
        RunDirectory.create_or_open(tmp_path, manifest(kind="statistics"), resume)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("stranger", ["notes.txt", "derived/fit.json", "shards/s.h5", ".git/config"])
def test_a_directory_with_something_else_is_refused(tmp_path: Path, stranger: str, resume: bool) -> None:
    file = tmp_path / stranger
    file.parent.mkdir(exist_ok=True)
    file.touch()
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match="has no manifest.json, but it has"):
        RunDirectory.create_or_open(tmp_path, manifest(), resume)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_is_refused(tmp_path: Path, name: str, resume: bool) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match=f"{name} is not a directory"):
        RunDirectory.create_or_open(tmp_path / name, manifest(), resume)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    start(tmp_path, range(5))
    (tmp_path / "manifest.json").write_text("{")
    before = snapshot(tmp_path)
    for attempt in (RunDirectory.open, lambda path: RunDirectory.create_or_open(path, manifest(), resume=True)):
        with pytest.raises(StoreError, match=f"{tmp_path}/manifest.json: the manifest is not JSON"):
            attempt(tmp_path)
    assert snapshot(tmp_path) == before


def test_no_permission_is_a_sentence() -> None:
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # pytest's own are closed to other users
        closed = Path(directory) / "closed"
        closed.mkdir(mode=0o555)
        script = f"""
import os
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from tests.store.samples import manifest
if os.getuid() == 0:
    os.setuid(65534)  # root may do anything
for path in ({str(closed / "new")!r}, {str(closed)!r}):
    try:
        RunDirectory.create_or_open(path, manifest())
    except StoreError as error:
        print(error)
"""
        said = run_python(script).splitlines()
    assert said == [f"cannot write to {path}: Permission denied" for path in (closed / "new", closed)]


def test_there_must_be_a_run_to_open(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StoreError, match=f"{path} is not a run directory"):
            RunDirectory.open(path)


def test_paths_stay_after_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with RunDirectory.create_or_open("run", manifest(range(5))) as directory:
        monkeypatch.chdir("/")
        assert add(directory, block(range(5))).parent == tmp_path / "run" / "shards"


# One writer at a time.


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    script = f"""
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from tests.store.samples import manifest
try:
    RunDirectory.create_or_open({str(tmp_path)!r}, manifest(), resume=True)
except StoreError as error:
    print(error)
else:
    print("locked")
"""
    with RunDirectory.create_or_open(tmp_path, manifest(range(5))) as directory:
        (tmp_path / "shards" / ".s0.h5.1.tmp").write_text("the first writer is at this")
        before = snapshot(tmp_path)
        holder = f"process {os.getpid()} on {platform.node()}"
        expected = f"another process ({holder}) is writing to {tmp_path}; wait for it or choose another directory"
        assert run_python(script) == expected
        with pytest.raises(StoreError, match="another process .* is writing"):
            RunDirectory.create_or_open(tmp_path, manifest(range(5)), resume=True)
        assert snapshot(tmp_path) == before
        add(directory, block(range(5)))
    assert run_python(script) == "locked"


def test_a_refusal_under_the_lock_releases_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr("jaxor.store.atomic.write", fail)
        with pytest.raises(OSError, match="No space left"):
            RunDirectory.create_or_open(tmp_path, manifest())
    with RunDirectory.create_or_open(tmp_path, manifest()):
        pass


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    start(tmp_path, range(5))
    left = [tmp_path / ".manifest.json.4711.tmp", tmp_path / "shards" / ".s0-4.ab.h5.4711.tmp"]
    for path in left:
        path.write_bytes(b"half")
    assert len(RunDirectory.open(tmp_path).shards()) == 1
    with RunDirectory.create_or_open(tmp_path, manifest(), resume=True):
        assert not any(path.exists() for path in left)


# Shards that are no good.


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_damaged_shards_are_computed_again(tmp_path: Path) -> None:
    good, bad = start(tmp_path, range(5), range(5, 9))
    damage(bad)
    directory = RunDirectory.open(tmp_path)
    with pytest.raises(StoreError, match=f"{bad} is damaged"):
        directory.shards()
    with pytest.raises(StoreError, match=f"{bad} is damaged"):
        open_run(tmp_path)
    listing = directory.inspect()
    assert [found.path for found in listing.shards] == [good]
    assert list(listing.damaged) == [bad]
    with RunDirectory.create_or_open(tmp_path, manifest(range(9)), resume=True) as again:
        missing = again.missing(((0, 9),))
        assert missing == ((5, 9),)
        assert add(again, block(expand(missing))) == bad
        assert [found.path for found in again.shards()] == [good, bad]
    assert [found.path for found in directory.shards()] == [good, bad]


def test_a_damaged_shard_does_no_harm_once_its_runs_are_elsewhere(tmp_path: Path) -> None:
    _, bad = start(tmp_path, range(5), range(5, 9))
    damage(bad)
    with RunDirectory.create_or_open(tmp_path, manifest(range(12)), resume=True) as directory:
        add(directory, block(range(5, 12)))
    assert_array_equal(open_run(tmp_path).seeds, range(12))
    assert list(directory.inspect().damaged) == [bad]
    assert bad.exists()


@pytest.mark.parametrize("name", ["notes.txt", "copy.h5", "s000000000000-000000000004.0123456789abcdef.h5.bak"])
def test_foreign_files_are_named(tmp_path: Path, name: str) -> None:
    start(tmp_path, range(5))
    foreign = tmp_path / "shards" / name
    foreign.write_bytes(b"")
    with pytest.raises(StoreError, match=f"{foreign} is not a shard"):
        open_run(tmp_path)
    with RunDirectory.create_or_open(tmp_path, manifest(range(5)), resume=True) as directory:
        with pytest.raises(StoreError, match=f"{foreign} is not a shard"):
            directory.missing(((0, 5),))
        assert list(directory.inspect().damaged) == [foreign]
    assert foreign.exists()


def test_shards_of_another_simulation_are_named(tmp_path: Path) -> None:
    start(tmp_path / "one", range(5))
    (shard_of_other,) = start(tmp_path / "other", range(5, 9), lane_width=2)
    shard_of_other.rename(tmp_path / "one" / "shards" / shard_of_other.name)
    with RunDirectory.create_or_open(tmp_path / "one", manifest(range(9)), resume=True) as directory:
        assert directory.missing(((0, 9),)) == ((5, 9),)
        with pytest.raises(StoreError, match="another simulation"):
            directory.shards()


def test_a_seed_in_two_shards_names_both(tmp_path: Path) -> None:
    one, other = start(tmp_path, [0, 2, 4], [1, 4, 9])
    directory = RunDirectory.open(tmp_path)
    (said,) = directory.inspect().overlaps
    assert f"{one} and {other} both hold seed 4" in said
    for look in (directory.shards, lambda: directory.missing(((0, 3),))):
        with pytest.raises(StoreError, match=f"{one} and {other} both hold seed 4"):
            look()


def test_missing_shards_are_missing(tmp_path: Path) -> None:
    one, _ = start(tmp_path, range(5), range(5, 9))
    one.unlink()
    assert_array_equal(open_run(tmp_path).seeds, range(5, 9))
    (tmp_path / "shards").rename(tmp_path / "elsewhere")  # as after a copy that leaves out empty directories
    assert len(open_run(tmp_path)) == 0


def test_a_block_must_be_what_the_manifest_says(tmp_path: Path) -> None:
    with RunDirectory.create_or_open(tmp_path, manifest(traces="loss")) as directory:
        for wrong in (
            block([1]),
            without(block([1]), "traces"),
            without(block([1], directory.manifest), "final_params"),
        ):
            with pytest.raises(ValueError, match="this simulation stores"):
                add(directory, wrong)
        assert directory.inspect().shards == []


def run_python(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_writing_follows_no_link(tmp_path: Path) -> None:
    directory, mine = tmp_path / "run", tmp_path / "mine"
    with RunDirectory.create_or_open(directory, manifest()):
        pass
    mine.write_text("precious")
    (directory / "writer").symlink_to(mine)
    with RunDirectory.create_or_open(directory, manifest(), resume=True):
        assert mine.read_text() == "precious"
    assert mine.read_text() == "precious" and not (directory / "writer").exists()
