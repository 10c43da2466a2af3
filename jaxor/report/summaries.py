"""Summaries of simulations as text for the terminal, and the cells that any other form of them has, too."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

from jaxor.analysis.statistics import Losses, LossGroup, PopulationSummary, Summary
from jaxor.engine.choice import none_of
from jaxor.engine.seeds import Ranges, number
from jaxor.engine.status import Status
from jaxor.estimates import Interval, Quantiles, Share
from jaxor.report.tables import columns, count, fields, percent, ranges_text, size_text
from jaxor.store.manifest import Manifest, pairs

QUANTILES = ("min", "25 %", "median", "75 %", "max", "mean")


def summary_table(summary: Summary) -> str:
    """How the runs of a simulation ended: statuses, successes, epochs and losses."""
    if not summary.seeds:
        return "No runs yet."
    *rows, success = ends(summary)
    likely = intervals(summary)
    if isinstance(summary, PopulationSummary):  # with so many runs that a line is too short
        rows += [success, *(("", "", "", interval) for interval in likely)]
    else:
        rows.append((*success[:3], "; ".join([success[3], *likely])))
    parts = [columns(rows, "<>><"), columns([("", *QUANTILES), *spreads(summary)], "<>>>>>>")]
    if isinstance(summary, PopulationSummary) and summary.by_initial_loss:
        parts.append(_by_initial_loss(summary.by_initial_loss))
    parts.append("\n".join(textwrap.fill(note, 80) for note in notes(summary)))
    return "\n\n".join(parts)


def ends(summary: Summary) -> list[tuple[str, str, str, str]]:
    """How runs ended, and last how many succeeded: name, runs, their share, what it means."""
    total, success = summary.seeds, summary.success
    rows = [
        (status.label, f"{number:,}", percent(number / total, total), status.words)
        for status, number in summary.status.items()
    ]
    return [*rows, ("success", f"{success.count:,}", percent(success.count / total, total), "accuracy 1")]


def success_interval(summary: Summary) -> Interval:
    """Where the share of successes lies: the interval that holds for how the simulation ended, 95 %."""
    if isinstance(summary, PopulationSummary) and summary.until:
        return summary.success_sequence
    return Interval(summary.success.low, summary.success.high)


def interval_note(summaries: Iterable[Summary]) -> str:
    """What `success_interval` gives of some simulations."""
    ruled = any(isinstance(one, PopulationSummary) and one.until for one in summaries)
    return "Wilson's" + ", and where a rule ended the simulation the confidence sequence" * ruled


def intervals(summary: Summary) -> list[str]:
    """Where the share of successes lies."""
    found = [f"Wilson 95 %: {interval_words(summary.success, summary.seeds)}"]
    if isinstance(summary, PopulationSummary) and summary.until:
        found.append(f"at every look, 95 %: {interval_words(summary.success_sequence, summary.seeds)}")
    return found


def spreads(summary: Summary) -> list[tuple[str, ...]]:
    """What epochs, losses and draws are: name, then `QUANTILES`."""
    return [
        ("epochs, all", *_cells(summary.epochs, _epochs)),
        ("epochs, converged", *_cells(summary.epochs_converged, _epochs)),
        ("initial loss", *_cells(summary.initial_loss.quantiles, _loss)),
        ("final loss", *_cells(summary.final_loss.quantiles, _loss)),
        *([("draws", *_cells(summary.draws.quantiles, _epochs))] if summary.draws else []),
    ]


def _by_initial_loss(groups: Iterable[LossGroup]) -> str:
    heads = ("initial loss", "", "", "runs", "success", "Wilson 95 %")
    rows = [
        (
            _loss(group.low), "to", _loss(group.high), f"{group.runs:,}",
            percent(group.success.count / group.runs, group.runs), interval_words(group.success, group.runs),
        )
        for group in groups
    ]  # fmt: skip
    return columns([heads, *rows], ">>>>><")


def interval_words(interval: Share | Interval, total: int) -> str:
    """Where a share of so many runs lies."""
    return f"{percent(interval.low, total)} to {percent(interval.high, total)}"


def _cells(figures: Quantiles | None, show: Callable[[float], str]) -> list[str]:
    return ["-"] * len(Quantiles._fields) if figures is None else [show(figure) for figure in figures]


def notes(summary: Summary) -> list[str]:
    """Which runs the figures are over."""
    everything, converged = f"over all {count(summary.seeds, 'run')}", summary.status[Status.CONVERGED]
    if summary.unstarted:
        everything = f"over the {count(summary.started, 'run')} that started"
    censored = f", of which {summary.censored:,} ended without converging (censored)" if summary.censored else ""
    epochs = f"Epochs: {everything}{censored}, and over the {converged:,} converged."
    left_out = _left_out("initial", summary.initial_loss) + _left_out("final", summary.final_loss)
    losses = f"Losses before the first step and after the last, accuracy after the last: {everything}{left_out}."
    found = [epochs, losses, *_of_draws(summary)]
    if isinstance(summary, PopulationSummary):
        found[1] += " Losses were counted in bins and are accurate to 0.4 %."
        if summary.until:
            found.append(
                "Wilson's interval is for a number of runs fixed in advance. The other is a confidence sequence "
                "(Robbins' beta-binomial mixture): it holds at all looks at once, so also where a rule ended the "
                "simulation."
            )
    return found


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
    foot = fields([*ending(summary), *speed, ("stored", f"{size_text(size)} in {path}")])
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
        *starting(manifest),
        *ending(summary),
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


def ending(summary: Summary) -> list[tuple[str, str]]:
    """Whether the rule held, if there was one."""
    if not isinstance(summary, PopulationSummary) or summary.until is None:
        return []
    until, holds = summary.until, "holds" if summary.until.holds else "does not hold"
    return [("until", f"{until.rule} {holds}: {until.halfwidth:.3g} after {count(summary.seeds, 'run')}")]


def starting(manifest: Manifest) -> list[tuple[str, str]]:
    """What runs start from, if that is not what the experiment's initializer draws."""
    given = manifest.initial_params_hash
    return [] if given is None else [("starts from", f"first parameters that were given, SHA-256 {given}")]


def _epochs(value: float) -> str:
    return f"{value:,.0f}" if value % 1 == 0 else f"{value:,.2f}"


def _loss(value: float) -> str:
    """Three significant digits."""
    return f"{value:#.3g}".rstrip(".")


def _rate(value: float) -> str:
    """Three significant digits."""
    return f"{float(f'{value:.3g}'):,.{0 if value >= 100 else 1}f}"
