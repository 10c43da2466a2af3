"""``jaxor merge``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from jaxor.cli.completion import directories
from jaxor.cli.resume import go_on


@click.command()
@click.argument(
    "directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path),
    shell_complete=directories,
)  # fmt: skip
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", shell_complete=directories,
    help="Run directory to write.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Add to the same simulation if it is there already.")
@click.option("--allow-mixed", is_flag=True, help="Even if versions or machines differ; each shard says what made it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def merge(
    ctx: click.Context, directories: Sequence[Path], out: Path, resume: bool, allow_mixed: bool, as_json: bool
) -> None:
    """Put run directories of one simulation together.

    Such as those of a job array. Seeds that are in several of them must have equal runs and are kept once.
    """
    from jaxor.engine.seeds import number
    from jaxor.report.tables import merged_text
    from jaxor.store.merge import merge_runs

    try:
        merged = merge_runs(directories, out, resume=resume, allow_mixed=allow_mixed)
    except (KeyboardInterrupt, OSError) as error:
        how = go_on(ctx, "--resume")
        error.add_note(f"what has been copied is safe in {out}; {how}")
        raise
    if as_json:
        table = {"path": str(out), "seeds": number(merged.seeds), "added": merged.added, "repeated": merged.repeated}
        click.echo(json.dumps(table))
    else:
        click.echo(merged_text(merged, out))
