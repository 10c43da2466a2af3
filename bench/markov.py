"""Does the optimizer's memory tell more about the epochs to come than the parameters? Boosted trees, with and without.

Plain gradient descent knows nothing but the parameters, so there the last update should tell nothing new; momentum and
Adam carry moments along. Takes about six minutes; with --quick, a third of the runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.options import parser
from bench.report import machine, write
from jaxor import Run, get_experiment, simulate
from jaxor.analysis.design import Design
from jaxor.analysis.judge import Judge, Judged
from jaxor.analysis.judgement import Candidate, held_out, verdict
from jaxor.analysis.moments import moments
from jaxor.analysis.rows import rows_of
from jaxor.analysis.sound import hist_boosting
from jaxor.report.tables import columns

SEEDS, ROWS = 3000, 150_000
MOMENTUM = {"optimizer.name": "momentum", "optimizer.learning_rate": 0.02}


def main() -> None:
    """Measure, print, write."""
    options = parser("bench.markov", __doc__).parse_args()
    rows = []
    with threadpool_limits(1):
        for model in ("abs1", "relu1"):
            for optimizer, experiment in _experiments(model):
                run = simulate(experiment, seeds=SEEDS // 3 if options.quick else SEEDS)
                rows += [{"model": model, "optimizer": optimizer} | row for row in _compared(run)]
    heads = (
        "",
        "optimizer",
        "columns",
        "runs",
        "MAE",
        "with memory",
        "difference, 95 %",
        "helps",
        "held-out R2",
        "with memory",
    )
    print(columns([heads, *map(_cells, rows)], "<<<>>>>>>>"))
    write("markov", {"machine": machine(), "rows": rows})


def _experiments(model: str) -> Iterator[tuple[str, Any]]:
    plain = get_experiment(f"{model}_convergence")
    yield "sgd", plain
    yield "momentum", plain.replace(**MOMENTUM)
    yield "adam", get_experiment(f"{model}_normal")


def _compared(run: Run) -> Iterator[dict[str, Any]]:
    """The article's features, and the bare parameters, each without and with the memory."""
    rows = rows_of(run, max_rows=ROWS)
    design = Design(rows, run.param_names, run.manifest.experiment, moments=moments(run, rows))
    memory = design.family("moment") or design.family("update")
    judge = Judge(design, held_out(rows.seed, 0.2), folds=10, fold_rows=10_000, level=0.9, random_state=0)

    def judged(names: tuple[str, ...]) -> Judged:
        return judge.judge(Candidate("boosting", "sound", hist_boosting(300, 0), names, 20_000))

    for name, names in {"features": design.base, "parameters": design.family("state")}.items():
        without, having = judged(names), judged((*names, *memory))
        difference, interval = having.errors.mae_difference(without.errors)
        assert without.held_out is not None and having.held_out is not None
        yield {
            "columns": name, "runs": len(np.unique(rows.seed)), "rows": len(rows),
            "mae": [without.grouped.mae, having.grouped.mae], "difference": difference, "interval": interval._asdict(),
            "helps": verdict(interval), "held_out_r2": [without.held_out.r2, having.held_out.r2],
        }  # fmt: skip


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["interval"].values()
    return (
        row["model"], row["optimizer"], row["columns"], f"{row['runs']:,}",
        f"{row['mae'][0]:.3f}", f"{row['mae'][1]:.3f}",
        f"{row['difference']:+.3f} ({low:+.3f}, {high:+.3f})", row["helps"],
        f"{row['held_out_r2'][0]:.4f}", f"{row['held_out_r2'][1]:.4f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
