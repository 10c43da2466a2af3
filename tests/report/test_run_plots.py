from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from numpy.testing import assert_allclose, assert_array_equal

from jaxor import Status, get_experiment, simulate
from jaxor.analysis.solutions import solution_distance
from jaxor.analysis.statistics import summary
from jaxor.estimates import confidence_sequence
from jaxor.report import trace_plots
from jaxor.report.comparison_plots import comparison_plots
from jaxor.report.drawing import caption_of
from jaxor.report.run_plots import COLOURS, run_plots
from jaxor.store.population import Population
from jaxor.store.run import Run


@pytest.fixture(scope="module")
def run() -> Run:
    return simulate("relu1_normal", seeds=300)


@pytest.fixture(scope="module")
def figures(run: Run) -> dict[str, Figure]:
    found, left_out = run_plots(run)
    assert left_out == {}
    return found


@pytest.fixture(scope="module")
def population() -> Population:
    return simulate("relu1_normal", seeds=300, keep="statistics")


def stairs(figure: Figure) -> list[tuple[np.ndarray, np.ndarray]]:
    """Heights and edges of each histogram, the lowest first."""
    patches: list[Any] = [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]
    return [(np.asarray(patch.get_data().values), np.asarray(patch.get_data().edges)) for patch in patches]


def points(line: Any) -> np.ndarray:
    """What a line is drawn through, (n, 2)."""
    return np.asarray(line.get_xydata(), float)


def test_the_histogram_counts_every_run_once_by_how_it_ended(run: Run, figures: dict[str, Figure]):
    drawn = stairs(figures["epochs"])
    below = np.zeros(len(drawn[0][0]))
    for (heights, edges), status in zip(drawn, (Status.CONVERGED, Status.STALLED), strict=True):
        expected = [
            sum(low <= epochs < high for epochs in run.epochs[run.status == status])
            for low, high in zip(edges[:-1], edges[1:], strict=True)
        ]
        assert_array_equal(heights - below, expected)
        below = heights
    assert below.sum() == 300


def test_counts_give_the_same_histogram(figures: dict[str, Figure], population: Population):
    found, left_out = run_plots(population)
    assert left_out == {} and list(found) == ["epochs", "converged", "initial_loss", "final_loss", "success"]
    for one, other in zip(stairs(figures["epochs"]), stairs(found["epochs"]), strict=True):
        assert_array_equal(one[0], other[0])
    assert stairs(found["initial_loss"])[-1][0].sum() == pytest.approx(300, abs=2)  # a frame of 99.8 %


def test_counts_give_the_same_share_of_converged_runs(run: Run, population: Population):
    (line, *_) = run_plots(population)[0]["converged"].axes[0].lines
    epochs, share = points(line).T
    converged = run.epochs[run.status == Status.CONVERGED]
    assert_allclose(share, [(converged <= epoch).mean() * len(converged) / 300 for epoch in epochs])


def test_accuracy_has_a_bar_a_level(run: Run, figures: dict[str, Figure]):
    (axes,) = figures["accuracy"].axes
    levels = [float(text.get_text()) for text in axes.get_xticklabels()]
    bars: list[Any] = list(axes.patches)
    heights = [bar.get_height() for bar in bars]
    assert heights == [np.sum(run.final_accuracy == level) for level in levels] and sum(heights) == 300


def test_success_is_that_of_tenths_of_the_runs(run: Run, figures: dict[str, Figure]):
    order = np.argsort(run.initial_loss)
    expected = [(run.final_accuracy[tenth] == 1).mean() for tenth in order.reshape(10, 30)]
    container: Any = figures["success"].axes[0].containers[0]
    assert_allclose(points(container.lines[0])[:, 1], expected)


def test_losses_are_drawn_run_by_run(run: Run, figures: dict[str, Figure]):
    panels = figures["losses"].axes
    for axes, success in zip(panels, (True, False), strict=True):
        wanted = (run.final_accuracy == 1) == success
        assert axes.get_title(loc="left").startswith(f"{wanted.sum()} ")
        x, y = points(axes.lines[0]).T
        assert_allclose(np.sort(x), np.sort(run.initial_loss[wanted]))
        assert_allclose(np.sort(y), np.sort(run.final_loss[wanted]))


def test_curves_are_medians_of_all_runs_also_of_those_that_ended(run: Run, figures: dict[str, Figure]):
    (axes,) = figures["curves"].axes
    some = [run.trace(seed).loss for seed in run.seeds[run.final_accuracy == 1]]
    last = run.final_loss[run.final_accuracy == 1]
    for step, median in points(axes.lines[0])[::50]:
        losses = [loss[int(step)] if step < len(loss) else end for loss, end in zip(some, last, strict=True)]
        assert median == sorted(losses)[(len(losses) - 1) // 2]


def test_losses_that_are_not_finite_count_as_above_all_others():
    unstable = get_experiment("rosenbrock_valley").replace(**{"optimizer.learning_rate": 0.0085, "max_epochs": 300})
    run = simulate(unstable, seeds=60)
    lost = np.count_nonzero(run.status == Status.DIVERGED)
    assert lost and not (run.final_accuracy == 1).any()
    figure = run_plots(run)[0]["curves"]
    (axes,) = figure.axes
    assert f" {lost} ended without a finite loss, which counts as above all others" in caption_of(figure)
    for step, median in points(axes.lines[0])[::50]:
        losses = [run.trace(seed).loss for seed in run.seeds]
        ends = np.where(np.isfinite(run.final_loss), run.final_loss, np.inf)
        now = [loss[int(step)] if step < len(loss) else end for loss, end in zip(losses, ends, strict=True)]
        assert median == sorted(now)[29]


def test_of_wide_nets_fewer_points_of_paths_are_drawn(monkeypatch: pytest.MonkeyPatch):
    run = simulate("abs1_convergence", seeds=10)
    whole, few = ([], [])
    for lines, most in ((whole, 2**24), (few, 12 * 3 * 4)):
        monkeypatch.setattr(trace_plots, "NUMBERS", most)
        lines += [line for line in run_plots(run)[0]["paths"].axes[0].lines if line.get_marker() == "None"]
    assert [len(points(line)) for line in whole] == [steps + 1 for steps in run.steps[:6]]
    assert [len(points(line)) for line in few] == [4] * 6


def test_paths_end_at_exact_solutions_where_they_are_known():
    run = simulate("abs1_convergence", seeds=10)
    figure = run_plots(run)[0]["paths"]
    (axes,) = figure.axes
    (stars,) = [line for line in axes.lines if line.get_marker() == "*"]
    dots = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() != "w"]
    ends = [points(line)[0] for line in dots]
    solutions = points(stars)
    nearest = [np.linalg.norm(solutions - end, axis=1).min() for end in ends]
    distance = solution_distance(run.final_params[:6], run.param_names, run.manifest.experiment)
    assert distance is not None and len(ends) == 6 and len(solutions) <= 2
    assert max(nearest) <= distance.max() + 1e-9  # a projection makes nothing longer
    assert "exact solutions" in caption_of(figure)


def test_what_there_is_nothing_to_draw_of_is_left_out_with_the_reason():
    still = get_experiment("abs1_convergence").replace(**{"stop.loss": 1e3})
    figures, left_out = run_plots(simulate(still, seeds=5, traces="none"))
    assert "losses" in figures and left_out["epochs"] == "all runs that started took 1 epoch"
    assert "no traces were recorded" in left_out["curves"] and "no traces were recorded" in left_out["paths"]


UNSTARTED = {"status": Status.UNSTARTED, "final_accuracy": np.nan, "initial_loss": np.nan, "final_loss": np.nan}


@pytest.mark.parametrize(
    ("changes", "rows", "why"),
    [
        ({"final_accuracy": 1.0}, 20, {"success": "every run that started with a finite loss succeeded"}),
        ({"final_accuracy": 0.5}, 20, {"success": "no run that started with a finite loss succeeded"}),
        ({"initial_loss": 0.25}, 20, {"success": "all runs started with the same loss"}),
        (
            UNSTARTED | {"epochs": 0}, 20,
            dict.fromkeys(("epochs", "accuracy", "losses"), "no run was started")
            | {"success": "no run was started with a finite loss"},
        ),
        # The others succeed, and took equally many epochs.
        (
            UNSTARTED, 8,
            {"success": "every run that started with a finite loss succeeded",
             "accuracy": "all runs that started ended with accuracy 1",
             "epochs": "all runs that started took 7 epochs"},
        ),
    ],
)  # fmt: skip
def test_what_is_left_out_is_said_of_the_runs_that_it_is_true_of(
    changes: dict[str, Any], rows: int, why: dict[str, str]
):
    made = simulate("relu1_normal", seeds=20, traces="none", parameters="none")
    (block,) = made.blocks()
    arrays = {name: getattr(block, name).copy() for name in ("epochs", *UNSTARTED)}
    if rows < 20:
        arrays["final_accuracy"][:], arrays["epochs"][:] = 1, 7
    for name, value in changes.items():
        arrays[name][:rows] = value
    _, left_out = run_plots(Run.from_block(made.manifest, replace(block, **arrays)))
    assert {name: left_out[name] for name in why} == why


def test_colours_tell_all_ends_apart():
    assert set(COLOURS) == set(Status) - {Status.UNSTARTED} and len(set(COLOURS.values())) == len(COLOURS)


def test_of_several_simulations_success_and_convergence_are_side_by_side(run: Run, population: Population):
    success, converged = comparison_plots(
        {name: (runs, summary(runs)) for name, runs in (("one", run), ("other", population))}
    )
    assert [text.get_text() for text in success.axes[0].get_yticklabels()] == ["one", "other"]
    share = (run.final_accuracy == 1).mean()
    dots = [points(line)[0, 0] for line in success.axes[0].lines if line.get_marker() == "o"]
    assert_allclose(dots, share)
    one, other = (points(line)[-1, 1] for line in converged.axes[0].lines)
    assert one == other == (run.status == Status.CONVERGED).mean()


def test_a_curve_ends_at_the_epoch_cap_of_its_own_simulation():
    capped = get_experiment("abs1_convergence")
    runs = {cap: simulate(capped.replace(max_epochs=cap), seeds=20, traces="none") for cap in (30, 90)}
    _, converged = comparison_plots({str(cap): (run, summary(run)) for cap, run in runs.items()})
    assert (runs[30].status == Status.EPOCH_CAP).any() and (runs[90].status == Status.CONVERGED).all()
    ends = [points(line)[-1].tolist() for line in converged.axes[0].lines]
    assert ends == [[30, (runs[30].status == Status.CONVERGED).mean()], [runs[90].epochs.max(), 1]]


def test_where_a_rule_ended_a_simulation_its_interval_is_the_one_for_that(population: Population):
    ruled = Population(replace(population.manifest, until="halfwidth(success)<=0.2"), population.tally)
    success, _ = comparison_plots({name: (one, summary(one)) for name, one in (("one", population), ("two", ruled))})
    fixed, sequence = (points(line)[:, 0] for line in success.axes[0].lines if line.get_marker() == "None")
    assert_allclose(fixed, [population.success.low, population.success.high])
    assert_allclose(sequence, confidence_sequence(ruled.success.count, len(ruled)))
    assert "confidence sequence" in caption_of(success)


def test_curves_of_many_simulations_look_different(population: Population):
    some = {str(number): (population, summary(population)) for number in range(20)}
    lines = comparison_plots(some)[1].axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20
