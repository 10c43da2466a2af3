"""Draws of first parameters a second of a selection, and the time of a study of a million seeds a strategy.

Takes about two minutes; with --quick a tenth of the seeds.
"""

from __future__ import annotations

import time
from typing import Any

from bench.options import parser
from bench.report import machine, write
from jaxor import get_experiment, simulate
from jaxor.analysis.sampling import study
from jaxor.report.tables import columns

SEEDS = 1_000_000
STRATEGIES = ("below:0.0724", "below:50%", "below:25%", "above:50%")


def main() -> None:
    """Measure, print, write."""
    options = parser("bench.draws", __doc__).parse_args()
    seeds = SEEDS // 10 if options.quick else SEEDS
    rows = [_draws(name, seeds // 4, cores) for name in ("relu1_reinit_0th", "relu2_reinit_0th") for cores in (1, 2)]
    print(columns([("", "cores", "draws", "seconds", "million draws a second"), *(
        (r["experiment"], str(r["cores"]), f"{r['draws']:,}", f"{r['seconds']:.1f}", f"{r['rate'] / 1e6:.1f}")
        for r in rows
    )], "<>>>>"))  # fmt: skip
    started = time.perf_counter()
    found = study(get_experiment("relu1_normal"), STRATEGIES, seeds, draws=seeds)
    seconds = time.perf_counter() - started
    arms = [*found.arms, *found.arms_without_patience]
    draws = round(sum(arm.draws * arm.runs for arm in arms))
    print(f"\nA study of relu1_normal, {len(arms)} times {seeds:,} runs, {draws:,} draws: {seconds:.0f} s")
    write("draws", {"machine": machine(), "selections": rows, "study": {
        "seeds": seeds, "arms": len(arms), "draws": draws, "seconds": seconds,
    }})  # fmt: skip


def _draws(name: str, seeds: int, cores: int) -> dict[str, Any]:
    """No step is taken; the first of the two simulations compiles."""
    experiment = get_experiment(name).replace(max_epochs=0)
    simulate(experiment, seeds, traces="none", devices=cores)
    started = time.perf_counter()
    run = simulate(experiment, seeds, traces="none", devices=cores)
    seconds = time.perf_counter() - started
    draws = int(run.draws.sum())
    return {"experiment": name, "cores": cores, "draws": draws, "seconds": seconds, "rate": draws / seconds}


if __name__ == "__main__":
    main()
