"""Forecasts for other seeds than a model was fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import jaxor
from jaxor.analysis.conformal import Conformal
from jaxor.analysis.fit import Fit, Settings, fit_run
from jaxor.analysis.loaded import Saved, load
from jaxor.analysis.predict import predict
from jaxor.analysis.rows import NoRows, rows_of
from jaxor.analysis.saved import save
from jaxor.store.errors import TraceNotStored
from jaxor.store.run import Run
from tests.conftest import Row


def simulated(name: Any, **options: Any) -> Run:
    found = jaxor.simulate(name, devices=1, **options)
    assert isinstance(found, Run)
    return found


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_run(simulated("abs1_convergence", seeds=1000), Settings(faces=("law",)))


@pytest.fixture(scope="module")
def path(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(fit, tmp_path_factory.mktemp("fit"))[0]


@pytest.fixture(scope="module")
def others() -> Run:
    return simulated("abs1_convergence", seeds=range(1000, 2000))


def model(learned: Any, columns: tuple[str, ...], causal: bool) -> Saved:
    return Saved("mine", "law", columns, causal, "final", Conformal(0.9, (), (1.0,)), learned, "")


class Count:
    """Forecasts the number of its first column."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X[:, 0]


@pytest.mark.parametrize("name", ["distance", "log_distance", "log_shifted", "rate_forecast", "log_to_minimum"])
def test_intervals_cover_new_seeds_as_they_say(path: Path, others: Run, name: str, table_row: Row):
    found = predict(others, load(path, name))
    assert found.coverage is not None
    table_row("Coverage of 1,000 new runs by intervals of 90 %", law=name, coverage=f"{found.coverage:.4f}")
    assert abs(found.coverage - 0.9) < 0.02


def test_coverage_is_the_mean_share_of_the_rows_of_a_run(path: Path, others: Run):
    found = predict(others, load(path, "log_shifted"))
    inside = (found.low <= found.rows.remaining) & (found.rows.remaining <= found.high)
    shares = [inside[found.rows.seed == seed].mean() for seed in others.seeds]
    assert found.coverage == pytest.approx(np.mean(shares), rel=1e-12)


def test_forecasts_are_those_of_the_fitted_model(fit: Fit, path: Path):
    law = fit.model("log_shifted").estimator
    distance = np.linalg.norm(fit.rows.state.astype(np.float64) - fit.rows.reference, axis=1)
    found = predict(fit.run, load(path, "log_shifted"))
    assert_array_equal(found.epochs, law.predict(distance[:, None]))
    assert found.errors is not None
    assert found.errors.mae() == pytest.approx(np.abs(found.epochs - fit.rows.remaining).mean())


def test_only_models_of_the_past_forecast_runs_that_did_not_converge():
    run = simulated("relu1_normal", seeds=40)
    ended = run.status == jaxor.Status.CONVERGED
    assert 0 < ended.sum() < len(run)
    past, after = predict(run, model(Count(), ("loss",), True)), predict(run, model(Count(), ("L2",), False))
    assert set(past.rows.seed) == set(run.seeds) and set(after.rows.seed) == set(run.seeds[ended])
    assert_array_equal(past.known, np.isin(past.rows.seed, run.seeds[ended]))
    assert past.errors is not None and past.errors.runs.tolist() == run.seeds[ended].tolist()


def test_without_a_converged_run_nothing_is_scored():
    run = simulated(jaxor.get_experiment("abs1_convergence").replace(max_epochs=3), seeds=5)
    found = predict(run, model(Count(), ("loss",), True))
    assert found.errors is None and found.coverage is None
    assert_array_equal(found.epochs, rows_of(run, which="all").loss)
    with pytest.raises(NoRows, match="none of the 5 runs converged"):
        predict(run, model(Count(), ("L2",), False))


def test_columns_that_are_not_there_are_named(others: Run):
    with pytest.raises(ValueError, match="law/mine looks at no such column, which this simulation does not have"):
        predict(others, model(Count(), ("no such column",), True))


def test_without_traces_there_is_nothing_to_forecast_from():
    run = simulated("abs1_convergence", seeds=5, traces="loss")
    with pytest.raises(TraceNotStored, match="simulate with --traces all"):
        predict(run, model(Count(), ("loss",), True))
