"""Plots of a fit: forecasts, residuals, families of features, the two laws, and how long runs take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.fit import Fit, Judged
from jaxor.report.drawing import (
    BLACK,
    BLUE,
    CELLS,
    VERMILION,
    count_scale,
    draw_rows,
    epoch_edges,
    frame_edges,
    medians,
    new_figure,
    save_figures,
    style,
)
from jaxor.report.run_plots import survival_plot
from jaxor.report.tables import count

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = NDArray[np.float64]

SHOWN = ("law/distance", "law/log_shifted", "sound/linear", "sound/hist_boosting")
"""Models whose forecasts are drawn, if they are there, beside the best ones."""

LOWEST = -0.25
"""Where the axis of R2 ends at the latest; models far worse than the mean are not worth the room."""


def fit_plots(fit: Fit) -> dict[str, Figure]:
    """Draw what was learned from a simulation.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``forecast`` and ``residuals`` of the laws and some models, R2 of ``families`` of features, epochs against
        ``distance`` with two laws, and ``survival``. `jaxor.report.drawing.save_plot` writes one of them.

    Raises
    ------
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from jaxor import simulate
    >>> from jaxor.analysis.fit import Settings, fit_run
    >>> fit = fit_run(simulate("abs1_convergence", seeds=40), Settings(faces=("law",), folds=4))
    >>> list(fit_plots(fit))
    ['forecast', 'residuals', 'families', 'distance', 'survival']
    """
    with style():
        return {name: draw(fit) for name, draw in _PLOTS.items()}


def save_plots(fit: Fit, directory: Path) -> list[Path]:
    """Draw what was learned from a simulation into ``forecast.svg``, ... of a directory, which is made if need be.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    OSError
        As the system gave it.
    """
    return save_figures(fit_plots(fit), directory)


def _forecast(fit: Fit) -> Figure:
    """Forecast against actual epochs."""
    models, actual = _shown(fit), _actual(fit)
    x, y = epoch_edges(actual), frame_edges(np.concatenate([actual, *(model.predicted for model in models)]))

    def draw(axes: Axes, model: Judged) -> Any:
        axes.axline((0, 0), slope=1, color=VERMILION, lw=1)
        return draw_rows(axes, actual, model.predicted, (x, y))

    title = f"Epochs to convergence of {_name(fit)}: forecast against actual"
    caption = f"{_judged(fit)} On the line forecasts are right. {_best_words(fit)}"
    return _multiples(title, caption, models, draw, "forecast, epochs", sharey=True)


def _residuals(fit: Fit) -> Figure:
    """Errors of forecasts against actual epochs."""
    actual = _actual(fit)
    x = epoch_edges(actual)

    def draw(axes: Axes, model: Judged) -> Any:
        residual = actual - model.predicted
        axes.axhline(0, color=BLACK, lw=0.8)
        axes.plot(*medians(actual, residual, x), color=VERMILION, lw=1)
        return draw_rows(axes, actual, residual, (x, frame_edges(residual)))

    title = f"Epochs to convergence of {_name(fit)}: residuals of forecasts"
    caption = (
        f"{_judged(fit)} Above 0 runs take longer than forecast; the coloured line is the median. "
        f"Each panel has its own scale. {_best_words(fit)}"
    )
    return _multiples(title, caption, _shown(fit), draw, "actual - forecast, epochs", sharey=False)


def _multiples(
    title: str, caption: str, models: Sequence[Judged], draw: Callable[[Axes, Judged], Any], up: str, sharey: bool
) -> Figure:
    """A panel for each model, against actual epochs."""
    across = min(len(models), 3)
    down = -(-len(models) // across)
    figure = new_figure(title, caption, 1.1 + 2.1 * down)
    panels = figure.subplots(down, across, sharex=True, sharey=sharey, squeeze=False)
    cells = [draw(axes, model) for axes, model in zip(panels.flat, models, strict=False)]
    for axes, model in zip(panels.flat, models, strict=False):
        axes.set_title(f"{_label(model)}\nR² {_r2(model.grouped.r2)}, MAE {_mae(model.grouped.mae)}")
        axes.set_xlabel("actual, epochs")
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel(up)
    for axes in panels.flat[len(models) :]:
        axes.remove()
    count_scale(figure, panels.flat[: len(models)].tolist(), cells)
    return figure


def _families(fit: Fit) -> Figure:
    """R2 of least squares by families of features, the best on top."""
    found = sorted(fit.ablations, key=lambda ablation: ablation.r2)
    title = f"Epochs to convergence of {_name(fit)}: R² by family of features"
    lowest = min(ablation.interval.low for ablation in found)
    caption = (
        "Least squares, with the number of features in brackets; ln L2 is the logarithm of the distance. "
        f"{_judged(fit)} Bars are 95 % intervals from resampling runs"
        f"{f'; what is below {LOWEST:g} is cut off' if lowest < LOWEST else ''}."
    )
    figure = new_figure(title, caption, 1.2 + 0.22 * len(found))
    axes, lowest = figure.subplots(), max(lowest, LOWEST)
    for place, ablation in enumerate(found):
        color = _color(ablation.name)
        axes.plot(ablation.interval, [place, place], color=color, lw=3, alpha=0.4)
        axes.plot(max(ablation.r2, lowest), place, "<" if ablation.r2 < lowest else "o", color=color, ms=5)
        where: Any = ("axes fraction", "data")
        axes.annotate(
            _r2(ablation.r2), (1, place), xycoords=where, xytext=(6, 0), textcoords="offset points",
            va="center_baseline", color=color,
        )  # fmt: skip
    axes.set_yticks(range(len(found)), [f"{ablation.name} ({ablation.columns})" for ablation in found])
    for text, ablation in zip(axes.get_yticklabels(), found, strict=True):
        text.set(color=_color(ablation.name), weight="bold" if ablation.name in _WITHOUT_LOGS else "normal")
    axes.set(xlabel="R² on runs not learned from", xlim=(lowest - 0.02, 1.02))
    axes.grid(axis="y", visible=False)
    return figure


_WITHOUT_LOGS = ("without log", "without log_layer")


def _color(ablation: str) -> str:
    return VERMILION if ablation in _WITHOUT_LOGS else BLUE if ablation.startswith("only") else BLACK


def _distance(fit: Fit) -> Figure:
    """Epochs against distance on a linear and on a logarithmic axis, with both laws."""
    rows, slopes = fit.rows.take(~fit.held_out), fit.slopes
    distance = np.linalg.norm(np.subtract(rows.state, rows.reference, dtype=np.float64), axis=1)
    away = distance > 0  # the others have no place on a logarithmic axis
    distance, remaining = distance[away], rows.remaining[away]
    theory = f"; in theory {slopes.theory:.4g}" if slopes.theory else ""
    caption = (
        f"{count(len(np.unique(rows.seed)), 'run')}, {count(len(distance), 'row')}, which the laws were fitted to. "
        f"By law/log_shifted it takes {slopes.log_shifted:.4g} epochs to get e times closer{theory}."
    )
    figure = new_figure(f"Epochs to convergence of {_name(fit)} against distance", caption, 3.6)
    panels, cells = figure.subplots(1, 2, sharey=True), []
    where = {"final": "the final parameters", "exact": "the nearest exact minimum"}[fit.settings.reference]
    spaces: Any = {"linear": np.linspace, "log": np.geomspace}
    for axes, (scale, space) in zip(panels, spaces.items(), strict=True):
        ends = distance.min(), distance.max()
        cells.append(draw_rows(axes, distance, remaining, (space(*ends, CELLS + 1), epoch_edges(remaining))))
        for model in fit.models:
            if _label(model) in _LINES:
                x = space(*ends, 300)
                axes.plot(x, model.estimator.predict(x[:, None]), label=_label(model), **_LINES[_label(model)])
        axes.set(xscale=scale, xlabel=f"distance to {where}", ylim=(0, 1.05 * remaining.max()))
        axes.set_title(f"{scale} axis")
    panels[0].set_ylabel("remaining, epochs")
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(loc="lower right", labelcolor="linecolor")
    count_scale(figure, panels, cells)
    return figure


def _survival(fit: Fit) -> Figure:
    return survival_plot(_name(fit), fit.censoring)


def _shown(fit: Fit) -> list[Judged]:
    """The laws and some models as far as they are there, and the best ones."""
    named = [model for model in fit.models if _label(model) in SHOWN]
    return list({_label(model): model for model in (*named, *_best(fit).values())}.values())


def _best(fit: Fit) -> dict[str, Judged]:
    """The best of the models that can be asked while a run is under way, and of all."""
    causal = [model for model in fit.models if model.causal]
    groups = {"what is known while a run is under way": causal, "all": fit.models}
    return {name: max(models, key=lambda model: model.grouped.r2) for name, models in groups.items() if models}


def _best_words(fit: Fit) -> str:
    return " ".join(f"Best of {name}: {_label(model)}." for name, model in _best(fit).items())


def _judged(fit: Fit) -> str:
    """How forecasts were made, and of what."""
    seeds = fit.rows.seed[~fit.held_out]
    runs, rows = count(len(np.unique(seeds)), "run"), count(len(seeds), "row")
    return f"Forecasts of runs not learned from: {fit.settings.folds} folds between runs; {runs}, {rows}."


def _actual(fit: Fit) -> Numbers:
    """Epochs that were to be forecast."""
    return fit.rows.remaining[~fit.held_out]


def _label(model: Judged) -> str:
    return f"{model.candidate.face}/{model.candidate.name}"


def _name(fit: Fit) -> str:
    return fit.run.manifest.experiment["name"]


def _r2(value: float) -> str:
    return f"{value:.4f}" if value > -10 else f"{value:.3g}"


def _mae(value: float) -> str:
    return f"{value:,.0f} epochs" if value >= 100 else f"{value:.3g} epochs"


_LINES: Mapping[str, dict[str, Any]] = {
    "law/distance": {"color": VERMILION, "ls": "--"},
    "law/log_shifted": {"color": BLACK, "ls": "-"},
}
_PLOTS: Mapping[str, Callable[[Fit], Figure]] = {
    "forecast": _forecast,
    "residuals": _residuals,
    "families": _families,
    "distance": _distance,
    "survival": _survival,
}
