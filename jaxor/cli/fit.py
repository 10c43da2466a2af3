"""``jaxor fit``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxor.cli.completion import directories

if TYPE_CHECKING:
    from jaxor.analysis.fit import Fit, Settings

FACES = ("law", "published", "sound", "causal")


@click.command()
@click.argument(
    "directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path),
    shell_complete=directories,
)  # fmt: skip
@click.option(
    "--name", default="default", show_default=True, help="Of the fit, under derived/fits in the run directory."
)
@click.option(
    "--models", type=click.Choice(FACES), multiple=True,
    help="Only those: laws, the article's own procedure, well-posed estimators, and what needs no final parameters. "
    "Repeatable.",
)  # fmt: skip
@click.option(
    "--reference", type=click.Choice(["final", "exact"]), default="final", show_default=True,
    help="What distances are measured to: the final parameters, or the exact minimum where it is known.",
)  # fmt: skip
@click.option("--initial", is_flag=True, help="The state before the first step is a row too.")
@click.option(
    "--runs", "which", type=click.Choice(["converged", "successful"]), default="converged", show_default=True,
    help="Learn from runs that converged, or from those with accuracy 1 however they stopped.",
)  # fmt: skip
@click.option("--folds", type=int, default=10, show_default=True, help="Of cross-validation, cut between runs.")
@click.option(
    "--held-out", type=float, default=0.2, show_default=True, help="Share of the runs that no model learns from."
)
@click.option("--full", is_flag=True, help="Let costly models learn from all rows; takes long.")
@click.option("--level", type=float, default=0.9, show_default=True, help="Of the intervals of `jaxor predict`.")
@click.option("--random-state", type=int, default=0, show_default=True, help="Of held-out runs, resamples and models.")
@click.option("--plots", is_flag=True, help="Draw plots beside the fit.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def fit(
    directories: tuple[Path, ...],
    name: str,
    models: tuple[str, ...],
    plots: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what determines how many epochs runs take to converge.

    Of several directories only the laws are compared, one row each, such as for a sweep of learning rates.
    """
    from jaxor.analysis.fit import Settings
    from jaxor.analysis.rows import NoRows
    from jaxor.report.drawing import check_matplotlib
    from jaxor.report.fits import fit_text, sweep_text
    from jaxor.store.errors import TraceNotStored

    if plots:
        check_matplotlib()
    several = len(directories) > 1
    if name.endswith(".json"):  # `jaxor predict --fit` takes such a one for a file
        raise ValueError(f"the name of a fit must not end in .json, got {name!r:.80}; leave that out")
    settings = Settings(faces=models or (("law",) if several else FACES), **options)
    fits = []
    for path in directories:
        try:
            fits.append(_fitted(path, settings, name, quiet or as_json, plots))
        except (NoRows, TraceNotStored) as error:  # of one directory it is clear which
            raise type(error)(f"{path}: {error}" if several else str(error)) from error
    if as_json:
        from jaxor.analysis.saved import to_dict

        tables = [{"path": str(path)} | to_dict(found) for path, found in zip(directories, fits, strict=True)]
        click.echo(json.dumps(tables if several else tables[0], allow_nan=False))
        return
    click.echo(sweep_text(fits) if several else fit_text(fits[0]))
    where = (
        directories[0] / "derived" / "fits" / f"{name}.json"
        if len(directories) == 1
        else f"derived/fits/{name}.json of each"
    )
    click.echo(f"\nKept in {where}.")


def _fitted(path: Path, settings: Settings, name: str, quiet: bool, plots: bool) -> Fit:
    """Fit to one directory, and keep what was learned."""
    from jaxor.analysis.fit import fit_run
    from jaxor.analysis.saved import save
    from jaxor.store.derived import derived
    from jaxor.store.run import Run, open_run

    # A wrong name, or a link in place of what is written, is told before the work.
    plots_of, _ = derived(path, "fits", name), derived(path, "fits", f"{name}.json")
    run = open_run(path)
    if not isinstance(run, Run):
        raise ValueError(f"{path} holds statistics and no single runs; simulate with --keep runs to fit")
    with _progress(quiet) as watch:
        found = fit_run(run, settings, watch=watch)
    save(found, path, name)
    for old in plots_of.glob("*.svg"):  # of another fit
        old.unlink()
    if plots:
        from jaxor.report.plots import save_plots

        save_plots(found, plots_of)
    return found


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int], Any] | None]:
    """A bar of models, on a terminal."""
    if quiet:
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit=" models", disable=None, leave=False) as bar:

        def watch(number: int) -> None:
            if bar.total is None:
                bar.reset(number)
            else:
                bar.update(number)

        yield watch
