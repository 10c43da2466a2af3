"""``jaxor verify``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jaxor.cli.completion import directories
from jaxor.cli.isolated import isolated


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path), shell_complete=directories)
@isolated
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify(ctx: click.Context, directory: Path, as_json: bool) -> None:
    """Check every file of a run directory.

    Names, hashes, variables, and whether all figures fit together. Ends with exit code 1 if a file is no good. Seeds
    that are missing are told, but are no error: a simulation may still be going on. The digest is the same for the same
    runs, however they lie in files.
    """
    from jaxor.engine.seeds import number
    from jaxor.report.tables import verification_text
    from jaxor.store.verify import verify_run

    found = verify_run(directory)
    if as_json:
        table = {"path": str(directory), "identity": found.manifest.identity, "ok": not found.problems}
        table |= {"shards": found.shards, "seeds": number(found.seeds), "seeds_missing": number(found.missing)}
        table |= {"missing": found.missing, "problems": found.problems, "made_by": found.made_by}
        click.echo(json.dumps(table | {"digest": found.digest}))
    else:
        click.echo(verification_text(found, directory))
    ctx.exit(1 if found.problems else 0)
