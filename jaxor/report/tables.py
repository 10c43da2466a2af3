"""Plain text for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxor.analysis.statistics import Losses, LossGroup, PopulationSummary, Summary
from jaxor.engine.choice import none_of
from jaxor.engine.seeds import Ranges, number
from jaxor.engine.status import Status
from jaxor.estimates import Interval, Quantiles, Share
from jaxor.store.manifest import Manifest, pairs
from jaxor.store.merge import Merged
from jaxor.store.verify import Verification

if TYPE_CHECKING:  # both bring JAX with them
    from jaxor.experiments.catalog import Entry
    from jaxor.experiments.experiment import Experiment


def columns(rows: Iterable[Sequence[str]], align: str) -> str:
    """Lay out cells in columns.

    Parameters
    ----------
    rows : iterable of sequences of str
    align : str
        ``<`` or ``>`` for each column.

    Examples
    --------
    >>> print(columns([("seed", "epochs"), ("7", "1,000")], "<>"))
    seed  epochs
    7      1,000
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in cells)


def section(title: str, text: str) -> str:
    """A text under its title."""
    return f"{title}\n{'-' * len(title)}\n{text}"


def wrapped(text: str) -> str:
    """A sentence or two below a wide table: 100 columns."""
    return textwrap.fill(text, 100)


def fields(rows: Iterable[tuple[str, str]]) -> str:
    """Names with what they are, long texts wrapped to 80 columns."""
    return "\n".join(
        textwrap.fill(
            text,
            80,
            initial_indent=f"{name:<12}",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
            break_long_words=False,
        )
        for name, text in rows
    )


def summary_table(summary: Summary) -> str:
    """How the runs of a simulation ended: statuses, successes, epochs and losses."""
    total = summary.seeds
    if not total:
        return "No runs yet."
    ends = [
        (status.name.lower().replace("_", " "), f"{number:,}", percent(number / total, total), status.words)
        for status, number in summary.status.items()
    ]
    success = summary.success
    wilson = f"Wilson 95 %: {_interval(success, total)}"
    rows = [*ends, ("success", f"{success.count:,}", percent(success.count / total, total), f"accuracy 1; {wilson}")]
    if isinstance(summary, PopulationSummary):  # with so many runs that a line is too short
        rows = [*ends, (*rows[-1][:3], "accuracy 1"), ("", "", "", wilson)]
        if summary.until:
            rows.append(("", "", "", f"at every look, 95 %: {_interval(summary.success_sequence, total)}"))
    heads = ("", "min", "25 %", "median", "75 %", "max", "mean")
    figures = [
        ("epochs, all", *_cells(summary.epochs, _epochs)),
        ("epochs, converged", *_cells(summary.epochs_converged, _epochs)),
        ("initial loss", *_cells(summary.initial_loss.quantiles, _loss)),
        ("final loss", *_cells(summary.final_loss.quantiles, _loss)),
        *([("draws", *_cells(summary.draws.quantiles, _epochs))] if summary.draws else []),
    ]
    parts = [columns(rows, "<>><"), columns([heads, *figures], "<>>>>>>")]
    if isinstance(summary, PopulationSummary) and summary.by_initial_loss:
        parts.append(_by_initial_loss(summary.by_initial_loss))
    return "\n\n".join([*parts, _notes(summary)])


def _by_initial_loss(groups: Iterable[LossGroup]) -> str:
    heads = ("initial loss", "", "", "runs", "success", "Wilson 95 %")
    rows = [
        (
            _loss(group.low), "to", _loss(group.high), f"{group.runs:,}",
            percent(group.success.count / group.runs, group.runs), _interval(group.success, group.runs),
        )
        for group in groups
    ]  # fmt: skip
    return columns([heads, *rows], ">>>>><")


def _interval(interval: Share | Interval, total: int) -> str:
    return f"{percent(interval.low, total)} to {percent(interval.high, total)}"


def _cells(figures: Quantiles | None, show: Callable[[float], str]) -> list[str]:
    return ["-"] * len(Quantiles._fields) if figures is None else [show(figure) for figure in figures]


def _notes(summary: Summary) -> str:
    """Which runs the figures are over."""
    everything, converged = f"over all {count(summary.seeds, 'run')}", summary.status[Status.CONVERGED]
    if summary.unstarted:
        everything = f"over the {count(summary.started, 'run')} that started"
    censored = f", of which {summary.censored:,} ended without converging (censored)" if summary.censored else ""
    epochs = f"Epochs: {everything}{censored}, and over the {converged:,} converged."
    left_out = _left_out("initial", summary.initial_loss) + _left_out("final", summary.final_loss)
    losses = f"Losses before the first step and after the last, accuracy after the last: {everything}{left_out}."
    notes = [epochs, losses, *_of_draws(summary)]
    if isinstance(summary, PopulationSummary):
        notes[1] += " Losses were counted in bins and are accurate to 0.4 %."
        if summary.until:
            notes.append(
                "Wilson's interval is for a number of runs fixed in advance. The other is a confidence sequence "
                "(Robbins' beta-binomial mixture): it holds at all looks at once, so also where a rule ended the "
                "simulation."
            )
    return "\n".join(textwrap.fill(note, 80) for note in notes)


def _of_draws(summary: Summary) -> list[str]:
    """What is to be known of first parameters that were chosen, or not found."""
    notes = []
    if summary.draws:
        notes.append(f"Draws of first parameters: {summary.draws.total:,} for all {count(summary.seeds, 'run')}.")
    if summary.unstarted:
        notes.append(
            f"The initializer found no acceptable draw for {count(summary.unstarted, 'run')}: without epochs, losses "
            "and accuracy, and no success."
        )
    if summary.draws and not summary.started:
        notes.append(
            f"As none was acceptable, the probability of one that is lies below {none_of(summary.draws.total):.1g} "
            "(95 %); relax the initializer's condition or raise init.max_draws."
        )
    return [" ".join(notes)] if notes else []


def _left_out(name: str, losses: Losses) -> str:
    """How many losses the quantiles leave out."""
    if not losses.nonfinite:
        return ""
    return f"; {losses.nonfinite:,} {name} {'is' if losses.nonfinite == 1 else 'are'} not finite and left out"


def simulation_text(
    summary: Summary, manifest: Manifest, *, seeds: Ranges, simulated: int, wall_seconds: float,
    rates: tuple[float | None, float | None], size: int, path: Path,
) -> str:  # fmt: skip
    """What `jaxor simulate` says at its end.

    Parameters
    ----------
    summary : Summary
    manifest : Manifest
    seeds : Ranges
        Those that the summary is of.
    simulated : int
        How many of them were computed now.
    wall_seconds : float
    rates : (float, float) or (None, None)
        Runs per second, without and with the time for compiling.
    size : int
        Bytes in the run directory.
    path : Path
    """
    head = f"{manifest.experiment['name']}: {count(summary.seeds, 'run')}, seeds {ranges_text(seeds)}"
    without, including = rates
    speed = [("computed", "nothing left to compute, all runs were stored already")]
    if without is not None and including is not None:
        speed = [
            ("computed", f"{count(simulated, 'run')} in {wall_seconds:.3g} s"),
            ("throughput", f"{_rate(without)} runs/s without compilation, {_rate(including)} with it"),
        ]
    foot = fields([*_ending(summary), *speed, ("stored", f"{size_text(size)} in {path}")])
    return "\n\n".join([textwrap.fill(head, 80), summary_table(summary), foot])


def info_text(summary: Summary, manifest: Manifest, missing: int, size: int, path: Path) -> str:
    """What `jaxor info` says: what a run directory holds."""
    asked = f"{number(manifest.seeds):,} asked for ({ranges_text(manifest.seeds)}), "
    kept = f"traces {manifest.traces}, parameters {manifest.parameters}"
    if manifest.kind == "statistics":
        kept = "statistics: counts of runs by status, success, epochs and losses"
        if not manifest.seeds:  # a rule has not come to its end
            asked = "as many as it takes; "
    done = f"{summary.seeds:,} done, {missing:,} missing"
    head = [
        ("experiment", manifest.experiment["name"]),
        ("identity", manifest.identity),
        ("seeds", asked + done),
        *_ending(summary),
        (
            "computed",
            f"{manifest.floats}, lane width {manifest.lane_width:,}, layout {manifest.layout}, {manifest.prng}",
        ),
        ("kept", kept),
        ("versions", pairs(manifest.versions)),
        ("platform", pairs(manifest.platform)),
        ("stored", f"{size_text(size)} in {path}"),
    ]
    return fields(head) + "\n\n" + summary_table(summary)


def verification_text(found: Verification, path: Path) -> str:
    """What `jaxor verify` says."""
    asked, there = number(found.manifest.seeds), number(found.seeds)
    missing = f", {number(found.missing):,} missing ({ranges_text(found.missing)})" if found.missing else ""
    rows = [
        ("experiment", found.manifest.experiment["name"]),
        ("identity", found.manifest.identity),
        ("sound", f"{count(found.shards, 'shard')} with {count(there, 'seed')}; {asked:,} asked for{missing}"),
        *(("computed by", made_by) for made_by in found.made_by),
        *(("no good", problem) for problem in found.problems),
    ]
    if found.digest is not None:
        rows.append(("digest", found.digest))
    verdict = f"{path} is sound." if not found.problems else f"{path} has {count(len(found.problems), 'problem')}."
    return fields(rows) + "\n\n" + verdict


def merged_text(merged: Merged, path: Path) -> str:
    """What `jaxor merge` says."""
    repeated = f"; {count(merged.repeated, 'run')} were there already and are equal" if merged.repeated else ""
    return f"{count(merged.added, 'run')} added{repeated}.\n{path} holds seeds {ranges_text(merged.seeds)}."


def _ending(summary: Summary) -> list[tuple[str, str]]:
    """Whether the rule held, if there was one."""
    if not isinstance(summary, PopulationSummary) or summary.until is None:
        return []
    until, holds = summary.until, "holds" if summary.until.holds else "does not hold"
    return [("until", f"{until.rule} {holds}: {until.halfwidth:.3g} after {count(summary.seeds, 'run')}")]


def experiments_table(experiments: Iterable[Experiment]) -> str:
    """The catalogue: what differs most from one experiment to the next."""
    rows = [
        (
            table["name"],
            _model(table["model"]),
            table["init"]["name"],
            " ".join(str(value) for key, value in table["optimizer"].items() if key in ("name", "learning_rate")),
            f"{table['max_epochs']:,}",
        )
        for table in (experiment.to_dict() for experiment in experiments)
    ]
    return columns([("name", "model", "init", "optimizer", "epochs"), *rows], "<<<<>")


def _model(table: dict[str, Any]) -> str:
    """A model in a word or two: its name, its hidden units or widths, its activation if that is not ReLU."""
    size = "-".join(str(width) for width in table.get("widths", [table.get("hidden", "")]))
    activation = table.get("activation", "relu")
    return table["name"] + (f"({size})" if size else "") + (f" {activation}" if activation != "relu" else "")


def experiment_text(entry: Entry) -> str:
    """One experiment of the catalogue as TOML, with where it comes from in comments."""
    paragraphs = [f"From {entry.provenance}.", entry.note]
    comments = [line for text in paragraphs for line in textwrap.wrap(text, 78, break_on_hyphens=False)]
    return "\n".join(f"# {line}" for line in comments) + "\n\n" + entry.experiment.to_toml().rstrip()


def count(number: int, noun: str) -> str:
    """A number of things.

    Examples
    --------
    >>> count(1, "run"), count(10_000, "run")
    ('1 run', '10,000 runs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float, total: int) -> str:
    """A share with as many digits as `total` runs can tell apart, from one to three; 0 and 100 only if it is exact.

    Examples
    --------
    >>> percent(0.58, 50), percent(0.9999, 10_000), percent(1 - 1e-7, 10**9), percent(1e-7, 10**9)
    ('58.0 %', '99.99 %', '>99.999 %', '<0.001 %')
    """
    digits = min(max(len(str(total - 1)) - 2, 1), 3)
    smallest = 10.0**-digits
    if 0 < share < smallest / 200:
        return f"<{smallest:.{digits}f} %"
    if 1 - smallest / 200 < share < 1:
        return f">{100 - smallest:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def ranges_text(ranges: Ranges) -> str:
    """Seeds in words; of more than three ranges the first two and the last.

    Examples
    --------
    >>> ranges_text(((0, 10_000), (20_000, 20_001)))
    '0 to 9,999, 20,000'
    """
    words = [f"{start:,} to {stop - 1:,}" if stop - start > 1 else f"{start:,}" for start, stop in ranges]
    return ", ".join(words if len(words) <= 3 else [*words[:2], "...", words[-1]])


def size_text(size: int) -> str:
    """Bytes with a unit.

    Examples
    --------
    >>> size_text(999), size_text(12_345_678)
    ('999 bytes', '12.3 MB')
    """
    if size < 1000:
        return count(size, "byte")
    power = (len(str(size)) - 1) // 3
    return f"{size / 1000**power:.3g} {'kMGTPE'[power - 1]}B"


def _epochs(value: float) -> str:
    return f"{value:,.0f}" if value % 1 == 0 else f"{value:,.2f}"


def _loss(value: float) -> str:
    """Three significant digits."""
    return f"{value:#.3g}".rstrip(".")


def _rate(value: float) -> str:
    """Three significant digits."""
    return f"{float(f'{value:.3g}'):,.{0 if value >= 100 else 1}f}"
