"""``jaxor export``."""

from __future__ import annotations

from pathlib import Path

import click

from jaxor.cli.completion import directories
from jaxor.cli.isolated import isolated


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path), shell_complete=directories)
@click.argument("file", metavar="FILE.nc|.parquet|.csv", type=click.Path(path_type=Path))
@click.option(
    "--table", type=click.Choice(("runs", "records", "epochs", "initial_loss", "final_loss")),
    help="Of a .parquet or .csv file: a row for each run (default) or each recorded step; of statistics, for each "
    "number of epochs (default) or bin of losses, by status and success.",
)  # fmt: skip
@isolated
def export(directory: Path, file: Path, table: str | None) -> None:
    """Write a run directory as one netCDF, Parquet or CSV file.

    netCDF (.nc) holds everything, Parquet and CSV one table. Equal runs give equal bytes. No file is overwritten.
    """
    from jaxor.report.tables import size_text
    from jaxor.store.export import export_run

    export_run(directory, file, table)
    click.echo(f"{file}: {size_text(file.stat().st_size)}")
