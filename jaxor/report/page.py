"""Simulations as one HTML page that needs nothing else: no script, no network, no file beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jaxor
from jaxor.analysis.statistics import Summary, summary
from jaxor.report.comparison_plots import Simulations, comparison_plots
from jaxor.report.drawing import check_matplotlib
from jaxor.report.markup import Markup, definitions, element, joined, table
from jaxor.report.sections import LeftOut, Section, grid, lead, sections
from jaxor.report.summaries import interval_note, interval_words, success_interval
from jaxor.report.tables import percent
from jaxor.store.population import Population
from jaxor.store.run import Run, open_run

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may do with the page: show it. So nothing in a run directory that is not one's own can do more."""


def report_page(directories: Sequence[str | Path]) -> str:
    """Run directories as one page: how runs ended, with plots made for each, and where all of it comes from.

    Parameters
    ----------
    directories : sequence of str or Path
        Of several there is a comparison first.

    Returns
    -------
    str
        HTML, the same for the same directories.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    StoreError
        One is not a run directory, or a file in it is damaged.
    ValueError
        None is given, or one of them twice.

    Examples
    --------
    >>> import tempfile
    >>> from jaxor import simulate
    >>> out = Path(tempfile.mkdtemp()) / "run"
    >>> _ = simulate("relu1_normal", seeds=50, out=out)
    >>> page = report_page([out])
    >>> page[:15], page.count("<img") > 5, "<script" in page
    ('<!doctype html>', True, False)
    """
    check_matplotlib()
    paths = [Path(directory) for directory in directories]
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        raise ValueError("give one run directory, or several different ones")
    opened = [open_run(path) for path in paths]
    keys = [f"run-{place}" for place in range(1, len(opened) + 1)]
    names = labels = [runs.manifest.experiment["name"] for runs in opened]
    if len(opened) > 1:
        labels = [f"{place}. {name}" for place, name in enumerate(names, 1)]
    found = [summary(runs) for runs in opened]
    parts = [_simulation(*one) for one in zip(opened, found, labels, keys, strict=True)]
    links = parts[0].links
    if len(opened) > 1:
        parts.insert(0, _side_by_side(dict(zip(labels, zip(opened, found, strict=True), strict=True))))
        links = parts[0].links | dict(zip(keys, labels, strict=True))
    return _document(f"Report: {', '.join(dict.fromkeys(names))}", links, joined(part.content for part in parts))


class _Part(NamedTuple):
    """Content, and what in it can be gone to: words by identifier."""

    content: Markup
    links: dict[str, str]


def _simulation(runs: Run | Population, found: Summary, label: str, key: str) -> _Part:
    """All that is said of one simulation."""
    made = list(sections(runs, found))
    shown = {f"{key}-{place}": part for place, part in enumerate(made, 1) if isinstance(part, Section)}
    left_out = [part for part in made if isinstance(part, LeftOut)]
    parts = [
        element("h2", label),
        element("p", lead(found), class_="lead"),
        *(element("section", element("h3", part.title), part.content, id=place) for place, part in shown.items()),
    ]
    if left_out:
        parts.append(element("section", element("h3", "Not shown"), definitions(left_out)))
    return _Part(element("article", *parts, id=key), {place: part.title for place, part in shown.items()})


def _side_by_side(simulations: Simulations) -> _Part:
    """What several simulations have come to, and in what they differ."""
    title = "Side by side"
    results = [(label, *_results(found)) for label, (_, found) in simulations.items()]
    heads = ("simulation", "runs", "success", "95 % interval", "median epochs, converged")
    content = [
        element("h2", title),
        element("h3", "Results"),
        table("Results", heads, results, "<>><>"),
        element("p", f"Intervals: {interval_note(found for _, found in simulations.values())}.", class_="note"),
        grid(comparison_plots(simulations)),
        element("h3", "Settings that differ"),
        table(
            "Settings that differ", ("setting", *simulations), _differences(simulations), "<" * (1 + len(simulations))
        ),
    ]
    return _Part(element("section", *content, id="side-by-side"), {"side-by-side": title})


def _results(found: Summary) -> tuple[str, str, str, str]:
    if not found.seeds:
        return "0", "-", "-", "-"
    share, median = percent(found.success.count / found.seeds, found.seeds), found.epochs_converged
    likely = interval_words(success_interval(found), found.seeds)
    return f"{found.seeds:,}", share, likely, "-" if median is None else f"{median.q50:,.6g}"


def _differences(simulations: Simulations) -> list[tuple[str, ...]]:
    """Keys whose values differ, with the values."""
    flat = [dict(_flat(runs.manifest.experiment)) | _numbers(runs) for runs, _ in simulations.values()]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = [(key, *(str(one.get(key, "-")) for one in flat)) for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _numbers(runs: Run | Population) -> dict[str, Any]:
    return {"precision": runs.manifest.floats, "lane width": runs.manifest.lane_width}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _document(title: str, links: Mapping[str, str], content: Markup) -> str:
    style = Markup(files("jaxor.report").joinpath("page.css").read_text("utf-8"))
    items = [element("li", element("a", words, href=f"#{place}")) for place, words in links.items()]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    body = element(
        "body",
        element("a", "Skip to content", class_="skip", href="#content"),
        element("header", element("h1", title), element("nav", element("ul", *items), aria_label="Sections")),
        element("main", content, id="content"),
        element("footer", element("p", f"Made by jaxor {jaxor.__version__} from the run directories.", class_="note")),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"
