"""Epochs that runs still have to go, forecast by a model that was fitted before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.design import Design
from jaxor.analysis.judgement import Candidate, Errors, forecast
from jaxor.analysis.loaded import Saved
from jaxor.analysis.moments import moments
from jaxor.analysis.rows import Rows, rows_of
from jaxor.store.run import Run

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Forecasts for the rows of a simulation.

    Attributes
    ----------
    model : Saved
    rows : Rows
        `remaining` is NaN for runs that did not converge.
    epochs, low, high : (n,) float64
        With the ends of a conformal interval.
    """

    model: Saved
    rows: Rows
    epochs: Numbers
    low: Numbers
    high: Numbers

    @property
    def runs(self) -> int:
        """How many runs there are forecasts for."""
        return len(np.unique(self.rows.seed))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows of runs that converged, whose forecasts can be compared with what came."""
        return np.isfinite(self.rows.remaining)

    @property
    def errors(self) -> Errors | None:
        """Of the rows of runs that converged; None if there are none."""
        known = self.known
        if not known.any():
            return None
        return Errors(self.rows.remaining[known], self.epochs[known], self.rows.seed[known])

    @property
    def coverage(self) -> float | None:
        """Share of the rows of a converged run that lie within their intervals, averaged over runs."""
        known = self.known
        if not known.any():
            return None
        return self.model.conformal.coverage(self.epochs[known], self.rows.remaining[known], self.rows.seed[known])


def predict(run: Run, model: Saved) -> Prediction:
    """Forecast the epochs to go from every recorded state.

    Models that look at nothing but the past also forecast for runs that did not converge; others measure distances to
    where a run ended, which for those is no goal.

    Raises
    ------
    ValueError
        The simulation has not the columns that the model looks at.
    TraceNotStored, NoRows
        There is nothing to forecast from.
    """
    rows = rows_of(run, reference=_reference(model), which="all" if model.causal else "converged")
    names, experiment, exact = run.param_names, run.manifest.experiment, model.reference == "exact"
    design = Design(rows, names, experiment, exact=exact)
    if not design.columns.keys() >= {*model.columns}:
        design = Design(rows, names, experiment, moments=moments(run, rows), exact=exact)
    missing = [name for name in model.columns if name not in design.columns]
    if missing:
        raise ValueError(
            f"the model {model.face}/{model.name} looks at {missing[0]}, which this simulation does not have; fit one "
            "to this simulation, or to another of the same model and recording"
        )
    candidate = Candidate(model.name, model.face, model.estimator, model.columns)
    epochs = forecast(model.estimator, candidate, design, np.arange(len(rows)))
    return Prediction(model, rows, epochs, *model.conformal.interval(epochs))


def _reference(model: Saved) -> Any:
    return "exact" if model.reference == "exact" else "final"
