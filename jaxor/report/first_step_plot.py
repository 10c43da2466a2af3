"""The paper's figure 1 (Wang & Ma, NeurIPS 2022): the first step of four neurons in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.first_step import FirstStep
from jaxor.report.drawing import BLUE, VERMILION, new_figure

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = NDArray[np.float64]

SHORT = {"true-living": "TL", "true-dead": "TD", "false-living": "FL", "false-dead": "FD"}
REACH, GAP = 1.25, 0.42
"""Where labels begin beside the unit circle, and how far apart they are."""


def draw_first_step(found: FirstStep) -> Figure:
    """Draw both points and the directions of all neurons before and after the step, in a style that is set.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    figure = new_figure(
        f"The first step of four neurons in the plane (seed {found.seed})",
        "Arrows: directions of b; blue: a > 0, orange: a < 0. i is of class +1, j of class -1. TL, TD, FL, FD: true or "
        "false, living or dead; living at a point are those on its side of the line dotted in its colour.", 3.4,
    )  # fmt: skip
    panels = figure.subplots(1, 2)
    for t, (axes, weight) in enumerate(zip(panels, (found.before, found.after), strict=True)):
        _plane(axes, found)
        directions = weight / np.linalg.norm(weight, axis=1, keepdims=True)
        for direction, a in zip(directions, found.output, strict=True):
            axes.annotate("", direction, (0, 0), arrowprops={
                "arrowstyle": "-|>", "color": BLUE if a > 0 else VERMILION, "shrinkA": 0, "shrinkB": 0, "lw": 1.4,
            })  # fmt: skip
        _labels(axes, directions, found, t)
        axes.set_title(f"t = {t}")
    return figure


def _plane(axes: Axes, found: FirstStep) -> None:
    """The unit circle and both points, each with the line that parts living from dead."""
    angle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(angle), np.sin(angle), color="0.85", lw=0.8)
    for point, name, colour in zip(found.inputs, "ij", (BLUE, VERMILION), strict=True):
        line = np.outer((-1.15, 1.15), (-point[1], point[0])) / np.linalg.norm(point)
        axes.plot(*line.T, color=colour, ls=":", lw=1)
        axes.plot(*point, "o", color=colour, ms=6)
        x, y = 1.16 * point
        axes.text(x, y, name, color=colour, ha="center", va="center", weight="bold")
    axes.set(xlim=(-2.1, 2.1), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _labels(axes: Axes, directions: Numbers, found: FirstStep, t: int) -> None:
    """Neurons of one direction and state together, to the left and right of the circle, one below the other."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, (x, y) in enumerate(directions):
        states = tuple(SHORT[found.states[t][i][k]] for i in (0, 1))
        groups.setdefault((round(float(np.arctan2(y, x)), 1), *states), []).append(k)
    for right in (False, True):
        sided = [item for item in groups.items() if (directions[item[1][0]][0] > 0) == right]
        sided.sort(key=lambda item: -directions[item[1][0]][1])
        heights = _apart([directions[neurons[0]][1] for _, neurons in sided])
        for ((_, at_i, at_j), neurons), height in zip(sided, heights, strict=True):
            text = f"{', '.join(str(k + 1) for k in neurons)}: {at_i} at i\n{at_j} at j"
            axes.annotate(
                text, directions[neurons[0]], (REACH if right else -REACH, height), size=8, va="center",
                ha="left" if right else "right", arrowprops={"arrowstyle": "-", "color": "0.7", "lw": 0.6},
            )  # fmt: skip


def _apart(heights: Sequence[float]) -> list[float]:
    """Descending heights moved down until none is within `GAP` of the next, and all up again from below the circle.

    Examples
    --------
    >>> _apart([0.5, 0.25, -0.5]), _apart([-1.0, -1.0])
    ([0.5, 0.08, -0.5], [-0.58, -1.0])
    """
    placed: list[float] = []
    for height in heights:
        placed.append(float(min([height, *(above - GAP for above in placed[-1:])])))
    raised = max(0.0, -1 - min(placed, default=0.0))
    return [round(height + raised, 12) for height in placed]
