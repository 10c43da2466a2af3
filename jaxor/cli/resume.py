"""How to go on after an interruption."""

from __future__ import annotations

import shlex

import click


def go_on(ctx: click.Context) -> str:
    """Say which command goes on: the same, with ``--resume``."""
    arguments = [*ctx.obj, *(["--resume"] if "--resume" not in ctx.obj else [])]
    return f"go on with: {ctx.find_root().command_path} {shlex.join(arguments)}"
