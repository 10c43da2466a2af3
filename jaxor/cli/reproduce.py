"""``jaxor reproduce``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxor.cli.completion import documents
from jaxor.cli.resume import noting_what_is_safe
from jaxor.cli.watching import watching

if TYPE_CHECKING:
    from jaxor.reproduction.run import Reproduced


@click.command()
@click.argument("what", nargs=-1, metavar="[DOCUMENT|TABLE]...", shell_complete=documents)
@click.option(
    "--quick/--full", "quick", default=True, help="Minutes, or as many runs as make intervals narrow.  [default: quick]"
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("outputs/reproduction"), show_default=True,
    metavar="DIR", help="Where measurements and the tables go; what is there already is not measured again.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def reproduce(what: Sequence[str], quick: bool, out: Path, quiet: bool, as_json: bool) -> None:
    """Measure again what the documents say.

    Documents: convergence, sampling, paths, early-stage; all, if none is named. Each of their figures beside ours, with
    a verdict.
    """
    from jaxor.report.reproduction import reproduction_markdown, reproduction_text
    from jaxor.reproduction.run import chosen, kept
    from jaxor.reproduction.run import reproduce as measure
    from jaxor.store.derived import keep

    tables = chosen(what)
    folder = out / ("quick" if quick else "full")
    safe = noting_what_is_safe(folder, lambda: "finished tables, and finished parts of the one under way, are")
    with safe, watching(quiet or as_json) as watch:
        found = {table.name: measure(table, not quick, folder, watch or (lambda _: None)) for table in tables}
    page = [found.get(table.name) or kept(table, not quick, folder) for table in chosen([])]
    there = [one for one in page if one]  # what was measured before stays on the page
    keep(folder / "reproduction.json", f"{_json(there)}\n".encode())
    keep(folder / "reproduction.md", reproduction_markdown(there).encode())
    asked = [*found.values()]
    click.echo(
        _json(asked)
        if as_json
        else f"{reproduction_text(asked)}\n\nKept in {folder}: reproduction.md, reproduction.json."
    )


def _json(found: Sequence[Reproduced]) -> str:
    return json.dumps([one.to_dict() for one in found], allow_nan=False)
