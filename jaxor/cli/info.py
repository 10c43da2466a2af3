"""``jaxor info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from jaxor.cli.completion import directories
from jaxor.cli.isolated import isolated
from jaxor.cli.system import described, described_text


@click.command()
@click.argument("directory", metavar="DIR", required=False, type=click.Path(path_type=Path), shell_complete=directories)
@click.option("--system", "of_system", is_flag=True, help="Say what jaxor runs on here instead, for a bug report.")
@isolated
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(directory: Path | None, of_system: bool, as_json: bool) -> None:
    """Say what a run directory holds and how its runs ended."""
    if (directory is None) != of_system:
        raise click.UsageError("give either a run directory, or --system for versions, machine and settings")
    if directory is None:
        found = described()
        click.echo(json.dumps(found) if as_json else described_text(found))
    else:
        _directory(directory, as_json)


def _directory(directory: Path, as_json: bool) -> None:
    from jaxor.analysis.statistics import summary
    from jaxor.engine.seeds import compress, difference, number
    from jaxor.report.summaries import info_text
    from jaxor.store.directory import RunDirectory
    from jaxor.store.run import open_run

    run: Any = open_run(directory)
    figures, manifest, size = summary(run), run.manifest, RunDirectory.open(directory).bytes_on_disk()
    seeds = compress(run.seeds) if manifest.kind == "runs" else run.seeds
    missing = number(difference(manifest.seeds, seeds))
    if not as_json:
        click.echo(info_text(figures, manifest, missing, size, directory))
        return
    names = ("kind", "lane_width", "x64", "prng", "layout", "traces", "parameters", "param_names")
    names += ("initial_params_hash", "versions", "platform")
    table = {"path": str(directory), "experiment": manifest.experiment["name"], "identity": manifest.identity}
    table |= figures.to_dict() | {"seeds_asked": manifest.seeds, "seeds_missing": missing}
    table |= {name: getattr(manifest, name) for name in names} | {"bytes": size, "definition": manifest.experiment}
    click.echo(json.dumps(table))
