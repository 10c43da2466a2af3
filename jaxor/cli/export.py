"""``jaxor export``."""

from __future__ import annotations

from pathlib import Path

import click

from jaxor.cli.isolated import isolated


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("file", metavar="FILE.nc", type=click.Path(path_type=Path))
@isolated
def export(directory: Path, file: Path) -> None:
    """Write all that a run directory holds into one netCDF file."""
    from jaxor.report.tables import size_text
    from jaxor.store.export import export_netcdf

    if file.suffix != ".nc":
        raise click.BadParameter(f"the file must end in .nc (netCDF-4), got {file}", param_hint="FILE.nc")
    export_netcdf(directory, file)
    click.echo(f"{file}: {size_text(file.stat().st_size)}")
