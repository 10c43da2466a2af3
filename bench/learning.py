"""How much of relu2_convergence's epochs a flexible model explains, by the number of runs that it has seen.

Boosted trees on the article's 117 features, judged on a fifth of the successful runs that none has seen. Takes about
ten minutes; with --quick a quarter of the seeds.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.options import parser
from bench.report import machine, write
from jaxor import simulate
from jaxor.analysis.design import Design
from jaxor.analysis.judgement import Candidate, Errors, fitted, forecast, held_out
from jaxor.analysis.rows import rows_of
from jaxor.analysis.sound import hist_boosting
from jaxor.report.tables import columns

SEEDS = 10_000
LIMITS = (20_000, 45_000, 150_000, None)


def main() -> None:
    """Measure, print, write."""
    options = parser("bench.learning", __doc__).parse_args()
    run = simulate("relu2_convergence", SEEDS // 4 if options.quick else SEEDS)
    rows = rows_of(run, which="successful", max_rows=1_000_000)
    design, out = Design(rows, run.param_names, run.manifest.experiment), held_out(rows.seed, 0.2)
    found = [_learned(design, out, limit) for limit in LIMITS]
    print(f"\n{len(rows):,} rows, {len(np.unique(rows.seed[out])):,} runs held out\n")
    print(columns([("rows", "runs", "R2", "95 %", "MAE"), *(
        (
            f"{r['rows']:,}", f"{r['runs']:,}", f"{r['r2']:.3f}",
            f"{r['interval'][0]:.3f} to {r['interval'][1]:.3f}", f"{r['mae']:.1f}",
        )
        for r in found
    )], ">>>>>"))  # fmt: skip
    write("learning", {"machine": machine(), "seeds": len(run), "rows": len(rows), "models": found})


def _learned(design: Design, out: Any, limit: int | None) -> dict[str, Any]:
    started, rows = time.perf_counter(), design.rows
    candidate = Candidate("hist_boosting", "sound", hist_boosting(200, 0), design.base, limit)
    estimator, some = fitted(candidate, design, np.flatnonzero(~out))
    guess = forecast(estimator, candidate, design, np.flatnonzero(out))
    errors = Errors(rows.remaining[out], guess, rows.seed[out])
    return {
        "rows": len(some), "runs": len(np.unique(rows.seed[some])), "r2": errors.r2(),
        "interval": list(errors.r2_interval()), "mae": errors.mae(), "seconds": time.perf_counter() - started,
    }  # fmt: skip


if __name__ == "__main__":
    main()
