"""Fits as text: what is said of figures that are unusual."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import jaxor
from jaxor.analysis.conformal import Conformal
from jaxor.analysis.fit import Fit, Settings, fit_run
from jaxor.analysis.judgement import Failed
from jaxor.analysis.loaded import Saved
from jaxor.analysis.predict import predict
from jaxor.estimates import Interval
from jaxor.report.fits import fit_text, sweep_text
from jaxor.report.predictions import prediction_text
from jaxor.store.run import Run


@pytest.fixture(scope="module")
def fit() -> Fit:
    run = jaxor.simulate("abs1_convergence", seeds=40, devices=1)
    assert isinstance(run, Run)
    return fit_run(run, Settings(faces=("law",), folds=4))


def words(text: str) -> str:
    return " ".join(text.split())


def row(text: str, name: str) -> list[str]:
    """The figures of a model."""
    return next(line.split()[1:] for line in text.splitlines() if line.startswith(f"  {name} "))


def test_a_model_is_a_row_of_its_figures(fit: Fit):
    judged = fit.model("log_shifted")
    figures = row(fit_text(fit), "log_shifted")
    assert judged.held_out
    expected = [judged.in_sample, judged.by_rows, judged.grouped.r2, *judged.grouped.r2_interval]
    assert figures[0] == f"{judged.rows:,}"
    assert [float(figures[k]) for k in (1, 2, 3, 4, 6)] == [round(value, 4) for value in expected]
    assert float(figures[7]) == pytest.approx(judged.grouped.mae, rel=1e-2)
    assert float(figures[8]) == round(judged.held_out.r2, 4)
    assert figures[-1] == "0" == f"{judged.delta_aic:.0f}"


def test_lines_are_not_wider_than_a_terminal(fit: Fit):
    assert max(map(len, fit_text(fit).splitlines())) <= 100
    assert max(map(len, sweep_text([fit, fit]).splitlines())) <= 100


def test_columns_of_a_table_are_aligned(fit: Fit):
    lines = fit_text(fit).splitlines()
    head = next(k for k, line in enumerate(lines) if "sample" in line)
    ends = {line.index(" to ") for line in lines[head + 2 : head + 2 + len(fit.models)]}
    assert len(ends) == 1


def test_what_could_not_be_fitted_is_a_dash_and_a_sentence(fit: Fit):
    nan = float("nan")
    first, *others = fit.models
    score = replace(first.grouped, r2=nan, mae=nan, r2_interval=type(first.grouped.r2_interval)(nan, nan))
    broken: Any = replace(
        first, estimator=Failed("training diverged"), in_sample=nan, by_rows=nan, grouped=score, held_out=score,
        delta_aic=None,
    )  # fmt: skip
    text = fit_text(replace(fit, models=(broken, *others)))
    assert row(text, "distance")[1:] == ["-"] * 7
    assert "law/distance could not be fitted: training diverged" in words(text) and "nan" not in text


@pytest.mark.parametrize(("score", "shown"), [(-2161.4, "-2161"), (-123456.789, "-1e+05"), (-9.5, "-9.5000")])
def test_a_score_far_below_0_takes_no_more_place(fit: Fit, score: float, shown: str):
    first, *others = fit.models
    text = fit_text(replace(fit, models=(replace(first, in_sample=score), *others)))
    assert row(text, "distance")[1] == shown


def test_without_held_out_runs_there_are_no_scores_on_them(fit: Fit):
    alone = fit_run(fit.run, replace(fit.settings, held_out=0))
    assert "0 held out" in fit_text(alone)
    assert row(fit_text(alone), "exact")[-2:] == ["-", "-"]


def test_limits_are_said_where_there_are_any(fit: Fit):
    assert "from all rows that are not held out" in words(fit_text(fit))
    first, *others = fit.models
    limited = replace(fit, models=(replace(first, candidate=replace(first.candidate, limit=20_000)), *others))
    assert "costly models from 20,000 rows at most, in a fold 3,345" in words(fit_text(limited))


def test_a_kernel_says_that_it_is_approximated(fit: Fit):
    judged = fit.model("log_shifted")
    kernel = replace(judged, candidate=replace(judged.candidate, name="kernel_rbf", face="sound"), rows=1000)
    assert "kernel_rbf is approximated by Nystroem's method from 200 rows" in words(
        fit_text(replace(fit, models=(kernel,)))
    )
    for exact in (judged, replace(kernel, rows=200)):
        assert "Nystroem" not in fit_text(replace(fit, models=(exact,)))


def test_verdicts_name_their_models(fit: Fit):
    text = words(fit_text(fit))
    assert "epochs are linear in distance, rather than in its logarithm" in text
    assert "law/distance less law/log_shifted" in text
    unknown = replace(fit.verdicts[0], difference=np.nan, interval=Interval(np.nan, np.nan), answer="undecided")
    assert "nan" not in fit_text(replace(fit, verdicts=(unknown,)))


def test_a_sweep_says_only_what_differs(fit: Fit):
    head = sweep_text([fit, fit]).splitlines()[0].split()
    assert head[0] == "runs"
    other = jaxor.get_experiment("abs1_convergence").replace(**{"optimizer.learning_rate": 0.2})
    run = jaxor.simulate(other, seeds=40, devices=1)
    assert isinstance(run, Run)
    lines = sweep_text([fit, fit_run(run, fit.settings)]).splitlines()
    assert lines[0].split()[:2] == ["optimizer.learning_rate", "runs"]
    assert [line.split()[0] for line in lines[1:3]] == ["0.1", "0.2"]


def test_a_sweep_without_laws_leaves_their_scores_open(fit: Fit):
    bare = replace(fit, models=())
    head, *rows = sweep_text([bare, bare]).splitlines()[:3]
    assert head.split()[-4:] == ["R2", "line", "R2", "law"]
    assert all(row.split()[-2:] == ["-", "-"] for row in rows)


class Tenths:
    """Forecasts ten epochs whatever it is given."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), 10.0)


def test_a_forecast_lists_ten_runs_from_their_first_row(fit: Fit):
    model = Saved("ten", "causal", ("loss",), True, "final", Conformal(0.95, (), (2.5,)), Tenths(), "other")
    text = prediction_text(predict(fit.run, model), fit.run.identity)
    assert "causal/ten, which looks at what is known while a run is under way" in words(text)
    assert "learned from another simulation than this one" in text and "errors" not in text
    lines = text.splitlines()
    head = next(k for k, line in enumerate(lines) if line.lstrip().startswith("seed"))
    assert "95 % interval" in lines[head] and len(lines) == head + 11
    for seed, line in enumerate(lines[head + 1 :]):
        assert line.split() == [str(seed), "0", "10.0", "7.50", "to", "12.5", f"{fit.run.epochs[seed] - 1}"]


def test_errors_on_runs_learned_from_come_with_a_warning(fit: Fit):
    model = Saved("ten", "causal", ("loss",), True, "final", Conformal(0.9, (), (1.0,)), Tenths(), fit.run.identity)
    text = words(prediction_text(predict(fit.run, model), fit.run.identity, seen=True))
    assert "of all runs, also those that the model learned from" in text and "another simulation" not in text
