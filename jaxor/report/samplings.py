"""Studies of initialisation as text for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxor.analysis.arms import Arm, Ratio
from jaxor.analysis.mechanism import STATES
from jaxor.analysis.ranking import Outcome
from jaxor.analysis.sampling import Study
from jaxor.estimates import Quantiles, Share
from jaxor.report.diagnoses import failures_text
from jaxor.report.tables import columns, fields, percent, section, wrapped


def study_text(study: Study) -> str:
    """What `jaxor sampling` says."""
    parts = [
        fields(
            [
                ("experiment", study.control.name),
                ("control", initializer_text(study.control.to_dict()["init"])),
                ("success", "accuracy 1 on the whole task after training"),
                ("runs", f"{study.seeds:,} of the control and of each strategy, seeds 0 to {study.seeds - 1:,}"),
                ("intervals", "95 %; shares by Wilson, ratios of medians by resampling runs"),
            ]
        ),
        section("Initial loss of the control", _law(study)),
        section("Strategies", _arms(study.arms)),
        section("Losses before and after training, all runs", _losses(study.arms)),
    ]
    if study.arms_without_patience:
        words = (
            f"The patience of {study.control.stop.patience} epochs ends failures early and some successes before the "
            "loss threshold does, so epochs above compare different reasons to stop. Below it is off."
        )
        parts.append(section("The same without patience", f"{wrapped(words)}\n\n{_arms(study.arms_without_patience)}"))
    parts.append(section("What a success costs", _costs(study)))
    parts.append(section("Choosing among k draws, or below a share of the law", _curves(study)))
    parts.append(section("Thresholds from a sample", _errors(study)))
    parts.append(section("Success by initial loss, control", _by_loss(study)))
    if study.arms[0].states is not None:
        parts.append(section("What is dead at the start, and what is left of the gain", _mechanism(study)))
    parts.append(section("Where failed runs of the control ended", failures_text(study.failures)))
    if study.distance is not None:
        parts.append(
            wrapped(
                "Initial loss as a proxy of the distance to the nearest exact solution: rank correlation "
                f"{study.distance:.3f} over the control's runs."
            )
        )
    if study.left_out:
        reasons = "; ".join(f"{name}, {reason}" for name, reason in study.left_out.items())
        parts.append(wrapped(f"Left out: {reasons}."))
    return "\n\n".join(parts)


def initializer_text(init: Any) -> str:
    """An initializer and what it draws from, in words such as ``loss_below(threshold 0.07) of normal(std 0.5)``.

    Examples
    --------
    >>> initializer_text({"name": "best_of", "draws": 10, "base": {"name": "normal", "std": 0.5}})
    'best_of(draws 10) of normal(std 0.5)'
    """
    options = [f"{key} {value:g}" for key, value in init.items() if isinstance(value, int | float)]
    text = str(init.get("name", init.get("python"))) + (f"({', '.join(options)})" if options else "")
    return f"{text} of {initializer_text(init['base'])}" if "base" in init else text


def _law(study: Study) -> str:
    law = study.law
    rows = [("below", "initial loss", "95 %")]
    rows += [
        (f"{one.percentile:g} %", f"{one.value:.4f}", f"{one.interval.low:.4f} to {one.interval.high:.4f}")
        for one in law.percentiles
    ]
    text = columns(rows, ">>>")
    losses = law.losses
    if losses is not None:
        text += "\n\n" + wrapped(
            f"From {law.percentiles[0].draws:,} draws; mean {losses.mean:.4f}, lowest {losses.min:.4g}, highest "
            f"{losses.max:.3g}. Intervals by order statistics, exact whatever the law."
        )
    if law.accuracy:
        shares = ", ".join(f"{level:g}: {_share(share)}" for level, share in law.accuracy)
        text += "\n" + wrapped(f"Draws by initial accuracy: {shares}.")
    return text


def _arms(arms: Sequence[Arm]) -> str:
    rows: list[tuple[str, ...]] = [
        ("", "", "", "epochs of", "successes", "", "all", "faster by", "", "draws"),
        ("", "success", "95 %", "25 %", "median", "75 %", "median", "ratio of", "medians", "a run"),
    ]
    rows += [
        (
            arm.name, _share(arm.success), _span(arm.success), *_quartiles(arm.epochs_of_successes),
            "-" if arm.epochs is None else f"{arm.epochs.q50:,.0f}", *_ratio(arm.speedup), f"{arm.draws:,.1f}",
        )
        for arm in arms
    ]  # fmt: skip
    notes = [
        f"{arm.name}: the threshold is {arm.threshold.value:.4f} ({arm.threshold.interval.low:.4f} to "
        f"{arm.threshold.interval.high:.4f}), from {arm.threshold.draws:,} draws."
        for arm in arms
        if arm.threshold is not None
    ]
    notes += [
        f"{arm.name}: {arm.unstarted:,} runs found no acceptable draw and count as failures."
        for arm in arms
        if arm.unstarted
    ]
    short = [
        f"{arm.name} {arm.success.count - arm.converged:,} of {arm.success.count:,}"
        for arm in arms
        if arm.converged < arm.success.count
    ]
    if short:
        notes.append(f"Successes that did not end at the loss threshold: {', '.join(short)}.")
    table = columns(rows, "<>>>>>>>>>")
    return "\n".join([table, *(["", *map(wrapped, notes)] if notes else [])])


def _losses(arms: Sequence[Arm]) -> str:
    rows = [("", "", "before", "", "", "after", ""), ("", *("25 %", "median", "75 %") * 2)]
    rows += [(arm.name, *_quartiles(arm.initial_loss, ".3g"), *_quartiles(arm.final_loss, ".3g")) for arm in arms]
    return columns(rows, "<>>>>>>")


def _quartiles(figures: Quantiles | None, form: str = ",.0f") -> tuple[str, str, str]:
    if figures is None:
        return "-", "-", "-"
    return f"{figures.q25:{form}}", f"{figures.q50:{form}}", f"{figures.q75:{form}}"


def _ratio(ratio: Ratio | None) -> tuple[str, str]:
    if ratio is None:
        return "-", "-"
    return f"{ratio.value:.2f}", f"{ratio.interval.low:.2f} to {ratio.interval.high:.2f}"


def _costs(study: Study) -> str:
    costs = [one.draw_cost for one in study.recommendations]
    rows = [("a draw costs, in steps", "draws", *(f"{cost:.3g}" for cost in costs))]
    rows += [
        (arm.name, _number(arm.draws_of_a_success), *(_number(arm.cost(cost)) for cost in costs)) for arm in study.arms
    ]
    found = [one if math.isfinite(one.control) else None for one in study.recommendations]  # else nothing is best
    rows.append(("best k (of those below)", "", *("-" if one is None else f"{one.k:,}" for one in found)))
    rows.append(("  costs", "", *(_number(one.best_of) for one in study.recommendations)))
    rows.append(("best share of the law", "", *("-" if one is None else f"{100 * one.share:g} %" for one in found)))
    rows.append(("  costs", "", *(_number(one.below) for one in study.recommendations)))
    words = (
        "All draws (forward passes), and all steps of all runs, failures included, with the draws at what they cost, "
        "divided by the successes. 1/3: a forward pass"
    )
    if not study.control.batch.indexed:
        words += "."
    else:
        passes = study.control.steps_per_epoch
        words += f" over one batch; a draw that is scored on all points takes about {passes} of them, {passes / 3:.3g}."
    return f"{columns(rows, '<>' + '>' * len(costs))}\n\n{wrapped(words)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value < 1e9 else "never"


def _curves(study: Study) -> str:
    def cells(outcome: Outcome) -> tuple[str, ...]:
        low, high = outcome.interval
        epochs = "-" if outcome.epochs is None else f"{outcome.epochs:,.0f}"
        return f"{100 * outcome.success:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}", epochs

    rows: list[tuple[str, ...]] = [("best of", "success", "95 %", "epochs", "", "below", "success", "95 %", "epochs")]
    empty = ("",) * 4
    left = [(f"{k:,}", *cells(outcome)) for k, outcome in study.best_of]
    right = [(f"{100 * share:g} %", *cells(outcome)) for share, outcome in study.below]
    for i in range(max(len(left), len(right))):
        rows.append((*(left[i] if i < len(left) else empty), "", *(right[i] if i < len(right) else empty)))
    words = (
        "Computed from the control's runs alone: a run of rank i is the lowest of k with a known probability. Epochs: "
        "mean of successes."
    )
    return f"{columns(rows, '>>>>>>>>>')}\n\n{wrapped(words)}"


def _errors(study: Study) -> str:
    rows = [("draws", "lowest", "in truth", "5 to 95 %", "success", "5 to 95 %", "draws needed")]
    for one in study.threshold_errors:
        rows.append(
            (
                f"{one.sample:,}", f"{100 * one.share:g} %", f"{100 * one.true[1]:.2f} %",
                f"{100 * one.true[0]:.2f} to {100 * one.true[2]:.2f}", *_successes(one.success),
                "infinite" if one.draws is None else f"{one.draws:,.1f}",
            )
        )  # fmt: skip
    words = (
        "A threshold that lets the lowest part of a sample pass lets another part of the law pass: the j-th lowest "
        "of n draws has Beta(j, n + 1 - j) of the law below it, exactly. Draws needed are the mean over samples; "
        "below the lowest of all it is infinite."
    )
    return f"{columns(rows, '>>>>>>>')}\n\n{wrapped(words)}"


def _successes(found: tuple[float, float, float]) -> tuple[str, str]:
    """Of the median, and from the lowest to the highest; of too few runs nothing is said."""
    middle = "-" if math.isnan(found[1]) else f"{100 * found[1]:.1f} %"
    return middle, "-" if any(map(math.isnan, found)) else f"{100 * min(found):.1f} to {100 * max(found):.1f}"


def _by_loss(study: Study) -> str:
    known = study.by_loss[0] if study.by_loss else None
    dead, far = known is not None and known.dead is not None, known is not None and known.distance is not None
    rows = [("initial loss", "", "runs", "success", "95 %", *["class 1 dead"] * dead, *["to a solution"] * far)]
    for step in study.by_loss:
        share = [] if step.dead is None else [percent(step.dead, step.runs)]
        mean = [] if step.distance is None else [f"{step.distance:.3f}"]
        ends = f"{step.low:.4f}", f"to {step.high:.4f}"
        rows.append((*ends, f"{step.runs:,}", _share(step.success), _span(step.success), *share, *mean))
    text = columns(rows, ">>>>>" + ">" * (dead + far))
    return text + far * "\n\nTo a solution: mean distance of initial parameters to the nearest exact one."


def _mechanism(study: Study) -> str:
    rows: list[tuple[str, ...]] = [
        ("", *(text for state in STATES for text in (state, "success")), "gain", "avoided", "remaining", "95 %")
    ]
    for arm in study.arms:
        assert arm.states is not None  # noqa: S101 (asked for only where there are some)
        total = sum(group.runs for group in arm.states)
        cells = [
            text
            for group in arm.states
            for text in (percent(group.runs / total, total) if total else "-", _share(group.success))
        ]
        apart = ("", "", "", "")
        if arm.gain is not None:
            low, high = arm.gain.remaining_interval
            apart = (
                f"{100 * arm.gain.total:+.1f}", f"{100 * arm.gain.avoided:+.1f}", f"{100 * arm.gain.remaining:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
            )  # fmt: skip
        rows.append((arm.name, *cells, *apart))
    words = (
        "Dead: no unit is active there, so a ReLU has no gradient to learn it by. Gain over the control in points of "
        "success: avoided is what comes of other shares of dead points, remaining of higher success among runs alike."
    )
    words += " Runs that found no acceptable draw are left out here." * any(arm.unstarted for arm in study.arms)
    text = f"{columns(rows, '<' + '>' * (len(rows[0]) - 1))}\n\n{wrapped(words)}"
    found = study.exceptions
    if found is not None:
        text += "\n\n" + wrapped(
            f"Success exactly if no class-1 point is dead at the start: {found.share.count:,} of {found.runs:,} "
            f"runs of the control are against it ({100 * (found.share.share or 0):.3g} %): "
            f"{found.dead_succeeded:,} succeeded with a dead one, {found.alive_failed:,} failed without."
        )
    return text


def _share(share: Share) -> str:
    return "-" if share.share is None else f"{100 * share.share:.1f} %"


def _span(share: Share) -> str:
    return f"{100 * share.low:.1f} to {100 * share.high:.1f}"
