"""Plots of any simulation: how long runs took and how they ended, their losses, and the paths of some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.censoring import Censoring, Median, censoring, incidence_of_counts
from jaxor.analysis.statistics import distribution, success_by_initial_loss
from jaxor.analysis.subject import NotKnown
from jaxor.engine.status import Status
from jaxor.estimates import Distribution
from jaxor.report.drawing import (
    BLUE,
    CELLS,
    GREY,
    HIGH,
    KINDS,
    NARROW,
    ORANGE,
    POINTS,
    PURPLE,
    VERMILION,
    Numbers,
    count_scale,
    draw_rows,
    epoch_edges,
    frame_edges,
    new_figure,
    style,
)
from jaxor.report.tables import count
from jaxor.report.trace_plots import curves_plot, paths_plot
from jaxor.store.errors import StoreError, TraceNotStored
from jaxor.store.population import Population, Quantity
from jaxor.store.run import Run

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    Status.CONVERGED: BLUE,
    Status.STALLED: VERMILION,
    Status.EPOCH_CAP: ORANGE,
    Status.DIVERGED: PURPLE,
}
LEVELS = 12
"""More values of the accuracy than that are counted in bins."""


def run_plots(runs: Run | Population) -> tuple[dict[str, Figure], dict[str, str]]:
    """Draw what can be drawn of a simulation.

    Parameters
    ----------
    runs : Run or Population

    Returns
    -------
    figures : dict of str to matplotlib.figure.Figure
        ``epochs``, ``accuracy``, ``survival`` (of counts ``converged``), ``success`` by initial loss, ``curves`` of the
        loss, ``losses`` (of counts ``initial_loss`` and ``final_loss``) and ``paths`` in a plane.
    left_out : dict of str to str
        The others, with the reason.

    Raises
    ------
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from jaxor import simulate
    >>> figures, left_out = run_plots(simulate("relu1_normal", seeds=100, traces="loss"))
    >>> list(figures)
    ['epochs', 'accuracy', 'survival', 'success', 'curves', 'losses']
    >>> left_out
    {'paths': "only losses were recorded; simulate with traces='all' (--traces all)"}
    """
    figures, left_out = {}, {}
    draws: Mapping[str, Callable[[Any], Figure]] = _OF_COUNTS if isinstance(runs, Population) else _OF_RUNS
    with style():
        for name, draw in draws.items():
            try:
                figures[name] = draw(runs)
            except (NotKnown, StoreError, TraceNotStored) as error:
                left_out[name] = str(error)
    return figures, left_out


def _epochs(runs: Run | Population) -> Figure:
    """How many runs ended when, by how they ended."""
    groups = {status: distribution(runs, "epochs", status) for status in COLOURS}
    groups = {status: found for status, found in groups.items() if found.size}
    values = np.unique(np.concatenate([found.values for found in groups.values()] or [np.empty(0)]))
    if not len(values):
        raise NotKnown("no run was started")
    if len(values) < 2:
        raise NotKnown(f"all runs that started took {count(values[0], 'epoch')}")
    edges = epoch_edges(values.astype(np.float64))
    caption = f"{count(sum(found.size for found in groups.values()), 'run')} that started, by how they ended."
    figure = new_figure("Epochs until runs ended", caption, HIGH, NARROW)
    axes = figure.subplots()
    _stack(axes, edges, [(status.label, COLOURS[status], found) for status, found in groups.items()])
    axes.set(xlabel="epochs")
    if len(groups) > 1:
        axes.legend()
    return figure


def _stack(axes: Axes, edges: Numbers, groups: Sequence[tuple[str, str, Distribution]]) -> None:
    """Histograms of runs on top of each other; of each group its name and colour."""
    below = np.zeros(len(edges) - 1)
    for name, colour, found in groups:
        heights, _ = np.histogram(found.values, edges, weights=found.counts)
        axes.stairs(below + heights, edges, baseline=below, fill=True, color=colour, label=name)
        below += heights
    axes.set(ylabel="runs", xlim=edges[[0, -1]])
    axes.yaxis.set_major_formatter("{x:,g}")


def survival_plot(name: str, found: Censoring) -> Figure:
    """Kaplan and Meier's curve, and the share of all runs that have converged."""
    caption = f"{count(found.runs, 'run')}; 95 % bands at each epoch. {found.note}"
    figure = new_figure(f"Epochs that runs of {name} take", caption, 3.7)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    curve, incidence = found.kaplan_meier, found.incidence
    _steps(left, curve.times, (curve.survival, curve.low, curve.high), 1.0, curve.median)
    _steps(right, incidence.times, (incidence.share, incidence.low, incidence.high), 0.0, incidence.median)
    left.set(title=f"Kaplan-Meier: not yet converged\n{_median_words(curve.median)}", ylabel="share of runs")
    right.set_title(f"Converged, of all runs\n{_median_words(incidence.median)}")
    return figure


def _survival(run: Run) -> Figure:
    _some_converged(run)
    return survival_plot(run.manifest.experiment["name"], censoring(run))


def _converged(population: Population) -> Figure:
    """The second of the two, which counts are enough for."""
    _some_converged(population)
    everything, found = population.epochs, distribution(population, "epochs", Status.CONVERGED)
    converged = np.zeros_like(everything.counts)
    converged[np.searchsorted(everything.values, found.values)] = found.counts
    curve = incidence_of_counts(everything.values, converged, len(population))
    caption = f"{count(len(population), 'run')}; 95 % band at each epoch."
    figure = new_figure("Share of all runs that have converged", caption, HIGH, NARROW)
    axes = figure.subplots()
    _steps(axes, curve.times, (curve.share, curve.low, curve.high), 0.0, curve.median)
    axes.set(title=_median_words(curve.median), ylabel="share of runs")
    return figure


def _some_converged(runs: Run | Population) -> None:
    if not distribution(runs, "epochs", Status.CONVERGED).size:
        raise NotKnown("no run converged")


def _steps(axes: Axes, times: NDArray[np.int64], curves: Sequence[Numbers], start: float, median: Median) -> None:
    """A share of runs that changes in steps from what it is at first, with its band and median."""
    from matplotlib.ticker import PercentFormatter

    epochs = np.append(0, times)
    share, low, high = (np.append(start, curve) for curve in curves)
    many = len(epochs) > POINTS
    axes.fill_between(epochs, low, high, step="post", color=BLUE, alpha=0.25, lw=0, rasterized=many)
    axes.step(epochs, share, where="post", color=BLUE, rasterized=many)
    if median.value is not None:
        axes.plot([0, median.value, median.value], [0.5, 0.5, 0], ":", color=VERMILION)
    axes.set(xlabel="epochs", ylim=(0, 1.02), xlim=(0, 1.02 * epochs[-1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _median_words(median: Median) -> str:
    if median.value is None:
        return "median not reached"
    low, high = ("not reached" if end is None else f"{end:,}" for end in (median.low, median.high))
    return f"median {median.value:,} epochs ({low} to {high})"


def _accuracy(run: Run) -> Figure:
    """How many runs ended with which accuracy."""
    found = Distribution.of(run.final_accuracy)
    if not found.size:
        raise NotKnown("no run was started")
    if len(found.values) < 2:
        raise NotKnown(f"all runs that started ended with accuracy {found.values[0]:.4g}")
    figure = new_figure("Accuracy after training", f"{count(found.size, 'run')} that started.", HIGH, NARROW)
    axes = figure.subplots()
    if len(found.values) <= LEVELS:
        places = np.arange(len(found.values))
        colours = [KINDS[bool(value == 1)][1] for value in found.values]
        bars = axes.bar(places, found.counts, color=colours, width=0.7)
        axes.bar_label(bars, [f"{share:.1%}" for share in found.counts / found.size], padding=2, size=8)
        axes.set_xticks(places, [f"{value:.4g}" for value in found.values])
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.1)
    else:
        axes.hist(found.values, CELLS, weights=found.counts, color=BLUE)
    axes.set(xlabel="accuracy", ylabel="runs")
    axes.yaxis.set_major_formatter("{x:,g}")
    return figure


def _losses(run: Run) -> Figure:
    """Final against initial loss."""
    started = run.status != Status.UNSTARTED
    success = run.final_accuracy == 1
    groups = [(kind, started & (success == kind)) for kind in KINDS]
    groups = [(kind, inside) for kind, inside in groups if inside.any()]
    if not groups:
        raise NotKnown("no run was started")
    initial, final = run.initial_loss.astype(np.float64), run.final_loss.astype(np.float64)
    x, y = (_loss_edges(losses[started]) for losses in (initial, final))
    shown = f"dots, at most {POINTS:,} a panel; of more runs counts in cells"
    caption = f"{count(int(started.sum()), 'run')}; {shown}. Successful runs end with accuracy 1."
    figure = new_figure("Final against initial loss", caption, 3.4)
    panels = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    cells = [
        draw_rows(axes, initial[inside], final[inside], (x[0], y[0]), "run")
        for axes, (_, inside) in zip(panels, groups, strict=True)
    ]
    for axes, (kind, inside) in zip(panels, groups, strict=True):
        axes.set(xlabel="loss before the first step", xscale=x[1], yscale=y[1])
        axes.set_title(count(int(inside.sum()), f"{KINDS[kind][0]} run"))
    panels[0].set_ylabel("loss after the last step")
    count_scale(figure, panels, cells, "run")
    return figure


def _loss_edges(losses: Numbers) -> tuple[Numbers, str]:
    """Edges of cells over nearly all losses, and the scale that they are on."""
    finite = losses[np.isfinite(losses)]
    positive = finite[finite > 0]
    if not len(finite):
        raise NotKnown("no loss is finite")
    if len(positive) < len(finite) / 2:
        return frame_edges(finite), "linear"
    return np.exp(frame_edges(np.log(positive))), "log"


def _loss_counts(quantity: Quantity, title: str) -> Callable[[Population], Figure]:
    """How many runs had which loss, by success."""

    def draw(population: Population) -> Figure:
        groups = {kind: distribution(population, quantity, success=kind) for kind in KINDS}
        groups = {kind: found for kind, found in groups.items() if found.size}
        if not groups:
            raise NotKnown("no loss is finite")
        values = np.concatenate([found.values for found in groups.values()])
        edges, scale = _loss_edges(values)
        total = sum(found.size for found in groups.values())
        figure = new_figure(title, f"{count(total, 'run')}.", HIGH, NARROW)
        axes = figure.subplots()
        _stack(axes, edges, [(*KINDS[kind], found) for kind, found in groups.items()])
        axes.set(xlabel="loss", xscale=scale)
        axes.legend()
        return figure

    return draw


def _success(runs: Run | Population) -> Figure:
    """Share of successes in tenths of the runs by initial loss."""
    from matplotlib.ticker import PercentFormatter

    groups = success_by_initial_loss(runs)
    successes, total = sum(group.success.count for group in groups), sum(group.runs for group in groups)
    if not total:
        raise NotKnown("no run was started with a finite loss")
    if successes in (0, total):
        raise NotKnown(f"{'every' if successes else 'no'} run that started with a finite loss succeeded")
    if len(groups) < 2:
        raise NotKnown("all runs started with the same loss")
    middles = [np.sqrt(group.low * group.high) if group.low > 0 else (group.low + group.high) / 2 for group in groups]
    shares = np.array([group.success.count / group.runs for group in groups])
    errors = np.abs(np.array([[group.success.low, group.success.high] for group in groups]).T - shares)
    caption = (
        f"{count(total, 'run')} in {len(groups)} groups by initial loss, each as wide as its line; upright: Wilson's "
        "95 %. Dotted: all of them."
    )
    figure = new_figure("Success by initial loss", caption, HIGH, NARROW)
    axes = figure.subplots()
    axes.hlines(shares, [group.low for group in groups], [group.high for group in groups], color=BLUE, alpha=0.4)
    axes.errorbar(middles, shares, errors, fmt="o", color=BLUE, ms=5, lw=1.5)
    axes.axhline(successes / total, color=GREY, ls=":", lw=1)
    axes.set(xlabel="loss before the first step", ylabel="share that ends with accuracy 1", ylim=(-0.02, 1.02))
    axes.set_xscale("log" if groups[0].low > 0 else "linear")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


_OF_RUNS: Mapping[str, Callable[[Run], Figure]] = {
    "epochs": _epochs, "accuracy": _accuracy, "survival": _survival, "success": _success, "curves": curves_plot,
    "losses": _losses, "paths": paths_plot,
}  # fmt: skip
_OF_COUNTS: Mapping[str, Callable[[Population], Figure]] = {
    "epochs": _epochs, "converged": _converged, "initial_loss": _loss_counts("initial_loss", "Loss before training"),
    "final_loss": _loss_counts("final_loss", "Loss after training"), "success": _success,
}  # fmt: skip
