"""What all tests share: tables of measured numbers at the end of the terminal output."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Row = Callable[..., None]

_TABLE = "table row"


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
