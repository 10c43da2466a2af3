"""Fits as text for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxor.analysis.candidates import ROWS
from jaxor.analysis.censoring import Censoring, Median
from jaxor.analysis.fit import Fit
from jaxor.analysis.judge import Judged, Score
from jaxor.analysis.paths import Regions, Speed
from jaxor.analysis.sound import LANDMARKS
from jaxor.analysis.survival import Coefficient, SurvivalModels
from jaxor.engine.status import Status
from jaxor.estimates import Interval
from jaxor.report.tables import columns, count, fields, percent, section, wrapped

_FACES = {
    "law": "laws",
    "published": "as published: the article's own procedure",
    "sound": "sound: well-posed estimators of the same families",
    "causal": "causal: no final parameters",
}


def fit_text(fit: Fit) -> str:
    """What `jaxor fit` says."""
    parts = [
        _head(fit),
        section("Models of the epochs that remain", _models(fit.models)),
        *([section("Verdicts", _verdicts(fit))] if fit.verdicts else []),
        section("Least squares by family of features", _ablations(fit)),
        *([section("What the sound forest looks at", _importances(fit))] if fit.importances else []),
        section("The law", _laws(fit)),
        *([section("Regions of parameter space", _regions(fit.regions))] if fit.regions else []),
        section("Epochs until convergence, censored runs included", _censoring(fit.censoring)),
        section("What in the initial state decides them", _survival(fit.survival)),
    ]
    return "\n\n".join(parts)


def _head(fit: Fit) -> str:
    rows, settings = fit.rows, fit.settings
    runs, out = len(np.unique(rows.seed)), len(np.unique(rows.seed[fit.held_out]))
    ended = fit.run.status == Status.CONVERGED if settings.which == "converged" else fit.run.final_accuracy == 1
    few = f", an evenly spaced part of {int(ended.sum()):,}" if runs < ended.sum() / 2 + 1 < ended.sum() else ""
    which = "converged" if settings.which == "converged" else "reached accuracy 1"
    goal = {
        "final": "the run's final parameters, which are known only afterwards",
        "exact": "the nearest exact minimum, which is known without training",
    }
    limits = "all rows that are not held out"
    if any(m.candidate.limit for m in fit.models):
        limits = (
            f"whole runs; costly models from {ROWS:,} rows at most, in a fold {settings.fold_rows:,}; all are forecast"
        )
    spread = fit.range_of_distance
    warning = "; below 10, where a line and a logarithm are hard to tell apart in first rows" if spread < 10 else ""
    return fields(
        [
            ("experiment", fit.run.manifest.experiment["name"]),
            (
                "runs",
                f"{runs:,} that {which}{few}, of {count(len(fit.run), 'run')}; {out:,} held out, drawn at random",
            ),
            (
                "rows",
                f"{len(rows):,}: every recorded state of a run but the last"
                + ", and the initial one" * settings.initial,
            ),
            ("distances", f"to {goal[settings.reference]}"),
            ("range", f"largest first distance {spread:,.3g} times the smallest{warning}"),
            ("learned", f"from {limits}"),
            ("intervals", "95 %, by resampling whole runs"),
        ]
    )


def _models(models: Sequence[Judged]) -> str:
    heads = [
        ("", "", "R2 in", "R2 row", "R2 run", "", "", "held", "out", ""),
        ("", "rows", "sample", "folds", "folds", "95 %", "MAE", "R2", "MAE", "dAIC"),
    ]
    lines: list[Sequence[str]] = [*heads]
    face = None
    for model in models:
        if model.candidate.face != face:
            face = model.candidate.face
            lines.append((_FACES[face] + ":", *[""] * 9))
        lines.append(_model(model))
    # Names of faces are long and alone on their lines: they must not widen the first column.
    width = max(len(line[0]) for line in lines if any(line[1:]))
    table = columns([(line[0][:width], *line[1:]) for line in lines], "<>>>><>>>>").splitlines()
    shown = [line[0] if line[0].endswith(":") else text for line, text in zip(lines, table, strict=True)]
    notes = (
        "* looks only at what is known while a run is under way; all others take the final parameters. MAE: mean "
        "absolute error, epochs. Run folds: each run is forecast by a model that has not seen it. Row folds put rows "
        "of one run on both sides, as in the article, and are no measure of new runs. Held out: runs that no model "
        "learned from. dAIC: Akaike's criterion less that of the best, on one row a run, for models whose numbers can "
        "be counted."
    )
    if any(m.candidate.face == "sound" and m.candidate.name == "kernel_rbf" and m.rows > LANDMARKS for m in models):
        notes += f" The sound kernel_rbf is approximated by Nystroem's method from {LANDMARKS:,} rows."
    failed = [f"{m.candidate.face}/{m.candidate.name} could not be fitted: {m.failure}" for m in models if m.failure]
    return "\n".join([*shown, "", *map(wrapped, failed), wrapped(notes)])


def _model(model: Judged) -> tuple[str, ...]:
    held = model.held_out
    return (
        f"  {model.candidate.name}{' *' if model.causal else ''}",
        f"{model.rows:,}", r2_text(model.in_sample), r2_text(model.by_rows), r2_text(model.grouped.r2),
        interval_text(model.grouped.r2_interval), epochs_text(model.grouped.mae), *_held(held),
        "" if model.delta_aic is None else f"{model.delta_aic:,.0f}",
    )  # fmt: skip


def _held(held: Score | None) -> tuple[str, str]:
    return ("-", "-") if held is None else (r2_text(held.r2), epochs_text(held.mae))


def r2_text(value: float) -> str:
    """Four digits, none if it is far below 0; nothing where a model gave no number."""
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if value > -10 else f"{value:.0f}" if value > -99_999 else f"{value:.0e}"


def interval_text(interval: Interval) -> str:
    """Both ends of an interval of R2."""
    return "-" if math.isnan(interval.low) else f"{r2_text(interval.low)} to {r2_text(interval.high)}"


def epochs_text(value: float) -> str:
    """Three significant digits."""
    if math.isnan(value):
        return "-"
    return f"{value:#.3g}".rstrip(".") if abs(value) < 1e5 else f"{value:.3g}"


def _verdicts(fit: Fit) -> str:
    rows = [("", "MAE", "95 %", "")]
    for v in fit.verdicts:
        ends = "-" if math.isnan(v.interval.low) else f"{v.interval.low:+.3g} to {v.interval.high:+.3g}"
        difference = "-" if math.isnan(v.difference) else f"{v.difference:+.3g}"
        rows += [(v.claim, difference, ends, v.answer), (f"  {v.first} less {v.second}", "", "", "")]
    note = (
        "MAE: of the first model named less that of the second, by run folds, paired by run, in epochs. With a large "
        "shift log_shifted is a line, too, so that a line is not told apart from it where it holds."
    )
    if any(m.candidate.limit for m in fit.models):
        note += (
            f" Costly models learn from {fit.settings.fold_rows:,} rows in a fold, laws from all: the comparison leans "
            "to the laws; held-out scores are of the models as they are kept."
        )
    return f"{columns(rows, '<><<')}\n\n{wrapped(note)}"


def _ablations(fit: Fit) -> str:
    rows = [("columns", "", "in-sample R2", "R2 run folds", "95 %")]
    rows += [
        (a.name, str(a.columns), r2_text(a.in_sample), r2_text(a.r2), interval_text(a.interval)) for a in fit.ablations
    ]
    return columns(rows, "<>>><")


def _importances(fit: Fit) -> str:
    rows = [("column", "R2 lost when shuffled")]
    rows += [(one.name, f"{one.mean:.4f} +- {one.std:.4f}") for one in fit.importances[:8]]
    return columns(rows, "<<")


def _laws(fit: Fit) -> str:
    slopes, lines = fit.slopes, []
    names = {
        "log_distance": "ln(distance to the end)",
        "log_shifted": f"ln(1 + that / {slopes.shift:.3g})",
        "log_to_minimum": "ln(distance to the exact minimum)",
        "within_runs": "the last one, within runs",
    }
    rows = [
        (names[name], f"{getattr(slopes, name):.4f}", f"{low:.4f} to {high:.4f}")
        for name, (low, high) in slopes.intervals.items()
    ]
    if slopes.theory is not None:
        rows.append(("theory: 1 / ln(1 / (1 - 2 eta))", f"{slopes.theory:.4f}", "eta: learning rate"))
    lines.append(columns([("epochs per e-fold of", "slope", "95 %"), *rows], "<><"))
    if slopes.theory is not None:
        lines.append(
            wrapped(
                "The slope on the plain logarithm of the distance to the end is too small: that distance lacks what is "
                "left at the end, so it falls faster than geometrically in the last epochs, which stretches its "
                "logarithm."
            )
        )
    if fit.speed is not None:
        lines.append(_speed(fit.speed))
    return "\n\n".join(lines)


def _speed(speed: Speed) -> str:
    low, high = speed.interval
    shifted = ""
    if speed.shifted is not None and speed.shifted_interval is not None:
        left, right = speed.shifted_interval
        shifted = (
            " Distances to the end lack what is left there, which lowers the exponent of a constant rate; with the "
            f"shift of the logarithm above added it is {speed.shifted:.3f} ({left:.3f} to {right:.3f}). What the two "
            "do not agree on is undecided."
        )
    return wrapped(
        f"Step length ~ distance^{speed.exponent:.3f} ({low:.3f} to {high:.3f}), where 0 is a constant speed and 1 a "
        f"constant relative rate.{shifted} Constant speed: {speed.constant_speed}. Constant rate: "
        f"{speed.constant_rate}. In the median run the longest step is {speed.fastest:,.3g} times the shortest."
    )


def _regions(regions: Regions) -> str:
    rows = [("runs", "rows", "longer than the law by", "95 %")]
    rows += [
        (f"{r.runs:,}", f"{r.rows:,}", f"{r.excess:+.3g} epochs", f"{r.interval.low:+.3g} to {r.interval.high:+.3g}")
        if r.interval
        else (f"{r.runs:,}", f"{r.rows:,}", f"{r.excess:+.3g} epochs", "too few runs")
        for r in regions.regions
    ]
    note = (
        "A tree cut parameter space with half of the runs where they differ most from the law; the figures are of the "
        f"other half. It explains {percent(max(regions.share, 0.0), 1000)} of what the law leaves. "
        f"Some region surely slower by more than an epoch: {regions.slow}."
    )
    return f"{columns(rows, '>>>>')}\n\n{wrapped(note)}"


def _censoring(found: Censoring) -> str:
    rows = [("", "runs", "", "epochs: median", "max")]
    for status, ended in found.ended.items():
        median, most = ("-", "-") if ended.epochs is None else (f"{ended.epochs.q50:,.0f}", f"{ended.epochs.max:,.0f}")
        rows.append(
            (status.label, f"{ended.share.count:,}", percent(ended.share.share or 0.0, found.runs), median, most)
        )
    medians = [
        ("Kaplan-Meier's median", _median(found.kaplan_meier.median)),
        ("half of all runs have converged by", _median(found.incidence.median)),
    ]
    return "\n\n".join([columns(rows, "<>>>>"), columns(medians, "<<"), wrapped(found.note)])


def _survival(found: SurvivalModels | str) -> str:
    if isinstance(found, str):
        return wrapped(f"Not known: {found}.")
    effects = {model.name: {c.name: c for c in model.coefficients} for model in found.models}
    rows = [("per std. deviation of", *(_SURVIVAL[model.name] for model in found.models))]
    for feature in found.features:
        rows.append((feature.name, *(_effect(effects[model.name].get(feature.name)) for model in found.models)))
    rows.append(("held-out concordance", *(_maybe(model.concordance) for model in found.models)))
    failures = [wrapped(f"{_SURVIVAL[m.name]}: {m.failure}") for m in found.models if m.failure]
    left = [wrapped(f"Without {name}: {reason}.") for name, reason in found.left_out.items()]
    note = (
        "With 95 % intervals. Accelerated failure time (AFT): ln of the factor on the epochs. Cox: ln of the factor on "
        "the rate of converging. " + found.note
    )
    return "\n".join([columns(rows, "<" + ">" * len(found.models)), "", *failures, *left, wrapped(note)])


_SURVIVAL = {"weibull_aft": "Weibull AFT", "lognormal_aft": "log-normal AFT", "cox": "Cox"}


def _effect(coefficient: Coefficient | None) -> str:
    if coefficient is None:
        return "-"
    return f"{coefficient.value:+.3f} ({coefficient.low:+.3f}, {coefficient.high:+.3f})"


def _median(median: Median) -> str:
    if median.value is None:
        return "not reached" + (f" (95 % interval from {median.low:,})" if median.low is not None else "")
    low, high = (str(end) if end is not None else "never" for end in (median.low, median.high))
    return f"epoch {median.value:,} (95 %: {low} to {high})"


def sweep_text(fits: Sequence[Fit]) -> str:
    """What `jaxor fit` says of several simulations: the slope of the law in each."""
    changed = list(_differences([fit.run.manifest.experiment for fit in fits]))
    heads = (
        *changed,
        "runs",
        "converged",
        "rows",
        "slope: ln",
        "ln(1 + d/c)",
        "to minimum",
        "within",
        "theory",
        "R2 line",
        "R2 law",
    )
    rows: list[tuple[str, ...]] = [heads]
    for fit in fits:
        experiment, s = _flat(fit.run.manifest.experiment), fit.slopes
        r2 = {m.candidate.name: m.grouped.r2 for m in fit.models if m.candidate.face == "law"}
        rows.append(
            (
                *(str(experiment.get(key, "-")) for key in changed),
                f"{len(fit.run):,}", percent(1 - fit.censoring.censored / len(fit.run), len(fit.run)),
                f"{len(fit.rows):,}",
                f"{s.log_distance:.4g}", f"{s.log_shifted:.4g}", _maybe(s.log_to_minimum),
                f"{s.within_runs:.4g}", _maybe(s.theory),
                r2_text(r2.get("distance", math.nan)), r2_text(r2.get("log_shifted", math.nan)),
            )
        )  # fmt: skip
    note = (
        "Slopes are epochs per e-fold of distance: on the logarithm of the distance d to the end, on ln(1 + d/c) with "
        "the shift c fitted, and on that of the distance to the exact minimum; within: the last known of these, as "
        "deviations from the means of each run. R2 by folds cut between runs: epochs linear in d, and by the shifted "
        "logarithm. Where not all runs converged, the others are censored and not in the rows."
    )
    return f"{columns(rows, '<' * len(changed) + '>' * 10)}\n\n{wrapped(note)}"


def _maybe(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _differences(experiments: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Keys in which they differ."""
    flat = [_flat(experiment) for experiment in experiments]
    for key in dict.fromkeys(key for table in flat for key in table):
        if len({str(table.get(key)) for table in flat}) > 1:
            yield key


def _flat(table: dict[str, Any], head: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in table.items():
        found |= _flat(value, f"{head}{key}.") if isinstance(value, dict) else {f"{head}{key}": value}
    return found
