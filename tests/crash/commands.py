"""A simulation of many small shards, as a command: started, ended at some moment, gone on with, compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from jaxor.cli import main
from jaxor.store import atomic
from jaxor.store.verify import verify_run
from tests.examples import ALL

SEEDS = 3000 if ALL in os.environ else 1200  # more shards only take longer, but where one kills again and again
SIMULATE = ["simulate", "--seeds", str(SEEDS), "--set", "max_epochs=600000", "--lane-width", "32", "--traces", "loss"]

State = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Whole:
    """The same simulation, never interrupted.

    `seconds` is how long it wrote. What it compiled is in the cache of all tests, so that processes to be killed
    begin sooner.
    """

    path: Path
    digest: str | None
    seconds: float


def start(run: Path, *options: object, first: str = "", stdin: int | None = None) -> subprocess.Popen[str]:
    """Start the command in a process group of its own; `first` is Python to run before."""
    code = f"{first}\nfrom jaxor.cli import main\nmain(prog_name='jaxor')"
    command = [sys.executable, "-c", code, *SIMULATE, "--out", run.name, *map(str, options)]
    pipes = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=run.parent, start_new_session=True, env=unmeasured(), **pipes)


def unmeasured() -> dict[str, str]:
    """The environment without coverage, which slows down processes and learns nothing from those that are killed."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def wait(process: subprocess.Popen[str], condition: Callable[[], bool]) -> bool:
    """Wait until something holds; False if the process ended first."""
    while not condition():
        if process.poll() is not None:
            return condition()
        time.sleep(0.001)
    return True


def writer(run: Path) -> int:
    """Which process says that it writes; 0 if none does."""
    try:
        said = re.match(r"process (\d+) on ", (run / "writer").read_text())
    except FileNotFoundError:
        return 0
    return int(said[1]) if said else 0


def end_while_writing(
    process: subprocess.Popen[str], run: Path, number: int, after: float, group: bool = False
) -> bool:
    """Send a signal so many seconds after it began to write; False if it was done before that."""
    if not wait(process, lambda: writer(run) == process.pid):
        return False
    time.sleep(after)
    if process.poll() is not None:
        return False
    (os.killpg if group else os.kill)(process.pid, number)
    return True


def kill(process: subprocess.Popen[str]) -> None:
    """End a command, its workers and their pipes at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def sealed(run: Path) -> State:
    """The shards; a file that is written again has another number or another time."""
    found = {path.name: path.stat() for path in (run / "shards").glob("[!.]*")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def temporaries(run: Path) -> list[Path]:
    """Unfinished files."""
    return [path for path in run.rglob("*") if atomic.is_temporary(path)]


def resume(run: Path) -> None:
    """Go on with the simulation, in this process."""
    arguments = [*SIMULATE, "--out", str(run), "--resume", "--devices", "1", "--quiet"]
    result = CliRunner().invoke(main, arguments, prog_name="jaxor")
    assert result.exit_code == 0, result.stderr


def assert_goes_on(run: Path, whole: Whole) -> None:
    """After `--resume` it is as if never interrupted, and what was finished has not been touched."""
    before = sealed(run)
    resume(run)
    assert before.items() <= sealed(run).items()
    assert temporaries(run) == []
    found = verify_run(run)
    assert (found.problems, found.missing, found.digest) == ([], (), whole.digest)
