"""What a page says of one simulation: sections of HTML, each with a title, or the reason why it is not there."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import tomli_w

from jaxor.analysis.statistics import Summary
from jaxor.analysis.subject import NotKnown
from jaxor.engine.seeds import compress, expand, number
from jaxor.engine.status import Status
from jaxor.report.drawing import NARROW, caption_of, panels_of, rendered, title_of
from jaxor.report.markup import Markup, definitions, element, joined, picture, scrolling, table
from jaxor.report.run_plots import run_plots
from jaxor.report.summaries import QUANTILES, ending, ends, intervals, notes, spreads
from jaxor.report.tables import count, percent, ranges_text
from jaxor.store.derived import derived
from jaxor.store.errors import StoreError
from jaxor.store.manifest import pairs
from jaxor.store.population import Population
from jaxor.store.run import Run, open_run

if TYPE_CHECKING:  # an extra
    from matplotlib.figure import Figure

MOST = 20_000
"""Runs whose hidden units are looked at."""

PATHS = 256
"""Runs whose measured paths are looked at."""

PLOT_BYTES = 2**22
"""Size of a plot that a page takes in at most."""


class Section(NamedTuple):
    """A part of a page."""

    title: str
    content: Markup


class LeftOut(NamedTuple):
    """A part that is not there, and why."""

    title: str
    why: str


def sections(runs: Run | Population, found: Summary) -> Iterator[Section | LeftOut]:
    """Everything that can be said of a simulation that is on disk, of which the summary is known.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    StoreError
        A file is damaged.
    """
    yield Section("How runs ended", _ends(found))
    figures, left_out = run_plots(runs)
    yield Section("Epochs, losses and paths", grid(figures.values()))
    for name, why in left_out.items():
        yield LeftOut(name.replace("_", " "), why)
    if isinstance(runs, Run):
        yield from (_hidden_units(runs), *_fits(runs), *_geometry(runs))
    yield Section("Provenance", _provenance(runs))


def lead(found: Summary) -> str:
    """A simulation in a sentence or two."""
    if not found.seeds:
        return "No runs yet."
    success = f"{percent(found.success.count / found.seeds, found.seeds)} of {count(found.seeds, 'run')}"
    text = f"{success} end with accuracy 1 ({'; '.join(intervals(found))})."
    converged = found.epochs_converged
    if converged is None:
        return f"{text} None converged."
    number = found.status[Status.CONVERGED]
    return f"{text} Of the {number:,} that converged half took {converged.q50:,.6g} epochs or fewer."


def _ends(found: Summary) -> Markup:
    parts = [
        table("Ends", ("end", "runs", "share", "meaning"), ends(found), "<>><"),
        table("Quantiles", ("quantity", *QUANTILES), spreads(found), "<>>>>>>"),
    ]
    rules = [element("p", f"The rule {text}.") for _, text in ending(found)]
    return joined([*parts, *rules, *(element("p", note, class_="note") for note in notes(found))])


def grid(figures: Iterable[Figure]) -> Markup:
    """Plots beside and below each other, as there is room."""
    return element("div", *map(_figure, figures), class_="figures")


def _figure(figure: Figure) -> Markup:
    """A plot, its title and caption as text beside it."""
    title, caption, panels = title_of(figure), caption_of(figure), panels_of(figure)
    axes = [
        f"{words} {label}"
        for one in figure.axes
        for words, label in (("across:", one.get_xlabel()), ("up:", one.get_ylabel()))
        if label
    ]
    alternative = ". ".join([f"Plot: {title}", *panels, *dict.fromkeys(axes)])
    narrow = figure.get_figwidth() <= NARROW
    figure.suptitle("")
    figure.supxlabel("")
    image = picture(rendered(figure, "svg"), "svg+xml", alternative)
    return _captioned(title, image if narrow else scrolling(title, image), caption, "" if narrow else "broad")


def _captioned(title: str, content: Markup, caption: str, class_: str) -> Markup:
    return element("figure", element("h4", title), content, element("figcaption", caption), class_=class_)


def _hidden_units(run: Run) -> Section | LeftOut:
    """What `jaxor diagnose` says."""
    from jaxor.analysis.diagnosis import diagnose
    from jaxor.report.diagnoses import diagnosis_text
    from jaxor.report.hyperplanes import diagnosis_plots

    title, some = "Hidden units", run
    if len(run) > MOST and run.path is not None:
        some = open_run(run.path, run.seeds[:MOST])
    try:
        found = diagnose(some)
        figures = diagnosis_plots(found)
    except (NotKnown, StoreError) as error:
        return LeftOut(title, str(error))
    if not figures:
        return LeftOut(title, "they are known of models that begin with linear1.weight and linear1.bias")
    first = element("p", f"Of the first {MOST:,} runs.", class_="note") if some is not run else None
    return Section(title, joined([first, grid(figures.values()), _details(diagnosis_text(found))]))


def _details(text: str) -> Markup:
    """What a command prints, to be unfolded."""
    what = "All tables"
    return element("details", element("summary", what), scrolling(what, element("pre", text)))


def _fits(run: Run) -> Iterator[Section | LeftOut]:
    """What `jaxor fit` kept."""
    from jaxor.analysis.loaded import scores

    assert run.path is not None  # noqa: S101 (it is on disk)
    folder = derived(run.path, "fits")
    found = sorted(folder.glob("*.json"))
    if not found:
        yield LeftOut("fit", f"nothing was fitted; jaxor fit {run.path} --plots does it")
    for path in found:
        title = f"Fit {path.stem}: epochs to convergence, forecast"
        try:
            models = scores(path)
        except StoreError as error:
            yield LeftOut(title, str(error))
            continue
        rows = [
            (one.name, "yes" if one.causal else "no", *map(_number, (one.r2, one.low, one.high, one.mae)))
            for one in models
        ]
        heads = ("model", "while under way", "R²", "from", "to", "mean absolute error, epochs")
        caption = "Forecasts of runs not learned from: folds between runs, 95 % intervals by resampling whole runs"
        drawn = element("div", *_kept_plots(folder / path.stem), class_="figures")
        again = element("p", f"jaxor fit {run.path} --plots draws what was fitted.", class_="note")
        yield Section(title, joined([table(caption, heads, rows, "<<>>>>"), drawn if "<img" in drawn else again]))


_FIT_PLOTS: Mapping[str, str] = {
    "forecast": "Forecast against actual epochs",
    "residuals": "Errors of forecasts against actual epochs",
    "families": "R² by family of features",
    "distance": "Epochs against distance, with two laws",
}


def _kept_plots(folder: Path) -> Iterator[Markup]:
    """Plots that the command drew; a link is not followed, since it may lead to what is not meant to be shown."""
    for name, title in _FIT_PLOTS.items():
        path = folder / f"{name}.svg"
        try:
            about = path.lstat()
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode) and about.st_size <= PLOT_BYTES:
            image = picture(path.read_bytes(), "svg+xml", f"Plot: {title}")
            yield _captioned(title, scrolling(title, image), "", "broad")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _geometry(run: Run) -> Iterator[Section | LeftOut]:
    """What `jaxor geometry` measured."""
    from jaxor.analysis.path_results import judge_paths, look_at
    from jaxor.engine.geometry import Measuring
    from jaxor.experiments.registry import ExperimentError
    from jaxor.report.geometry import paths_text
    from jaxor.report.geometry_plots import geometry_plots
    from jaxor.store.paths import GeometryDirectory, held, select

    assert run.path is not None  # noqa: S101 (it is on disk)
    names = sorted(path.name for path in derived(run.path, "geometry").glob("*") if path.is_dir())
    if not names:
        yield LeftOut("geometry", f"no paths were measured; jaxor geometry {run.path} does it")
    for name in names:
        title = f"Geometry of paths, reference {name}"
        try:
            measuring = Measuring.parse(name)
            parts = GeometryDirectory.of(run.path, measuring, run.manifest).parts()
            geometry = select(parts, expand(held(parts))[:PATHS])
            seen = look_at(run.experiment, geometry)
            figures = geometry_plots(seen, run.experiment.name, measuring)
        except (StoreError, ExperimentError, ValueError) as error:
            yield LeftOut(title, str(error))
            continue
        found = judge_paths(run.experiment, geometry, measuring, seen)
        yield Section(title, joined([grid(figures.values()), _details(paths_text(found))]))


def _provenance(runs: Run | Population) -> Markup:
    """Where the figures come from, and all that is needed to have them again."""
    manifest = runs.manifest
    seeds = compress(runs.seeds) if isinstance(runs, Run) else runs.seeds
    kept = f"traces {manifest.traces}, parameters {manifest.parameters}"
    if isinstance(runs, Population):
        kept = "counts of runs by status, success, epochs and losses"
    rows = [
        ("identity", manifest.identity),
        ("seeds", f"{count(number(seeds), 'seed')}: {ranges_text(seeds)}" if seeds else "none yet"),
        ("computed", f"{manifest.floats}, lane width {manifest.lane_width:,}, {manifest.layout}, {manifest.prng}"),
        ("kept", kept),
        ("versions", pairs(manifest.versions)),
        ("platform", pairs(manifest.platform)),
        ("directory", str(runs.path)),
    ]  # fmt: skip
    definition = scrolling("Experiment", element("pre", tomli_w.dumps(manifest.experiment)))
    return joined([definitions(rows), element("details", element("summary", "Experiment"), definition)])
