"""Forecasts as text for the terminal."""

from __future__ import annotations

import math

import numpy as np

from jaxor.analysis.predict import Prediction
from jaxor.report.fits import epochs_text, interval_text, r2_text
from jaxor.report.tables import columns, count, fields, percent


def prediction_text(prediction: Prediction, identity: str, *, seen: bool = False) -> str:
    """What `jaxor predict` says of a simulation; `seen` if the model may have learned from some of its runs."""
    model, rows = prediction.model, prediction.rows
    sees = "what is known while a run is under way" if model.causal else "the final parameters"
    info = [
        ("model", f"{model.face}/{model.name}, which looks at {sees}"),
        ("rows", f"{len(rows):,} of {count(prediction.runs, 'run')}"),
    ]
    open_ended = len(np.unique(rows.seed[~prediction.known]))
    if open_ended:
        note = (
            f"{count(open_ended, 'run')} did not converge; forecasts and intervals are of when a run converges if it "
            "does, not of whether it does"
        )
        info.append(("presumed", note))
    if model.identity != identity:
        info.append(("note", "the model was learned from another simulation than this one"))
    errors = prediction.errors
    if errors is not None and prediction.coverage is not None:
        level, r2 = model.conformal.level, f"{r2_text(errors.r2())} ({interval_text(errors.r2_interval())})"
        info.append(("R2", f"{r2} over {len(errors.runs):,} converged runs"))
        info.append(("MAE", f"{epochs_text(errors.mae())} epochs"))
        info.append(
            (
                "coverage",
                f"{percent(prediction.coverage, 1000)} of a run's rows within intervals of {percent(level, 1000)}",
            )
        )
        if seen:
            note = "of all runs, also those that the model learned from; jaxor fit prints what it is like on others"
            info.append(("errors", note))
    table = [("seed", "after step", "forecast", f"{100 * model.conformal.level:g} % interval", "came")]
    for place in np.unique(rows.seed, return_index=True)[1][:10].tolist():
        epochs, low, high, came = (
            float(a[place]) for a in (prediction.epochs, prediction.low, prediction.high, rows.remaining)
        )
        ends = f"{epochs_text(low)} to {epochs_text(high)}"
        outcome = "did not converge" if math.isnan(came) else f"{came:g}"
        table.append((str(rows.seed[place]), str(rows.step[place]), epochs_text(epochs), ends, outcome))
    return f"{fields(info)}\n\n{columns(table, '>>>>>')}"
