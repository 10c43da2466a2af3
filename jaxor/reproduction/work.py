"""What a table tells and keeps while it is measured."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxor import workers
from jaxor.store.derived import keep


def _nothing(_: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Work:
    """Where a table is measured, so that an interruption does not lose all of it.

    Attributes
    ----------
    folder : Path
        For its parts, all made by the same versions; whoever keeps the whole table removes it.
    watch : callable
        Told what is going on.
    """

    folder: Path
    watch: Callable[[str], Any] = _nothing

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, a plain value for JSON; read if it was made before.

        Parameters
        ----------
        name : str
            Of the part; must say everything that it depends on besides the code.
        make : callable

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     work = Work(Path(folder))
        ...     work.once("sum", lambda: 1 + 2), work.once("sum", lambda: 1 / 0)
        (3, 3)
        """
        path = self.folder / f"{name}.json"
        kept = read(path)
        if kept is None:
            kept = {"value": make()}
            keep(path, f"{json.dumps(kept)}\n".encode())
        return kept["value"]

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds that all `timed` attempts took, by the clock and of all cores and processes together."""
        kept = read(self.folder / "time.json") or {"seconds": 0.0, "cpu_seconds": 0.0}
        return kept["seconds"], kept["cpu_seconds"]

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time of an attempt, also of one that is interrupted; worker processes end, so that theirs counts."""
        clock, cpu = time.perf_counter(), sum(os.times()[:4])
        try:
            yield
        finally:
            workers.close_all()
            seconds, cpu_seconds = self.spent
            spent = {
                "seconds": seconds + time.perf_counter() - clock,
                "cpu_seconds": cpu_seconds + sum(os.times()[:4]) - cpu,
            }
            keep(self.folder / "time.json", f"{json.dumps(spent)}\n".encode())


def read(path: Path) -> dict[str, Any] | None:
    """A table that was kept as JSON; None if there is none."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None
