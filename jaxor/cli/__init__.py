"""The command line: ``jaxor COMMAND``."""

from __future__ import annotations

import contextlib
import importlib
import io
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import click

import jaxor

COMMANDS = (
    "simulate", "experiments", "info", "verify", "merge", "export", "fit", "predict", "sampling", "diagnose",
    "early-stage", "geometry", "replay", "reproduce", "report",
)  # fmt: skip
"""In the order of ``--help``; each is a module here with a command of the same name, underscores for hyphens."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def _terminate(*_: object) -> None:
    raise Terminated


class Commands(click.Group):
    """Imports a command when it is asked for, and turns errors into sentences.

    Modules of commands import only what the command line itself needs, their functions the rest, so that no ``--help``
    waits for JAX.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        return getattr(importlib.import_module(f"jaxor.cli.{name}"), name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, for messages that say how to go on."""
        ctx.obj = list(args)
        with _without_usage():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error becomes one sentence on standard error and an exit code."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminate)
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")  # no name of a file is a reason to fail when all is done
        try:
            with _without_usage():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click knows what to do
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            added = getattr(error, "__notes__", [])
            notes = [note for note in added if "For simplicity, JAX has removed" not in note]  # how to debug JAX
            advice = ctx.invoked_subcommand == "simulate"
            sentence = _one_line("; ".join([_sentence(error, advice), *notes]))
            click.echo(f"Error: {sentence}", err=True)
            ctx.exit(_exit_code(error))


@contextlib.contextmanager
def _without_usage() -> Iterator[None]:
    """Make misuse a sentence, without the usage of the command."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise click.UsageError(_one_line(error.format_message())) from None


def _one_line(text: str) -> str:
    """Names of files and what others' code says may go over several."""
    return " ".join(text.splitlines())


def _exit_code(error: BaseException) -> int:
    """2 for misuse: what our own checks of the user's wishes raise is exactly a ValueError or an ExperimentError."""
    from jaxor.experiments.registry import ExperimentError

    if isinstance(error, KeyboardInterrupt):
        return 143 if isinstance(error, Terminated) else 130
    return 2 if type(error) in (ValueError, ExperimentError) else 1


def _sentence(error: BaseException, advice: bool) -> str:
    """What went wrong, as one sentence; with advice on memory if it is about a simulation."""
    from jaxor.store.errors import StoreError, TraceNotStored
    from jaxor.workers import WorkerError

    if isinstance(error, KeyboardInterrupt):
        return "terminated" if isinstance(error, Terminated) else "interrupted"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # the second is XLA's
        return "not enough memory" + "; choose a smaller --lane-width, fewer --devices or --traces none" * advice
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    if isinstance(error, ValueError | ImportError | StoreError | TraceNotStored | WorkerError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}; jaxor --debug shows where"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(jaxor.__version__, prog_name="jaxor")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
def main(debug: bool) -> None:
    """Train thousands to billions of seeds of small networks at once, keep their traces, answer with statistics."""
