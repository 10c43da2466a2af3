"""Several processes at one run directory: one writer at a time, and any number of readers that notice nothing of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jaxor.store.verify import verify_run
from tests.crash.commands import Whole, assert_goes_on, kill, start, unmeasured, wait, writer
from tests.crash.conftest import Count, Report, Where

ROOT = Path(__file__).parents[2]
LOSER_SECONDS = 2  # from the start of the race, at which all is imported, to the loser's end
FREE_SECONDS = 1  # from kill -9 of the winner until another one could write

# All is imported; the race begins with a line on standard input.
READY = """
import sys
import jaxor.cli.simulate, jaxor.simulation

print("ready", flush=True)
sys.stdin.readline()
"""

# A shard of four runs again and again, and now and then a longer manifest; RUN and SECONDS are arguments.
WRITE = """
import sys, time
from jaxor.engine.seeds import compress
from jaxor.store.directory import RunDirectory
from tests.store.samples import add, block, manifest

run, end, first = sys.argv[1], time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    with RunDirectory.create_or_open(run, manifest(range(first + 40)), resume=True) as directory:
        for seed in range(first, first + 40, 4):
            add(directory, block(range(seed, seed + 4), directory.manifest))
            time.sleep(0.05)  # else there are soon so many that a look takes longer than the test
    first += 40
print(first)
"""

# What `info`, `verify` and `export` do; every seed below the highest must be there, whenever one looks.
READ = """
import sys, time
from pathlib import Path
import numpy as np
from jaxor.store.export import export_run
from jaxor.store.run import open_run
from jaxor.store.verify import verify_run

run, end, target, looks = sys.argv[1], time.monotonic() + float(sys.argv[2]), Path(sys.argv[3]), 0
while time.monotonic() < end:
    found = open_run(run)
    assert np.array_equal(found.seeds, np.arange(len(found))), found.seeds
    assert len(found.final_loss) == len(found) and len(found.trace(1).loss) == found.row_size[1]
    checked = verify_run(run)
    assert checked.problems == [], checked.problems
    export_run(run, target)
    target.unlink()
    looks += 1
print(looks)
"""


def test_two_writers(where: Where, whole: Whole, count: Count, report: Report):
    times = count(1, 50)
    raced = [race(where(k), whole) for k in range(times)]
    slowest, freed = (max(seconds) for seconds in zip(*raced, strict=True))
    assert slowest <= LOSER_SECONDS and freed <= FREE_SECONDS
    figure = f"one wins, the other ends within {slowest:.2f} s; free {freed * 1000:.0f} ms after kill -9"
    report("two writers", times, figure)


def race(run: Path, whole: Whole) -> tuple[float, float]:
    """Seconds until the loser has ended, and until the lock is free after kill -9 of the winner."""
    both = [start(run, "--devices", 2, "--resume", first=READY, stdin=-1) for _ in range(2)]
    for process in both:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    began = time.perf_counter()
    assert any(wait(process, lambda: writer(run) != 0) for process in both)
    winner, loser = sorted(both, key=lambda process: process.pid != writer(run))
    os.kill(winner.pid, signal.SIGSTOP)  # what changes from now on, the loser changes
    before = contents(run)
    _, said = loser.communicate()
    ended = time.perf_counter() - began
    assert winner.poll() is None
    assert (loser.returncode, contents(run)) == (1, before)
    assert re.fullmatch(rf"Error: another process.* is writing to {run}; .*choose another directory\n", said), said
    kill(winner)
    freed = seconds_until_free(run)
    assert_goes_on(run, whole)
    return ended, freed


def contents(run: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}


def seconds_until_free(run: Path) -> float:
    began = time.perf_counter()
    while True:
        try:
            with FileLock(run / "run.lock", timeout=0):
                return time.perf_counter() - began
        except Timeout:
            time.sleep(0.001)


def test_readers_while_writing(tmp_path: Path, count: Count, report: Report):
    seconds, readers, run = count(1, 60), count(2, 4), tmp_path / "run"
    options: Any = {"cwd": ROOT, "env": unmeasured(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    subprocess.run(python(WRITE, run, 0.001), check=True, **options)
    commands = [
        python(WRITE, run, seconds),
        *(python(READ, run, seconds, tmp_path / f"{k}.nc") for k in range(readers)),
    ]
    processes = [subprocess.Popen(command, text=True, **options) for command in commands]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * (1 + readers), [error for _, error in said]
    written, *looks = (int(printed) for printed, _ in said)
    found = verify_run(run)
    assert (found.problems, found.missing, found.seeds) == ([], (), ((0, written),))
    assert min(looks) > 0
    report("readers while a writer writes", readers, f"{seconds} s, {found.shards} shards written, {sum(looks)} looks")


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]
