"""Share of lane-steps spent on live runs, with lanes that are refilled as runs end and without.

Nothing is timed. Without refills a width of seeds starts together and waits for the last of them. The engine does so
itself where that loses little; such an experiment has no other share.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bench.calls import environment
from bench.options import devices, parser
from bench.report import machine, publish

RUNS = 131_072
QUICK_RUNS = 32_768


def main() -> None:
    """Count, print a table, write JSON and figure."""
    made = parser("bench.lanes", __doc__)
    made.add_argument("experiments", nargs="*", help="all of the bench, if none is named")
    options = made.parse_args()
    devices(options, cpu_only="what lanes do follows from the lengths of runs alone")
    os.environ.update(environment("cpu"))  # before anything imports JAX
    from bench.peers.cases import NAMES

    print(f"\n{'':<22}{'lanes':>7}{'runs':>9}{'steps a run':>13}  {'way':<11}{'live':>7}{'live without refills':>22}")
    rows = []
    for name in options.experiments or [name for name in NAMES if name != "digits_mlp"]:
        rows.append(count(name, QUICK_RUNS if options.quick else RUNS))
        _print(rows[-1])
    publish("lanes", {"machine": machine(), "quick": options.quick, "rows": rows})


def count(name: str, runs: int) -> dict[str, Any]:
    """Shares of lane-steps of an experiment, in blocks as the engine takes them.

    The number of runs is rounded down to whole blocks, or to whole lane widths if it is less than a block.
    """
    from jaxor.engine.block import concatenate
    from jaxor.engine.plan import plan
    from jaxor.engine.recording import Recording
    from jaxor.engine.simulate import Worker
    from jaxor.experiments.catalog import get_experiment

    experiment = get_experiment(name)
    how = plan(experiment, traces="none")
    size = min(runs // how.lane_width * how.lane_width, how.block_seeds)
    parts = np.arange(runs // size * size).reshape(-1, size)
    worker = Worker(experiment, how.lane_width)
    block = concatenate([worker.run(part, Recording("none")) for part in parts])
    before = worker.lane_steps
    for part in parts:  # now that the engine has chosen its way
        worker.run(part, Recording("none"))
    live = int(block.steps.sum(dtype=np.int64))
    without = block.lanes_used_together(how.lane_width, worker.program.look)
    taken = worker.lane_steps - before
    return {
        "experiment": name,
        "lane_width": how.lane_width,
        "runs": len(block),
        "mean_steps": live / len(block),
        "way": "refilled" if taken else "together",
        "live": live / taken if taken else without,
        "live_without_refills": without,
    }


def _print(row: dict[str, Any]) -> None:
    print(
        f"{row['experiment']:<22}{row['lane_width']:>7,}{row['runs']:>9,}{row['mean_steps']:>13.1f}"
        f"  {row['way']:<11}{row['live']:>7.1%}{row['live_without_refills']:>22.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
