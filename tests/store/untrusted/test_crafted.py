"""Opening, verifying and exporting what a stranger made: nothing is executed or followed, little memory is taken."""

from __future__ import annotations

import ctypes
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.store.untrusted import counts, directories, examine, shards
from tests.store.untrusted.crafting import CASES, SECRET, honest, honest_counts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork, to measure the memory of each case")
assert counts and directories and shards  # they fill CASES

LONGEST_S = 2
LARGEST_BYTES = 200e6
IN_OPEN = 0x20


@contextmanager
def opened(directory: Path) -> Iterator[set[str]]:
    """Names of the files of a directory that any process opens, once the block is left; Linux tells, others do not."""
    names: set[str] = set()
    if sys.platform != "linux":
        yield names
        return
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert watch >= 0 and libc.inotify_add_watch(watch, os.fsencode(directory), IN_OPEN) >= 0, ctypes.get_errno()
    try:
        yield names
        while events := _read(watch):
            while events:
                _, mask, _, length = struct.unpack_from("iIII", events)
                names.add(events[16 : 16 + length].rstrip(b"\0").decode())
                events = events[16 + length :]
    finally:
        os.close(watch)


def _read(watch: int) -> bytes:
    try:
        return os.read(watch, 2**16)
    except BlockingIOError:
        return b""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each case: outcomes, memory, deeds, and whether its secret was opened."""
    folder = tmp_path_factory.mktemp("untrusted")
    secrets, runs = folder / "secrets", folder / "runs"
    secrets.mkdir()
    honest(folder / "honest" / "runs")
    honest_counts(folder / "honest" / "counts")
    for name, case in CASES.items():
        (secrets / name).write_bytes(SECRET)
        case.make(runs / name, secrets / name)
    sound = [folder / "honest" / name for name in ("runs", "counts")]
    command = [sys.executable, examine.__file__, *sound, *(runs / name for name in CASES)]
    with opened(secrets) as seen:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line | {"opened": line["name"] in seen} for line in lines}


@pytest.mark.parametrize("name", CASES)
def test_crafted_runs_do_no_harm(told: dict[str, Any], name: str) -> None:
    found, sentence = told[name], CASES[name].sentence
    assert found["ended"] == 0, "the process died"
    for action, outcome in found["outcome"].items():
        assert outcome["error"] in (None, "StoreError"), (action, outcome)
        assert outcome["seconds"] < LONGEST_S, (action, outcome)
        assert outcome["said"].isprintable() and len(outcome["said"]) < 1000, (action, outcome)
    verified = found["outcome"]["verify"]
    assert (verified["error"] is None) == (sentence is None), verified
    assert re.search(sentence or "", verified["said"]), verified
    assert found["bytes"] < LARGEST_BYTES
    assert found["deeds"] == []
    assert not found["opened"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs inotify, which is Linux's")
def test_an_opened_secret_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "other").write_bytes(SECRET)
    with opened(tmp_path) as seen:
        subprocess.run(["cat", tmp_path / "secret"], check=True, stdout=subprocess.DEVNULL)
    assert seen == {"secret"}
