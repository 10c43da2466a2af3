"""A disk that is full, or closed, in the middle: a sentence, exit code 1, and it goes on once there is room."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from jaxor.store.export import export_run
from jaxor.store.verify import verify_run
from tests.crash.commands import SEEDS, Whole, assert_goes_on, sealed, start, temporaries
from tests.crash.conftest import Count, Report

# As if the disk had filled up after the check.
UNCHECKED = "from jaxor.store.directory import RunDirectory\nRunDirectory.check_space = lambda *_: None\n"

# Permission to write is lost after the third shard. Root may write anywhere, so it becomes nobody for the rest.
CLOSED = """
import atexit, os
from jaxor.store.directory import RunDirectory

keep = RunDirectory.add

def keep_and_close(self, *arguments):
    path = keep(self, *arguments)
    if len(list(path.parent.iterdir())) == 3:
        path.parent.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)
            atexit.register(os.seteuid, 0)
    return path

RunDirectory.add = keep_and_close
"""


class SmallDisk:
    """A file system in memory of a chosen size, or, for those who may not mount one, a limit on the size of files.

    `limit` is Python to run in the process that shall meet it; `errors` are what it may then say.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.limit = ""
        self.errors = ("No space left on device", "no space: ")
        path.mkdir()
        self.mounted = self._mount("size=1m")

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def resize(self, size: int) -> None:
        if self.mounted:
            # At least a page; files and folders of no size need some, too.
            assert self._mount(f"remount,size={max(size // 4096, 1) * 4096}")
        else:
            largest = size // (SEEDS // 30)  # somewhat more files than there are, of about the same size
            self.limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))\n"
            self.errors = (os.strerror(errno.EFBIG),)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "disk")
    yield made
    made.close()


def used(run: Path) -> int:
    """Bytes, in whole pages as file systems count."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in run.rglob("*") if path.is_file())


@pytest.mark.parametrize("first", ["", pytest.param(UNCHECKED, marks=pytest.mark.full)], ids=["checked", "unchecked"])
def test_a_full_disk(disk: SmallDisk, whole: Whole, count: Count, report: Report, first: str):
    size, times, safe = used(whole.path), count(1, 20), []
    for k in range(times):
        run = disk.path / f"run{k}"
        disk.resize(int(size * (k + 0.5) / times * 0.95))  # so that the largest is too small as well
        process = start(run, "--devices", 1, first=first + disk.limit)
        _, said = process.communicate()
        assert process.returncode == 1 and said.count("\n") == 1, said
        assert any(said.startswith(f"Error: {error}") for error in disk.errors), said
        assert temporaries(disk.path) == []
        if (run / "manifest.json").exists():
            assert verify_run(run).problems == []
        safe.append(len(sealed(run)))
        disk.resize(64 * 2**20)
        assert_goes_on(run, whole)
        subprocess.run(["rm", "-r", run], check=True)
    word = "no check of the space before" if first else "with the check of the space before"
    report(f"disk full, {word}", times, f"{min(safe)} to {max(safe)} of {len(sealed(whole.path))} shards safe")


@pytest.mark.full
def test_export_to_a_full_disk(disk: SmallDisk, whole: Whole, count: Count, report: Report):
    export_run(whole.path, disk.path / "run.nc")
    size, times = used(disk.path), count(2, 20)
    (disk.path / "run.nc").unlink()
    for k in range(times):
        disk.resize(int(size * (k + 0.5) / times * 0.95))
        limited = f"{disk.limit}\nfrom jaxor.cli import main\nmain(prog_name='jaxor')"
        target = disk.path / "run.nc"
        command = [sys.executable, "-c", limited, "export", str(whole.path), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1, (done.returncode, done.stderr)
        assert done.stderr in [f"Error: cannot write {target}: {error}\n" for error in disk.errors]
        assert list(disk.path.iterdir()) == []
    report("disk full, jaxor export", times, "nothing left")


def test_permission_lost_in_the_middle(whole: Whole, report: Report):
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # pytest's own are closed to other users
        run = Path(directory) / "run"
        process = start(run, "--devices", 1, first=CLOSED)
        _, said = process.communicate()
        (run / "shards").chmod(0o755)
        assert process.returncode == 1, said
        safe = 3 * 32
        assert said.startswith(f"Error: Permission denied: {run}/shards/.s"), said
        assert f"; {safe} of {SEEDS:,} runs are safe in run; go on with: jaxor simulate " in said
        assert said.count("\n") == 1
        assert len(sealed(run)) == 3
        assert_goes_on(run, whole)
    report("permission lost in the middle", 1, f"{safe} of {SEEDS} seeds safe")
