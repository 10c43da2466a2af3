"""``jaxor experiments``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from jaxor.cli.completion import experiments as complete

if TYPE_CHECKING:
    from jaxor.experiments.catalog import Entry


@click.command()
@click.argument("name", required=False, shell_complete=complete)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def experiments(name: str | None, as_json: bool) -> None:
    """List the experiments, or show one with its provenance.

    What it prints for NAME is a TOML file: change it and hand it to `jaxor simulate`.
    """
    from jaxor.experiments.catalog import get_entry, list_experiments
    from jaxor.report.tables import experiment_text, experiments_table

    if name is not None:
        entry = get_entry(name)
        click.echo(json.dumps(_plain(entry)) if as_json else experiment_text(entry))
        return
    entries = [get_entry(listed) for listed in list_experiments()]
    click.echo(
        json.dumps([_plain(entry) for entry in entries])
        if as_json
        else experiments_table(entry.experiment for entry in entries)
    )


def _plain(entry: Entry) -> dict[str, Any]:
    return entry.experiment.to_dict() | {"provenance": entry.provenance, "note": entry.note}
