"""Files that are damaged, foreign, renamed or gone: noticed, never deleted, and computed again where possible."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from jaxor.cli import main
from jaxor.store import shard
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.verify import verify_run
from tests.crash.commands import SEEDS, SIMULATE, Whole, sealed
from tests.crash.conftest import Count, Report


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_all_damage_is_found(tmp_path: Path, whole: Whole, count: Count, random: np.random.Generator, report: Report):
    manifest = RunDirectory.open(whole.path).manifest
    original = min((whole.path / "shards").iterdir())
    data, path = original.read_bytes(), tmp_path / original.name
    cuts, flips = count(40, 200), count(200, 1000)
    cut = [data[:size] for size in random.choice(len(data), cuts, replace=False)]
    for broken in [*cut, *(flipped(data, bit) for bit in random.choice(8 * len(data), flips, replace=False))]:
        path.write_bytes(broken)
        with pytest.raises(StoreError, match=f"{path.name} is damaged: its content does not match the hash"):
            shard.verify(path, manifest)
    path.write_bytes(data)
    assert shard.verify(path, manifest) == ((0, 32),)
    report("truncations and flipped bits", f"{cuts} + {flips}", "all found")


@pytest.mark.full
def test_damaged_shards_are_computed_again(
    tmp_path: Path, whole: Whole, count: Count, random: np.random.Generator, report: Report
):
    run, times = tmp_path / "run", count(1, 30)
    shutil.copytree(whole.path, run)
    shards = sorted((run / "shards").iterdir())
    damaged = [shards[k] for k in random.choice(len(shards), times, replace=False)]
    for k, path in enumerate(damaged):
        data = path.read_bytes()
        size, bit = random.integers(len(data)), int(random.integers(8 * len(data)))
        path.write_bytes(data[:size] if k % 2 else flipped(data, bit))
    assert len(verify_run(run).problems) == times
    before = sealed(run)
    assert_goes_on_from(run, whole, {path.name for path in damaged}, before)
    report("damaged shards, resumed", times, "exactly those computed again")


def assert_goes_on_from(run: Path, whole: Whole, again: set[str], before: dict[str, tuple[int, int]]) -> None:
    """Exactly these shards are written by `--resume`, and they are as they were."""
    jaxor("simulate", run)
    after = sealed(run)
    assert {name for name in after if after[name] != before.get(name)} == again
    for name in again:
        assert (run / "shards" / name).read_bytes() == (whole.path / "shards" / name).read_bytes()
    assert verify_run(run).digest == whole.digest


def jaxor(command: str, run: Path, seeds: int = SEEDS) -> Result:
    simulate = [*SIMULATE, "--seeds", seeds, "--out", run, "--resume", "--devices", 1]
    arguments = simulate if command == "simulate" else [command, run]
    return CliRunner().invoke(main, [*map(str, arguments), "--json"], prog_name="jaxor")


def remove(shards: list[Path]) -> Path:
    shards[3].unlink()
    return shards[3]


def empty(shards: list[Path]) -> Path:
    shards[3].write_bytes(b"")
    return shards[3]


def add_foreign(shards: list[Path]) -> Path:
    path = shards[3].with_name("notes.txt")
    path.write_text("mine")
    return path


def rename(shards: list[Path]) -> Path:
    return shards[3].rename(shards[3].with_name(shards[3].name.replace("s000", "s001")))


def duplicate(shards: list[Path]) -> Path:
    """The same runs in another file: other bytes, since its attributes are others."""
    directory = RunDirectory.open(shards[3].parents[1])
    attributes = shard.attributes(shards[3], directory.manifest) | {"platform": "elsewhere"}
    block = shard.decode(shards[3])
    data = shard.encode(block, directory.manifest.param_names, attributes)
    path = shards[3].with_name(shard.shard_name(((96, 128),), data))
    path.write_bytes(data)
    return path


FEW = 6 * 32


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six shards: what is said of one of them does not depend on how many there are."""
    run = tmp_path_factory.mktemp("few") / "run"
    assert jaxor("simulate", run, FEW).exit_code == 0
    assert len(sealed(run)) == 6
    return run


@pytest.mark.parametrize(
    ("change", "sentence", "resumes"),
    [
        (remove, None, True),
        (empty, "is damaged: its content does not match the hash in its name; resume the simulation", True),
        (add_foreign, "is not a shard of jaxor by its name; move it out of the run directory", False),
        (rename, "was renamed: it does not hold the seeds in its name; give it its old name", True),
        (duplicate, "both hold seed 96; move one of them away", False),
    ],
)
def test_each_has_a_name(
    tmp_path: Path, few: Path, change: Callable[[list[Path]], Path], sentence: str | None, resumes: bool
):
    run = tmp_path / "run"
    shutil.copytree(few, run)
    path = change(sorted((run / "shards").iterdir()))
    left = path.read_bytes() if path.exists() else None

    result = jaxor("verify", run)
    found = json.loads(result.stdout)
    if sentence is None:
        assert (result.exit_code, found["problems"], found["missing"]) == (0, [], [[96, 128]])
    else:
        (problem,) = found["problems"]
        assert result.exit_code == 1 and str(path) in problem and sentence in problem

    result = jaxor("simulate", run, FEW)
    if resumes:
        assert result.exit_code == 0, result.stderr
        assert {*sealed(few)} <= {*sealed(run)}
    else:
        assert result.exit_code == 1 and sentence and sentence in result.stderr
    if left:
        assert path.read_bytes() == left
