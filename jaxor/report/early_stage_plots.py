"""Plots of the studies of early-stage and global convergence of two-layer ReLU nets, after Wang & Ma (NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.bounds import COROLLARY_4_7_DESCENT, corollary_4_3
from jaxor.analysis.convergence import input_layer_curve
from jaxor.analysis.corollaries import HELD_OUT, ManyClasses, TwoClasses
from jaxor.analysis.descents import Descents
from jaxor.analysis.first_step import FirstStep
from jaxor.analysis.lemmas import STATEMENTS, Lemmas
from jaxor.analysis.rates import CONSTANT_STEPS, FITTED_FROM, Rates
from jaxor.analysis.table1 import RATE, WIDTH, Cell, Table
from jaxor.report.drawing import BLACK, BLUE, GREY, VERMILION, new_figure, save_figures, style
from jaxor.report.first_step_plot import draw_first_step

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Study = Table | TwoClasses | ManyClasses | Lemmas | Rates | FirstStep
Numbers = NDArray[np.float64]

SPREAD = 0.3
"""Width of a strip of seeds, in places."""

_LINES = {"TL": (BLUE, "-"), "FD": (BLACK, "--"), "TD": (VERMILION, "-"), "FL": (GREY, "--")}
_LOSSES = {"exponential": (BLUE, "-"), "logistic": (VERMILION, "--")}
_POWERS = ((BLUE, "-"), (VERMILION, "--"), (BLACK, "-."))
_MARKS = {"S1": ("o", GREY), "S2": ("s", GREY), "S3": ("^", BLUE), "S4": ("v", VERMILION), "S5": ("D", BLACK)}


def study_plots(study: Study) -> dict[str, Figure]:
    """Draw a study.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Of a table ``table``; of two classes ``descent``; of many ``sgd``; of lemmas ``partition``, ``violations``,
        ``descent`` and ``gradient``; of rates ``contraction`` and ``decay``; of the first step ``first_step``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    with style():
        return {name: draw(study) for name, draw in _PLOTS[type(study)].items()}


def save_plots(study: Study, directory: Path) -> list[Path]:
    """Draw a study into ``partition.svg``, ... of a directory, which is made if need be.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    return save_figures(study_plots(study), directory)


def _strip(axes: Axes, at: float, values: Numbers, colour: str = BLUE, *, across: bool = False) -> None:
    """One dot a seed, side by side in their order, and a bar at the mean."""
    side = at + np.linspace(-SPREAD, SPREAD, len(values) + 2)[1:-1]
    ends = (at - SPREAD, at + SPREAD)
    alpha = 0.8 if len(values) <= 32 else 0.3
    style = {
        "marker": "o",
        "ls": "",
        "ms": 3,
        "mew": 0,
        "color": colour,
        "alpha": alpha,
        "rasterized": len(values) > 200,
    }
    mean = [values.mean()] * 2
    axes.plot(*((values, side) if across else (side, values)), **style)
    axes.plot(*((mean, ends) if across else (ends, mean)), color=BLACK, lw=1.2)


def _table(table: Table) -> Figure:
    seeds = len(table.by_width[0].descents.values)
    printed = any(cell.printed for cell in (*table.by_width, *table.by_rate))
    figure = new_figure(
        f"{table.source}: descent of the logistic loss in T(eta) steps",
        f"Dots: {seeds} seeds, initialised as the authors' notebook has it; black bars: means. "
        + "Diamonds: printed, one run each. " * printed
        + "The bound is stated for eta = .01, the exponential loss and the theorem's own initialisation.", 3.6,
    )  # fmt: skip
    left, right = figure.subplots(1, 2, sharey=True)
    parts: Sequence[tuple[Axes, Sequence[Cell], str, list[str]]] = (
        (left, table.by_width, f"m, at eta = {RATE:g}", [f"{cell.width:,}" for cell in table.by_width]),
        (right, table.by_rate, f"eta, at m = {WIDTH}", [f"{cell.rate:g}" for cell in table.by_rate]),
    )
    for axes, cells, label, names in parts:
        for place, cell in enumerate(cells):
            _strip(axes, place, cell.descents.values)
            axes.plot([place] * len(cell.printed), cell.printed, "D", color=VERMILION, ms=6, mfc="none", mew=1.4)
        axes.axhline(COROLLARY_4_7_DESCENT, color=VERMILION, ls="--", lw=1)
        axes.set(xlabel=label, xticks=range(len(names)), xticklabels=names, xlim=(-0.6, len(names) - 0.4))
    left.annotate("bound", (1, COROLLARY_4_7_DESCENT), (-2, 3), xycoords=("axes fraction", "data"),
                  textcoords="offset points", color=VERMILION, ha="right", size=8)  # fmt: skip
    left.set_ylabel("L(0) - L(T)")
    left.set_ylim(bottom=0)
    return figure


def _two_classes(study: TwoClasses) -> Figure:
    found, bound = study.descents, study.descents.bound
    groups = [(f"{study.nets.points} points", found)]
    groups += [(f"stream, {batch} a step", one) for batch, one in study.population]
    below = f" Streams: on {HELD_OUT:,} other points; no bound was at hand." * bool(study.population)
    figure = new_figure(
        f"Corollary 4.3 on {study.nets.data} data: descent in {found.steps} steps",
        f"Dots: seeds, {len(found.values):,} of the fixed points; black bars: means; dashed: the bound.{below}", 3.0,
    )  # fmt: skip
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for place, (_, one) in enumerate(groups):
        _strip(left, -place, one.values, across=True)
    left.set(xlabel="L(0) - L(T)", yticks=-np.arange(len(groups)), yticklabels=[name for name, _ in groups],
             ylim=(-len(groups) + 0.4, 0.6), xlim=(0, 1.1 * max(one.values.max() for _, one in groups)))  # fmt: skip
    if bound is not None and bound.bound is not None:
        left.plot([bound.bound] * 2, (-0.45, 0.45), color=VERMILION, ls="--")
        left.annotate(f"bound {bound.bound:.4f}", (bound.bound, 0.45), (4, -8), textcoords="offset points",
                      color=VERMILION, size=8)  # fmt: skip
    right.hist(found.values, bins="auto", color=BLUE)
    right.locator_params(axis="x", nbins=3)
    right.ticklabel_format(axis="x", useOffset=False)
    right.set(title=f"the {study.nets.points} points, close", xlabel="L(0) - L(T)", ylabel="seeds")
    return figure


def _many_classes(study: ManyClasses) -> Figure:
    groups: dict[str, list[tuple[int, Descents]]] = {}
    for batch, found in study.by_batch:
        groups.setdefault(found.experiment.to_dict()["loss"]["name"], []).append((batch, found))
    found = study.by_batch[0][1]
    figure = new_figure(
        f"{study.source}: descent by SGD with replacement, initialised as Theorem 4.6 has it",
        f"Dots: {len(found.values)} seeds; black bars: means; m = {WIDTH}, eta = {RATE:g}, T = {found.steps}. Dashed: "
        "the bound of Corollary 4.7, whose constants are those of the exponential loss.", 3.2,
    )  # fmt: skip
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, (loss, cells) in zip(panels, groups.items(), strict=True):
        for place, (_, one) in enumerate(cells):
            _strip(axes, place, one.values)
        axes.axhline(COROLLARY_4_7_DESCENT, color=VERMILION, ls="--", lw=1)
        axes.set(title=f"{loss} loss", xlabel="B", xticks=range(len(cells)), xticklabels=[str(b) for b, _ in cells],
                 xlim=(-0.6, len(cells) - 0.4))  # fmt: skip
    panels[0].annotate("bound", (1, COROLLARY_4_7_DESCENT), (-2, 3), xycoords=("axes fraction", "data"),
                       textcoords="offset points", color=VERMILION, ha="right", size=8)  # fmt: skip
    panels[0].set_ylabel("L(0) - L(T)")
    panels[0].set_ylim(bottom=0)
    return figure


def _band(axes: Axes, t: ArrayLike, values: Numbers, colour: str, dashes: str, label: str, **line: Any) -> None:
    """Median over seeds (rows) and all of them around it."""
    axes.fill_between(t, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, lw=0)
    axes.plot(t, np.median(values, axis=0), color=colour, ls=dashes, label=label, **line)


def _seen(study: Lemmas) -> str:
    return f"{study.nets.data}, n = {study.nets.points}, m = {study.nets.width:,}"


def _partition(study: Lemmas) -> Figure:
    fractions = study.figures["fractions"]
    figure = new_figure(
        f"{_seen(study)}: neuron partition over time",
        f"Shares of all pairs of point and neuron: median and range of {len(fractions)} seeds. From t = 1 on TL and FD "
        "are 1/2, TD and FL are empty where Lemma 6.2 holds.", 3.2,
    )  # fmt: skip
    panels = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
    steps = fractions.shape[1]
    for axes, last, marks in zip(panels, (min(4, steps), steps), ({"marker": "o", "ms": 3}, {}), strict=True):
        for number, name in enumerate(("TL", "TD", "FL", "FD")):
            colour, dashes = _LINES[name]
            _band(axes, np.arange(last), fractions[:, :last, number], colour, dashes, name, **marks)
        axes.set(xlabel="t", ylim=(-0.02, 0.54))
    panels[0].set(ylabel="share of pairs", title="first steps", xticks=range(min(4, steps)))
    panels[1].set_title("all steps")
    panels[1].legend(loc="center right", ncols=2)
    return figure


def _violations(study: Lemmas) -> Figure:
    seeds = study.sweep[0].seeds
    figure = new_figure(
        f"{_seen(study)}: pairs (i, k) that break S1 to S5",
        f"Mean over {seeds} seeds, summed over {study.steps} steps; marks are moved sideways a little where they would "
        f"coincide. There are {study.nets.points * study.nets.width:,} pairs. Dotted: the study's own kappa.", 3.4,
    )  # fmt: skip
    axes = figure.subplots()
    sweep = sorted(study.sweep, key=lambda one: one.kappa)
    for number, name in enumerate(STATEMENTS):
        mark, colour = _MARKS[name]
        x = [one.kappa * 1.17 ** (number - 2) for one in sweep]
        axes.plot(x, [one.counts[name].mean() for one in sweep], marker=mark, ms=5, color=colour, lw=0.6, label=name)
    axes.axvline(study.nets.kappa, color=GREY, ls=":", lw=1)
    axes.set_yscale("symlog", linthresh=1 / seeds)  # the smallest mean that is not 0
    axes.set(xscale="log", xlabel="kappa", ylabel="pairs per seed")
    most = max(float(counts.mean()) for one in sweep for counts in one.counts.values())
    tops = np.arange(max(np.ceil(np.log10(max(most, 1))), 1) + 1)
    axes.set(ylim=(-0.3 / seeds, 10 ** (tops[-1] + 1)), yticks=[0, *10**tops])
    axes.set_yticks([], minor=True)
    axes.legend(ncols=5, loc="upper center")
    return figure


def _descent(study: Lemmas) -> Figure:
    """The early stage itself: how far the loss has fallen by each step."""
    fallen = study.figures["loss"][:, :1] - study.figures["loss"]
    bound = corollary_4_3(study.nets.separation, study.nets.setting("quadratic"))
    figure = new_figure(
        f"{_seen(study)}: descent of the loss",
        f"Median and range of {len(fallen)} seeds. Dashed: the bound of Corollary 4.3, at its T.", 3.0,
    )  # fmt: skip
    axes = figure.subplots()
    _band(axes, np.arange(fallen.shape[1]), fallen, BLUE, "-", "L(0) - L(t)")
    if bound.bound is not None and bound.steps is not None:
        axes.axhline(bound.bound, color=VERMILION, ls="--", lw=1)
        axes.plot([bound.steps], [bound.bound], "D", color=VERMILION, ms=5)
    axes.set(xlabel="t", ylabel="descent")
    axes.set_ylim(bottom=0)
    return figure


def _gradient(study: Lemmas) -> Figure:
    figures = study.figures
    t = np.arange(1, figures["loss"].shape[1])
    square, margin = figures["gradient_square"][:, 1:], figures["gradient_margin"][:, 1:]
    figure = new_figure(
        f"{_seen(study)}: gradient and curvature from t = 1 on",
        f"Median and range of {len(square)} seeds. The lower bound is that of Lemma 6.5, derived anew; the Hessian's "
        "norm is by power iteration, from below.", 3.0,
    )  # fmt: skip
    left, right = figure.subplots(1, 2)
    _band(left, t, square, BLUE, "-", "|grad L|$^2$")
    _band(left, t, square - margin, VERMILION, "--", "lower bound")
    left.legend()
    left.set_xlabel("t")
    left.set_ylim(bottom=0)
    _band(right, t, figures["hessian_norm"][:, 1:], BLUE, "-", "|Hessian of L|")
    right.legend()
    right.set_xlabel("t")
    right.set_ylim(bottom=0)
    return figure


def _contraction(study: Rates) -> Figure:
    seeds = len(study.contractions[0].ratios)
    figure = new_figure(
        f"{study.nets.data}, first layer alone: contraction of the loss (Theorem 5.3)",
        f"Median and range of {seeds} seeds, eta_t = 1 / L(t) from t = 1 on. Dotted: the bounds, derived anew, in the "
        "colour of the loss.", 3.4,
    )  # fmt: skip
    left, right = figure.subplots(1, 2)
    for one in study.contractions:
        colour, dashes = _LOSSES[one.loss]
        t = np.arange(1, one.losses.shape[1])
        _band(left, t, one.ratios, colour, dashes, one.loss)
        _band(right, t, one.losses[:, 1:], colour, dashes, one.loss)
        if one.bound.bound is not None:
            left.axhline(one.bound.bound, color=colour, ls=":")
            curve = input_layer_curve(t, float(one.losses[:, 1].max()), one.bound.bound)
            right.plot(t, curve, color=colour, ls=":")
    left.set(xlabel="t", ylabel="L(t+1) / L(t)")
    left.set_ylim(top=1.005)
    left.legend(loc="center right")
    right.set(xlabel="t", ylabel="L(t)", yscale="log")
    return figure


def _decay(study: Rates) -> Figure:
    losses = list(dict.fromkeys(one.experiment.to_dict()["loss"]["name"] for one in study.decays))
    seeds = len(study.decays[0].losses)
    figure = new_figure(
        f"{study.nets.data}, all layers: decay of the loss (Theorem 5.2)",
        f"Median and range of {seeds} seeds; slopes fitted from t = {FITTED_FROM} on. Dotted: T0 = {CONSTANT_STEPS}, "
        "after which eta_t = r L / (t |grad L|^2), derived anew.", 3.4,
    )  # fmt: skip
    panels = figure.subplots(1, len(losses), sharey=True, squeeze=False)[0]
    for axes, loss in zip(panels, losses, strict=True):
        found = [one for one in study.decays if one.experiment.to_dict()["loss"]["name"] == loss]
        for one, (colour, dashes) in zip(found, _POWERS, strict=False):
            known = one.losses[np.isfinite(one.losses[:, -1])]
            if len(known):
                slope = np.median(one.slopes[np.isfinite(one.slopes)])
                label = f"r = {one.power:g}: slope {slope:.3f}"
                _band(axes, np.arange(1, known.shape[1]), known[:, 1:], colour, dashes, label)
        axes.axvline(CONSTANT_STEPS, color=GREY, ls=":", lw=1)
        axes.set(xscale="log", yscale="log", xlabel="t", title=f"{loss} loss")
        axes.legend(loc="lower left")
    panels[0].set_ylabel("L(t)")
    return figure


_PLOTS: Mapping[type, Mapping[str, Callable[[Any], Figure]]] = {
    Table: {"table": _table},
    TwoClasses: {"descent": _two_classes},
    ManyClasses: {"sgd": _many_classes},
    Lemmas: {"partition": _partition, "violations": _violations, "descent": _descent, "gradient": _gradient},
    Rates: {"contraction": _contraction, "decay": _decay},
    FirstStep: {"first_step": draw_first_step},
}
