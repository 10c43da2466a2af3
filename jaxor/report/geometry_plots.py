"""Plots of optimisation paths over their steps, with the random walk drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.path_views import View, Views
from jaxor.engine.geometry import Measuring
from jaxor.report.drawing import BLUE, GREY, VERMILION, new_figure, save_figures, style
from jaxor.report.tables import count

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACES = 400
"""Steps that are drawn, evenly spaced, if there are more."""

_PANELS = {
    "rsi": "RSI, <g, d> / |d|$^2$", "eb": "EB, |g| / |d|", "gamma": "gamma, cosine of g and d",
    "local_rate": "rate best for a step / rate in use",
}  # fmt: skip
_WORDS = {
    "final": "where each run ends", "exact": "the nearest exact minimum", "extra": "where each run is some steps later",
}  # fmt: skip


def geometry_plots(seen: Views, name: str, measuring: Measuring) -> dict[str, Figure]:
    """Draw RSI, EB, gamma and the locally optimal rate at each step over seeds: ``bands``.

    Parameters
    ----------
    seen : Views
        Of one run that moved at least.
    name : str
        Of the experiment.
    measuring : Measuring

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        No run moved.
    """
    if np.isnan(seen.gradient.rsi).all():
        raise ValueError("no run moved, so there is nothing to draw")
    with style():
        return {"bands": _bands(seen, name, measuring)}


def save_geometry_plots(seen: Views, name: str, measuring: Measuring, directory: Path) -> list[Path]:
    """Draw into ``bands.svg`` of a directory, which is made if need be.

    Raises
    ------
    ImportError, ValueError
        As `geometry_plots`.
    """
    return save_figures(geometry_plots(seen, name, measuring), directory)


def _bands(seen: Views, name: str, measuring: Measuring) -> Figure:
    steps = seen.gradient.gamma.shape[1]
    places = np.unique(np.linspace(0, steps - 1, min(steps, PLACES)).round().astype(int))
    thinned = f" {len(places)} of {steps:,} steps are drawn." if len(places) < steps else ""
    uneven = " Later steps are of the runs that are still going." if len(set(seen.gradient.steps.tolist())) > 1 else ""
    figure = new_figure(
        f"{name}: paths seen from {_WORDS[measuring.reference]}",
        f"Median and 5 to 95 % of {count(len(seen.seeds), 'seed')}; dashed: a random walk with steps as long, "
        f"without any landscape.{thinned}{uneven}", 5.4,
    )  # fmt: skip
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for axes, (quantity, label) in zip(panels, _PANELS.items(), strict=True):
        # Of the steps taken, since a rate of Adam is none of its gradients.
        rate = quantity == "local_rate"
        view, null = (seen.update, seen.null_update) if rate else (seen.gradient, seen.null)
        _band(axes, places, view, quantity, BLUE, "-", "seeds")
        _band(axes, places, null, quantity, VERMILION, "--", "null", band=False)
        axes.set_title(label)
    for axes in panels[[0, 1, 3]]:
        _by_powers(axes)
    panels[2].axhline(0, color=GREY, lw=0.8)
    panels[3].axhline(1, color=GREY, lw=0.8)
    panels[0].legend()
    for axes in panels[2:]:
        axes.set_xlabel("step")
    return figure


def _band(
    axes: Axes, places: NDArray[np.intp], view: View, quantity: str, colour: str, dashes: str, label: str,
    *, band: bool = True,
) -> None:  # fmt: skip
    """Median over the runs that are there, and 5 to 95 % of them around it."""
    values = getattr(view, quantity)[:, places]
    some = ~np.isnan(values).all(axis=0)
    x, values = places[some], values[:, some]
    if band:
        low, high = np.nanquantile(values, (0.05, 0.95), axis=0)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(x, np.nanmedian(values, axis=0), color=colour, ls=dashes, lw=1.2, label=label)


def _by_powers(axes: Axes) -> None:
    """A scale of powers of ten; with a straight piece around 0 where values are below it."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    edges = [np.asarray(path.vertices)[:, 1] for band in axes.collections for path in band.get_paths()]
    everything = np.concatenate([drawn, *edges])
    above = np.abs(drawn[drawn != 0])
    if not len(above):
        return
    if everything.min() > 0:
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(np.quantile(above, 0.1))))  # ticks are at powers
