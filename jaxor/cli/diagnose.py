"""``jaxor diagnose``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jaxor.cli.completion import directories


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path), shell_complete=directories)
@click.option("--plots", is_flag=True, help="Draw learned hyperplanes, losses of failed runs and displacement.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def diagnose(directory: Path, plots: bool, as_json: bool) -> None:
    """Say what hidden units look like, and where failed runs ended."""
    from jaxor.analysis.diagnosis import diagnose as examine
    from jaxor.report.diagnoses import diagnosis_text
    from jaxor.report.drawing import check_matplotlib
    from jaxor.store.derived import derived, keep
    from jaxor.store.run import Run, open_run

    if plots:
        check_matplotlib()
    path = derived(directory, "diagnosis.json")  # a link in its place is told before the work
    run = open_run(directory)
    if not isinstance(run, Run):
        raise ValueError(f"{directory} holds statistics and no single runs; simulate with --keep runs to diagnose")
    found = examine(run)
    table = found.to_dict()
    keep(path, json.dumps(table, indent=1, allow_nan=False).encode())
    drawn = []
    if plots:
        from jaxor.report.hyperplanes import save_diagnosis_plots

        drawn = save_diagnosis_plots(found, derived(directory, "diagnosis"))
    if as_json:
        click.echo(json.dumps({"path": str(directory)} | table, allow_nan=False))
        return
    click.echo(diagnosis_text(found))
    names = "".join(f", {file.name}" for file in drawn)
    click.echo(f"\nKept in {path}{f', plots in {drawn[0].parent}: {names[2:]}' if drawn else ''}.")
