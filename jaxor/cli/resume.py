"""How to go on after an interruption."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click


def go_on(ctx: click.Context, *more: str) -> str:
    """Say which command goes on: the same, with options that it lacks."""
    arguments = [*ctx.obj, *(option for option in more if option not in ctx.obj)]
    return f"go on with: {ctx.find_root().command_path} {shlex.join(arguments)}"


@contextlib.contextmanager
def noting_what_is_safe(folder: Path, safe: Callable[[], str], *more: str) -> Iterator[None]:
    """Add to an interruption or failure what is stored in a folder and which command goes on.

    Parameters
    ----------
    folder : Path
    safe : callable
        Says what is stored there: "... is" or "... are".
    *more : str
        Options that the command needs to go on.
    """
    from jaxor.engine.choice import NoAcceptableDraw
    from jaxor.workers import WorkerError

    try:
        yield
    except (KeyboardInterrupt, OSError, MemoryError, WorkerError, NoAcceptableDraw) as error:
        if not folder.is_dir():
            error.add_note("nothing is stored")
            raise
        with contextlib.suppress(Exception):
            error.add_note(f"{safe()} safe in {folder}; {go_on(click.get_current_context(), *more)}")
        raise
