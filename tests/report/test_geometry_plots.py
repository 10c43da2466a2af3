"""Bands over steps: what is drawn, and that the walk is drawn, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from jaxor.analysis.path_views import Views, views
from jaxor.analysis.walks import closed_form
from jaxor.engine.geometry import Geometry, Measuring, join
from jaxor.report.geometry_plots import PLACES, geometry_plots, save_geometry_plots
from tests.numpy_paths import quadratics, random_walks


def seen(geometry: Geometry) -> Views:
    return views(geometry, closed_form(geometry), 400)


def panels(geometry: Geometry) -> list[Axes]:
    return geometry_plots(seen(geometry), "mine", Measuring())["bands"].axes


def line(axes: Axes, label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = next(one for one in axes.lines if one.get_label() == label).get_data()
    return np.asarray(x, float), np.asarray(y, float)


def test_medians_and_bands_of_each_step() -> None:
    geometry = random_walks(12, 20)
    view = seen(geometry)
    both = view.gradient, view.null
    drawn = [(*both, "rsi"), (*both, "eb"), (*both, "gamma"), (view.update, view.null_update, "local_rate")]
    for axes, (taken, null, name) in zip(panels(geometry), drawn, strict=True):
        values = getattr(taken, name)
        assert_allclose(line(axes, "seeds"), (np.arange(20), np.median(values, axis=0)))
        assert_allclose(line(axes, "null"), (np.arange(20), np.median(getattr(null, name), axis=0)))
        edges = np.asarray(axes.collections[0].get_paths()[0].vertices)[:, 1]
        assert_allclose(
            [edges.min(), edges.max()], [f(np.quantile(values, q, axis=0)) for f, q in ((min, 0.05), (max, 0.95))]
        )


def test_many_steps_are_thinned_and_both_ends_stay() -> None:
    geometry = quadratics(2, 900)
    figure = geometry_plots(seen(geometry), "mine", Measuring())["bands"]
    x, _ = line(figure.axes[2], "seeds")
    assert (len(x), x[0], x[-1]) == (PLACES, 0, 899)
    assert "400 of 900 steps are drawn." in " ".join(figure.get_supxlabel().split())


def test_scales() -> None:
    assert [axes.get_yscale() for axes in panels(quadratics(3, 30))[:2]] == ["log", "log"]
    negative = random_walks(8, 30, 3)  # in so few dimensions <g, d> is often below 0
    assert [axes.get_yscale() for axes in panels(negative)[:2]] == ["symlog", "log"]


def test_runs_of_different_lengths() -> None:
    geometry = join([quadratics(2, 30), quadratics(2, 12)])
    figure = geometry_plots(seen(geometry), "mine", Measuring("exact"))["bands"]
    assert "Later steps are of the runs that are still going." in " ".join(figure.get_supxlabel().split())
    assert line(figure.axes[0], "seeds")[0][-1] == 29
    assert figure.get_suptitle() == "mine: paths seen from the nearest exact minimum"


def test_files_are_equal_bytes(tmp_path: Path) -> None:
    view = seen(random_walks(4, 15))
    first, second = (save_geometry_plots(view, "mine", Measuring(), tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["bands.svg"]
    assert first[0].read_bytes() == second[0].read_bytes()


def test_nothing_to_draw() -> None:
    walks = random_walks(2, 5)
    none = walks.take(np.array([], np.intp))
    still = replace(walks, **{name: 0 * getattr(walks, name) for name in ("dot", "distance2", "step_dot", "step2")})
    for geometry in (none, still):
        with pytest.raises(ValueError, match="^no run moved, so there is nothing to draw$"):
            geometry_plots(seen(geometry), "mine", Measuring())
