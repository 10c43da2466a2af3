"""The geometry of optimisation paths: the claims of the abstract, which is all of the paper that was at hand.

The abstract prints no figure, so thresholds are ours, see `jaxor.analysis.path_claims`; beside each claim stands what a
random walk gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from jaxor.analysis.geometry import along
from jaxor.analysis.over_seeds import Figure as OverSeeds
from jaxor.analysis.path_claims import Thresholds, Verdict
from jaxor.analysis.path_results import PathResult, judge_paths, look_at
from jaxor.analysis.path_work import Paths
from jaxor.engine.geometry import Geometry, Measuring
from jaxor.experiments.catalog import get_experiment
from jaxor.reproduction.claims import Claim, Table
from jaxor.reproduction.figures import Finding, Measured
from jaxor.reproduction.work import Work

DOCUMENT = "No Wrong Turns: The Simple Geometry of Neural Networks Optimization Paths"

NETS = {"classification": "digits_mlp", "segmentation": "shapes_skip", "language": "characters_transformer"}
"""Image classification, semantic segmentation and language modeling, small enough for dozens of seeds."""

SIGNIFICANT = 0.01
"""An obstacle, in parts of what the loss falls in all."""

HOLDS = {"supported": True, "not": False, "undecided": None}


def paths(net: str, runs: int, work: Work) -> Mapping[str, Measured]:
    """What the abstract says, of one net."""
    experiment = get_experiment(NETS[net])
    work.watch(f"{experiment.name}: {runs} runs are trained, replayed and measured")
    geometry = Paths(work.folder).measure(experiment, runs, Measuring())
    seen = look_at(experiment, geometry)
    found = judge_paths(experiment, geometry, Measuring(), seen)
    verdicts = {verdict.claim: verdict for verdict in found.verdicts}
    return {
        "obstacles": finding(verdicts["P1"]),
        "line": _line(geometry),
        "stable": finding(verdicts["P5"]),
        "consistent": finding(verdicts["P4"]),
        "linear": _linear(geometry, found),
        "decay": finding(verdicts["P7 decay"]),
        "warm_up": finding(verdicts["P7 warm-up"]),
    }


def finding(verdict: Verdict) -> Finding:
    """A verdict on a claim of the paper, with its figures."""
    figures = "; ".join(map(_said, verdict.figures))
    runs = min(figure.seeds for figure in verdict.figures)
    open_for = f" Undecided: {verdict.reason}." * bool(verdict.reason)
    forced = f" Forced: {verdict.forced}." * bool(verdict.forced)
    return Finding(HOLDS[verdict.answer], f"{figures}; {runs} runs.{open_for}{forced}")


def _said(figure: OverSeeds) -> str:
    low, high = figure.interval
    asked = f"{figure.relation} {figure.threshold:g} is asked"
    return f"{figure.name} {figure.value:.3g} (95 %: {low:.3g} to {high:.3g}; {asked}){beside_walk(figure)}"


def beside_walk(figure: OverSeeds) -> str:
    """The same number of the null, if there is one."""
    walk = figure.beside["null"]
    return "" if np.isnan(walk) else f", on a random walk {walk:.3g}"


def _line(geometry: Geometry) -> Finding:
    loss = geometry.line_loss.astype(np.float64)
    rise = (loss - np.minimum.accumulate(loss, axis=1)).max(axis=1) / (loss[:, 0] - loss[:, -1])
    return Finding(
        bool((rise <= SIGNIFICANT).all()),
        f"the loss falls all the way for {np.mean(rise == 0):.0%} of {len(geometry)} runs; the most that it rises "
        f"above what it had come to is {rise.max():.2g} of what it falls in all; {SIGNIFICANT:g} is little",
    )


def _linear(geometry: Geometry, found: PathResult) -> Finding:
    """Whether RSI stays above some mu > 0: with EB of L at most, gradient descent at mu / L^2 would then contract.

    A guarantee has no exceptions, so one run that breaks it is enough.
    """
    seen = along(geometry)
    early = np.arange(seen.rsi.shape[1]) < 0.95 * geometry.steps[:, None]
    mu = np.nanmin(np.where(early, seen.rsi, np.nan), axis=1)
    largest = np.nanmax(np.where(early, seen.eb, np.nan), axis=1)
    return Finding(
        bool((mu > 0).all()),
        f"the smallest RSI of a run is {np.median(mu):.3g}, its largest EB {np.median(largest):.3g} (medians of "
        f"{found.seeds} runs); RSI stays above 0 for {np.mean(mu > 0):.0%} of the runs",
    )


_CLAIMS = (
    Claim("obstacles", "Abstract",
          "no obstacles: gradients point to the end nearly always, far beyond a random walk", "yes"),
    Claim("line", "Abstract", "no obstacles: the loss falls on the straight line from start to end", "yes"),
    Claim(
        "stable", "Abstract", "RSI, EB and gamma are stable during the majority of training", "yes",
        f"The abstract gives no measure. By ours EB, which is relative to the distance that is left, grows more than "
        f"{Thresholds().stable:g} times as it shrinks, and more than on a random walk.",
    ),
    Claim(
        "consistent", "Abstract", "they are consistent over initialization seeds", "yes",
        f"The abstract gives no measure. By ours, {Thresholds().variation:g} of their size at most, curves of seeds "
        "differ too much.",
    ),
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
    Table(
        f"paths-{net}", DOCUMENT, f"{net.capitalize()}, plain SGD",
        f"Runs of `{NETS[net]}` are replayed, and RSI, EB and gamma measured at each step towards the run's own end, "
        "as by `jaxor geometry`. The abstract prints no figures; what is asked is ours, chosen with other runs of the "
        "net for classification in view, see docs/geometry.md. Something holds if the whole 95 % interval over runs is "
        "beyond what is asked; a guarantee, and that the loss falls, if it is so in all runs.",
        _CLAIMS, partial(paths, net), quick, full,
    )
    for net, quick, full in (("classification", 32, 128), ("segmentation", 0, 48), ("language", 0, 36))
)  # fmt: skip
