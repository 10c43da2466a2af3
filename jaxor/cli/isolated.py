"""``--isolated``: a command on somebody else's files, in a process with little memory and time."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click

MEMORY_BYTES = 4 * 2**30
"""Of address space; most of what a process reserves it never uses."""

SECONDS = 3600
"""Of processor time."""


def isolated(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option to a command."""
    return click.option(
        "--isolated", is_flag=True, expose_value=False, is_eager=True, callback=_again,
        help=f"Work in a process of its own with at most {MEMORY_BYTES // 2**30} GiB of memory and an hour of time, "
        "for files you do not trust.",
    )(command)  # fmt: skip


def _again(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Run the same command line without the option in another process, and end as it does."""
    if not asked or ctx.resilient_parsing:
        return
    if sys.platform == "win32":
        raise click.UsageError("--isolated needs the limits of Linux or macOS; leave it out")
    arguments = [argument for argument in ctx.find_root().obj if argument != "--isolated"]
    command = [sys.executable, "-P", "-c", f"from {__name__} import main; main()", *arguments]
    code = subprocess.run(command, check=False).returncode
    if code < 0:
        raise click.ClickException(
            f"the isolated process was ended by {signal.Signals(-code).name}; its files are damaged or too large for it"
        )
    ctx.exit(code)


def main() -> None:
    """Limit this process, then be the command line."""
    import resource

    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))
    from jaxor.cli import main

    main(prog_name="jaxor")
