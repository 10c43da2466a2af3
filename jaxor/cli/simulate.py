"""``jaxor simulate``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxor.cli.compiled import keep_compiled
from jaxor.cli.completion import directories, experiments
from jaxor.cli.named import named
from jaxor.cli.resume import noting_what_is_safe
from jaxor.cli.types import SeedRange, Setting

if TYPE_CHECKING:
    from jaxor.job import Job
    from jaxor.simulation import Outcome


@click.command()
@click.argument("experiment", required=False, shell_complete=experiments)
@click.option(
    "--seeds", type=SeedRange(),
    help="So many seeds from 0, or those from A up to B - 1.  [required without --until, with it the most seeds]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", shell_complete=directories,
    help="Run directory.  [default: outputs/<experiment>-<first 8 of identity>, and -statistics]",
)  # fmt: skip
@click.option(
    "--keep", type=click.Choice(["runs", "statistics"]), default="runs", show_default=True,
    help="Every run, or only counts of runs by status, success, epochs and losses.",
)  # fmt: skip
@click.option(
    "--until", metavar="RULE",
    help="With statistics: go on until the success share is known well enough, such as 'halfwidth(success)<=0.001' "
    "for the 95 % confidence sequence.",
)  # fmt: skip
@click.option(
    "--traces", metavar="all|loss|none|every=K",
    help="What to record of each step: loss and parameters, only losses, nothing, or all of every K-th step.  "
    "[default: all up to 256 parameters, else loss]",
)  # fmt: skip
@click.option(
    "--parameters", type=click.Choice(["none", "final", "both"]),
    help="Which of each run's parameters to keep.  [default: both up to 10^6 parameters, else none]",
)  # fmt: skip
@click.option(
    "--set", "settings", type=Setting(), multiple=True,
    help="Change a key of the experiment, such as optimizer.learning_rate=0.2; none leaves it out. Repeatable.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Compute what is missing in the run directory.")
@click.option(
    "--allow-mixed", is_flag=True,
    help="Resume even if it was begun by other versions or on another kind of machine; each shard says what made it.",
)  # fmt: skip
@click.option("--lane-width", type=int, metavar="W", help="Runs per compiled step; changes the identity.")
@click.option("--devices", type=click.IntRange(min=1), metavar="D", help="Worker processes.  [default: one per core]")
@click.option(
    "--cluster", metavar="ADDRESS",
    help="Let a Dask cluster do the work: tcp://host:8786 is its scheduler, local:2 two processes on this machine.",
)  # fmt: skip
@click.option("--x64", is_flag=True, help="Compute in float64.")
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Keep compiled programs in DIR, for the same versions and processor to begin sooner the next time.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def simulate(
    experiment: str | None, seeds: range | None, out: Path | None, keep: str, until: str | None,
    traces: str | None, parameters: str | None, settings: Sequence[tuple[str, Any]], resume: bool,
    allow_mixed: bool, lane_width: int | None, devices: int | None, cluster: str | None, x64: bool, cache: Path | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train one run per seed, store the runs and sum them up.

    EXPERIMENT is a name that `jaxor experiments` lists (default: abs1_convergence) or your own file, .toml or .py.
    """
    if seeds is None and until is None:
        raise click.UsageError("--seeds is missing: give a number of seeds (10000) or a range (500:600)")

    if cache is not None:
        keep_compiled(cache)

    from jaxor.simulation import execute, prepare, progress_bar
    from jaxor.work import Where

    chosen = named(experiment).replace(**dict(settings))
    job = prepare(
        chosen, seeds, traces=traces, lane_width=lane_width, x64=x64, parameters=parameters, keep=keep, until=until
    )
    out, where = out or job.default_out, Where(devices, cluster, allow_mixed)
    bar = contextlib.nullcontext() if quiet or as_json else progress_bar(job.total)
    with noting_what_is_safe(out, lambda: _safe(job, out), "--resume"):
        with bar as watch:
            outcome = execute(job, out=out, where=where, resume=resume, watch=watch)
        _report(outcome, job, out, as_json)


def _safe(job: Job, out: Path) -> str:
    """How many runs are stored."""
    from jaxor.engine.seeds import number
    from jaxor.store.directory import RunDirectory

    safe = number(job.wanted) - number(RunDirectory.open(out).missing(job.wanted))
    return f"{safe:,} runs are" if job.total is None else f"{safe:,} of {job.total:,} runs are"


def _report(outcome: Outcome, job: Job, out: Path, as_json: bool) -> None:
    from jaxor.analysis.statistics import summary
    from jaxor.report.summaries import simulation_text
    from jaxor.store.directory import RunDirectory

    figures, size, rates = summary(outcome.run), RunDirectory.open(out).bytes_on_disk(), _rates(outcome)
    if as_json:
        head = {"path": str(out), "experiment": job.experiment.name, "identity": job.manifest.identity}
        speed = {"runs_per_s": rates[0], "runs_per_s_with_compile": rates[1], "bytes": size}
        click.echo(json.dumps(head | figures.to_dict() | speed | {"wall_s": outcome.wall_seconds}, allow_nan=False))
        return
    seeds = job.wanted if job.manifest.kind == "runs" else outcome.run.seeds
    text = simulation_text(
        figures, job.manifest, seeds=seeds, simulated=outcome.simulated, wall_seconds=outcome.wall_seconds,
        rates=rates, size=size, path=out,
    )  # fmt: skip
    click.echo(text)


def _rates(outcome: Outcome) -> tuple[float | None, float | None]:
    """Runs per second without and with the time for compiling; None if nothing was left to compute."""
    runs, wall = outcome.simulated, outcome.wall_seconds
    return (runs / (wall - outcome.compile_seconds), runs / wall) if runs else (None, None)
