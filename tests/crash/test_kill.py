"""`jaxor simulate` ended at random moments: nothing finished is lost, and it goes on as if it had not been."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

from tests.crash.commands import SEEDS, Whole, assert_goes_on, end_while_writing, kill, sealed, start, wait
from tests.crash.conftest import Count, Report, Where

# The seeds of every task that a worker is given.
NOTE_TASKS = """
from jaxor.engine.seeds import number
from jaxor.workers import Pool

ask = Pool._ask

def note_and_ask(self, task):
    with open("asked", "a") as file:
        file.write(f"{number(task.seeds)}\\n")
    return ask(self, task)

Pool._ask = note_and_ask
"""


def seeds_in(shards: dict[str, tuple[int, int]]) -> int:
    """How many seeds shards hold whose seeds follow each other."""
    return sum(int(name[14:26]) - int(name[1:13]) + 1 for name in shards)


def test_kill_at_random_moments(where: Where, whole: Whole, count: Count, random: np.random.Generator, report: Report):
    redone, safe, times = [], [], count(1, 100)
    while len(redone) < times:
        run = where(len(redone))
        asked = run.parent / "asked"
        asked.unlink(missing_ok=True)
        process = start(run, "--devices", 2, first=NOTE_TASKS)
        killed = end_while_writing(process, run, signal.SIGKILL, random.uniform(0, whole.seconds))
        _, said = process.communicate()  # waits for the workers too
        assert said == ""
        if not killed:
            continue  # it was done before the moment
        held = seeds_in(sealed(run))
        begun = sum(map(int, asked.read_text().split())) if asked.exists() else 0
        safe.append(held)
        redone.append(begun - held)
        assert 0 <= redone[-1] <= 5 * 32  # two blocks for each of two workers, and the one being written
        assert_goes_on(run, whole)
    report("kill -9 at random moments", times, f"{min(safe)}-{max(safe)} of {SEEDS} safe, at most {max(redone)} redone")


@pytest.mark.full
def test_killed_again_and_again(where: Where, whole: Whole, count: Count, random: np.random.Generator, report: Report):
    run, times = where(0), count(2, 21)
    grown = [0]
    for _ in range(times):
        process = start(run, "--devices", 2, "--resume")
        before, wanted = sealed(run), int(random.integers(0, 3))
        assert wait(process, lambda: len(sealed(run)) >= len(before) + wanted)  # noqa: B023 (called at once)
        time.sleep(random.uniform(0, 0.01))
        assert process.poll() is None
        kill(process)
        after = sealed(run)
        assert before.items() <= after.items()
        grown.append(seeds_in(after))
    assert grown[-1] < SEEDS
    assert_goes_on(run, whole)
    report("kill -9 again and again while it resumes", times - 1, f"{grown[-1]} seeds safe before the last resume")


@pytest.mark.full
@pytest.mark.parametrize(
    ("number", "group", "code", "word"),
    [
        pytest.param(signal.SIGINT, True, 130, "interrupted", id="SIGINT"),
        pytest.param(signal.SIGTERM, False, 143, "terminated", id="SIGTERM"),
    ],
)
def test_signals_at_random_moments(
    where: Where,
    whole: Whole,
    count: Count,
    random: np.random.Generator,
    report: Report,
    number: signal.Signals,
    group: bool,
    code: int,
    word: str,
):
    slowest, times, done = 0.0, count(1, 20), 0
    while done < times:
        run = where(done)
        process = start(run, "--devices", 2)
        sent = end_while_writing(process, run, number, random.uniform(0, whole.seconds), group)
        began = time.perf_counter()
        printed, said = process.communicate()
        if not sent or printed:
            continue  # it was done before the moment
        slowest = max(slowest, time.perf_counter() - began)
        assert process.returncode == code, said
        safe = seeds_in(sealed(run))
        assert said.startswith(f"Error: {word}; {safe:,} of {SEEDS:,} runs are safe in {run.name}; go on with: "), said
        assert said.count("\n") == 1
        assert_goes_on(run, whole)
        done += 1
    assert slowest <= 2
    report(f"{number.name} at random moments", times, f"stopped within {slowest:.2f} s")
