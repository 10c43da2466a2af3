"""Crafted shards of statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.store.untrusted.crafting import of_counts, replace, rewrite


@of_counts("counts are not those")
def counts_negative(file: Any, _: Path) -> None:
    counts = file["runs_by_epochs"][...]
    counts[0, 0, 0] -= 7
    counts[0, 0, 1] += 7
    rewrite(file, "runs_by_epochs", counts)


@of_counts("counts are not those")
def counts_that_overflow(file: Any, _: Path) -> None:
    """Their sum as int64 is right."""
    counts = np.zeros_like(file["runs_by_epochs"][...])
    counts[0] = [[2**63 - 1, 2**63 - 1], [6, 0], [0, 0], [0, 0]]
    rewrite(file, "runs_by_epochs", counts)


@of_counts("5 statuses and 2 successes")
def counts_by_other_groups(file: Any, _: Path) -> None:
    rewrite(file, "status", np.arange(6))
    for name in ("epochs", "initial_loss", "final_loss"):
        counts = file[f"runs_by_{name}"][...]
        rewrite(file, f"runs_by_{name}", np.pad(counts, [(0, 0), (0, 2), (0, 0)]))


@of_counts("do not ascend")
def epochs_descending(file: Any, _: Path) -> None:
    rewrite(file, "epochs", file["epochs"][...][::-1])


@of_counts("do not ascend")
def ranges_that_overlap(file: Any, _: Path) -> None:
    rewrite(file, "seed_ranges", [[0, 3], [2, 4]])


@of_counts("seeds are not between")
def ranges_too_large(file: Any, _: Path) -> None:
    rewrite(file, "seed_ranges", [[0, 2**62]])


@of_counts("claim more")
def many_epochs(file: Any, _: Path) -> None:
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    replace(file, "epochs", (2**24,), "i8", chunks=(2**16,), **options)
    replace(file, "runs_by_epochs", (2**24, 4, 2), "i8", chunks=(2**14, 4, 2), **options)


@of_counts("a run has 8 epochs")
def as_many_epochs_as_are_read(file: Any, _: Path) -> None:
    """All but a few without a run; all of them are read."""
    count = 465_000
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    runs = np.zeros((count, 4, 2), np.int64)
    runs[: len(file["epochs"])] = file["runs_by_epochs"][...]
    replace(file, "epochs", data=np.arange(count), chunks=(2**15,), **options)
    replace(file, "runs_by_epochs", data=runs, chunks=(2**12, 4, 2), **options)
