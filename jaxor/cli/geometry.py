"""``jaxor geometry``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxor.cli.completion import experiments_or_directories, studies
from jaxor.cli.named import named
from jaxor.cli.resume import noting_what_is_safe
from jaxor.cli.types import SeedRange, Setting
from jaxor.cli.watching import watching

if TYPE_CHECKING:
    from jaxor.engine.geometry import Measuring
    from jaxor.store.run import Run


@click.command()
@click.argument("what", metavar="DIR|EXPERIMENT", required=False, shell_complete=experiments_or_directories)
@click.option(
    "--study", metavar="NAME|FILE", shell_complete=studies,
    help="In place of them: all settings of a study, see docs/geometry.md.",
)  # fmt: skip
@click.option(
    "--seeds", type=SeedRange(),
    help="So many seeds from 0, or those from A up to B - 1.  [default: all runs of DIR, 64 of EXPERIMENT]",
)  # fmt: skip
@click.option(
    "--reference", type=click.Choice(["final", "exact", "extra"]),
    help="What distances are taken to: where a run itself ends, the exact minimum where it is known, or where the run "
    "is --extra steps later.  [default: final]",
)  # fmt: skip
@click.option("--extra", type=int, default=0, metavar="K", help="Steps beyond the end.")
@click.option(
    "--set", "settings", type=Setting(), multiple=True,
    help="Change a key of EXPERIMENT, such as optimizer.learning_rate=0.2; none leaves it out. Repeatable.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where the runs of EXPERIMENT, or all of a study, go.  [default: outputs/<experiment>-<first 8 of identity>, "
    "outputs/geometry-<study>]",
)  # fmt: skip
@click.option(
    "--experiment", "file", type=click.Path(path_type=Path), metavar="FILE.py",
    help="The experiment of the runs in DIR if it has parts made in Python.",
)  # fmt: skip
@click.option("--devices", type=click.IntRange(min=1), metavar="D", help="Worker processes.  [default: one per core]")
@click.option("--plots", is_flag=True, help="Draw RSI, EB, gamma and the locally optimal rate over the steps.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def geometry(
    what: str | None, study: str | None, seeds: range | None, reference: str | None, extra: int,
    settings: Sequence[tuple[str, Any]], out: Path | None, file: Path | None, devices: int | None, plots: bool,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure how gradients point to where training ends.

    RSI, error bound and cosine along the paths of the runs in DIR, which are replayed, or of EXPERIMENT, whose runs are
    trained first; beside a random walk and other controls. What was measured before is not measured again.
    """
    from jaxor.engine.geometry import Measuring
    from jaxor.report.drawing import check_matplotlib

    if (what is None) == (study is None):
        raise click.UsageError("give a run directory, an experiment or --study NAME, one of them")
    if study is not None:
        options = {"seeds": seeds, "reference": reference, "set": settings, "extra": extra, "experiment": file}
        for name, given in (options | {"plots": plots}).items():
            if given:
                raise click.UsageError(f"--{name} does not go with --study; the study's file says what is measured")
        _study(study, out, devices, quiet or as_json, as_json)
        return
    if reference == "extra" and not extra:
        raise click.UsageError("--reference extra is where a run is K steps after its end; give --extra K with it")
    if plots:
        check_matplotlib()
    measuring = Measuring(reference or "final", extra)
    run = _runs(str(what), measuring, seeds, settings, out, file, devices, quiet or as_json)
    _one(run, seeds, measuring, devices, plots, quiet or as_json, as_json)


def _runs(
    what: str, measuring: Measuring, seeds: range | None, settings: Sequence[tuple[str, Any]], out: Path | None,
    file: Path | None, devices: int | None, quiet: bool,
) -> Run:  # fmt: skip
    """The runs of a directory, or of an experiment that is trained as far as it has not been."""
    from jaxor.analysis.measure import minima_of, opened
    from jaxor.experiments.registry import ExperimentError
    from jaxor.simulation import execute, prepare, progress_bar
    from jaxor.work import Where

    if Path(what).is_dir():
        if settings or out:
            raise click.UsageError("--set and --out go with an experiment; what is in a directory is fixed")
        return opened(what, None if file is None else named(str(file)))
    if file is not None:
        raise click.UsageError(f"--experiment goes with a run directory, which {what} is not")
    try:
        made = named(what)
    except ExperimentError as error:
        if Path(what).exists():
            raise
        raise ExperimentError(f"{what} is no directory, so it is taken for an experiment: {error}") from error
    made = made.replace(**dict(settings))
    if measuring.reference == "exact":
        minima_of(made)  # before anything is trained
    job = prepare(made, seeds or 64, traces="none")
    out = out or job.default_out
    bar = contextlib.nullcontext() if quiet else progress_bar(job.total)
    with _noting(out), bar as watch:
        return execute(job, out=out, where=Where(devices), resume=out.exists(), watch=watch).run


def _one(
    run: Run, seeds: range | None, measuring: Measuring, devices: int | None, plots: bool, quiet: bool, as_json: bool
) -> None:
    """Report on the paths of some runs."""
    import numpy as np

    from jaxor.analysis.measure import measure, wanted
    from jaxor.analysis.path_results import judge_paths, look_at
    from jaxor.report.geometry import paths_text
    from jaxor.report.geometry_plots import save_geometry_plots
    from jaxor.simulation import progress_bar
    from jaxor.store.derived import derived, keep

    try:
        ids = wanted(run, None if seeds is None else np.arange(seeds.start, seeds.stop))
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error
    assert run.path is not None  # noqa: S101 (on the command line runs are on disk)
    with _noting(run.path):
        with contextlib.nullcontext() if quiet else progress_bar(len(ids)) as watch:
            measured = measure(run, ids, measuring, devices=devices, watch=watch)
        seen = look_at(run.experiment, measured)
        found = judge_paths(run.experiment, measured, measuring, seen)
    table = found.to_dict()
    click.echo(json.dumps({"path": str(run.path)} | table, allow_nan=False) if as_json else paths_text(found))
    folder = derived(run.path, "geometry", str(measuring))
    with _writing(folder / "paths.json") as file:
        keep(file, f"{json.dumps(table, allow_nan=False)}\n".encode())
    if plots:
        with _writing(folder / "bands.svg"):
            save_geometry_plots(seen, run.experiment.name, measuring, folder)
    if not as_json:
        click.echo(f"\nKept in {folder}: measurements, paths.json{', bands.svg' * plots}.")


def _noting(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Add to an interruption or failure that what was done is kept and that the same command goes on."""
    return noting_what_is_safe(folder, lambda: "what was trained and measured is")


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[Path]:
    """Say of a file that cannot be written that nothing else is lost."""
    from jaxor.store.errors import StoreError

    try:
        yield file
    except OSError as error:
        raise StoreError(
            f"cannot write {file}: {error.strerror}; the report was printed, and measurements are untouched"
        ) from error


def _study(name: str, out: Path | None, devices: int | None, quiet: bool, as_json: bool) -> None:
    """Report on all settings of a study."""
    from jaxor.analysis.path_results import run_study
    from jaxor.analysis.path_study import load_study
    from jaxor.analysis.path_work import Paths
    from jaxor.report.geometry import study_text
    from jaxor.store.derived import keep

    study = load_study(name)
    folder = out or Path("outputs") / f"geometry-{study.name}"
    with _noting(folder), watching(quiet) as watch:
        paths = Paths(folder, devices)
        found = run_study(study, paths.measure, paths.train, watch)
    text = json.dumps(found.to_dict(), allow_nan=False)
    click.echo(text if as_json else study_text(found))
    with _writing(folder / "study.json") as file:
        keep(file, f"{text}\n".encode())
    if not as_json:
        click.echo(f"\nKept in {folder}.")
