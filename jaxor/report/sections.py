"""What a page says of one simulation: sections of HTML, each with a title, or the reason why it is not there."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import tomli_w

from jaxor.analysis.statistics import Summary
from jaxor.engine.seeds import compress, difference, expand, number
from jaxor.engine.status import Status
from jaxor.report.drawing import NARROW, caption_of, panels_of, rendered, title_of
from jaxor.report.markup import Markup, definitions, element, joined, picture, scrolling, table
from jaxor.report.run_plots import run_plots
from jaxor.report.summaries import QUANTILES, ending, ends, intervals, notes, spreads, starting
from jaxor.report.tables import count, percent, ranges_text
from jaxor.store.derived import derived
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.manifest import pairs
from jaxor.store.population import Population
from jaxor.store.run import Run, open_run
from jaxor.store.shard import made_by

if TYPE_CHECKING:  # an extra
    from matplotlib.figure import Figure

MOST = 20_000
"""Runs whose hidden units are looked at."""

MEASURED = 256
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
    if found.seeds:
        yield from _of_runs(runs, found)
    else:
        yield LeftOut("Runs", "none are there yet; the same jaxor simulate with --resume computes them")
    yield Section("Provenance", _provenance(runs))


def _of_runs(runs: Run | Population, found: Summary) -> Iterator[Section | LeftOut]:
    """What can be said where there are some."""
    yield Section("How runs ended", _ends(found))
    figures, left_out = run_plots(runs)
    yield Section("Epochs, losses and paths", grid(figures.values()))
    for name, why in left_out.items():
        yield LeftOut(name.replace("_", " "), why)
    if isinstance(runs, Run):
        yield from (_hidden_units(runs), *_fits(runs), *_geometry(runs))
    else:
        of_runs = "accuracy, losses over the steps, paths, hidden units, fits and geometry"
        yield LeftOut("Runs one by one", f"of counts there is no {of_runs}; simulate with --keep runs")


def lead(found: Summary) -> str:
    """A simulation in a sentence or two."""
    if not found.seeds:
        return "No runs yet."
    success = f"{percent(found.success.count / found.seeds, found.seeds)} of {count(found.seeds, 'run')}"
    text = f"{success} end with accuracy 1 ({'; '.join(intervals(found))})."
    converged = found.epochs_converged
    if converged is None:
        return f"{text} None converged."
    many = f"{found.status[Status.CONVERGED]:,}"
    return f"{text} Of the {many} that converged half took {converged.q50:,.6g} epochs or fewer."


def _ends(found: Summary) -> Markup:
    parts = [
        table("Ends", ("end", "runs", "share", "meaning"), ends(found), "<>><"),
        table("Quantiles", ("quantity", *QUANTILES), spreads(found), "<>>>>>>"),
    ]
    rules = [element("p", f"The rule {text}.") for _, text in ending(found)]
    return joined([*parts, *rules, *map(_note, notes(found))])


def _note(text: str | None) -> Markup | None:
    return None if text is None else element("p", text, class_="note")


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
    from jaxor.analysis.subject import NotKnown, Subject
    from jaxor.report.diagnoses import diagnosis_text
    from jaxor.report.hyperplanes import diagnosis_plots

    title, some = "Hidden units", run
    if len(run) > MOST and run.path is not None:
        some = open_run(run.path, run.seeds[:MOST])
    try:
        _ = Subject(some).final  # without it there is nothing to say of units
        found = diagnose(some)
    except (NotKnown, StoreError) as error:
        return LeftOut(title, str(error))
    first = f"Of the first {MOST:,} runs." if some is not run else None
    figures = diagnosis_plots(found).values()
    return Section(title, joined([_note(first), grid(figures), _details("All tables", diagnosis_text(found))]))


def _details(title: str, text: str) -> Markup:
    """What a command prints, or a file holds, to be unfolded."""
    return element("details", element("summary", title), scrolling(title, element("pre", text)))


def _fits(run: Run) -> Iterator[Section | LeftOut]:
    """What `jaxor fit` kept."""
    assert run.path is not None  # noqa: S101 (it is on disk)
    try:
        names = sorted(path.stem for path in derived(run.path, "fits").glob("*.json"))
    except StoreError as error:
        yield LeftOut("fit", str(error))
        return
    if not names:
        yield LeftOut("fit", f"nothing was fitted; jaxor fit {run.path.name} --plots does it")
    for name in names:
        title = f"Fit {name}: epochs to convergence, forecast"
        try:
            yield Section(title, _fit(run, run.path, name))
        except (StoreError, ValueError) as error:
            yield LeftOut(title, str(error))


def _fit(run: Run, path: Path, name: str) -> Markup:
    """How good the models of a fit are, and the plots that were drawn of it."""
    from jaxor.analysis.loaded import scores

    kept, again = scores(derived(path, "fits", f"{name}.json")), f"jaxor fit {path.name} --name {name} --plots"
    if kept.identity != run.identity:
        raise StoreError(f"it is of another simulation; {again} fits this one")
    rows = [
        (one.name, "yes" if one.causal else "no", *map(_number, (one.r2, one.low, one.high, one.mae)))
        for one in kept.models
    ]
    heads = ("model", "while under way", "R²", "from", "to", "mean absolute error, epochs")
    caption = (
        f"Forecasts of {kept.runs:,} of {count(kept.runs_in_all, 'run')}, each by models that learned from others "
        "(folds between runs); 95 % intervals by resampling whole runs"
    )
    notes = []
    if kept.runs_in_all != len(run):
        there = f"{count(kept.runs_in_all, 'run')}, now there are {len(run):,}"
        notes.append(f"When this was fitted there were {there}; {again} fits again.")
    figures = [*_kept_plots(path, name)]
    if not figures:
        notes.append(f"There are no plots of it; {again} fits again and draws it.")
    drawn = element("div", *figures, class_="figures") if figures else None
    return joined([table(caption, heads, rows, "<<>>>>"), drawn, *map(_note, notes)])


_FIT_PLOTS: Mapping[str, str] = {
    "forecast": "Forecast against actual epochs",
    "residuals": "Errors of forecasts against actual epochs",
    "families": "R² by family of features",
    "distance": "Epochs against distance, with two laws",
}
_DESCRIPTION = re.compile(rb"<dc:description>([^<\n]*)")  # its first line is the caption, see `rendered`


def _kept_plots(path: Path, fit: str) -> Iterator[Markup]:
    """Plots that the command drew, each with its caption."""
    for name, title in _FIT_PLOTS.items():
        file = derived(path, "fits", fit, f"{name}.svg")
        try:
            about = file.lstat()
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode) and about.st_size <= PLOT_BYTES:
            data = file.read_bytes()
            said = _DESCRIPTION.search(data)
            image = picture(data, "svg+xml", f"Plot: {title}")
            caption = unescape(said[1].decode("utf-8", "replace")) if said else ""
            yield _captioned(title, scrolling(title, image), caption, "broad")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _geometry(run: Run) -> Iterator[Section | LeftOut]:
    """What `jaxor geometry` measured."""
    from jaxor.experiments.registry import ExperimentError

    assert run.path is not None  # noqa: S101 (it is on disk)
    try:
        names = sorted(path.name for path in derived(run.path, "geometry").glob("*") if path.is_dir())
    except StoreError as error:
        yield LeftOut("geometry", str(error))
        return
    if not names:
        yield LeftOut("geometry", f"no paths were measured; jaxor geometry {run.path.name} does it")
    for name in names:
        title = f"Geometry of paths, reference {name}"
        try:
            yield Section(title, _paths(run, run.path, name))
        except (StoreError, ExperimentError, ValueError) as error:
            yield LeftOut(title, str(error))


def _paths(run: Run, path: Path, reference: str) -> Markup:
    """What the measured paths are like, seen from a reference."""
    from jaxor.analysis.path_results import judge_paths, look_at
    from jaxor.engine.geometry import Measuring
    from jaxor.report.geometry import paths_text
    from jaxor.report.geometry_plots import geometry_plots
    from jaxor.store.paths import GeometryDirectory, held, select

    measuring = Measuring.parse(reference)
    parts = GeometryDirectory.of(path, measuring, run.manifest).parts(MEASURED + 1)
    seeds = expand(held(parts))
    if not len(seeds):
        raise StoreError(f"nothing was measured yet; jaxor geometry {path.name} goes on with it")
    geometry = select(parts, seeds[:MEASURED])
    seen = look_at(run.experiment, geometry)
    figures = geometry_plots(seen, run.experiment.name, measuring)
    found = judge_paths(run.experiment, geometry, measuring, seen)
    first = f"Of the first {MEASURED:,} of the runs that were measured." if len(seeds) > MEASURED else None
    return joined([_note(first), grid(figures.values()), _details("All tables", paths_text(found))])


def _provenance(runs: Run | Population) -> Markup:
    """Where the figures come from, and all that is needed to have them again."""
    assert runs.path is not None  # noqa: S101 (it is on disk)
    manifest = runs.manifest
    kept = f"traces {manifest.traces}, parameters {manifest.parameters}"
    if isinstance(runs, Population):
        kept = "counts of runs by status, success, epochs and losses"
    begun = f"{pairs(manifest.versions)} on {pairs(manifest.platform)}"
    makers = {made_by(shard.path, manifest) for shard in RunDirectory.open(runs.path).shards()}
    rows = [
        ("identity", manifest.identity),
        ("seeds", _seeds(runs)),
        *starting(manifest),
        ("computed", f"{manifest.floats}, lane width {manifest.lane_width:,}, {manifest.layout}, {manifest.prng}"),
        ("kept", kept),
        ("begun with", begun),
        *(("computed by", maker) for maker in sorted(makers) if makers != {begun}),
        ("directory", runs.path.name),
    ]  # fmt: skip
    return joined([definitions(rows), _details("Experiment", tomli_w.dumps(manifest.experiment))])


def _seeds(runs: Run | Population) -> str:
    """Those that are there, and those that are not."""
    seeds = compress(runs.seeds) if isinstance(runs, Run) else runs.seeds
    there = f"{count(number(seeds), 'seed')}: {ranges_text(seeds)}" if seeds else "none yet"
    missing = difference(runs.manifest.seeds, seeds)
    return there if not missing else f"{there}; {number(missing):,} missing: {ranges_text(missing)}"
