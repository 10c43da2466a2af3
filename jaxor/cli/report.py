"""``jaxor report``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jaxor.cli.completion import directories

SEVERAL = Path("outputs/report.html")


@click.command()
@click.argument(
    "directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path),
    shell_complete=directories,
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help=f"Where the page goes.  [default: derived/report.html in DIR, of several {SEVERAL}]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of a sentence.")
def report(directories: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Make one HTML page with plots of simulations.

    How runs ended, how long they took, their losses and paths, hidden units, fits and geometry as far as they are
    there. The page needs no network and no other file.
    """
    from jaxor.report.page import report_page
    from jaxor.store.derived import derived, keep
    from jaxor.store.errors import StoreError

    file = out or (derived(directories[0], "report.html") if len(directories) == 1 else SEVERAL)
    data = report_page(directories).encode("utf-8", "backslashreplace")  # names of files may hold anything
    try:
        keep(file, data)
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror}; name another place with --out FILE") from error
    table = {"path": str(file), "bytes": len(data), "simulations": [str(path) for path in directories]}
    click.echo(json.dumps(table) if as_json else f"Kept in {file}, {len(data):,} bytes; open it in a browser.")
