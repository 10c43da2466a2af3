"""Plots of a diagnosis: learned hyperplanes over the points, losses of failed runs, and how far units moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxor.analysis.diagnosis import Diagnosis
from jaxor.analysis.diagnostics import PERCENTILES, Flags, Layer, displacement
from jaxor.analysis.plateaus import Plateau
from jaxor.analysis.subject import NotKnown, Subject
from jaxor.report.drawing import (
    BLACK,
    BLUE,
    CELLS,
    GREY,
    VERMILION,
    Numbers,
    count_scale,
    draw_rows,
    epoch_edges,
    frame_edges,
    new_figure,
    save_figures,
    style,
)
from jaxor.report.tables import count

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 300
"""Runs at most whose hyperplanes are drawn, of successful and of failed ones."""

NARROWEST = 0.05
"""Axis of losses, so that plateaus look like some."""


def diagnosis_plots(found: Diagnosis) -> dict[str, Figure]:
    """Draw what was found of the runs of a simulation.

    Parameters
    ----------
    found : Diagnosis

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``hyperplanes`` over the points, of models with two inputs; final losses of ``failures``, if there are any; and
        epochs against the ``displacement`` of units. What cannot be drawn is not there.

    Raises
    ------
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from jaxor import simulate
    >>> from jaxor.analysis.diagnosis import diagnose
    >>> list(diagnosis_plots(diagnose(simulate("relu1_normal", seeds=50))))
    ['hyperplanes', 'failures', 'displacement']
    """
    subject = Subject(found.run)
    figures = {}
    with style():
        for name, draw in _PLOTS.items():
            try:
                figures[name] = draw(found, subject)
            except NotKnown:
                continue
    return figures


def save_diagnosis_plots(found: Diagnosis, directory: Path) -> list[Path]:
    """Draw it into ``hyperplanes.svg``, ... of a directory, which is made if need be.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    OSError
        As the system gave it.
    """
    return save_figures(diagnosis_plots(found), directory)


def _hyperplanes(found: Diagnosis, subject: Subject) -> Figure:
    """Where each unit's pre-activation is 0, in the plane of the points."""
    inputs, positive, layer = subject.inputs_after(), subject.positive, subject.final
    if inputs.shape[1] != 2:
        raise NotKnown("only a plane can be drawn")
    groups = {"successful": np.flatnonzero(subject.success), "failed": np.flatnonzero(~subject.success)}
    groups = {name: runs for name, runs in groups.items() if len(runs)}
    caption = (
        "Lines: where the pre-activation of a hidden unit is 0 after training; each unit is active on one side of its "
        f"line. At most {LINES} runs of either kind. Open circles are points of class 0, filled ones of class 1."
    )
    figure = new_figure(f"Hyperplanes that runs of {_name(found)} learned", caption, 4.6)
    panels = figure.subplots(1, len(groups), squeeze=False, sharex=True, sharey=True)[0]
    reach = 1.8 * float(np.abs(inputs).max())
    for axes, (name, runs) in zip(panels, groups.items(), strict=True):
        some = runs[:LINES]
        _lines(axes, Layer(layer.weight[some], layer.bias[some]), BLUE if name == "successful" else VERMILION, reach)
        _points(axes, inputs, positive)
        which = (
            count(len(runs), f"{name} run") if len(some) == len(runs) else f"{len(some)} of {len(runs):,} {name} runs"
        )
        axes.set(title=which, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="$x_1$")
        axes.grid(visible=False)
    panels[0].set_ylabel("$x_2$")
    return figure


def _lines(axes: Axes, layer: Layer, color: str, reach: float) -> None:
    """A line for each unit whose weights are not 0, thin and the more transparent the more there are."""
    from matplotlib.collections import LineCollection

    weight, bias = layer.weight.reshape(-1, 2).astype(float), layer.bias.reshape(-1).astype(float)
    length = np.linalg.norm(weight, axis=1)
    weight, bias, length = (array[length > 1e-8] for array in (weight, bias, length))
    normal = weight / length[:, None]
    foot, along = -normal * (bias / length)[:, None], np.stack([-normal[:, 1], normal[:, 0]], axis=1)
    ends = np.stack([foot - 3 * reach * along, foot + 3 * reach * along], axis=1)
    seen = np.abs(bias / length) < 2 * reach
    alpha = float(np.clip(25 / max(len(ends), 1), 0.08, 0.6))
    axes.add_collection(LineCollection(list(ends[seen]), colors=color, linewidths=0.7, alpha=alpha, rasterized=True))


def _points(axes: Axes, inputs: Any, positive: Flags) -> None:
    for one, face in ((False, "w"), (True, BLACK)):
        x, y = inputs[positive == one].T
        axes.plot(x, y, "o", mfc=face, mec=BLACK, ms=8, zorder=3)


def _failures(found: Diagnosis, subject: Subject) -> Figure:
    """How many failed runs ended with which loss."""
    loss = subject.run.final_loss[subject.place][~subject.success].astype(float)
    finite = loss[np.isfinite(loss)]
    if not len(finite) or found.failures is None:
        raise NotKnown("no run failed")
    left_out = len(loss) - len(finite)
    caption = (
        f"{count(len(loss), 'failed run')} of {found.runs:,}"
        f"{f', {left_out:,} without a finite loss left out' if left_out else ''}. Named are plateaus with a tenth of "
        "them, and with two, at least: the loss of each point as most of these runs have it, ascending."
    )
    figure = new_figure(f"Final losses of runs of {_name(found)} that failed", caption, 3.6)
    axes, ends = figure.subplots(), frame_edges(finite)[[0, -1]]
    low, high = ends + np.array([-1, 1]) * max(NARROWEST - np.ptp(ends), 0) / 2
    edges = np.linspace(max(low, 0), high, 2 * CELLS + 1)
    heights, _, _ = axes.hist(finite, edges, color=VERMILION)
    axes.set(yscale="log", ylim=(0.5, 4 * max(heights)))
    for one, _, _ in found.failures.plateaus:
        if one.runs >= max(len(finite) / 10, 2):
            _name_plateau(axes, one, edges, np.asarray(heights))
    axes.set(xlabel="final loss", ylabel="runs", xlim=edges[[0, -1]])
    axes.yaxis.set_major_formatter("{x:,g}")
    return figure


def _name_plateau(axes: Axes, plateau: Plateau, edges: Numbers, heights: Numbers) -> None:
    """Say above its bars what a plateau is."""
    errors = "\n" + "  ".join(f"{error:.2g}" for error in plateau.errors) if plateau.errors else ""
    inside = np.abs((edges[1:] + edges[:-1]) / 2 - plateau.loss) <= plateau.spread + edges[1] - edges[0]
    left = plateau.loss < edges[0] + 0.7 * (edges[-1] - edges[0])
    axes.annotate(
        f"{plateau.loss:.4g}: {count(plateau.runs, 'run')}{errors}", (plateau.loss, heights[inside].max(initial=0)),
        xytext=(0, 3), textcoords="offset points", ha="left" if left else "right", size=8, color=GREY,
    )  # fmt: skip


def _displacement(found: Diagnosis, subject: Subject) -> Figure:
    """Epochs against the angle by which units turned, and the ratio of their lengths."""
    from matplotlib.ticker import LogLocator, NullLocator

    moved = displacement(subject.initial.weight, subject.final.weight)
    assert found.displacement is not None  # noqa: S101 (it is known if both layers are)
    units = moved.angle.shape[1]
    epochs = np.repeat(subject.epochs, units).astype(float)
    caption = (
        f"{count(found.runs, 'run')}, failed ones included, of {count(units, 'unit')}; a row is a unit. Lines: mean "
        f"epochs between percentiles {', '.join(map(str, PERCENTILES[:-1]))} and {PERCENTILES[-1]}."
    )
    figure = new_figure(f"Epochs of runs of {_name(found)} by how units moved", caption, 3.6)
    panels, cells = figure.subplots(1, 2, sharey=True), []
    labels = {"angle": "angle between weights before and after, degrees", "ratio": "length before to length after"}
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        metric = getattr(moved, name).ravel()
        edges = np.geomspace(*_ends(metric), CELLS + 1) if name == "ratio" else np.linspace(0, 180, CELLS + 1)
        cells.append(draw_rows(axes, metric, epochs, (edges, epoch_edges(epochs))))
        for one in found.displacement[name]:
            if one.mean is not None:
                axes.hlines(one.mean, max(one.low, edges[0]), one.high, color=VERMILION, lw=1.5)
        axes.set(xlabel=label, xscale="log" if name == "ratio" else "linear")
    panels[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[1].xaxis.set_major_formatter("{x:g}")
    panels[1].xaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("epochs")
    panels[0].set_xticks(range(0, 181, 45))
    count_scale(figure, panels, cells)
    return figure


def _ends(values: Any) -> tuple[float, float]:
    """Of a logarithmic axis over nearly all values."""
    positive = values[values > 0]
    low, high = np.quantile(positive, (0.001, 0.999)) if len(positive) else (0.5, 2.0)
    return float(low / 1.2), float(high * 1.2)


def _name(found: Diagnosis) -> str:
    return found.run.manifest.experiment["name"]


_PLOTS: Mapping[str, Callable[[Diagnosis, Subject], Figure]] = {
    "hyperplanes": _hyperplanes,
    "failures": _failures,
    "displacement": _displacement,
}
