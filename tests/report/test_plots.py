from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.testing import assert_allclose, assert_array_equal

from jaxor import simulate
from jaxor.analysis.fit import Ablation, Fit, Settings, fit_run
from jaxor.estimates import Interval
from jaxor.report.drawing import POINTS, VERMILION, save_plot
from jaxor.report.plots import LOWEST, fit_plots, save_plots

NAMES = ["forecast", "residuals", "families", "distance", "survival"]


@pytest.fixture(scope="module")
def fit() -> Fit:
    """Of so few runs that rows are drawn one by one."""
    return fit_run(simulate("abs1_convergence", seeds=40), Settings(faces=("law",), folds=4))


@pytest.fixture(scope="module")
def many() -> Fit:
    """Of so many runs that rows are counted; some runs stall, and there is a part that no fold has seen."""
    return fit_run(simulate("relu1_convergence", seeds=100), Settings(faces=("law",), folds=3))


@pytest.fixture(scope="module")
def figures(fit: Fit) -> dict[str, Figure]:
    return fit_plots(fit)


def rows(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Distances and epochs of what is not held out, by a plain loop."""
    inside = np.flatnonzero(~fit.held_out)
    gaps = fit.rows.state.astype(float) - fit.rows.reference
    return np.array([sum(gap**2) ** 0.5 for gap in gaps[inside]]), np.array([fit.rows.remaining[i] for i in inside])


def line(axes: Axes, label: str) -> Line2D:
    return next(line for line in axes.lines if line.get_label() == label)


def points(axes: Axes) -> np.ndarray:
    """x and y of the rows."""
    return np.array(next(line for line in axes.lines if line.get_marker() == ".").get_data())


def test_every_plot_says_what_it_is_and_over_what(figures: dict[str, Figure], fit: Fit) -> None:
    assert list(figures) == NAMES
    inside = ~fit.held_out
    over = f"{len(np.unique(fit.rows.seed[inside]))} runs, {inside.sum():,} rows"
    for name, figure in figures.items():
        assert "abs1_convergence" in figure.get_suptitle()
        caption = " ".join(figure.get_supxlabel().split())
        assert ("40 runs" if name == "survival" else over) in caption
        assert ("4 folds between runs" in caption) == (name in ("forecast", "residuals", "families"))


def test_forecasts_and_residuals_are_drawn_row_by_row(figures: dict[str, Figure], fit: Fit) -> None:
    _, actual = rows(fit)
    for name, panels in (("forecast", figures["forecast"].axes), ("residuals", figures["residuals"].axes)):
        titles = [axes.get_title(loc="left").split("\n") for axes in panels]
        assert [title for title, _ in titles] == ["law/distance", "law/log_shifted", "law/exact"]
        for axes, (title, score) in zip(panels, titles, strict=True):
            model = fit.model(title.split("/")[1], "law")
            expected = model.predicted if name == "forecast" else actual - model.predicted
            assert_array_equal(points(axes), [actual, expected])
            assert score == f"R² {model.grouped.r2:.4f}, MAE {model.grouped.mae:.3g} epochs"


def test_many_rows_are_counted_in_cells_and_those_outside_are_said(many: Fit) -> None:
    figures = fit_plots(many)
    _, actual = rows(many)
    assert len(actual) > POINTS
    for name in ("forecast", "residuals", "distance"):
        meshes = [(axes, axes.collections[0]) for axes in figures[name].axes if axes.get_xlabel() and axes.collections]
        assert meshes
        norms = {id(mesh.norm) for _, mesh in meshes}
        assert len(norms) == 1 and isinstance(meshes[0][1].norm, LogNorm)
        for axes, mesh in meshes:
            counts: Any = mesh.get_array()
            said = [int(text.get_text().split()[0]) for text in axes.texts]
            assert counts.sum() + sum(said) == len(actual)
            assert sum(said) < 0.02 * len(actual)


def test_the_best_causal_model_has_a_panel(many: Fit) -> None:
    causal = [model for model in many.models if model.causal]
    best = max(causal, key=lambda model: model.grouped.r2).candidate.name
    figure = fit_plots(many)["forecast"]
    assert f"law/{best}" in [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes]
    assert f"under way: law/{best}." in " ".join(figure.get_supxlabel().split())


def test_the_median_of_residuals_is_that_of_the_rows(figures: dict[str, Figure], fit: Fit) -> None:
    _, actual = rows(fit)
    residual = actual - fit.model("log_shifted").predicted
    drawn = next(line for line in figures["residuals"].axes[1].lines if line.get_color() == VERMILION)
    epochs = sorted(set(actual))
    assert_allclose(np.asarray(drawn.get_xdata()), epochs)
    assert_allclose(
        np.asarray(drawn.get_ydata()),
        [np.median([r for r, a in zip(residual, actual, strict=True) if a == e]) for e in epochs],
    )


def test_families_are_sorted_with_their_intervals(figures: dict[str, Figure], fit: Fit) -> None:
    (axes,) = figures["families"].axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    by_label = {f"{ablation.name} ({ablation.columns})": ablation for ablation in fit.ablations}
    assert sorted(labels) == sorted(by_label)
    bars, marks = axes.lines[::2], axes.lines[1::2]
    assert len(bars) == len(marks) == len(fit.ablations)
    drawn = [float(np.asarray(mark.get_xdata())[0]) for mark in marks]
    assert drawn == sorted(drawn)
    for place, (label, bar, mark) in enumerate(zip(labels, bars, marks, strict=True)):
        assert_array_equal(bar.get_xdata(), by_label[label].interval)
        assert_array_equal(mark.get_data(), [[by_label[label].r2], [place]])
        assert axes.texts[place].get_text() == f"{by_label[label].r2:.4f}"


def test_without_logs_is_easy_to_find(figures: dict[str, Figure]) -> None:
    (axes,) = figures["families"].axes
    bold = [text for text in axes.get_yticklabels() if text.get_fontweight() == "bold"]
    assert [text.get_text() for text in bold] == ["without log (15)"]
    assert to_hex(bold[0].get_color()) == VERMILION.lower()


def test_a_family_worse_than_the_axis_is_a_mark_at_its_end_with_its_number(fit: Fit) -> None:
    awful = Ablation("only ratio", 3, -1234.5, Interval(-5e6, 0.5), 0.4)
    (axes,) = fit_plots(replace(fit, ablations=(*fit.ablations, awful)))["families"].axes
    assert axes.lines[1].get_marker() == "<" and np.asarray(axes.lines[1].get_xdata())[0] == LOWEST
    assert axes.texts[0].get_text() == "-1.23e+03"
    assert axes.get_xlim()[0] > LOWEST - 0.1


@pytest.mark.parametrize("panel", [0, 1], ids=["linear", "log"])
def test_laws_are_drawn_over_the_rows_on_both_axes(figures: dict[str, Figure], fit: Fit, panel: int) -> None:
    axes = figures["distance"].axes[panel]
    assert axes.get_xscale() == ("linear", "log")[panel]
    assert_allclose(points(axes), rows(fit))
    for name in ("distance", "log_shifted"):
        law, drawn = fit.model(name, "law").estimator, line(axes, f"law/{name}")
        x = np.asarray(drawn.get_xdata())
        inner = x / law.shift_ if name == "log_shifted" else x
        expected = law.slope_ * (np.log(1 + inner) if name == "log_shifted" else inner) + law.intercept_
        assert_allclose(np.asarray(drawn.get_ydata()), expected, rtol=1e-9)
        assert_allclose([x[0], x[-1]], [rows(fit)[0].min(), rows(fit)[0].max()])


def test_a_row_at_its_goal_is_left_out_of_distances(fit: Fit) -> None:
    state = fit.rows.state.copy()
    here = np.flatnonzero(~fit.held_out)[0]
    state[here] = fit.rows.reference[here]
    figure = fit_plots(replace(fit, rows=replace(fit.rows, state=state)))["distance"]
    assert points(figure.axes[1]).shape[1] == (~fit.held_out).sum() - 1


@pytest.mark.parametrize("which", ["fit", "many"])
def test_survival_is_that_of_the_censoring(which: str, request: pytest.FixtureRequest) -> None:
    fit = request.getfixturevalue(which)
    left, right = fit_plots(fit)["survival"].axes
    curve, incidence = fit.censoring.kaplan_meier, fit.censoring.incidence
    for axes, times, share, start, median in (
        (left, curve.times, curve.survival, 1, curve.median),
        (right, incidence.times, incidence.share, 0, incidence.median),
    ):
        assert_array_equal(axes.lines[0].get_data(), [[0, *times], [start, *share]])
        words = axes.get_title(loc="left").split("\n")[1]
        if median.value is None:
            assert words == "median not reached" and len(axes.lines) == 1
        else:
            assert words.startswith(f"median {median.value} epochs ({median.low} to ")
            assert np.asarray(axes.lines[1].get_xdata())[-1] == median.value


def test_a_fit_without_laws_has_plots_too(fit: Fit) -> None:
    figures = fit_plots(replace(fit, models=(fit.model("loss_slope"),)))
    assert len(figures["forecast"].axes) == 1
    assert figures["distance"].axes[0].get_legend() is None


@pytest.fixture(scope="module")
def first(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Plots in a folder that was not there."""
    return save_plots(fit, tmp_path_factory.mktemp("first") / "new" / "plots")


def test_equal_fits_are_equal_files_whatever_the_users_style(fit: Fit, first: list[Path], tmp_path: Path) -> None:
    assert [path.name for path in first] == [f"{name}.svg" for name in NAMES]
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        second = save_plots(fit, tmp_path)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_size < 2**20
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.svg" for name in NAMES)


def test_the_users_style_stays(fit: Fit) -> None:
    before = dict(matplotlib.rcParams)
    fit_plots(fit)
    assert dict(matplotlib.rcParams) == before


def test_plots_can_be_drawn_in_threads(fit: Fit, first: list[Path], tmp_path: Path) -> None:
    threads = [Thread(target=save_plots, args=(fit, tmp_path / str(number))) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in first:
        assert path.read_bytes() == (tmp_path / "0" / path.name).read_bytes()
        assert path.read_bytes() == (tmp_path / "1" / path.name).read_bytes()


def test_an_svg_tells_what_it_shows(figures: dict[str, Figure], tmp_path: Path) -> None:
    root = ElementTree.parse(save_plot(figures["survival"], tmp_path / "a.svg")).getroot()  # noqa: S314 (our own)
    texts = [element.text or "" for element in root.iter()]
    assert "Epochs that runs of abs1_convergence take" in texts
    assert any("none is censored." in text and "Kaplan-Meier: not yet converged median 35" in text for text in texts)


def test_the_suffix_is_the_format(figures: dict[str, Figure], tmp_path: Path) -> None:
    first, second = (save_plot(figures["families"], tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first.startswith(b"\x89PNG") and first == second
    with pytest.raises(ValueError, match="'what' is not supported"):
        save_plot(figures["families"], tmp_path / "a.what")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_pyplot_is_not_needed(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps figures for all the program, and may ask for a window."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    save_plot(fit_plots(fit)["families"], tmp_path / "families.png")


def test_without_the_extra_it_is_said_how_to_get_it(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ImportError, match=r"plots need matplotlib; install it with: pip install 'jaxor\[plot\]'"):
        fit_plots(fit)
