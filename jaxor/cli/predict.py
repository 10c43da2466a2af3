"""``jaxor predict``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxor.cli.completion import directories

if TYPE_CHECKING:
    from jaxor.analysis.predict import Prediction
    from jaxor.store.tables import Table


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path), shell_complete=directories)
@click.option(
    "--fit", "fit", default="default", show_default=True, metavar="NAME|FILE",
    help="A fit of DIR by name, or the .json of one, such as of other seeds.",
)  # fmt: skip
@click.option(
    "--model", metavar="NAME",
    help="Which of its models, such as log_shifted or sound/linear.  [default: the best without final parameters]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE",
    help="Write all forecasts to a new file that ends in .csv or .parquet.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def predict(directory: Path, fit: str, model: str | None, out: Path | None, as_json: bool) -> None:
    """Forecast the epochs still to go, with intervals."""
    from jaxor.analysis.loaded import load
    from jaxor.analysis.predict import predict as forecast
    from jaxor.report.predictions import prediction_text
    from jaxor.store.derived import derived
    from jaxor.store.export import check_new_table, export_table
    from jaxor.store.run import Run, open_run

    if out is not None:
        check_new_table(out)
    run = open_run(directory)
    if not isinstance(run, Run):
        raise ValueError(f"{directory} holds statistics and no single runs; simulate with --keep runs")
    path = Path(fit) if fit.endswith(".json") else derived(directory, "fits", f"{fit}.json")
    found = forecast(run, load(path, model))
    if out is not None:
        export_table(_table(found), out)
    seen = path.parent.resolve() == derived(directory, "fits", "any").parent.resolve()
    if not as_json:
        click.echo(prediction_text(found, run.identity, seen=seen))
        return
    errors = found.errors
    table = {"path": str(directory), "fit": str(path), "model": f"{found.model.face}/{found.model.name}"}
    table |= {"causal": found.model.causal, "rows": len(found.rows), "level": found.model.conformal.level}
    table |= {"runs": found.runs, "converged_runs": len(errors.runs) if errors else 0}
    # Scores on runs that were learned from, or of a model of something else, are not what they look like.
    table |= {"learned_from_these_runs": seen, "same_simulation": found.model.identity == run.identity}
    r2 = errors.r2() if errors else math.nan
    scores = {"r2": r2 if math.isfinite(r2) else None, "mae": errors and errors.mae(), "coverage": found.coverage}
    click.echo(json.dumps(table | scores, allow_nan=False))


def _table(found: Prediction) -> Table:
    """A row for each forecast; `remaining` is NaN in runs that did not converge."""
    from jaxor.store.tables import Table

    rows = found.rows
    arrays = {
        "seed": rows.seed, "step": rows.step, "forecast": found.epochs, "low": found.low, "high": found.high,
        "remaining": rows.remaining,
    }  # fmt: skip
    return Table({name: array.dtype for name, array in arrays.items()}, iter([[*arrays.values()]]), {})
