"""How far the loss falls early in training, beside what theorems promise, as text for the terminal.

Of Wang & Ma (NeurIPS 2022). Tags say how certain a reading is, see `jaxor.analysis.assumptions`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from jaxor.analysis.bounds import COROLLARY_4_7_DESCENT
from jaxor.analysis.corollaries import HELD_OUT, ManyClasses, TwoClasses
from jaxor.analysis.descents import Descents
from jaxor.analysis.statements import Setting
from jaxor.analysis.table1 import RATE, WIDTH, Cell, Table
from jaxor.experiments.experiment import Experiment
from jaxor.report.statements import (
    ANSWERS,
    cosines_text,
    figure_text,
    image_rows,
    notes_text,
    premises_text,
    probability_text,
    sources_text,
    tags_text,
    unmet_text,
)
from jaxor.report.tables import columns, count, fields, percent, section, wrapped

HARDLY = 0.01
"""Descents that differ by less hardly differ: a seed's standard deviation is about twice as much."""


def table_text(table: Table) -> str:
    """Table 1 beside our own runs."""
    seeds = len(table.by_width[0].descents.values)
    head = [
        *image_rows(table.source, table.images),
        ("cosines", cosines_text(table.cosines)),
        ("inputs", _reduction(table)),
        ("training", f"gradient descent on all, logistic loss of the true logit, {count(seeds, 'seed')} a cell"),
    ]  # fmt: skip
    return "\n\n".join(
        [
            fields(head),
            section("Descent L(0) - L(T)", f"{_cells(table)}\n\n{_printed(table)}"),
            section("The bound beside it", _table_bound(table)),
            section("Along eta", _along_eta(table.by_rate)),
            section("Initialisation", _others(table)),
            tags_text({"OCR?", "DER", "OPQ", "NB"}),
        ]
    )


def _reduction(table: Table) -> str:
    inputs = table.by_width[0].descents.experiment.to_dict()["model"]["inputs"]
    pixels = table.images.pixels.shape[1]
    words = {
        "columns": f"{inputs:,} of {pixels:,} pixels, those that are 0 in every image are left out",
        "rotation": f"X = U S V^T replaced by U S, {inputs:,} inputs for {pixels:,} pixels",
    }
    if table.reduce not in words:
        return f"all {pixels:,} pixels"
    return f"{words[table.reduce]}; this leaves the law of the losses as it is, runs of one seed are others"


def _distinct(table: Table) -> list[Cell]:
    """All cells, without the one that is in both parts."""
    return [*{(cell.width, cell.rate): cell for cell in (*table.by_width, *table.by_rate)}.values()]


def _cells(table: Table) -> str:
    rows = [("m", "eta", "T", "mean", "sd", "95 %", "printed", "difference", "tolerance", "agrees")]
    for cell in _distinct(table):
        found, (first, *more) = cell.descents, cell.printed or (math.nan,)
        low, high = found.interval
        rows.append(
            (
                f"{cell.width:,}", f"{cell.rate:g}", f"{found.steps}", figure_text(found.mean), figure_text(found.sd),
                "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}", figure_text(first, ".3f"),
                figure_text(found.mean - first, "+.4f"), figure_text(cell.tolerance),
                "-" if cell.agrees is None else ANSWERS[cell.agrees],
            )
        )  # fmt: skip
        rows += [("",) * 6 + (f"{value:.3f}", f"{found.mean - value:+.4f}", "", "") for value in more]
    return columns(rows, ">" * 10)


def _printed(table: Table) -> str:
    """What there is to say of the printed figures."""
    if not any(cell.printed for cell in _distinct(table)):
        return wrapped(f"The paper prints no figures for {table.source}, so there is nothing to agree with.")
    lines = ["Tolerance: max(3 sd, 0.02). The printed figures are one run each, without a seed [NB]."]
    for cell in _distinct(table):
        if len(cell.printed) > 1:
            figures = " and ".join(f"{value:.3f}" for value in cell.printed)
            verdict = "explains both" if cell.agrees else "does not explain both"
            lines.append(
                f"The cell m = {cell.width}, eta = {cell.rate:g} is printed twice, as {figures}, in the paper's two "
                f"tables. Our sd over seeds, {figure_text(cell.descents.sd)}, {verdict}; the original is unseeded."
            )
    return "\n".join(map(wrapped, lines))


def _table_bound(table: Table) -> str:
    cells = _distinct(table)
    above = sum(cell.descents.mean >= COROLLARY_4_7_DESCENT for cell in cells)
    which = f"All {len(cells)}" if above == len(cells) else f"{above} of {len(cells)}"
    words = (
        f"Corollary 4.7 promises {COROLLARY_4_7_DESCENT} [OPQ] within T(eta) = floor(ln 2 / (2 eta)) steps [DER]. "
        f"{which} means of the table are above it, but it is not about them: it is stated for the constants of the "
        "exponential loss [OCR?], while this table is logistic, and for another initialisation (below)"
    )
    if any(not math.isclose(cell.rate, RATE) for cell in cells):
        words += "; and at eta = .01, while the paper sets the same number beside every eta"
    return wrapped(f"{words}.")


def _along_eta(cells: tuple[Cell, ...]) -> str:
    if len(cells) < 2:
        return wrapped("One learning rate only, so nothing to compare.")
    times, means = [cell.rate * cell.descents.steps for cell in cells], [cell.descents.mean for cell in cells]
    spread = max(means) - min(means)
    verdict = "the descent hardly depends on eta" if spread < HARDLY else f"the descent differs by {spread:.4f}"
    words = (
        f"eta T is {min(times):.3f} to {max(times):.3f}, and the same seeds fall by {min(means):.4f} to "
        f"{max(means):.4f} on the mean: with eta T kept, {verdict}."
    )
    printed = [value for cell in cells for value in cell.printed]
    if printed:
        sd, apart = max(cell.descents.sd for cell in cells), any(cell.agrees is False for cell in cells)
        verdict = "more than noise of seeds explains" if apart else "which noise of seeds explains"
        words += (
            f" The printed figures go from {min(printed):.3f} to {max(printed):.3f}, {verdict}: runs of one "
            f"setting differ with an sd of {figure_text(sd)}. The notebook sets no seed, so this cannot be proven."
        )
    return wrapped(words)


def _others(table: Table) -> str:
    """The caveat, with what other initialisations give."""
    words = (
        "The paper's figures, and ours above, are those of the authors' notebook [NB]: W ~ N(0, kappa^2), output "
        "weights +-1 that are not scaled by 1 / sqrt(m). That is not the initialisation of Theorem 4.6 and Corollary "
        "4.7, W ~ N(0, kappa^2 / (m (d + 1))), all output weights 1 / sqrt(m), so Table 1 is no experiment on them."
    )
    rows = [("initialisation", "loss", "seeds", "mean", "sd", "above bound")]
    rows += [(*_start(found.experiment), f"{len(found.values)}", figure_text(found.mean),
              figure_text(found.sd, ".1e"), _above(found)) for found in table.others]  # fmt: skip
    if not table.others:
        return wrapped(words)
    steps = table.others[0].steps
    body = f"Others at m = {WIDTH}, eta = {RATE:g}, {steps} steps:\n\n{columns(rows, '<<>>>>')}"
    notes = [
        _own_start(table.others),
        "The denominator of the theorem's bias c is hardly readable [OCR?]: c as the standard deviation of W "
        "(large_bias false), or kappa / sqrt(m) (large_bias true).",
    ]
    return "\n\n".join([wrapped(words), body, "\n".join(wrapped(note) for note in notes if note)])


def _start(experiment: Experiment) -> tuple[str, str]:
    """Initialisation and loss in words."""
    table = experiment.to_dict()
    init, loss = table["init"], table["loss"]["name"]
    if init["name"] == "paper42":
        return f"the theorem's, c = kappa / sqrt(m{'' if init['large_bias'] else ' (d + 1)'})", loss
    return "neither's, +-1 / sqrt(m)" if init["name"] == "pm1_sqrtm" else init["name"], loss


def _own_start(others: Iterable[Descents]) -> str:
    """How the theorem's own initialisation compares with the bound, by loss."""
    sides: dict[str, dict[str, list[str]]] = {"below": {}, "above": {}}
    for found in others:
        table = found.experiment.to_dict()
        if table["init"]["name"] == "paper42":
            side = sides["below" if found.mean < COROLLARY_4_7_DESCENT else "above"]
            side.setdefault(table["loss"]["name"], []).append(f"{found.mean:.4f}")
    words = [
        f"{side} the bound {COROLLARY_4_7_DESCENT}: "
        + ", ".join(f"{loss} {' and '.join(means)}" for loss, means in losses.items())
        for side, losses in sides.items()
        if losses
    ]
    covered = "Only the exponential loss is covered by the constants of the corollary."
    return f"With the theorem's own initialisation the descent is {'; '.join(words)}. {covered}" if words else ""


def _above(found: Descents) -> str:
    """Seeds above the bound."""
    kept = found.kept
    return "-" if kept is None else f"{kept.count:,} of {len(found.values):,}"


def _share(found: Descents) -> str:
    """Share of seeds above the bound with Wilson's interval."""
    kept, seeds = found.kept, len(found.values)
    if kept is None or kept.share is None:
        return "-"
    return f"{percent(kept.share, seeds)} ({percent(kept.low, seeds)} to {percent(kept.high, seeds)})"


def two_classes_text(study: TwoClasses) -> str:
    """Corollary 4.3 beside many seeds."""
    found, bound, nets = study.descents, study.descents.bound, study.nets
    ends = found.values.min(), found.mean, found.values.max()
    smallest, mean, largest = (figure_text(float(end), ".5f") for end in ends)
    low, high = found.interval
    rows = [
        ("seeds", f"{len(found.values):,}, float64, T = {found.steps}{_diverged(found)}"),
        ("descent", f"smallest {smallest}, mean {mean}, largest {largest}"),
        ("mean", f"{figure_text(low, '.6f')} to {figure_text(high, '.6f')}, 95 % interval by Student's t"),
    ]
    parts = []
    if bound is not None:
        formula = f"1 - delta - 2 m e^-2d with delta = {nets.delta:g}, m = {nets.width:,}, d = {nets.dimension}"
        rows += [
            ("bound", figure_text(bound.bound, ".5f")),
            ("above it", f"{_above(found)} seeds: {_share(found)}, Wilson 95 %"),
            ("stated", f"{probability_text(bound)}, {formula} [TXT]"),
        ]  # fmt: skip
        parts.append(section(f"{bound.statement} on {nets.data} data", premises_text(bound)))
    parts.append(section("Measured", fields(rows)))
    parts.append(section("Streams of fresh points", _streams(study)))
    return "\n\n".join(parts)


def _diverged(found: Descents) -> str:
    """Runs without a descent, if there are any."""
    lost = int(np.isnan(found.values).sum())
    return f"; {count(lost, 'run')} diverged, so that there is no mean" if lost else ""


def _streams(study: TwoClasses) -> str:
    if not study.population:
        return wrapped(f"None: {study.nets.data} data are a fixed set of points, nothing fresh can be drawn.")
    rows: list[tuple[str, ...]] = [("points a step", "seeds", "smallest", "mean", "largest", "sd")]
    for batch, found in study.population:
        ends = found.values.min(), found.mean, found.values.max(), found.sd
        rows.append((f"{batch:,}", f"{len(found.values):,}", *(figure_text(float(value), ".5f") for value in ends)))
    words = (
        f"Descents of the loss on {HELD_OUT:,} points that training does not see; they stand for the population risk. "
        "Appendix E, which bounds it, was not at hand, so there is no bound beside them."
    )
    return f"{columns(rows, '>' * 6)}\n\n{wrapped(words)}"


def many_classes_text(study: ManyClasses) -> str:
    """Corollary 4.7 beside SGD with replacement."""
    bounds = [found.bound for _, found in study.by_batch if found.bound is not None]
    head = [
        *image_rows(study.source, study.images),
        ("training", f"SGD, batches of B with replacement, m = {WIDTH}, eta = {RATE:g}, T = "
                     f"{study.by_batch[0][1].steps}; initialised as the theorem has it (paper42)"),
        ("bound", f"{COROLLARY_4_7_DESCENT}, with probability 1 - delta - 4 m e^-2d - m .17^B"),
        *[("sources", sources_text(bound)) for bound in bounds[:1]],
    ]  # fmt: skip
    notes = notes_text(note for bound in bounds for note in bound.notes)
    return "\n\n".join(
        [
            fields(head),
            section("Descent L(0) - L(T)", _by_batch(study)),
            section("Premises of the corollary by loss", f"{_unmet(study)}\n\n{notes}"),
            tags_text({tag for bound in bounds[:1] for tag in bound.provenance.values()}),
        ]
    )


def _loss(found: Descents) -> str:
    return found.experiment.to_dict()["loss"]["name"]


def _by_batch(study: ManyClasses) -> str:
    rows: list[tuple[str, ...]] = [
        ("loss", "B", "seeds", "smallest", "mean", "largest", "above bound, Wilson 95 %", "stated")
    ]
    for batch, found in study.by_batch:
        ends = (figure_text(float(end)) for end in (found.values.min(), found.mean, found.values.max()))
        stated = figure_text(None if found.bound is None or found.bound.silent else found.bound.probability)
        rows.append((_loss(found), f"{batch:,}", f"{len(found.values):,}", *ends, _share(found), stated))
    words = f"Stated: the least probability of a descent above the bound, with delta = {Setting.delta:g}."
    if any(found.bound is not None and found.bound.silent for _, found in study.by_batch):
        words += " A dash: a premise fails (below), so nothing is stated."
    vacuous = [
        f"{_loss(found)}, B = {batch}"
        for batch, found in study.by_batch
        if found.bound and found.bound.vacuous and not found.bound.silent
    ]
    if vacuous:
        words += f" Where it is 0 the statement is vacuous and says nothing: {'; '.join(vacuous)}."
    return f"{columns(rows, '<>>>>>>>')}\n\n{wrapped(words)}"


def _unmet(study: ManyClasses) -> str:
    """Premises that fail or are open, by loss and where they differ by batch."""
    groups: dict[str, dict[str, list[int]]] = {}
    for batch, found in study.by_batch:
        if found.bound is not None:
            groups.setdefault(_loss(found), {}).setdefault(unmet_text(found.bound.premises), []).append(batch)
    lines = []
    for loss, cases in groups.items():
        for words, batches in cases.items():
            which = f" (B = {', '.join(map(str, batches))})" * (len(cases) > 1)
            lines.append(wrapped(f"{loss}{which}: {words}."))
    return "\n".join(lines)
