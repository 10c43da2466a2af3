"""What optimisation paths are like, beside a random walk, as text for the terminal.

After Guille-Escuret et al., "No Wrong Turns" (ICML 2024), of which only the abstract, public reviews and code could be
read. Tags say where a finding is known from: [ABS] abstract, [REV] reviews, [UNSEEN] not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from jaxor.analysis.over_seeds import Figure
from jaxor.analysis.path_claims import SHOWN, Verdict
from jaxor.analysis.path_looks import Looks
from jaxor.analysis.path_results import Comparison, PathResult, StudyResult
from jaxor.analysis.path_tables import Tenths
from jaxor.engine.geometry import Measuring
from jaxor.report.statements import figure_text
from jaxor.report.tables import columns, count, fields, section, wrapped

SHORT = {"supported": "yes", "not": "no", "undecided": "open"}
"""Verdicts in tables."""

WALK = (
    "The null is a random walk: gradients as long as those that were seen, in random directions, no landscape. What is "
    "as large there is no finding."
)


def paths_text(result: PathResult) -> str:
    """What was found along the paths of one experiment."""
    parts = [
        fields(_head(result)),
        section("Tenths of each run's own steps", _tenths(result.tenths)),
        section("Steps with gamma above 0", _positive(result.tenths)),
        section("Ten looks along each run", _looks(result.looks)),
        section("Claims", _claims(result.verdicts)),
        section("The same numbers elsewhere", _beside(result.verdicts)),
        section("What the claims are", "\n".join(_about(result.verdicts))),
    ]
    return "\n\n".join(parts)


def _head(result: PathResult) -> list[tuple[str, str]]:
    shortest, longest = result.steps
    steps = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    ends = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in result.status.items())
    bits = "bit for bit the runs themselves"
    if result.difference:
        bits = f"up to {result.difference:.2g} away from the runs' own final parameters"
    if result.lengths:
        bits += f"; {count(result.lengths, 'run')} took another number of steps than when they were stored"
    null = "closed form, from the lengths of steps and gradients"
    if not result.closed:
        null = "one walk a run through its own optimizer, fed Gaussian gradients of the lengths seen"
    return [
        ("experiment", f"{result.experiment.name}: {count(result.parameters, 'parameter')}"),
        ("runs", f"{count(result.seeds, 'seed')}, {steps} steps; {ends}"),
        ("w*", reference_text(result.measuring)),
        ("replay", bits),
        ("null", null),
    ]


def reference_text(measuring: Measuring) -> str:
    """Where paths are taken to lead, and what that forces whatever the landscape.

    Examples
    --------
    >>> print(reference_text(Measuring("extra", 50)))
    where each run is 50 steps after its end; forces less than the end itself, which the last steps lead to. The null is
    that of a walk to its own end all the same
    """
    null = "The null is that of a walk to its own end all the same"
    if measuring.reference == "extra":
        return (
            f"where each run is {count(measuring.extra, 'step')} after its end; forces less than the end itself, which "
            f"the last steps lead to. {null}"
        )
    if measuring.reference == "exact":
        return f"the exact minimum nearest to each run (a saddle's stationary point); forces nothing. {null}"
    return (
        "where each run itself ends. This forces, whatever the landscape (derived, of plain gradient descent and of "
        "the steps of all others): the mean of <g, d> weighted with the rates is above 0; at the last step RSI = EB = "
        "1/rate and gamma = 1, so that all of them rise late; on a random walk gamma is about 1/sqrt(T - t), mostly "
        "above 0 where there are more parameters than steps"
    )


_TENTHS = {
    "rsi": "RSI", "eb": "EB", "gamma": "gamma", "null_gamma": "null", "flat_null": "1/sqrt(T-t)",
    "ratio": "gamma/null", "local_rate": "local rate", "relative_rate": "rate/used", "contraction": "factor",
    "null_rsi": "null RSI", "null_eb": "null EB", "null_relative_rate": "null rate/used",
}  # fmt: skip


def _tenths(tenths: Tenths) -> str:
    rows = [("tenth", *_TENTHS.values())]
    for place in range(10):
        rows.append((str(place + 1), *(_number(float(tenths.columns[name][place])) for name in _TENTHS)))
    ranges = ", ".join(f"{SHOWN[name]} {_number(x)}" for name, x in tenths.ranges.items())
    words = (
        "Medians over seeds and steps. Local rate: <g, d> / ||g||^2; rate/used: of the steps taken, in units of the "
        "rate in use; factor: ||d||^2 after a step over before. Largest over smallest of tenths 2 to 8: "
        f"{ranges}."
    )
    opening = tenths.opening
    if opening.step:
        words += (
            f" Within tenth 1 rate/used rises from {_number(opening.first)} at step 0 to {_number(opening.highest)} at "
            f"step {opening.step:,} (medians over seeds)."
        )
    return f"{columns(rows, '>' * len(rows[0]))}\n\n{wrapped(words)}"


_LOOKS = {
    "full_loss": "loss", "full_gamma": "gamma", "batch_gamma": "of minibatches", "batch_spread": "their spread",
    "lag_1": "cosine, lag 1", "lag_10": "10", "lag_50": "50", "star_convex": "star-convex",
}  # fmt: skip


def _looks(looks: Looks) -> str:
    rows = [("look", *_LOOKS.values())]
    for place in range(10):
        rows.append((str(place + 1), *(_number(float(looks.columns[name][place])) for name in _LOOKS)))
    words = (
        "Medians over seeds in the middle of each tenth: loss and gamma over the whole task; gamma of fixed "
        "minibatches, and the standard deviation of their RSI over its mean; cosine between the parts across the path "
        "of two gradients 1, 10 and 50 steps apart; share of seeds with f(w) - f(w*) <= <grad f, d>. On the straight "
        f"line from w_0 to w* the loss nowhere rises for {figure_text(100 * looks.falling, '.3g')} % of the seeds; "
        f"its highest is {_number(looks.highest)} times the first (median)."
    )
    return f"{columns(rows, '>' * len(rows[0]))}\n\n{wrapped(words)}"


def _positive(tenths: Tenths) -> str:
    heads = {
        "all": "all steps", "early": "first 95 %", "worst": "worst seed", "null": "null", "other": "other seed's end",
        "random": "random point", "labels": "random labels",
    }  # fmt: skip
    cells = [figure_text(tenths.positive[name], ".3f") for name in heads]
    words = "All but the first are of the first 95 % of each run; random labels at ten places along it."
    return f"{columns([tuple(heads.values()), cells], '>' * len(heads))}\n\n{wrapped(words)}"


def _figures(verdicts: Iterable[Verdict]) -> list[tuple[str, Figure]]:
    """All figures, the first of each claim with its name."""
    return [
        (verdict.claim if not place else "", one) for verdict in verdicts for place, one in enumerate(verdict.figures)
    ]


def _claims(verdicts: Sequence[Verdict]) -> str:
    answers = iter(verdict.answer for verdict in verdicts)
    rows = [("claim", "number", "value", "95 %", "seeds", "their 5-95 %", "needed", "so", "claim is")]
    for claim, one in _figures(verdicts):
        spread = "-" if one.spread is None else _interval(one.spread)
        needed = f"{one.relation} {one.threshold:g}"
        last = next(answers) if claim else ""
        value, interval, seeds = _number(one.value), _interval(one.interval), f"{one.seeds:,}"
        rows.append((claim, one.name, value, interval, seeds, spread, needed, SHORT[one.answer], last))
    reasons = [f"{verdict.claim} is undecided: {verdict.reason}." for verdict in verdicts if verdict.reason]
    words = (
        "Of the first 95 % of each run, P6 of all; 95 %: seeds resampled, shares of seeds Wilson's; seeds: those that "
        "have the number, which takes a step in each of the tenths it is of."
    )
    return "\n".join([columns(rows, "<<>>>>><<"), "", *map(wrapped, [words, *reasons])])


def _beside(verdicts: Sequence[Verdict]) -> str:
    found = _figures(verdicts)
    names = list(dict.fromkeys(name for _, one in found for name in one.beside))
    rows = [("claim", "number", "value", *names)]
    for claim, one in found:
        cells = (_number(one.beside[name]) if name in one.beside else "-" for name in names)
        rows.append((claim, one.name, _number(one.value), *cells))
    return f"{columns(rows, '<<' + '>' * (len(names) + 1))}\n\n{wrapped(WALK)}"


def _about(verdicts: Iterable[Verdict]) -> list[str]:
    lines = []
    for verdict in verdicts:
        forced = f" Forced: {verdict.forced}." if verdict.forced else ""
        lines.append(wrapped(f"{verdict.claim}: {verdict.statement}. Known of the paper: {verdict.paper}.{forced}"))
    return lines


def study_text(result: StudyResult) -> str:
    """The verdict table of a study, on one page."""
    study = result.study
    head = [
        ("study", f"{study.name}: {study.title}"),
        ("factor", study.factor),
        ("seeds", f"{study.seeds:,} an arm; deciding takes {study.thresholds.seeds} with a number, shares near 1 more"),
    ]
    measurings = {str(arm.measuring): arm.measuring for arm in study.arms}
    head += [("w*" + f" ({name})" * (len(measurings) > 1), reference_text(one)) for name, one in measurings.items()]
    parts = ["\n".join(fields([row]) for row in head), section("Verdicts", _verdict_table(result))]
    parts.append(section("Numbers, those of the null in brackets", _numbers(result)))
    if result.comparisons:
        parts.append(section("Between arms", _comparisons(result.comparisons)))
    verdicts = {one.claim: one for arm in result.arms.values() for one in arm.verdicts}
    verdicts |= {one.verdict.claim: one.verdict for one in result.comparisons}
    parts.append(section("What the claims are", "\n".join(_short_about(verdicts.values()))))
    if study.notes:
        parts.append(section("Notes", "\n".join(map(wrapped, study.notes))))
    return "\n\n".join(parts)


def _verdict_table(result: StudyResult) -> str:
    claims = list(dict.fromkeys(one.claim for arm in result.arms.values() for one in arm.verdicts))
    controls = ("other", "random", "labels")
    rows: list[tuple[str, ...]] = [("arm", "seeds", "steps", *claims, "other seed", "random point", "random labels")]
    for label, arm in result.arms.items():
        answers = {one.claim: SHORT[one.answer] for one in arm.verdicts}
        shares = (figure_text(arm.tenths.positive[name], ".3f") for name in controls)
        rows.append((label, f"{arm.seeds:,}", f"{arm.steps[1]:,}", *(answers[claim] for claim in claims), *shares))
    words = (
        "yes: supported, no: not, open: undecided, each by the whole 95 % interval over seeds. The last three: share "
        "of gamma above 0 from another seed's end, from a random point, with random labels."
    )
    return f"{columns(rows, '<>>' + '<' * len(claims) + '>>>')}\n\n{wrapped(words)}"


_NUMBERS = {
    "share of gamma > 0": "gamma > 0", "gamma / null": "gamma/null", "variation of RSI": "P4, RSI",
    "max/min of RSI": "P5, RSI", "late EB / middle EB": "P6", "Spearman of tenth and rate": "P7 decay",
    "highest rate / rate of tenth 1": "P7 rise",
}  # fmt: skip


def _numbers(result: StudyResult) -> str:
    rows = [("arm", *_NUMBERS.values(), "rate/used in tenth 1")]
    for label, arm in result.arms.items():
        found = {one.name: one for verdict in arm.verdicts for one in verdict.figures}
        first, highest, step = arm.tenths.opening
        opening = f"{_number(first)} to {_number(highest)}, step {step:,}"
        rows.append((label, *(_with_null(found[name]) for name in _NUMBERS), opening))
    words = "Rate/used in tenth 1: at step 0, and where its median over seeds is highest."
    return f"{columns(rows, '<' + '>' * (len(_NUMBERS) + 1))}\n\n{wrapped(f'{WALK} {words}')}"


def _with_null(one: Figure) -> str:
    return f"{_number(one.value)} ({_number(one.beside['null'])})"


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    """Each figure of each claim, beside all else."""
    names = list(dict.fromkeys(name for one in comparisons for found in one.verdict.figures for name in found.beside))
    rows = [("claim", "arms", "value", "95 %", *names, "claim is")]
    lines = []
    for one in comparisons:
        verdict, several = one.verdict, len(one.verdict.figures) > 1
        for place, found in enumerate(verdict.figures):
            cells = (_number(found.beside[name]) if name in found.beside else "-" for name in names)
            what = found.name if several else ", ".join(one.labels)
            head, tail = ("", "") if place else (verdict.claim, verdict.answer)
            rows.append((head, what, _number(found.value), _interval(found.interval), *cells, tail))
        if verdict.reason:
            lines.append(wrapped(f"{verdict.claim}, {', '.join(one.labels)}: {verdict.reason}."))
    words = (
        "Of P2 and P2' all columns are shares of seeds, in the first 95 % of each run: in the null and elsewhere that "
        "of seeds for which the quantity at the head grows in place of gamma. Of P3 they are the numbers themselves."
    )
    return "\n".join([columns(rows, "<<>>" + ">" * len(names) + "<"), "", wrapped(words), *lines])


def _short_about(verdicts: Iterable[Verdict]) -> list[str]:
    lines = []
    for verdict in sorted(verdicts, key=lambda one: one.claim):
        needs = " and ".join(dict.fromkeys(f"{one.relation} {one.threshold:g}" for one in verdict.figures))
        forced = f" Forced: {verdict.forced}." if verdict.forced and verdict.claim != "P1" else ""
        lines.append(wrapped(f"{verdict.claim} ({needs}): {verdict.statement}. Paper: {verdict.paper}.{forced}"))
    return lines


def _number(value: float) -> str:
    """Three significant digits."""
    if np.isinf(value):
        return "inf"
    if np.isfinite(value) and value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    return "-" if np.isnan(value) else f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"


def _interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return "-" if np.isnan(low) else f"{_number(low)} to {_number(high)}"
