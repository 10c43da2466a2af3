"""``jaxor sampling``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from jaxor.cli.completion import experiments
from jaxor.cli.named import named
from jaxor.cli.types import Setting
from jaxor.cli.watching import watching


@click.command()
@click.argument("experiment", shell_complete=experiments)
@click.option(
    "--strategy", "strategies", multiple=True, metavar="PARTS",
    help="Such as below:0.0724, below:25%, above:50%, best:100, first-batch:10, alive:0.3, mirror, hypersphere, "
    "scaled:2, kaiming, or several joined by +. Repeatable.  [default: below:50% below:25% below:1% above:50%]",
)  # fmt: skip
@click.option("--seeds", type=int, default=10_000, show_default=True, help="Runs of the control and of each strategy.")
@click.option(
    "--draws", type=int, default=100_000, show_default=True,
    help="From which the law of the initial loss, and percentages in strategies, are estimated.",
)  # fmt: skip
@click.option(
    "--set", "settings", type=Setting(), multiple=True,
    help="Change a key of the experiment, such as optimizer.learning_rate=0.2; none leaves it out. Repeatable.",
)  # fmt: skip
@click.option("--devices", type=click.IntRange(min=1), metavar="D", help="Worker processes.  [default: one per core]")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where study.json and plots go.  [default: outputs/<experiment>-sampling]",
)  # fmt: skip
@click.option("--plots", is_flag=True, help="Draw plots too.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def sampling(
    experiment: str, strategies: Sequence[str], seeds: int, draws: int, settings: Sequence[tuple[str, Any]],
    devices: int | None, out: Path | None, plots: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure what choosing where to start changes.

    EXPERIMENT is a name that `jaxor experiments` lists or your own file. It is the control; strategies change its
    initializer.
    """
    from jaxor.analysis.sampling import DEFAULT, study
    from jaxor.report.drawing import check_matplotlib
    from jaxor.report.samplings import study_text
    from jaxor.store.derived import keep

    if plots:
        check_matplotlib()
    control = named(experiment).replace(**dict(settings))
    with watching(quiet or as_json) as watch:
        found = study(control, strategies or DEFAULT, seeds, draws=draws, devices=devices, watch=watch)
    folder = out or Path("outputs") / f"{control.name}-sampling"
    text = json.dumps(found.to_dict(), allow_nan=False)
    keep(folder / "study.json", f"{text}\n".encode())
    if plots:
        from jaxor.report.sampling_plots import save_plots

        save_plots(found, folder)
    click.echo(text if as_json else f"{study_text(found)}\n\nKept in {folder}.")
