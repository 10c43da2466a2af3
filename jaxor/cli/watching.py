"""What a long command is at, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[Callable[[str], Any] | None]:
    """A function to tell what is simulated, which standard error shows if it is a terminal; None if quiet."""
    if quiet:
        yield None
        return
    from tqdm import tqdm

    with tqdm(bar_format="{desc} ({elapsed})", disable=None, leave=False) as bar:
        yield bar.set_description_str
