"""Counts, and a simulation that was never interrupted to compare with."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxor.store.verify import verify_run
from tests.conftest import Row
from tests.crash.commands import Whole, start, wait, writer

Count = Callable[[int, int], int]
Report = Callable[..., None]
Where = Callable[[int], Path]

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # they look into /proc, mount file systems and send signals


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> Count:
    """How often: ``count(quick, full)``."""
    full = pytestconfig.getoption("--full")
    return lambda quick, complete: complete if full else quick


@pytest.fixture
def report(table_row: Row) -> Report:
    """Note what was tried, how often, and what was measured."""

    def note(what: str, times: object, figure: str) -> None:
        table_row("Crash suite", test=what, times=times, figures=figure)

    return note


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    run = tmp_path_factory.mktemp("whole") / "run"
    seconds_of_writing(run, devices=1)  # this one compiles
    shutil.rmtree(run)
    seconds = seconds_of_writing(run, devices=2)
    found = verify_run(run)
    assert (found.problems, found.missing) == ([], ())
    return Whole(run, found.digest, seconds)


def seconds_of_writing(run: Path, devices: int) -> float:
    process = start(run, "--devices", devices)
    assert wait(process, lambda: writer(run) == process.pid)
    began = time.perf_counter()
    _, said = process.communicate()
    assert process.returncode == 0, said
    return time.perf_counter() - began


@pytest.fixture
def where(tmp_path: Path) -> Where:
    """A run directory for each case; only the last one is kept, since there are many."""
    last = tmp_path / "none"

    def fresh(number: int) -> Path:
        nonlocal last
        shutil.rmtree(last, ignore_errors=True)
        last = tmp_path / f"run{number}"
        return last

    return fresh
