"""The progress bar of a simulation."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]
"""Called with the runs and the epochs that have been added."""

_KNOWN = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} runs, {rate_fmt}{postfix}, {remaining} left"
_OPEN = "{n_fmt} runs, {rate_fmt}{postfix}, {elapsed} gone"


@contextlib.contextmanager
def progress_bar(total: int | None) -> Iterator[Progress]:
    """A line on standard error with runs done, runs/s and epochs/s; a bar and the time left if the total is known.

    Silent if standard error is no terminal.
    """
    from tqdm import tqdm

    layout = _OPEN if total is None else _KNOWN
    with tqdm(total=total, unit="run", unit_scale=True, file=sys.stderr, disable=None, bar_format=layout) as bar:
        started, done = time.perf_counter(), 0

        def watch(runs: int, epochs: int) -> None:
            nonlocal done
            done += epochs
            rate = tqdm.format_sizeof(done / (time.perf_counter() - started))
            bar.set_postfix_str(f"{rate}epoch/s", refresh=False)
            bar.update(runs)

        yield watch
