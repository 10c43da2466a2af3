"""What is drawn of the studies: their figures, each where it belongs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.testing import assert_allclose
from numpy.typing import ArrayLike, NDArray

from jaxor.report.drawing import BLUE, VERMILION
from jaxor.report.early_stage_plots import Study, save_plots, study_plots
from tests.report import studies

STUDIES: dict[str, tuple[Study, list[str]]] = {
    "table": (studies.table("cifar10"), ["table"]),
    "two classes": (studies.two_classes(), ["descent"]),
    "many classes": (studies.many_classes(), ["sgd"]),
    "lemmas": (studies.lemmas(), ["partition", "violations", "descent", "gradient"]),
    "rates": (studies.rates(), ["contraction", "decay"]),
    "first step": (studies.first_step(), ["first_step"]),
}


def panels(study: Study, name: str) -> list[Axes]:
    return study_plots(study)[name].axes


def data(line: Line2D) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = line.get_data()
    return np.asarray(x, float), np.asarray(y, float)


def lines(axes: Axes, **wanted: object) -> list[Line2D]:
    """Lines with these properties, such as ``marker="o"``."""
    return [line for line in axes.lines if all(getattr(line, f"get_{key}")() == value for key, value in wanted.items())]


def labelled(axes: Axes, label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return data(next(line for line in axes.lines if line.get_label() == label))


def band(axes: Axes, number: int) -> NDArray[np.float64]:
    """Lowest and highest y of one band."""
    y = np.asarray(axes.collections[number].get_paths()[0].vertices)[:, 1]
    return np.array([y.min(), y.max()])


@pytest.mark.parametrize("name", STUDIES)
def test_every_figure_has_title_and_caption(name: str) -> None:
    study, names = STUDIES[name]
    figures = study_plots(study)
    assert list(figures) == names
    assert all(figure.get_suptitle() and figure.get_supxlabel() for figure in figures.values())


def test_figures_become_files(tmp_path: Path) -> None:
    assert save_plots(studies.two_classes(), tmp_path / "new") == [tmp_path / "new" / "descent.svg"]
    assert "Corollary 4.3 on antipodal data" in (tmp_path / "new" / "descent.svg").read_text()


def test_the_table_with_printed_figures_and_bound() -> None:
    left, right = panels(studies.table("cifar10"), "table")
    (dots,) = lines(left, marker="o")
    assert_allclose(data(dots)[1], (0.51, 0.52, 0.53))
    assert [data(one)[1].tolist() for one in lines(left, marker="D")] == [[0.534, 0.489]]
    assert [data(one)[1].tolist() for one in lines(right, marker="D")] == [[0.534, 0.489], [0.543]]
    for axes in (left, right):
        (bound,) = lines(axes, linestyle="--")
        assert_allclose(data(bound)[1], 0.262533)
        bars = [data(line)[1][0] for line in lines(axes, color="#000000")]
        assert_allclose(bars, (0.52, 0.521)[: len(bars)])
    assert [text.get_text() for text in right.get_xticklabels()] == ["0.01", "0.002"]


def test_diamonds_are_explained_only_where_there_are_some() -> None:
    captions = [study_plots(studies.table(name))["table"].get_supxlabel() for name in ("cifar10", "digits")]
    assert ["Diamonds" in caption for caption in captions] == [True, False]
    assert not any(len(data(line)[1]) for line in lines(panels(studies.table(), "table")[0], marker="D"))


def test_two_classes_and_their_bound() -> None:
    study = studies.two_classes()
    left, right = panels(study, "descent")
    assert study.descents.bound is not None
    (bound,) = lines(left, linestyle="--")
    assert data(bound)[0].tolist() == [study.descents.bound.bound] * 2
    assert data(bound)[1].min() > -0.5  # beside the fixed points only: of streams nothing is promised
    drawn = [data(line)[0].tolist() for line in lines(left, marker="o")]
    assert drawn == [[0.02, 0.03, 0.07, 0.08], [0.06, 0.0625], [0.061, 0.0615]]
    assert sum(patch.get_height() for patch in right.patches) == 4  # type: ignore[attr-defined]
    assert len(lines(panels(studies.two_classes(streams=False), "descent")[0], marker="o")) == 1


def test_many_classes_by_loss() -> None:
    left, right = panels(studies.many_classes(), "sgd")
    for axes, loss, mean in ((left, "exponential", 0.36), (right, "logistic", 0.12)):
        assert axes.get_title(loc="left") == f"{loss} loss"
        assert_allclose([data(line)[1] for line in lines(axes, marker="o")], [mean + np.arange(3) / 1000] * 2)
        assert [text.get_text() for text in axes.get_xticklabels()] == ["16", "64"]
        assert_allclose(data(lines(axes, linestyle="--")[0])[1], 0.262533)


def test_partition_over_time() -> None:
    first, later = panels(studies.lemmas(), "partition")
    t, share = labelled(later, "TL")
    assert t.tolist() == list(range(6)) and share.tolist() == [0.245, *[0.5] * 5]
    assert labelled(later, "TD")[1].tolist() == [0.255, *[0.0] * 5]
    assert_allclose(band(later, 0), (0.24, 0.5))
    assert labelled(first, "FD")[0].tolist() == [0, 1, 2, 3]


def test_violations_show_zero_as_zero() -> None:
    (axes,) = panels(studies.lemmas(), "violations")
    kappas, pairs = labelled(axes, "S3")
    assert_allclose(kappas, (studies.NETS.kappa, 0.01))  # the third of five marks stays where it is
    assert pairs.tolist() == [0, 97] and labelled(axes, "S5")[1].tolist() == [0, 291]
    assert axes.get_xscale() == "log" and axes.get_yscale() == "symlog"
    low, high = axes.get_ylim()
    assert low < 0 and high > 1000 and axes.get_yticks()[:3].tolist() == [0, 1, 10]


def test_gradient_beside_its_lower_bound() -> None:
    left, right = panels(studies.lemmas(), "gradient")
    t, square = labelled(left, "|grad L|$^2$")
    assert t.tolist() == [1, 2, 3, 4, 5]
    assert_allclose(square, 0.175 - t / 100)
    assert_allclose(labelled(left, "lower bound")[1], 0.165 - t / 100)
    assert_allclose(labelled(right, "|Hessian of L|")[1], 0.4 + 0.075 * t)


def test_contraction_beside_its_bound() -> None:
    study = studies.rates()
    left, right = panels(study, "contraction")
    t, ratio = labelled(left, "logistic")
    assert t.tolist() == list(range(1, 10))
    assert_allclose(ratio, 0.845)
    assert_allclose(band(left, 0), (0.84, 0.85))
    factors = 1 - study.v / 2, 1 - study.v / 8  # g_a is 1 and 1/2
    assert_allclose([data(line)[1][0] for line in lines(left, linestyle=":")], factors)
    for line, factor in zip(lines(right, linestyle=":"), factors, strict=True):
        assert_allclose(data(line)[1], [0.85 * factor**k for k in range(9)])
    assert right.get_yscale() == "log" and left.get_ylim()[1] > 1


def test_decay_with_fitted_slopes() -> None:
    study = studies.rates((-1.02, -2.0, -3.0))
    axes = panels(study, "decay")
    assert [one.get_title(loc="left") for one in axes] == ["exponential loss", "logistic loss"]
    assert [line.get_label() for line in axes[0].lines][:3] == [
        "r = 1: slope -1.020", "r = 2: slope -2.000", "r = 3: slope -3.000",
    ]  # fmt: skip
    t, losses = labelled(axes[1], "r = 2: slope -2.000")
    assert_allclose(losses, 0.85 / t**2)
    (wanted,) = lines(axes[0], linestyle=":")
    assert data(wanted)[0].tolist() == [100, 100]
    lost = replace(study, decays=(studies.decay("exponential", 1, -1, diverged=True), *study.decays[1:3]))
    assert [line.get_label() for line in panels(lost, "decay")[0].lines][:2] == [
        "r = 2: slope -2.000", "r = 3: slope -3.000",
    ]  # fmt: skip


def test_the_first_step_in_the_plane() -> None:
    study = studies.first_step()
    figure = study_plots(study)["first_step"]
    for t, (axes, weight) in enumerate(zip(figure.axes, (study.before, study.after), strict=True)):
        arrows = [text for text in axes.texts if not text.get_text()]
        tips = np.array([arrow.xy for arrow in arrows])  # type: ignore[attr-defined]
        assert_allclose(tips, unit(weight))
        colours = [to_hex(arrow.arrow_patch.get_edgecolor()) for arrow in arrows]  # type: ignore[attr-defined]
        assert colours == [BLUE.lower(), VERMILION.lower()] * 2
        assert [data(line)[0][0] for line in lines(axes, marker="o")] == study.inputs[:, 0].tolist()
        for line, point in zip(lines(axes, linestyle=":"), study.inputs, strict=True):
            assert_allclose(np.transpose(data(line)) @ point, 0, atol=1e-12)
        said = {text.get_text() for text in axes.texts if "at i" in text.get_text()}
        assert said == (
            {"1, 3: TL at i\nFD at j", "2, 4: FD at i\nTL at j"}
            if t
            else {"1: TL at i\nFD at j", "2: FD at i\nTL at j", "3: TD at i\nFL at j", "4: FL at i\nTL at j"}
        )


def unit(rows: ArrayLike) -> NDArray[np.float64]:
    return np.array([np.array(row) / sum(x * x for x in row) ** 0.5 for row in np.asarray(rows)])


@pytest.mark.parametrize("angles", [None, (100, 101, 102, 103), (-95, 91, -93, 93), (-80, -79, -60, -81)])
def test_no_label_lies_upon_another(angles: tuple[float, ...] | None) -> None:
    study = studies.first_step()
    if angles is not None:
        turned = np.radians(angles)
        study = replace(study, before=np.transpose([np.cos(turned), np.sin(turned)]))
    figure = study_plots(study)["first_step"]
    FigureCanvasAgg(figure).draw()
    texts = [text for axes in figure.axes for text in axes.texts if text.get_text()]
    boxes = [Text.get_window_extent(text) for text in texts]  # without their arrows
    assert len(boxes) == 10
    assert not [pair for pair in combinations(boxes, 2) if pair[0].padded(-1).overlaps(pair[1].padded(-1))]
    low, high = figure.bbox.get_points()
    assert all((box.min >= low).all() and (box.max <= high).all() for box in boxes)
