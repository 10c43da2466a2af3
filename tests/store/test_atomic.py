from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxor.store import atomic


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    for data in (b"first", b"", b"third" * 100_000):
        atomic.write(path, data)
        assert path.read_bytes() == data
    assert names(tmp_path) == {"data.bin"}


def test_file_is_durable_before_it_is_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, _name=name, _real=real: (calls.append(_name), _real(*args)))
    atomic.write(tmp_path / "data.bin", b"data")
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, point, fail)
    with pytest.raises(OSError) as caught:
        atomic.write(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"data.bin"}


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic.replacing(tmp_path / "data.bin") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert names(tmp_path) == set()


def test_full_disk_is_an_os_error(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from jaxor.store import atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
atomic.write(Path({str(tmp_path / "small")!r}), bytes(1_000))
try:
    atomic.write(Path({str(tmp_path / "large")!r}), bytes(1_000_000))
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(errno.EFBIG)), done.stderr
    assert names(tmp_path) == {"small"}


def test_only_our_temporaries_are_removed(tmp_path: Path) -> None:
    kept = {"manifest.json", ".manifest.json.tmp", ".hidden", "x.12.tmp", ".x.12.tmp~"}
    for name in {*kept, ".manifest.json.12.tmp", ".s0-1.ab.h5.99999.tmp"}:
        (tmp_path / name).write_bytes(b"")
    atomic.remove_temporaries(tmp_path)
    assert names(tmp_path) == kept
