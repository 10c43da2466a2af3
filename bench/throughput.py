"""Runs per second to convergence: jaxor against what else one could write, with the experiment's own stop rules.

All start from one array of initial parameters and give epochs, final parameters and final loss; all are warm. They
take turns, and ratios are taken turn by turn, so that they mean something on a noisy machine. Each trains as many runs
as fill the time of a turn, or the number asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import peers
from bench.calls import environment
from bench.options import devices, parser
from bench.report import machine, publish, ratios, text

TURNS = 5
TURN_SECONDS = 0.5
MODULES = ("ours", *peers.MODULES)
RUNS = {"abs1_convergence": 10_000_000, "abs1_normal": 1_000_000, "relu1_normal": 1_000_000}
"""Runs of the case for those that take them in a few seconds; others get `DEFAULT_RUNS`."""

DEFAULT_RUNS = 262_144
LONGEST_SECONDS = 6.0
"""A turn is made shorter, with fewer runs, for those that would take longer."""


def main() -> None:
    """Measure, print a table, write JSON."""
    made = parser("bench.throughput", __doc__)
    made.add_argument("experiments", nargs="*", help="all of the bench, if none is named")
    made.add_argument("--phase", type=int, metavar="CORES", help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.phase:
        json.dump(_phase(options.experiments[0], options.phase, options.quick), sys.stdout)
        return
    from bench.peers.cases import NAMES

    devices(options, cpu_only="this bench compares programs for CPUs")
    rows = []
    for name in options.experiments or NAMES:
        for cores in sorted({1, len(os.sched_getaffinity(0))}):
            rows.append(_in_process(name, cores, options.quick))
            _print(rows[-1])
            publish("throughput", {"machine": machine(), "quick": options.quick, "rows": rows})  # it takes long


def _in_process(name: str, cores: int, quick: bool) -> dict[str, Any]:
    """A phase in a process of its own, which may use so many cores."""
    command = [sys.executable, "-m", "bench.throughput", name, "--phase", str(cores), *["--quick"] * quick]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment("cpu"), check=True)
    return json.loads(done.stdout)


def _phase(name: str, cores: int, quick: bool) -> dict[str, Any]:
    """Measurements of one experiment on so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])  # before anybody starts threads
    runs = RUNS.get(name, 2_048 if name == "digits_mlp" else DEFAULT_RUNS) // (10 if quick else 1)
    trainers, left_out = _trainers(name, cores)
    initial, reference = _initial(trainers["jaxor"], name, runs)
    sizes = {who: _size(train, initial) for who, train in trainers.items()}
    samples: dict[str, list[float]] = {who: [] for who in trainers}
    agreement = {}
    for turn in range(3 if quick else TURNS):
        for who, train in trainers.items():
            started = time.perf_counter()
            outcome = train(initial[: sizes[who]])
            samples[who].append(time.perf_counter() - started)
            if turn == 0:
                agreement[who] = float(np.mean(outcome.epochs == reference[: sizes[who]]))
    speeds = {who: [sizes[who] / seconds for seconds in samples[who]] for who in samples}
    return {
        "experiment": name,
        "cores": cores,
        "mean_epochs": float(reference.mean()),
        "runs": sizes,
        "equal_epochs": agreement,
        "runs_per_s": {who: statistics.median(values) for who, values in speeds.items()},
        "jaxor_to": {who: ratios(speeds["jaxor"], speed) for who, speed in speeds.items()},
        "left_out": left_out,
        "samples_s": samples,
    }


def _trainers(name: str, cores: int) -> tuple[dict[str, Callable[..., Any]], dict[str, str]]:
    """Everyone who can train the experiment, by name, and why others cannot."""
    trainers, left_out = {}, {}
    for module in MODULES:
        peer = peers.load(module)
        train = peer and peer.trainer(name, cores)
        if peer is None:
            left_out[module] = "not installed"
        elif train is None:
            left_out[peer.NAME] = getattr(peer, "WHY", None) or "does not cover it"
        else:
            trainers[peer.NAME] = train
    return trainers, left_out


def _initial(ours: Callable[..., Any], name: str, runs: int) -> tuple[Any, Any]:
    """First parameters of seeds 0, 1, ... and the epochs that jaxor takes from them."""
    import jaxor

    drawn = jaxor.simulate(jaxor.get_experiment(name).replace(max_epochs=0), seeds=runs, traces=False, devices=1)
    initial = np.ascontiguousarray(drawn.initial_params)
    return initial, ours(initial).epochs.copy()


def _size(train: Callable[..., Any], initial: Any) -> int:
    """How many runs fill a turn."""
    size = min(32, len(initial))
    while True:
        train(initial[:size])  # whatever is compiled for this size
        started = time.perf_counter()
        train(initial[:size])
        seconds = time.perf_counter() - started
        if size == len(initial) or seconds > TURN_SECONDS:
            return size
        size = min(size * 8, len(initial)) if seconds * 8 < LONGEST_SECONDS else size * 2


def _print(row: dict[str, Any]) -> None:
    print(f"\n{row['experiment']}, {row['cores']} core(s), {row['mean_epochs']:.1f} epochs a run")
    print(f"  {'':<14}{'runs/s':>14}{'epochs/s':>12}{'runs':>12}{'equal epochs':>14}   jaxor is so many times as fast")
    for who, speed in row["runs_per_s"].items():
        ratio = row["jaxor_to"][who]
        times = text(ratio) if who != "jaxor" else ""
        print(
            f"  {who:<14}{speed:>14,.0f}{speed * row['mean_epochs'] / 1e6:>10,.1f} M{row['runs'][who]:>12,}"
            f"{row['equal_epochs'][who]:>14.2%}   {times}",
            flush=True,
        )
    for who, why in row["left_out"].items():
        print(f"  {who:<14}{why}")


if __name__ == "__main__":
    main()
