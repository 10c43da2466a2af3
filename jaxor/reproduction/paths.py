"""The geometry of optimisation paths: the claims of the abstract, which is all of the paper that was at hand.

The abstract prints no figure, so thresholds are ours, see `jaxor.analysis.path_claims`; beside each claim stands what a
random walk gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from jaxor.analysis.geometry import along
from jaxor.analysis.measure import measure_run
from jaxor.analysis.path_claims import Verdict
from jaxor.analysis.path_results import PathResult, judge_paths, look_at
from jaxor.engine.geometry import Geometry, Measuring
from jaxor.experiments.catalog import get_experiment
from jaxor.reproduction.claims import Claim, Finding, Measured, Table
from jaxor.simulation import simulate

DOCUMENT = "No Wrong Turns: The Simple Geometry of Neural Networks Optimization Paths"

NETS = {"classification": "digits_mlp", "segmentation": "shapes_skip", "language": "characters_transformer"}
"""Image classification, semantic segmentation and language modeling, small enough for dozens of seeds."""

HOLDS = {"supported": True, "not": False, "undecided": None}


def paths(net: str, runs: int, watch: Callable[[str], Any]) -> Mapping[str, Measured]:
    """What the abstract says, of one net."""
    experiment = get_experiment(NETS[net])
    watch(f"{experiment.name}: {runs} runs are trained")
    run = simulate(experiment, seeds=runs, traces="none")
    watch(f"{experiment.name}: they are replayed and measured")
    geometry = measure_run(run)
    seen = look_at(experiment, geometry)
    found = judge_paths(experiment, geometry, Measuring(), seen)
    verdicts = {verdict.claim: verdict for verdict in found.verdicts}
    return {
        "obstacles": _finding(verdicts["P1"]),
        "line": _line(geometry),
        "stable": _finding(verdicts["P5"]),
        "consistent": _finding(verdicts["P4"]),
        "linear": _linear(geometry, found),
        "decay": _finding(verdicts["P7 decay"]),
        "warm_up": _finding(verdicts["P7 warm-up"]),
    }


def _finding(verdict: Verdict) -> Finding:
    figures = "; ".join(
        f"{figure.name} {figure.value:.3g} (95 %: {figure.interval.low:.3g} to {figure.interval.high:.3g})"
        for figure in verdict.figures
    )
    return Finding(HOLDS[verdict.answer], f"{figures}." + f" Forced: {verdict.forced}." * bool(verdict.forced))


def _line(geometry: Geometry) -> Finding:
    falls = (np.diff(geometry.line_loss, axis=1) <= 0).all(axis=1)
    return Finding(bool(falls.all()), f"it falls all the way for {falls.mean():.0%} of {len(geometry)} runs")


def _linear(geometry: Geometry, found: PathResult) -> Finding:
    """Whether RSI stays above some mu > 0: with EB of L at most, gradient descent at mu / L^2 would then contract."""
    seen = along(geometry)
    early = np.arange(seen.rsi.shape[1]) < 0.95 * geometry.steps[:, None]
    mu = np.nanmin(np.where(early, seen.rsi, np.nan), axis=1)
    largest = np.nanmax(np.where(early, seen.eb, np.nan), axis=1)
    return Finding(
        bool((mu > 0).mean() >= 0.95),
        f"the smallest RSI of a run is {np.median(mu):.3g}, its largest EB {np.median(largest):.3g} (medians of "
        f"{found.seeds} runs); RSI stays above 0 for {np.mean(mu > 0):.0%} of the runs",
    )


_CLAIMS = (
    Claim("obstacles", "Abstract", "gradients point to the end nearly always, far beyond a random walk", "yes"),
    Claim("line", "Abstract", "no obstacle on the straight line from start to end", "yes"),
    Claim("stable", "Abstract", "RSI, EB and gamma are stable during the majority of training", "yes"),
    Claim("consistent", "Abstract", "they are consistent over initialization seeds", "yes"),
    Claim(
        "linear", "Abstract", "they guarantee linear convergence", "yes",
        "Gradients of minibatches point away from the end now and then, so that no bound above 0 holds at every step.",
    ),
    Claim("decay", "Abstract", "they prescribe rates that decay", "yes"),
    Claim(
        "warm_up", "Abstract", "and rates that warm up before", "yes",
        "From tenth to tenth the best rate falls; a rise there may be within the first of them, see jaxor geometry.",
    ),
)  # fmt: skip

TABLES = tuple(
    Table(f"paths-{net}", DOCUMENT, f"{net}, plain SGD", _CLAIMS, partial(paths, net), quick, 128)
    for net, quick in (("classification", 32), ("segmentation", 0), ("language", 0))
)
