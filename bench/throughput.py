"""Runs per second to convergence: jaxor against plain vmap and optax, from the same initial parameters.

Cases are interleaved in one process, so that their ratio means something on a noisy machine. Compilation is kept apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from bench.plain_jax import trainer
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Worker, plan
from jaxor.experiments.catalog import get_experiment

RESULTS = Path(__file__).parent / "results"

CASES: dict[str, Callable[[], Any]] = {
    "abs1_convergence": lambda: trainer("abs1", optax.sgd(0.1), 1000, None),
    "relu1_normal": lambda: trainer("relu1", optax.adam(0.01, 0.9, 0.99), 800, 10),
}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and repetitions")
    parser.add_argument("--device", choices=["cpu", "gpu"], action="append", help="measure only this kind of device")
    options = parser.parse_args()
    rows = []
    for kind in options.device or ["cpu", "gpu"]:
        devices = _devices(kind)
        if not devices:
            print(f"{kind}: not measured, JAX finds none here")
            continue
        with jax.default_device(devices[0]):
            rows += [_measure(name, kind, options.quick) for name in CASES]
    _print(rows)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "throughput.json"
    target.write_text(json.dumps({"machine": _machine(), "rows": rows}, indent=1) + "\n")
    print(f"written to {target}")


def _devices(kind: str) -> list[Any]:
    try:
        return jax.devices(kind)
    except RuntimeError:
        return []


def _measure(name: str, device: str, quick: bool) -> dict[str, Any]:
    runs, repetitions = (32_768, 3) if quick else (131_072, 7)
    experiment = get_experiment(name)
    worker = Worker(experiment, plan(experiment).lane_width)
    nothing = Recording("none")
    block = worker.run(np.arange(runs), nothing)
    worker.run(np.arange(runs), nothing, block.initial_params)
    started = time.perf_counter()
    peer = CASES[name]()
    assert block.initial_params is not None
    units = block.initial_params.shape[1] // 3
    weights = block.initial_params[:, : 2 * units].reshape(runs, units, 2)
    epochs = np.asarray(peer(weights)[0])
    peer_first = time.perf_counter() - started
    samples: dict[str, list[float]] = {"jaxor": [], "vmap + optax": []}
    for _ in range(repetitions):
        samples["jaxor"].append(_seconds(lambda: worker.run(np.arange(runs), nothing, block.initial_params)))
        samples["vmap + optax"].append(_seconds(lambda: jax.block_until_ready(peer(weights))))
    ratios = [theirs / ours for ours, theirs in zip(samples["jaxor"], samples["vmap + optax"], strict=True)]
    return {
        "experiment": name,
        "device": device,
        "runs": runs,
        "mean_epochs": float(block.epochs.mean()),
        "same_epochs": float(np.mean(epochs == block.epochs)),
        "runs_per_s": {case: runs / statistics.median(times) for case, times in samples.items()},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "compile_s": {"jaxor": worker.compile_seconds, "vmap + optax, with the first call": peer_first},
        "samples_s": samples,
    }


def _seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _print(rows: list[dict[str, Any]]) -> None:
    names = ("jaxor runs/s", "vmap+optax", "ratio", "min..max", "same epochs")
    head = f"{'experiment':<20}{'device':<8}" + "".join(f"{name:>14}" for name in names)
    print(head)
    for row in rows:
        ratio, speed = row["ratio"], row["runs_per_s"]
        spread = f"{ratio['min']:.1f}..{ratio['max']:.1f}"
        print(
            f"{row['experiment']:<20}{row['device']:<8}{speed['jaxor']:>14,.0f}{speed['vmap + optax']:>14,.0f}"
            f"{ratio['median']:>14.1f}{spread:>14}{row['same_epochs']:>14.2%}"
        )


def _machine() -> dict[str, Any]:
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    cpu = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": len(cpu),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("jaxor", "jax", "jaxlib", "optax", "numpy")},
        "revision": git.stdout.strip(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
