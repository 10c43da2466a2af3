"""Plots of what was recorded of runs at each step: their losses, and the paths of some in parameter space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.curves import Plane, loss_curves, path, some_seeds
from jaxor.analysis.exact import exact_reference
from jaxor.analysis.subject import NotKnown
from jaxor.report.drawing import BLACK, HIGH, KINDS, NARROW, POINTS, Numbers, new_figure
from jaxor.report.tables import count
from jaxor.store.run import Run

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES, PLACES = 500, 400
"""Runs at most whose losses are looked at, and steps."""

BANDS = 20
"""From so many curves on there are bands; fewer are drawn one by one."""

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Ends of the bands, and the median."""

PATHS, VERTICES = 6, 500
"""Runs of either kind whose paths are drawn, and points of each at most."""

NUMBERS = 2**24
"""Coordinates of all these points at most: of wide nets fewer points of each path."""


def curves_plot(run: Run) -> Figure:
    """Losses over the steps: medians and bands."""
    groups = some_seeds(run, CURVES)
    if not groups:
        raise NotKnown("no run was started")
    longest = max(int(run.steps[run.places(seeds)].max()) for seeds in groups.values())
    steps = np.unique(np.linspace(0, longest, min(longest + 1, PLACES)).round().astype(int))
    batches = run.manifest.experiment["batch"]["mode"] != "full"
    words = " and ".join(f"{len(seeds):,} {KINDS[kind][0]}" for kind, seeds in groups.items())
    drawn = {kind: _ranked(loss_curves(run, seeds, steps)) for kind, seeds in groups.items()}
    lost = sum(int(np.isinf(curves[:, -1]).sum()) for curves in drawn.values())
    caption = (
        f"{words} runs, the first of all. Median, with half and nine tenths of them, or with each where they are fewer "
        f"than {BANDS}; a run that has ended keeps its loss."
        f"{f' {lost:,} ended without a finite loss, which counts as above all others.' if lost else ''}"
        f"{' Losses are those of the batches, the last one of the whole task.' if batches else ''}"
    )
    figure = new_figure("Loss over the steps", caption, HIGH, NARROW)
    axes = figure.subplots()
    for kind, curves in drawn.items():
        _summed_up(axes, steps, curves, kind)
    axes.set(xlabel="step", ylabel="loss", xlim=(0, max(longest, 1)))
    if axes.dataLim.y0 > 0:
        axes.set_yscale("log")
    axes.legend()
    return figure


def _ranked(curves: Numbers) -> Numbers:
    """Losses with what is not finite above all others, so that quantiles are of all runs."""
    return np.where(np.isfinite(curves), curves, np.inf)


def _summed_up(axes: Axes, steps: NDArray[np.int64], curves: Numbers, success: bool) -> None:
    """The median of some curves, with bands or with each of them."""
    name, colour = KINDS[success]
    # Observed losses: between a finite one and one that is not there is nothing.
    lowest, low, median, high, highest = np.quantile(curves, LEVELS, axis=0, method="inverted_cdf")
    if len(curves) < BANDS:
        axes.plot(steps, curves.T, color=colour, lw=0.6, alpha=0.6)
    else:
        top = float(curves[np.isfinite(curves)].max(initial=0))
        for bottom, upper in ((lowest, highest), (low, high)):
            axes.fill_between(steps, bottom, np.minimum(upper, top), color=colour, alpha=0.2, lw=0)
    axes.plot(steps, median, color=colour, lw=1.5, label=name)


def paths_plot(run: Run) -> Figure:
    """Parameters of some runs on their way, in the plane closest to these paths."""
    size = len(run.param_names)
    if size < 2:
        raise NotKnown("a plane needs two parameters")
    groups = some_seeds(run, PATHS)
    if not groups:
        raise NotKnown("no run was started")
    paths = {kind: [_thinned(path(run, int(seed))) for seed in seeds] for kind, seeds in groups.items()}
    drawn = [one for some in paths.values() for one in some]
    try:
        plane = Plane.of(np.concatenate(drawn))
    except ValueError as error:
        raise NotKnown("no run moved") from error
    solutions, what, marker = _solutions(run, np.concatenate([one[-1:] for one in drawn]))
    words = " and ".join(count(len(some), f"{KINDS[kind][0]} run") for kind, some in paths.items())
    caption = (
        f"{words}, the first of all, from the circles to the dots, in the plane closest to their paths, which has "
        f"{sum(plane.shares):.0%} of the variance. {what}"
    )
    figure = new_figure("Paths in parameter space", caption, HIGH + 0.9, NARROW)
    axes = figure.subplots()
    for kind, some in paths.items():
        name, colour = KINDS[kind]
        for number, one in enumerate(some):
            x, y = plane.project(one).T
            axes.plot(x, y, color=colour, lw=1, alpha=0.8, label=name if number == 0 else None)
            axes.plot(x[0], y[0], "o", mfc="w", mec=colour, ms=4)
            axes.plot(x[-1], y[-1], "o", color=colour, ms=4, zorder=3)
    x, y = plane.project(solutions).T
    axes.plot(x, y, ls="", **marker)
    first, second = (f"{share:.0%} of the variance" for share in plane.shares)
    axes.set(xlabel=f"first direction, {first}", ylabel=f"second direction, {second}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend()
    return figure


def _thinned(points: Numbers) -> Numbers:
    most = int(np.clip(NUMBERS // (2 * PATHS * points.shape[1]), 2, VERTICES))
    places = np.linspace(0, len(points) - 1, min(len(points), most)).round().astype(int)
    return points[places]


def _solutions(run: Run, ends: Numbers) -> tuple[Numbers, str, dict[str, Any]]:
    """Exact minima that belong to some ends, or where successful runs ended; what they are, and how they are drawn."""
    exact = exact_reference(run.manifest.experiment)
    if exact is not None:
        star = {"marker": "*", "color": BLACK, "ms": 12, "zorder": 4, "mec": "w"}
        return np.unique(exact(ends), axis=0), "Stars: the nearest exact solutions.", star
    found = run.final_params[run.final_accuracy == 1][:POINTS].astype(np.float64)
    what = f"Grey: where {count(len(found), 'successful run')} ended." if len(found) else ""
    return found, what, {"marker": ".", "color": "0.7", "ms": 2, "zorder": 1}
