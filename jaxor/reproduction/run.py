"""Measuring what documents say, one table after the other; what was measured before is not measured again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxor.estimates import Interval
from jaxor.job import versions
from jaxor.machine import cores, processor
from jaxor.reproduction import convergence, early_stage, factors, paths, sampling_tables
from jaxor.reproduction.claims import LEFT, Answer, Table, answer
from jaxor.reproduction.figures import Figure, Finding, Measured, Missing
from jaxor.reproduction.work import Work, read
from jaxor.store.derived import keep

DOCUMENTS: Mapping[str, tuple[Table, ...]] = {
    "convergence": convergence.TABLES,
    "sampling": sampling_tables.TABLES,
    "paths": (*paths.TABLES, *factors.TABLES),
    "early-stage": early_stage.TABLES,
}
"""Tables by the short name of their document; the early-stage paper and its abstract are one."""


@dataclass(frozen=True)
class Made:
    """How a table was measured.

    Attributes
    ----------
    on : str
        Day, as in 2026-01-31.
    machine : str
        Processor and cores.
    versions : dict of str to str
    seconds, cpu_seconds : float
        That it took by the clock, and of all cores and processes together.
    """

    on: str
    machine: str
    versions: dict[str, str]
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Reproduced:
    """A table beside what was measured.

    Attributes
    ----------
    table : Table
    runs : int
        0 if it was left to --full.
    made : Made or None
    answers : tuple of Answer
    """

    table: Table
    runs: int
    made: Made | None
    answers: tuple[Answer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "table": self.table.name, "document": self.table.document, "title": self.table.title, "how": self.table.how,
            "runs": self.runs, "made": self.made and vars(self.made),
            "answers": [one.to_dict() for one in self.answers],
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


def versions_used() -> dict[str, str]:
    """Of all that figures depend on: what trains, what fits and what computes statistics."""
    return versions() | {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "scikit-learn")}


def reproduce(table: Table, full: bool, folder: Path, watch: Callable[[str], Any]) -> Reproduced:
    """Measure a table, or read what was measured of it with as many runs by the same versions.

    What lacks all that it takes, such as images, is not kept: they may be there the next time.

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
    runs = table.full if full else table.quick
    if not runs:
        nothing = Missing("it takes too long for a quick look")
        return Reproduced(table, 0, None, tuple(Answer(claim, nothing, LEFT) for claim in table.claims))
    if before := kept(table, full, folder):
        return before
    of_versions = hashlib.sha256(json.dumps(versions_used()).encode()).hexdigest()[:8]
    work = Work(folder / f"{table.name}-parts" / f"{runs}-{of_versions}", watch)
    made = _measured(table, runs, work)
    done = _reproduced(table, made)
    if not all(isinstance(one.measured, Missing) for one in done.answers):
        keep(folder / f"{table.name}.json", f"{json.dumps(made, indent=1)}\n".encode())
    shutil.rmtree(work.folder.parent, ignore_errors=True)
    return done


def kept(table: Table, full: bool, folder: Path) -> Reproduced | None:
    """What was measured of a table with as many runs by the same versions; None if there is nothing."""
    found = read(folder / f"{table.name}.json")
    return _reproduced(table, found) if found and _same(found, table.full if full else table.quick, table) else None


def _reproduced(table: Table, made: Mapping[str, Any]) -> Reproduced:
    found = {name: _read(*one) for name, one in made["measured"].items()}
    answers = tuple(answer(claim, found[claim.measure]) for claim in table.claims)
    return Reproduced(table, made["runs"], Made(**made["made"]), answers)


def _same(kept: Mapping[str, Any], runs: int, table: Table) -> bool:
    """Whether what is kept was measured in the same way, and all that the claims are held against is in it."""
    try:
        made = kept["runs"], kept["made"]["versions"]
        return made == (runs, versions_used()) and {claim.measure for claim in table.claims} <= kept["measured"].keys()
    except (KeyError, TypeError):
        return False


def _measured(table: Table, runs: int, work: Work) -> dict[str, Any]:
    """What is kept of a table, with the time of interrupted attempts whose parts were used."""
    with work.timed():
        measured = {name: [type(one).__name__, *one] for name, one in table.measure(runs, work).items()}
    made = Made(time.strftime("%Y-%m-%d"), _machine(), versions_used(), *work.spent)
    return {"runs": runs, "made": vars(made), "measured": measured}


def _machine() -> str:
    count = len(cores())
    return f"{processor()}, {count} core{'s' * (count > 1)}"


def _read(kind: str, *values: Any) -> Measured:
    if kind == Figure.__name__:
        value, interval, spread, of = values
        return Figure(value, Interval(*interval), Interval(*spread), of)
    return Finding(*values) if kind == Finding.__name__ else Missing(*values)
