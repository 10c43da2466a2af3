"""One run and its trace, as text for the terminal or as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxor.engine.status import Status
from jaxor.report.tables import columns, count, fields, wrapped
from jaxor.store.run import Run

ROWS = 20
"""Steps in the table."""

SHOWN = 8
"""Models with more parameters are shown without."""

LISTED = 256
"""Models with more parameters are listed without."""


def replay_text(again: Run, same: bool) -> str:
    """A run of one seed with its trace, some steps of it.

    Parameters
    ----------
    again : Run
    same : bool
        Whether its bits are those of the run that was stored.
    """
    trace, parameters = again.trace(int(again.seeds[0])), len(again.param_names)
    steps = len(trace.step)
    places = np.unique(np.linspace(0, steps - 1, min(ROWS, steps)).round().astype(int)) if steps else []
    names = again.param_names if parameters <= SHOWN else ()
    rows = [("step", "loss before", *names)]
    for place in places:
        after = trace.params[place].tolist() if names else []
        rows.append((f"{trace.step[place]:,}", f"{trace.loss[place]:.6g}", *(f"{value:.6g}" for value in after)))
    head = [
        ("experiment", f"{again.experiment.name}: {count(parameters, 'parameter')}"),
        ("seed", f"{again.seeds[0]}"),
        ("ended", f"{Status(int(again.status[0])).label} after {count(steps, 'step')}"),
        ("loss", f"{again.initial_loss[0]:.6g} before, {again.final_loss[0]:.6g} after, over the whole task"),
        ("bits", "those of the stored run" if same else "others than those of the stored run"),
    ]
    words = "Parameters are those after the step." if names else "Parameters are in the file that --out writes."
    if not same:
        words += " Bits depend on the versions of JAX and jaxlib and on the machine; jaxor info shows what made it."
    table = f"{columns(rows, '>' * len(rows[0]))}\n\n" if steps else ""
    return f"{fields(head)}\n\n{table}{wrapped(words)}"


def replay_dict(again: Run, same: bool) -> dict[str, Any]:
    """All steps as plain values for JSON; parameters up to `LISTED`. What is not finite is None."""
    trace = again.trace(int(again.seeds[0]))
    table: dict[str, Any] = {
        "experiment": again.experiment.name, "identity": again.identity, "seed": int(again.seeds[0]),
        "status": Status(int(again.status[0])).name.lower(), "steps": len(trace.step), "same_bits": same,
        "initial_loss": _finite(again.initial_loss)[0], "final_loss": _finite(again.final_loss)[0],
        "step": trace.step.tolist(), "loss": _finite(trace.loss),
    }  # fmt: skip
    if len(again.param_names) <= LISTED:
        table |= {"param_names": list(again.param_names), "params": [_finite(row) for row in trace.params]}
    return table


def _finite(values: Any) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
