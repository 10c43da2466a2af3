"""The figures of the benches: `draw` makes one out of the content of a bench's JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

Rows = list[dict[str, Any]]

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "lines.markersize": 5,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "jaxor",  # equal figures are equal bytes
}

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#999999"
"""Okabe and Ito's colours, which the colour-blind tell apart; markers differ too."""

PEERS = {
    "jaxor": (BLUE, "o"),
    "C kernel": (BLACK, "s"),
    "Numba": (GREEN, "^"),
    "vmap + optax": (VERMILION, "D"),
    "NumPy": (SKY, "v"),
    "torch.func": (ORANGE, "P"),
    "PyTorch loop": (PURPLE, "X"),
}
PLACES = (("o", BLUE), ("s", VERMILION), ("^", GREEN))
EXPERIMENTS = (("o", BLUE), ("s", VERMILION), ("^", GREEN), ("D", PURPLE))


def draw(name: str, content: dict[str, Any], target: Path) -> Path:
    """Draw a bench's figure; the suffix of the file says in which format."""
    with matplotlib.rc_context(STYLE):
        figure = FIGURES[name](content)
        figure.savefig(target, dpi=150, metadata={"Date": None} if target.suffix == ".svg" else None)
    return target


def throughput(content: dict[str, Any]) -> Figure:
    """Runs a second of everyone against jaxor's, a panel for each number of cores."""
    cores = sorted({row["cores"] for row in content["rows"]})
    names = list(dict.fromkeys(row["experiment"] for row in content["rows"]))
    figure = Figure(figsize=(8, 1.4 + 0.4 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(cores), sharex=True, sharey=True, squeeze=False)[0]
    for axes, count in zip(panels, cores, strict=True):
        for row in content["rows"]:
            if row["cores"] == count:
                _speeds(axes, names.index(row["experiment"]), row["jaxor_to"])
        axes.set(xscale="log", title=_count(count, "core"), xlabel="runs/s, relative to jaxor")
        axes.set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    shown = {text: handle for axes in panels for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    order = [name for name in PEERS if name in shown]
    figure.legend([shown[name] for name in order], order, loc="outside lower center", ncols=4)
    return figure


def _speeds(axes: Axes, place: int, jaxor_to: dict[str, Any]) -> None:
    """A row of points; the lines go from the least to the largest of all turns."""
    for name, (color, marker) in PEERS.items():
        if name in jaxor_to:
            ratio = jaxor_to[name]
            axes.plot([1 / ratio["max"], 1 / ratio["min"]], [place, place], color=color, linewidth=1)
            axes.plot(1 / ratio["median"], place, marker, color=color, label=name)


def scaling(content: dict[str, Any]) -> Figure:
    """Cost of a run by seeds, for each experiment; speed by lane width; memory by seeds."""
    names = list(dict.fromkeys(row["experiment"] for row in content["costs"]))
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    panels = figure.subplots(2, len(names), squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        _costs(axes, [row for row in content["costs"] if row["experiment"] == name])
        axes.set_title(f"cost of a run, {name}")
    _widths(panels[1][0], content["widths"])
    _memory(panels[1][-1], content["memory"])
    return figure


def _costs(axes: Axes, rows: Rows) -> None:
    places = list(dict.fromkeys(row["place"] for row in rows))
    for keep, line in (("runs", "-"), ("statistics", "--")):
        for place, (marker, color) in zip(places, PLACES, strict=False):
            part = [row for row in rows if (row["keep"], row["place"]) == (keep, place)]
            costs = [row["seconds_per_run"] for row in part]
            _line(axes, [row["seeds"] for row in part], costs, 1e6, color=color, marker=marker, linestyle=line,
                  label=f"{place}, {keep}")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="seeds", ylabel="microseconds a run")
    axes.legend()


def _widths(axes: Axes, rows: Rows) -> None:
    for row, (marker, color) in zip(rows, EXPERIMENTS, strict=False):
        default = row["runs_per_s"][row["widths"].index(row["default_width"])]["median"]
        _line(axes, row["widths"], row["runs_per_s"], 1 / default, color=color, marker=marker, label=row["experiment"])
        axes.plot(row["default_width"], 1, marker="o", markersize=11, fillstyle="none", color=color)
    axes.set_xscale("log", base=2)
    axes.set_xticks(rows[0]["widths"], rows[0]["widths"])
    axes.set(ylim=(0, None), title=f"lane width, {rows[0]['place']}; rings are defaults")
    axes.set(xlabel="lanes", ylabel="runs/s, relative to the default width")
    axes.legend()


def _memory(axes: Axes, rows: Rows) -> None:
    for place, (marker, color) in zip(dict.fromkeys(row["place"] for row in rows), PLACES, strict=False):
        part = [row for row in rows if row["place"] == place]
        peaks = [row["peak_bytes"] / 1e6 for row in part]
        axes.plot([row["seeds"] for row in part], peaks, color=color, marker=marker, label=place)
    axes.set(xscale="log", ylim=(0, None), title="memory with statistics, all processes together")
    axes.set(xlabel="seeds", ylabel="MB at most")
    axes.legend()


def lanes(content: dict[str, Any]) -> Figure:
    """Shares of lane-steps spent on live runs, as the engine does it and without refills."""
    rows = content["rows"]
    figure = Figure(figsize=(7, 1.4 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for shift, share, label, color in (
        (-0.2, "live", "as the engine does it", BLUE),
        (0.2, "live_without_refills", "without refills", GREY),
    ):
        places = [place + shift for place in range(len(rows))]
        bars = axes.barh(places, [row[share] for row in rows], 0.38, color=color, label=label)
        axes.bar_label(bars, [f"{row[share]:.0%}" for row in rows], padding=2, fontsize=8)
    _listed(axes, [f"{row['experiment']}\n{row['way']}" for row in rows])
    axes.set(xlim=(0, 1), xlabel="lane-steps spent on live runs")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def storage(content: dict[str, Any]) -> Figure:
    """Seconds with traces, without, and of h5py alone, and what the latter two sum up to."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    seconds, size = content["seconds"], content["bytes"]
    without, plain = seconds["without traces"]["median"], seconds["plain h5py"]["median"]
    sums: Rows = [dict.fromkeys(("median", "min", "max"), times * without + plain) for times in (1, 2)]
    _bars(axes, [*seconds.values(), *sums], [BLUE, SKY, ORANGE, GREY, GREY])
    measured = [f"{name}, {size[name] / 1e6:,.3g} MB" for name in seconds]
    _listed(axes, [*measured, "without + plain", "2 x without + plain"])
    axes.set_title(f"{content['experiment']}, {content['seeds']:,} runs, {content['observations']:,} observations")
    axes.set(xlim=(0, None), xlabel="seconds, on disk")
    return figure


def startup(content: dict[str, Any]) -> Figure:
    """Wall and CPU seconds of commands."""
    rows = content["rows"]
    several = len({row["device"] for row in rows}) > 1
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for shift, name, label, color in ((-0.2, "wall_s", "wall", BLUE), (0.2, "cpu_s", "CPU, all processes", ORANGE)):
        _bars(axes, [row[name] for row in rows], [color] * len(rows), 0.38, shift, label)
    _listed(axes, [row["command"] + f", {row['device']}" * several for row in rows])
    axes.set(xlim=(0, None), xlabel="seconds")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _line(axes: Axes, x: Sequence[float], spreads: Rows, scale: float = 1, **style: Any) -> None:
    """Medians, with a band from the least to the largest."""
    middle, low, high = ([scale * spread[name] for spread in spreads] for name in ("median", "min", "max"))
    axes.plot(x, middle, **style)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _bars(
    axes: Axes, spreads: Rows, colors: list[str], height: float = 0.6, shift: float = 0, label: str | None = None
) -> None:
    """Medians as bars, with a line from the least to the largest."""
    places = [place + shift for place in range(len(spreads))]
    middle, low, high = ([spread[name] for spread in spreads] for name in ("median", "min", "max"))
    axes.barh(places, middle, height, color=colors, label=label)
    axes.hlines(places, low, high, color=BLACK, linewidth=1)
    for place, value, end in zip(places, middle, high, strict=True):
        axes.annotate(f"{value:.2g}", (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8)


def _listed(axes: Axes, names: list[str]) -> None:
    """Names down the left side, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'s' * (number > 1)}"


def populations(content: dict[str, Any]) -> Figure:
    """Counted runs by epochs on the closed form's."""
    law = content["law"]
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(law["epochs"], law["law"], 0.8, color=SKY, label="closed form")
    axes.plot(law["epochs"], law["counted"], "o", color=BLACK, markersize=3, label="counted")
    last = max(epochs for epochs, runs in zip(law["epochs"], law["law"], strict=True) if runs)
    beyond = sum(runs for epochs, runs in zip(law["epochs"], law["counted"], strict=True) if epochs > last)
    axes.set(yscale="log", xlim=(0, last + 1), xlabel=f"epochs; {beyond:,} runs took more than {last}", ylabel="runs")
    axes.set_title(f"{law['experiment']}, {law['seeds']:,} runs")
    axes.legend(loc="upper left")
    return figure


def sampling(content: dict[str, Any]) -> Figure:
    """Success of the best of k draws, and what a success costs, for both nets of the loss-sampling results."""
    figure = Figure((7.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    words = {"relu1_normal": "one layer, Adam", "relu2_two_mse_sgd": "two layers, gradient descent"}
    for (name, outcomes), (marker, colour) in zip(content["best_of"].items(), PLACES, strict=False):
        k = [int(number) for number in outcomes]
        success, interval, steps, _, draws = zip(*outcomes.values(), strict=True)
        low, high = zip(*interval, strict=True)
        left.fill_between(k, low, high, color=colour, alpha=0.2, lw=0)
        left.plot(k, success, marker, ls="-", color=colour, label=words[name])
        for cost, dashes in zip((1, 10, 100), ("-", "--", ":"), strict=True):
            spent = [(d * cost + s) / p for d, s, p in zip(draws, steps, success, strict=True)]
            right.plot(k, spent, color=colour, ls=dashes, label=f"{name[:5]}, {cost}")
            cheapest = spent.index(min(spent))
            right.plot(k[cheapest], spent[cheapest], marker, color=colour)
    left.set(title="success", xscale="log", xlabel="best of k draws", ylim=(0, 1.02))
    left.yaxis.set_major_formatter(PercentFormatter(1))
    left.legend(loc=(0.28, 0.64))
    right.set(title="steps for a success", xscale="log", yscale="log")
    right.set_xlabel("best of k draws")
    right.legend(fontsize=7, ncols=2, title="steps that a draw costs", title_fontsize=7)
    return figure


FIGURES: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "throughput": throughput,
    "scaling": scaling,
    "lanes": lanes,
    "storage": storage,
    "startup": startup,
    "populations": populations,
    "sampling": sampling,
}
