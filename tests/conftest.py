"""What all tests share: tables of measured numbers at the end, compiled programs, tests that are done rarely."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jaxor.cli.compiled import keep_compiled
from tests.examples import ALL

Row = Callable[..., None]

_TABLE = "table row"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="tests marked full too, and the crash suite at full length")
    parser.addoption("--browser", action="store_true", help="tests marked browser too, see make test-report")


_COMPILED = pytest.StashKey[str]()

_AGAIN_AND_AGAIN = (
    "tests/engine/",
    "tests/crash/",
    "tests/properties/",
    "tests/test_bench",
    "tests/test_claims.py",
    "tests/experiments/test_initialize.py",
    "tests/experiments/test_selection.py",
    "tests/analysis/test_survival.py::test_intervals_are_as_often_right_as_they_say",
    "tests/analysis/test_judgement.py::test_models_that_are_equally_good_are_told_apart",
)
"""Where tests go through the same lines of jaxor over and over, or test what is not jaxor's."""


def pytest_configure(config: pytest.Config) -> None:
    """What one process of the tests compiles is there for all others, as with ``jaxor simulate --cache``."""
    if config.getoption("--full"):
        os.environ[ALL] = "1"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # in the processes of pytest-xdist it is
        config.stash[_COMPILED] = tempfile.mkdtemp(prefix="jaxor-tests-")
        keep_compiled(Path(config.stash[_COMPILED]))


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_COMPILED, None):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for; of tests marked full others check the same on fewer cases.

    Coverage makes what it traces up to twice as slow, and learns nothing where the same lines are reached many times.
    """
    for rarely in ("full", "browser"):
        if not config.getoption(f"--{rarely}"):
            left_out = [item for item in items if item.get_closest_marker(rarely)]
            items[:] = [item for item in items if not item.get_closest_marker(rarely)]
            config.hook.pytest_deselected(items=left_out)
    if config.pluginmanager.hasplugin("_cov"):
        for item in items:
            if item.nodeid.startswith(_AGAIN_AND_AGAIN) or item.get_closest_marker("hypothesis"):
                item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _processes_as_their_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage counts in processes where it counts in the test that starts them, and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("no_cover"):
            for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
                patch.delenv(name)
        yield


@pytest.fixture
def table_row(request: pytest.FixtureRequest) -> Row:
    """``table_row(title, column=cell, ...)`` adds a row to the table of that title in the terminal summary.

    Rows travel with the test's report, so they arrive from the processes of pytest-xdist too.
    """

    def add(title: str, /, **cells: object) -> None:
        request.node.user_properties.append((_TABLE, [title, [[name, str(cell)] for name, cell in cells.items()]]))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tables: dict[str, list[dict[str, str]]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, value in report.user_properties:
                    if name == _TABLE:
                        tables.setdefault(value[0], []).append({column: cell for column, cell in value[1]})
    for title, rows in sorted(tables.items()):
        terminalreporter.write_sep("=", title)
        columns = list(rows[0])
        lines = [columns, *sorted([row[column] for column in columns] for row in rows)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            terminalreporter.write_line("  ".join(map(str.ljust, line, widths)).rstrip())
