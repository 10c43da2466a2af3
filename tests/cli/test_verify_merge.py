"""`jaxor verify`, `jaxor merge`, `--allow-mixed`, and who holds the lock."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

import pytest

import jaxor
from jaxor.store.directory import RunDirectory
from tests.cli.conftest import Call


@pytest.fixture
def halves(call: Call) -> Call:
    """Two halves of a simulation, as a job array leaves them."""
    for name, seeds in (("a", "0:30"), ("b", "30:50")):
        assert call("simulate", "relu1_normal", "--seeds", seeds, "--out", name).exit_code == 0
    return call


def damage(path: str) -> Path:
    (shard,) = (Path(path) / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    data[-100] ^= 4
    shard.write_bytes(data)
    return shard


def test_verify(halves: Call) -> None:
    result = halves("verify", "a")
    assert result.exit_code == 0 and result.stderr == ""
    assert "1 shard with 30 seeds; 30 asked for\n" in result.stdout
    assert result.stdout.endswith("\n\na is sound.\n")
    table = json.loads(halves("verify", "a", "--json").stdout)
    assert (table["ok"], table["seeds"], table["seeds_missing"], table["problems"]) == (True, 30, 0, [])
    assert table["digest"] in result.stdout


def test_verify_names_what_is_damaged(halves: Call) -> None:
    shard = damage("a")
    result = halves("verify", "a")
    assert result.exit_code == 1 and result.stderr == ""
    assert shard.name in result.stdout and "is damaged" in result.stdout and "a has 1 problem." in result.stdout
    assert "30 missing (0 to 29)" in " ".join(result.stdout.split())
    assert "digest" not in result.stdout
    table = json.loads(halves("verify", "a", "--json").stdout)
    assert (table["ok"], table["seeds_missing"], table["digest"]) == (False, 30, None)


def test_resume_mends(halves: Call) -> None:
    before = json.loads(halves("verify", "a", "--json").stdout)
    shard = damage("a")
    again = json.loads(halves("simulate", "relu1_normal", "--seeds", 30, "--out", "a", "--resume", "--json").stdout)
    assert again["seeds"] == 30 and again["runs_per_s"]
    assert json.loads(halves("verify", "a", "--json").stdout) == before
    assert shard.exists()


def test_merge(halves: Call) -> None:
    result = halves("merge", "a", "b", "--out", "all")
    assert (result.exit_code, result.stdout) == (0, "50 runs added.\nall holds seeds 0 to 49.\n")
    again = halves("merge", "a", "b", "--out", "all", "--resume", "--json")
    assert json.loads(again.stdout) == {"path": "all", "seeds": 50, "added": 0, "repeated": 50}
    assert halves("simulate", "relu1_normal", "--seeds", 50, "--out", "whole").exit_code == 0
    one, other = (json.loads(halves("verify", name, "--json").stdout) for name in ("all", "whole"))
    assert one["digest"] == other["digest"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["merge", "--out", "x"], 2, "Missing argument 'DIR...'"),
        (["merge", "a"], 2, "Missing option '--out'"),
        (["merge", "a", "missing", "--out", "x"], 1, "missing is not a run directory"),
        (["merge", "a", "other", "--out", "x"], 1, "they hold different simulations"),
        (["merge", "a", "b", "--out", "a"], 1, "add --resume"),
        (["verify", "missing"], 1, "missing is not a run directory"),
        (["verify", "missing", "--isolated"], 1, "missing is not a run directory"),
        (["verify"], 2, "Missing argument 'DIR'"),
    ],
)
def test_wrong_input(halves: Call, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str):
    assert halves("simulate", "abs1_normal", "--seeds", 5, "--out", "other").exit_code == 0
    result = halves(*arguments)
    said = result.stderr + capfd.readouterr().err
    assert result.exit_code == code and result.stdout == ""
    assert said.startswith("Error: ") and sentence in said and said.count("\n") == 1


def test_mixed_versions(halves: Call) -> None:
    manifest = json.loads(Path("a/manifest.json").read_text())
    manifest["versions"]["jaxlib"] = "0.0.1"
    Path("a/manifest.json").write_text(json.dumps(manifest))
    go_on = ["simulate", "relu1_normal", "--seeds", 40, "--out", "a", "--resume"]
    refused = halves(*go_on)
    assert refused.exit_code == 1 and "begun with versions" in refused.stderr and "--allow-mixed" in refused.stderr
    assert halves(*go_on, "--allow-mixed").exit_code == 0
    assert json.loads(Path("a/manifest.json").read_text())["versions"]["jaxlib"] == "0.0.1"
    assert len(jaxor.open_run("a")) == 40


def test_the_second_writer_learns_who_is_first(halves: Call) -> None:
    directory = RunDirectory.open("a")
    with RunDirectory.create_or_open("a", directory.manifest, resume=True):
        said = halves("simulate", "relu1_normal", "--seeds", 40, "--out", "a", "--resume")
        assert said.exit_code == 1
        assert f"another process (process {os.getpid()} on {platform.node()}) is writing to" in said.stderr
    assert sorted(path.name for path in Path("a").iterdir()) == ["manifest.json", "run.lock", "shards"]


def test_too_small_a_disk_is_told_at_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    many = ["--seeds", 3000, "--set", "max_epochs=100000", "--lane-width", 64, "--traces", "loss", "--devices", 1]
    for free, code, sentence in (
        (
            50_000,
            1,
            "0.1 MB more are needed; make room or store less; 0 of",
        ),
        (200_000, 1, "MB more are needed"),
        (10**9, 0, ""),
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        result = call("simulate", *many, "--out", f"run{free}")
        assert result.exit_code == code, (free, result.stderr)
        assert sentence in result.stderr
    assert [len([*Path(f"run{free}/shards").iterdir()]) for free in (50_000, 200_000)] == [0, 1]
