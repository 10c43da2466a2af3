"""How all plots look and how they get into files, with the few things that several of them draw."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jaxor.report.tables import count
from jaxor.store.atomic import write

if TYPE_CHECKING:  # an extra
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = NDArray[np.float64]

STYLE: Mapping[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.92",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "jaxor",  # equal figures are equal bytes
}
BLUE, VERMILION, ORANGE, PURPLE, BLACK, GREY = "#0072B2", "#D55E00", "#E69F00", "#CC79A7", "#000000", "0.35"
"""Okabe and Ito's colours, which the colour-blind tell apart."""

KINDS = {True: ("successful", BLUE), False: ("failed", VERMILION)}
"""Words and colour of runs by whether they ended with accuracy 1."""

WIDTH, NARROW = 7.3, 4.6
"""Inches: 700 pixels of a screen, and 440, of a figure with one panel that stands beside another."""

HIGH = 3.1
"""Inches of such a narrow figure."""

POINTS = 2_000
"""Of so many rows at most every one is drawn; more are counted in cells."""

FEW = 200
"""Points so few are drawn larger, and less transparent."""

CELLS = 60
"""Along each axis."""

FRAME = 0.001
"""Share of the rows at either end that may lie outside a frame."""

_DRAWING = Lock()  # matplotlib has one style for all threads


def check_matplotlib() -> None:
    """Find out whether plots can be drawn, before what takes long is done for them.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    try:
        import matplotlib.style  # noqa: F401 (whether it is there)
    except ImportError as error:
        raise ImportError("plots need matplotlib; install it with: pip install 'jaxor[plot]'") from error


@contextmanager
def style() -> Iterator[None]:
    """Draw in one style, whatever the user's own settings of matplotlib are.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.style import context

    with _DRAWING, context(["default", dict(STYLE)]):
        yield


def new_figure(title: str, caption: str, height: float, width: float = WIDTH) -> Figure:
    """An empty figure, so many inches high, that says above what it is, and below over what."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    figure.suptitle(textwrap.fill(title, 78), x=0.01, ha="left")
    figure.supxlabel(textwrap.fill(caption, 118), x=0.01, ha="left", fontsize=8, color=GREY)
    return figure


def save_plot(figure: Figure, path: Path) -> Path:
    """Write a figure as SVG, PNG or what else the suffix says; equal figures are equal bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        In an SVG its title and caption, and the titles of its panels, are metadata for those who cannot see it.
    path : Path
        In an existing directory.

    Raises
    ------
    OSError
        As the system gave it.
    ValueError
        matplotlib does not know the format.
    """
    write(path, rendered(figure, path.suffix.removeprefix(".")))
    return path


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure as a file of that kind, such as svg."""
    file = io.BytesIO()
    about = {"Title": title_of(figure), "Description": "\n".join([caption_of(figure), *panels_of(figure)])}
    with style():
        figure.savefig(file, format=kind, dpi=150, metadata=about | {"Date": None} if kind == "svg" else None)
    return file.getvalue()


def title_of(figure: Figure) -> str:
    """What a figure is."""
    return _unfilled(figure.get_suptitle())


def caption_of(figure: Figure) -> str:
    """Over what it is."""
    return _unfilled(figure.get_supxlabel())


def panels_of(figure: Figure) -> list[str]:
    """Titles of its panels, as far as they have some."""
    return [_unfilled(title) for axes in figure.axes if (title := axes.get_title(loc="left"))]


def _unfilled(text: str) -> str:
    return " ".join(text.split())


def save_figures(figures: Mapping[str, Figure], directory: Path) -> list[Path]:
    """Write figures as SVG by their names into a directory, which is made if need be.

    Raises
    ------
    OSError
        As the system gave it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return [save_plot(figure, directory / f"{name}.svg") for name, figure in figures.items()]


def draw_rows(axes: Axes, x: Numbers, y: Numbers, edges: tuple[Numbers, Numbers], what: str = "row") -> Any:
    """Draw rows as points, or as counts in cells if they are many.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    x, y : (n,) float64
    edges : pair of float64 arrays
        Of the cells along x and y; what lies outside is counted in the corner.
    what : str
        A row is.

    Returns
    -------
    matplotlib.collections.QuadMesh or None
        The cells, for `count_scale`.
    """
    inside = np.ones(len(x), bool)
    for values, (low, high) in zip((x, y), (edge[[0, -1]] for edge in edges), strict=True):
        inside &= (values >= low) & (values <= high)
    if not inside.all():
        behind = {"fc": "w", "lw": 0, "alpha": 0.8, "pad": 1}
        axes.annotate(
            f"{count(int(np.sum(~inside)), what)} outside", (1, 0), xycoords="axes fraction", xytext=(-3, 4),
            textcoords="offset points", ha="right", size=8, color=GREY, bbox=behind,
        )  # fmt: skip
    axes.set(xlim=edges[0][[0, -1]], ylim=edges[1][[0, -1]])
    # Pixels within the SVG: a shape for each row would make it large.
    if len(x) <= POINTS:
        size, alpha = (6, 0.8) if len(x) <= FEW else (3, 0.4)
        axes.plot(x, y, ".", color=BLUE, ms=size, alpha=alpha, mew=0, rasterized=True)
        return None
    counts = np.histogram2d(x, y, edges)[0].T
    return axes.pcolormesh(*edges, np.ma.masked_equal(counts, 0), cmap="Blues", rasterized=True)


def count_scale(figure: Figure, panels: Any, cells: Sequence[Any], what: str = "row") -> None:
    """Give the cells of all panels one logarithmic scale of colours, and show it; nothing for None."""
    from matplotlib.colors import LogNorm

    meshes = [mesh for mesh in cells if mesh is not None]
    if not meshes:
        return
    norm = LogNorm(0.3, max(float(mesh.get_array().max()) for mesh in meshes))  # so that a single row is not white
    for mesh in meshes:
        mesh.set_norm(norm)
    bar = figure.colorbar(meshes[0], ax=panels, label=f"{what}s in a cell", aspect=40, pad=0.01)
    bar.ax.set_ylim(bottom=1)


def epoch_edges(epochs: Numbers) -> Numbers:
    """Edges of cells from 0 to the largest, of equally many whole epochs each if the epochs are whole.

    Examples
    --------
    >>> epoch_edges(np.array([1.0, 2.0, 3.0]))
    array([-0.5, 0.5, 1.5, 2.5, 3.5])
    """
    most = float(epochs.max())
    if np.any(epochs % 1):
        return np.linspace(0, most, CELLS + 1)
    width = max(round(most / CELLS), 1)
    return np.arange(-0.5, most + width, width)


def frame_edges(values: Numbers) -> Numbers:
    """Edges of cells over nearly all of some values.

    Examples
    --------
    >>> edges = frame_edges(np.append(np.linspace(0, 1, 10_000), 1e9))
    >>> len(edges), edges[[0, -1]].round(2)
    (61, array([-0.05, 1.05]))
    """
    low, high = np.quantile(values, (FRAME, 1 - FRAME))
    room = 0.05 * (high - low) or 1.0
    return np.linspace(low - room, high + room, CELLS + 1)


def medians(x: Numbers, y: Numbers, edges: Numbers) -> tuple[list[float], list[float]]:
    """Mean x and median y of the rows in each cell along x that has some.

    Examples
    --------
    >>> medians(np.array([1.0, 1.0, 1.0, 5.0]), np.array([0.0, 2.0, 9.0, 4.0]), np.array([0.5, 1.5, 2.5, 5.5]))
    ([1.0, 5.0], [2.0, 4.0])
    """
    cell = np.digitize(x, edges)
    groups = [cell == number for number in np.unique(cell)]
    return [float(x[group].mean()) for group in groups], [float(np.median(y[group])) for group in groups]
