"""Plots of what was recorded of runs at each step: their losses, and the paths of some in parameter space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxor.analysis.curves import Plane, loss_curves, path, some_seeds
from jaxor.analysis.exact import exact_reference
from jaxor.analysis.subject import NotKnown
from jaxor.report.drawing import BLACK, HIGH, KINDS, NARROW, POINTS, Numbers, new_figure
from jaxor.report.tables import count
from jaxor.store.run import Run

if TYPE_CHECKING:  # an extra
    from matplotlib.figure import Figure

CURVES, PLACES = 500, 400
"""Runs at most whose losses are looked at, and steps."""

FEW = 20
"""Fewer curves than that are drawn one by one."""

PATHS, VERTICES = 6, 500
"""Runs of either kind whose paths are drawn, and points of each at most."""


def curves_plot(run: Run) -> Figure:
    """Losses over the steps: medians and bands."""
    groups = some_seeds(run, CURVES)
    if not groups:
        raise NotKnown("no run was started")
    longest = max(int(run.steps[run.places(seeds)].max()) for seeds in groups.values())
    steps = np.unique(np.linspace(0, longest, min(longest + 1, PLACES)).round().astype(int))
    batches = run.manifest.experiment["batch"]["mode"] != "full"
    words = " and ".join(f"{len(seeds):,} {KINDS[kind][0]}" for kind, seeds in groups.items())
    caption = (
        f"{words} runs, the first of all. Median, half and nine tenths of them; a run that has ended keeps its loss."
        f"{' Losses are those of the batches, the last one of the whole task.' if batches else ''}"
    )
    figure = new_figure("Loss over the steps", caption, HIGH, NARROW)
    axes = figure.subplots()
    for kind, seeds in groups.items():
        name, colour = KINDS[kind]
        curves = loss_curves(run, seeds, steps)
        if len(seeds) < FEW:
            axes.plot(steps, curves.T, color=colour, lw=0.6, alpha=0.6)
        else:
            for low, high in ((5, 95), (25, 75)):
                axes.fill_between(steps, *np.nanpercentile(curves, (low, high), axis=0), color=colour, alpha=0.2, lw=0)
        axes.plot(steps, np.nanmedian(curves, axis=0), color=colour, lw=1.5, label=name)
    axes.set(xlabel="step", ylabel="loss", xlim=(0, max(longest, 1)))
    if axes.dataLim.y0 > 0:
        axes.set_yscale("log")
    axes.legend()
    return figure


def paths_plot(run: Run) -> Figure:
    """Parameters of some runs on their way, in the plane closest to these paths."""
    size = len(run.param_names)
    if size < 2:
        raise NotKnown("a plane needs two parameters")
    groups = some_seeds(run, PATHS)
    paths = {kind: [_thinned(path(run, int(seed))) for seed in seeds] for kind, seeds in groups.items()}
    drawn = [one for some in paths.values() for one in some]
    try:
        plane = Plane.of(np.concatenate(drawn or [np.empty((0, size))]))
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
    places = np.linspace(0, len(points) - 1, min(len(points), VERTICES)).round().astype(int)
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
