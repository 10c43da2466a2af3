"""Plots of a study of initialisation: strategies, success by initial loss, what the best of k draws gives and costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxor.analysis.sampling import Study
from jaxor.report.drawing import BLACK, BLUE, GREY, VERMILION, new_figure, save_figures, style

if TYPE_CHECKING:  # an extra
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":", (0, (1, 3)))


def study_plots(study: Study) -> dict[str, Figure]:
    """Draw a study.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``strategies``, ``loss`` and ``draws``; `jaxor.report.drawing.save_plot` writes one of them.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    with style():
        return {name: draw(study) for name, draw in _PLOTS.items()}


def save_plots(study: Study, directory: Path) -> list[Path]:
    """Draw a study into ``strategies.svg``, ... of a directory, which is made if need be.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    return save_figures(study_plots(study), directory)


def _strategies(study: Study) -> Figure:
    arms = study.arms
    figure = new_figure(
        f"{study.control.name}: success and epochs by strategy",
        f"{study.seeds:,} runs each. Success: 95 % by Wilson. Epochs of successes: quartiles.", 1.6 + 0.32 * len(arms),
    )  # fmt: skip
    left, right = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(arms))[::-1]
    share = np.array([[arm.success.share or 0.0, arm.success.low, arm.success.high] for arm in arms]).T * 100
    left.errorbar(share[0], place, xerr=np.maximum([share[0] - share[1], share[2] - share[0]], 0), fmt="o", color=BLUE)
    left.set(xlim=(0, 102), xlabel="success, %", yticks=place, yticklabels=[arm.name for arm in arms])
    for arms_of, colour, offset, label in (
        (study.arms, BLUE, 0.0, "as it is"), (study.arms_without_patience, VERMILION, -0.2, "without patience"),
    ):  # fmt: skip
        known = [(at, arm.epochs_of_successes) for at, arm in zip(place, arms_of, strict=False)]
        drawn = [(at + offset, found.q25, found.q50, found.q75) for at, found in known if found is not None]
        if drawn:
            at, low, middle, high = np.array(drawn).T
            right.errorbar(middle, at, xerr=[middle - low, high - middle], fmt="o", color=colour, label=label)
    right.set(xlabel="epochs of successes")
    right.set_xlim(left=0)
    if study.arms_without_patience and right.get_legend_handles_labels()[0]:
        right.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure


def _loss(study: Study) -> Figure:
    figure = new_figure(
        f"{study.control.name}: success by initial loss",
        f"{study.seeds:,} runs of the control in groups of equally many by initial loss; band: 95 % by Wilson.", 3.2,
    )  # fmt: skip
    axes = figure.subplots()
    low, high = (np.array([getattr(step, end) for step in study.by_loss]) for end in ("low", "high"))
    middle = np.sqrt(np.maximum(low, 1e-300) * np.maximum(high, 1e-300))
    share = 100 * np.array([[s.success.share or 0.0, s.success.low, s.success.high] for s in study.by_loss]).T
    axes.fill_between(middle, share[1], share[2], color=BLUE, alpha=0.2, lw=0)
    axes.plot(middle, share[0], "o-", color=BLUE, ms=3, label="succeeded")
    if study.by_loss[0].dead is not None:
        alive = [100 * (1 - (step.dead or 0.0)) for step in study.by_loss]
        axes.plot(middle, alive, "s--", color=VERMILION, ms=3, label="no class-1 point dead at the start")
        axes.legend()
    axes.set(xscale="log", ylim=(0, 102), xlabel="initial loss", ylabel="% of runs")
    return figure


def _draws(study: Study) -> Figure:
    figure = new_figure(
        f"{study.control.name}: choosing the lowest initial loss of k draws",
        "Computed from the control's runs; band: 95 %. Cost: all steps and draws, divided by the successes, if a draw "
        "costs as much as so many steps; dots: the cheapest k.", 3.4,
    )  # fmt: skip
    left, right = figure.subplots(1, 2)
    k = np.array([number for number, _ in study.best_of])
    outcomes = [outcome for _, outcome in study.best_of]
    band = 100 * np.array([[o.success, *o.interval] for o in outcomes]).T
    left.fill_between(k, band[1], band[2], color=BLUE, alpha=0.2, lw=0)
    left.plot(k, band[0], "o-", color=BLUE, ms=3)
    left.set(xscale="log", ylim=(0, 102), xlabel="k", ylabel="success, %")
    for one, dashes in zip(study.recommendations, _DASHES, strict=True):
        cost = np.array([outcome.cost(one.draw_cost) for outcome in outcomes])
        right.plot(k, cost, ls=dashes, color=BLACK if one.draw_cost else GREY, label=f"{one.draw_cost:.3g}")
        right.plot(one.k, one.best_of, "o", color=VERMILION, ms=4)
    succeeds = any(outcome.success for outcome in outcomes)  # else all costs are infinite
    right.set(xscale="log", yscale="log" if succeeds else "linear", xlabel="k", ylabel="steps for a success")
    right.legend(title="a draw costs", fontsize=8)
    return figure


_PLOTS: Mapping[str, Callable[[Study], Figure]] = {"strategies": _strategies, "loss": _loss, "draws": _draws}
