"""Makes the run directories that every later version of jaxor has to read: python -m tests.store.golden

One of runs and one of statistics, and beside each what is in it, as JSON. They are made once for each version of the
format and never changed again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import jaxor
from jaxor.engine.seeds import Ranges
from jaxor.store.schema import SCHEMA
from jaxor.store.verify import verify_run

DATA = Path(__file__).parents[1] / "data"
CHANGES = {"optimizer.learning_rate": 0.07, "max_epochs": 50, "init.max_draws": 3}
SEEDS = [2, 8, 16, 562, 4294967295]  # stalled, without an acceptable draw, at the epoch cap, converged, again without


def make(folder: Path) -> None:
    """Simulate, and write down what readers are to find."""
    experiment = jaxor.get_experiment("relu1_reinit_25th").replace(**CHANGES)
    for some in (SEEDS[1:4:2], SEEDS):  # two shards whose seeds interleave
        jaxor.simulate(experiment, some, out=folder / "runs", devices=1, resume=True)
    run = jaxor.open_run(folder / "runs")
    write(folder / "runs.json", about(folder / "runs") | {"trace_loss": [plain(run.trace(k).loss) for k in SEEDS]})
    jaxor.simulate(experiment, range(60), keep="statistics", out=folder / "statistics", devices=1)
    write(folder / "statistics.json", about(folder / "statistics"))
    for lock in folder.glob("*/run.lock"):
        lock.unlink()


def about(path: Path) -> dict[str, Any]:
    """Identity, digest, experiment and arrays of a run directory."""
    found, run = verify_run(path), jaxor.open_run(path)
    dataset = run.to_xarray()
    seeds: Ranges = found.seeds
    return {
        "identity": run.identity,
        "experiment": run.experiment.to_dict(),
        "digest": found.digest,
        "seeds": seeds,
        "arrays": {name: plain(dataset[name].values) for name in run.manifest.variables if "trace" not in name},
    }


def plain(array: NDArray[Any]) -> Any:
    """Numbers as JSON holds them: every float32 is a float64, and that is written with all its digits; NaN is null."""
    array = np.asarray(array)
    numbers = array.astype(object)
    numbers[array != array] = None
    return numbers.tolist()


def write(path: Path, table: dict[str, Any]) -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in table.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    make(DATA / f"format-{SCHEMA}")
