"""The lemmas of section 6 of Wang & Ma (NeurIPS 2022), seen along the training of many seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis import neurons
from jaxor.analysis.hitting import corollary_4_3_steps
from jaxor.analysis.neurons import descent_excess, hitting_time
from jaxor.analysis.partition import overlap_tolerance
from jaxor.analysis.separated_nets import RATE, SeparatedNets
from jaxor.engine.replay import Moment, Replayed, replay
from jaxor.estimates import Share
from jaxor.experiments.experiment import Experiment

STATEMENTS = "S1", "S2", "S3", "S4", "S5"
KAPPAS = 1e-4, 1e-3, 1e-2, 1e-1, 1.0
SLACK = 1e-9
"""Rounding that a bound is allowed, of quantities of size 1."""
CURVATURE_SLACK = 1.02
"""Power iteration comes from below, so H of Lemma 6.6 is taken so much larger; see `neurons.hessian_norm`."""


@dataclass(frozen=True)
class Violations:
    """How often Lemma 6.2 fails at one scale of the start.

    Attributes
    ----------
    kappa : float
    counts : mapping of str to (n,) int64
        Pairs (i, k) that break S1 to S5, summed over steps, by seed.
    """

    kappa: float
    counts: Mapping[str, NDArray[np.int64]]

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.counts["S1"])

    def broken(self, name: str) -> Share:
        """Seeds that break a statement at least once."""
        return Share.of(int(np.count_nonzero(self.counts[name])), self.seeds)


@dataclass(frozen=True)
class Check:
    """A statement that holds or fails for each seed.

    Attributes
    ----------
    name, statement : str
    holds : Share
        Seeds for which it holds at every step.
    worst : float
        Of what is compared, over seeds and steps; NaN if a run diverged.
    """

    name: str
    statement: str
    holds: Share
    worst: float


@dataclass(frozen=True, eq=False)
class Lemmas:
    """What was seen.

    Attributes
    ----------
    nets : SeparatedNets
    steps : int
    figures : mapping of str to (n, T, ...) array
        As `neurons.watch` gives them.
    hitting_times : (n,) int64
    checks : tuple of Check
    sweep : tuple of Violations
        At the nets' own kappa first, then at others.
    """

    nets: SeparatedNets
    steps: int
    figures: Mapping[str, NDArray[Any]]
    hitting_times: NDArray[np.int64]
    checks: tuple[Check, ...]
    sweep: tuple[Violations, ...]

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON: medians and extremes over seeds by step, checks, and the sweep."""
        bands = {
            name: {
                end: _finite(np.quantile(array, q, axis=0))
                for end, q in (("low", 0.05), ("median", 0.5), ("high", 0.95))
            }
            for name, array in self.figures.items()
            if array.dtype.kind == "f"
        }
        sweep = [
            {"kappa": one.kappa, **{name: counts.tolist() for name, counts in one.counts.items()}} for one in self.sweep
        ]
        checks = [
            vars(check) | {"holds": vars(check.holds), "worst": _finite(np.array(check.worst))} for check in self.checks
        ]
        return {
            "study": "lemmas", "nets": self.nets.to_dict(), "steps": self.steps, "bands": bands,
            "hitting_times": self.hitting_times.tolist(), "checks": checks, "sweep": sweep,
        }  # fmt: skip


def lemmas(
    nets: SeparatedNets,
    seeds: int = 100,
    *,
    kappas: Sequence[float] = KAPPAS,
    steps: int | None = None,
    watch: Callable[[str], Any] | None = None,
) -> Lemmas:
    """Watch gradient descent of Corollary 4.3 in float64, by replay.

    Parameters
    ----------
    nets : SeparatedNets
    seeds : int
    kappas : sequence of float
        Other scales of the start, of which only S1 to S5 are counted.
    steps : int, optional
        By default T + 2 = 46, so that a hitting time of T = 44 can be seen.

    Raises
    ------
    ValueError
        No seeds, or fewer than 2 steps.
    """
    steps = corollary_4_3_steps(RATE) + 2 if steps is None else steps
    if steps < 2:
        raise ValueError(f"steps must be at least 2, since most lemmas are on t >= 1, got {steps}")
    made = nets.descent(steps)
    seen = watched(made, seeds, delta=nets.delta, hessian_iterations=10, learning_rate=RATE, watch=watch)
    fine = seen.measured["fine"].astype(bool)
    sweep = [_violations(nets.kappa, seen)]
    for kappa in kappas:
        other = replace(nets, given_kappa=kappa).descent(steps)
        sweep.append(_violations(kappa, watched(other, seeds, only=STATEMENTS, watch=watch)))
    checks = _checks(seen.measured, overlap_tolerance(nets.points, nets.width, nets.delta))
    return Lemmas(nets, steps, seen.measured, hitting_time(fine), checks, tuple(sweep))


def watched(
    experiment: Experiment,
    seeds: int,
    *,
    train_output: bool = True,
    delta: float = 0.1,
    hessian_iterations: int = 0,
    learning_rate: float | None = None,
    only: Sequence[str] | None = None,
    watch: Callable[[str], Any] | None = None,
) -> Replayed:
    """Replay seeds of an experiment with model (4) in float64 and measure every step, see `neurons.watch`.

    Parameters
    ----------
    only : sequence of str, optional
        Figures that are wanted; the compiler drops what only others need.
    watch : callable, optional
        Told the number of seeds done.

    Raises
    ------
    ValueError
        No seeds.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    law = experiment.build()
    measure = neurons.watch(
        law.task.inputs, law.task.targets, law.loss, train_output, hessian_iterations,
        learning_rate=learning_rate, delta=delta,
    )  # fmt: skip

    def look(moment: Moment) -> Mapping[str, Any]:
        figures = measure(moment.initial, moment.before, moment.after, moment.step)
        return figures if only is None else {name: figures[name] for name in only}

    kappa = experiment.to_dict()["init"]["kappa"]
    tell = (
        None if watch is None else lambda done: watch(f"{experiment.name}, kappa = {kappa:g}: {done} of {seeds} seeds")
    )
    return replay(experiment, np.arange(seeds), look, x64=True, watch=tell)


def _finite(values: NDArray[Any]) -> Any:
    """For JSON, None where a run had diverged."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()


def _violations(kappa: float, seen: Replayed) -> Violations:
    return Violations(kappa, {name: seen.measured[name].sum(axis=1, dtype=np.int64) for name in STATEMENTS})


def _checks(figures: Mapping[str, NDArray[Any]], tolerance: float) -> tuple[Check, ...]:
    """Every lemma that can be decided, on all seeds; `after` leaves out step 0."""
    after = {name: array[:, 1:] for name, array in figures.items()}
    curvature = figures["hessian_norm"].max(axis=1, keepdims=True) * CURVATURE_SLACK
    excess = descent_excess(after, curvature)
    scale = 1 + SLACK

    def check(name: str, statement: str, worst: NDArray[Any], fine: NDArray[np.bool_], of: Any) -> Check:
        return Check(name, statement, Share.of(int(fine.sum()), len(fine)), float(of(worst)))

    def most(name: str, statement: str, values: NDArray[Any], limit: float) -> Check:
        worst = values.max(axis=1)
        return check(name, statement, worst, worst <= limit, np.max)

    def least(name: str, statement: str, values: NDArray[Any], limit: float) -> Check:
        worst = values.min(axis=1)
        return check(name, statement, worst, worst >= limit, np.min)

    return (
        most("6.1", f"overlaps at t = 0 beside (pi - theta)/(4 pi), at most {tolerance:.3f} apart",
             figures["overlap_deviation"][:, :1], tolerance),
        *(most(f"6.2 {name}", "pairs (i, k) that break it in a step", figures[name], 0) for name in STATEMENTS),
        most("6.3 P1", "neurons whose a_k sgn a_k(0) decreases while true-living, t >= 1", after["P1"], 0),
        most("6.3 P1", "largest |a_k| over its bound, t >= 1", after["outer_ratio"], scale),
        most("6.3 P1", "largest |b_k| over its bound, t >= 1", after["inner_ratio"], scale),
        most("6.3 P3", "largest |f(x_i)| over its bound", figures["output_ratio"], scale),
        most("6.4", "largest off-class entry of the Gram matrix, t >= 1", after["off_class"], 0),
        least("6.4", "entries within a class less their lower bound, t >= 1", after["entry_margin"], 0),
        most("6.4", "|grad L|^2 beside e^T G e / n^2, relative error", figures["identity_error"], 1e-6),
        least("6.5", "|grad L|^2 less its lower bound, t >= 1", after["gradient_margin"], -SLACK),
        most("6.6", "L(t+1) less its upper bound, t >= 1", excess, SLACK),
    )  # fmt: skip
