"""Plots of several simulations in one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from jaxor.analysis.statistics import Summary, distribution
from jaxor.engine.status import Status
from jaxor.report.drawing import BLACK, BLUE, HIGH, NARROW, ORANGE, PURPLE, VERMILION, new_figure, style
from jaxor.report.summaries import interval_note, success_interval
from jaxor.store.population import Population
from jaxor.store.run import Run

if TYPE_CHECKING:  # an extra
    from matplotlib.figure import Figure

Simulations = Mapping[str, tuple[Run | Population, Summary]]
"""By label, with their summaries."""

COLOURS = (BLUE, VERMILION, BLACK, ORANGE, PURPLE)
STYLES = ("-", "--", "-.", ":")
"""Of curves one after the other; together they are the same again after twenty."""


def comparison_plots(simulations: Simulations) -> list[Figure]:
    """Success of simulations, and how many of their runs had converged when.

    Parameters
    ----------
    simulations : dict of str to (Run or Population, Summary)
        By label. Those without runs are left out.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    some = {label: one for label, one in simulations.items() if len(one[0])}
    with style():
        return [draw(some) for draw in (_success, _converged)] if some else []


def _success(simulations: Simulations) -> Figure:
    from matplotlib.ticker import PercentFormatter

    likely = interval_note(found for _, found in simulations.values())
    caption = f"Runs that end with accuracy 1, of all; bars, 95 %: {likely}."
    figure = new_figure("Success", caption, max(HIGH, 0.8 + 0.3 * len(simulations)), NARROW)
    axes = figure.subplots()
    for place, (_, found) in enumerate(simulations.values()):
        axes.plot(success_interval(found), [place, place], color=BLUE, lw=3, alpha=0.4)
        axes.plot(found.success.count / found.seeds, place, "o", color=BLUE)
    axes.set_yticks(range(len(simulations)), list(simulations))
    axes.set(xlim=(-0.02, 1.02), xlabel="share of runs", ylim=(len(simulations) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def _converged(simulations: Simulations) -> Figure:
    from matplotlib.ticker import PercentFormatter

    caption = (
        "Of all runs: those that stalled or diverged never converge here. Where some reached the epoch cap, the curve "
        "ends there, since it is open when they would have converged."
    )
    figure = new_figure("Runs that have converged", caption, HIGH, NARROW)
    axes = figure.subplots()
    ends = [int(distribution(runs, "epochs").values.max(initial=1)) for runs, _ in simulations.values()]
    longest = max(ends)
    # Neighbours differ in both, so that of equal curves each is seen.
    looks = zip(cycle(COLOURS), cycle(STYLES), strict=False)
    for (label, (runs, summary)), end, (colour, style_) in zip(simulations.items(), ends, looks, strict=False):
        found = distribution(runs, "epochs", Status.CONVERGED)
        last = end if summary.status[Status.EPOCH_CAP] else longest
        epochs = np.concatenate([[0], found.values, [last]])
        share = np.concatenate([[0], np.cumsum(found.counts), [found.size]]) / len(runs)
        axes.step(epochs, share, where="post", label=label, color=colour, ls=style_)
    axes.set(xlabel="epochs", ylabel="share of runs", xlim=(0, longest), ylim=(-0.02, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend()
    return figure
