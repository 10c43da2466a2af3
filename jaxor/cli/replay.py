"""``jaxor replay``."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from jaxor.cli.completion import directories
from jaxor.cli.named import named


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path), shell_complete=directories)
@click.option("--seed", type=int, required=True, help="Which run.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE.nc|.parquet|.csv",
    help="Write the trace into a new file: a row for each step, netCDF everything.",
)  # fmt: skip
@click.option(
    "--experiment", "file", type=click.Path(path_type=Path), metavar="FILE.py",
    help="The experiment of the runs if it has parts made in Python.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def replay(directory: Path, seed: int, out: Path | None, file: Path | None, as_json: bool) -> None:
    """Train one run of DIR again, with its whole trace.

    Its manifest and the seed are enough. On the machine and with the versions that made the run its bits are the same,
    and whether they are is said.
    """
    from jaxor.analysis.measure import opened, replay_run, same_bits
    from jaxor.report.replays import replay_dict, replay_text
    from jaxor.store.export import check_new_export, export_run

    if out is not None:
        check_new_export(out)
    stored = opened(directory, None if file is None else named(str(file)))
    with TemporaryDirectory() as folder:
        try:
            again = replay_run(stored, seed, Path(folder) / "run")
        except KeyError as error:
            raise click.UsageError(str(error.args[0])) from error
        if out is not None:
            export_run(Path(folder) / "run", out, None if out.suffix == ".nc" else "records")
        same = same_bits(again, stored)
        if as_json:
            table = {"path": str(directory)} | replay_dict(again, same)
            click.echo(json.dumps(table, allow_nan=False))
        else:
            click.echo(replay_text(again, same))
    if out is not None and not as_json:
        click.echo(f"\nThe trace is in {out}.")
