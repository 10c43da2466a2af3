"""Measuring what documents say, one table after the other; what was measured before is not measured again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxor.estimates import Interval
from jaxor.job import versions
from jaxor.reproduction import convergence, early_stage, paths, sampling
from jaxor.reproduction.claims import Answer, Figure, Finding, Measured, Missing, Table, answer
from jaxor.store.derived import keep

DOCUMENTS: Mapping[str, tuple[Table, ...]] = {
    "convergence": convergence.TABLES,
    "sampling": sampling.TABLES,
    "paths": paths.TABLES,
    "early-stage": early_stage.TABLES,
}
"""Tables by the short name of their document; the early-stage paper and its abstract are one."""


@dataclass(frozen=True)
class Reproduced:
    """A table beside what was measured.

    Attributes
    ----------
    table : Table
    runs : int
    seconds : float
        That measuring took.
    answers : tuple of Answer
    """

    table: Table
    runs: int
    seconds: float
    answers: tuple[Answer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "table": self.table.name, "document": self.table.document, "title": self.table.title, "runs": self.runs,
            "seconds": self.seconds, "answers": [one.to_dict() for one in self.answers],
        }  # fmt: skip


def chosen(names: Sequence[str]) -> tuple[Table, ...]:
    """Tables of documents, or by their own names; all, if none is named.

    Raises
    ------
    ValueError
        Neither.

    Examples
    --------
    >>> [table.name for table in chosen(["sampling"])]
    ['sampling-one-layer', 'sampling-two-layers']
    """
    tables = [table for tables in DOCUMENTS.values() for table in tables]
    known = {table.name: (table,) for table in tables} | dict(DOCUMENTS)
    for name in names:
        if name not in known:
            raise ValueError(
                f"{name!r:.60} is neither a document ({', '.join(DOCUMENTS)}) nor a table "
                f"({', '.join(table.name for table in tables)})"
            )
    wanted = {table.name for name in names for table in known[name]}
    return tuple(table for table in tables if not names or table.name in wanted)


def reproduce(table: Table, full: bool, folder: Path, watch: Callable[[str], Any]) -> Reproduced:
    """Measure a table, or read what was measured of it with as many runs by the same versions.

    Parameters
    ----------
    table : Table
    full : bool
        As many runs as it takes for narrow intervals, in place of those of some minutes.
    folder : Path
        Where what was measured is kept, as ``<table>.json``.
    watch : callable
        Told what is going on.
    """
    runs, path = table.full if full else table.quick, folder / f"{table.name}.json"
    if not runs:
        nothing = Missing("it takes too long for a quick look; give --full")
        return Reproduced(table, 0, 0.0, tuple(answer(claim, nothing) for claim in table.claims))
    kept = _kept(path, runs)
    if kept is None:
        started = time.perf_counter()
        measured = dict(table.measure(runs, watch))
        kept = {
            "runs": runs, "versions": versions(), "seconds": time.perf_counter() - started,
            "measured": {name: [type(one).__name__, *one] for name, one in measured.items()},
        }  # fmt: skip
        keep(path, f"{json.dumps(kept, indent=1)}\n".encode())
    found = {name: _read(*one) for name, one in kept["measured"].items()}
    return Reproduced(
        table, runs, kept["seconds"], tuple(answer(claim, found[claim.measure]) for claim in table.claims)
    )


def _kept(path: Path, runs: int) -> dict[str, Any] | None:
    """What is kept of a table; None if that is nothing, or was measured in another way."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    same = isinstance(kept, dict) and (kept.get("runs"), kept.get("versions")) == (runs, versions())
    return kept if same else None


def _read(kind: str, *values: Any) -> Measured:
    if kind == Figure.__name__:
        value, interval, spread = values
        return Figure(value, Interval(*interval), Interval(*spread))
    return Finding(*values) if kind == Finding.__name__ else Missing(*values)
