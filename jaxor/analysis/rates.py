"""Theorems 5.2 and 5.3 of Wang & Ma (NeurIPS 2022) on many seeds: how fast the loss goes to 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.convergence import convergence_constant, theorem_5_2, theorem_5_3
from jaxor.analysis.descents import Watch, bound_table
from jaxor.analysis.lemmas import STATEMENTS, watched
from jaxor.analysis.separated_nets import RATE, SeparatedNets
from jaxor.analysis.statements import Bound
from jaxor.engine.status import Status
from jaxor.estimates import Share
from jaxor.experiments.experiment import Experiment
from jaxor.simulation import simulate

Floats = NDArray[np.float64]

LOSSES = "exponential", "logistic"
POWERS = 1, 2, 3
CONSTANT_STEPS, STEPS, FITTED_FROM = 100, 1500, 500
INNER_STEPS = 60
FIGURES = "loss", "loss_after", "gradient_ratio", *STATEMENTS
CURVATURE_SEEDS, CURVATURE_STEPS = 4, 300


@dataclass(frozen=True, eq=False)
class Contraction:
    """Theorem 5.3 with one loss: the input layer alone.

    Attributes
    ----------
    loss : str
    bound : Bound
        Of L(t+1) / L(t).
    losses : (n, T) float64
        Before each step.
    ratios : (n, T - 1) float64
        L(t+1) / L(t) for t >= 1.
    gradient_ratios : (n, T - 1) float64
        |grad L| / L for t >= 1; Lemma 6.7 bounds it from below.
    gradient_bound : float
        g_a sqrt(V).
    violations : (n,) int64
        Of S1 to S5 together.
    """

    loss: str
    bound: Bound
    losses: Floats
    ratios: Floats
    gradient_ratios: Floats
    gradient_bound: float
    violations: NDArray[np.int64]

    @property
    def kept(self) -> Share:
        """Seeds whose every step contracts at least as much as the bound says."""
        bound = math.nan if self.bound.bound is None else self.bound.bound
        return Share.of(int((self.ratios <= bound).all(axis=1).sum()), len(self.ratios))

    @property
    def gradient_kept(self) -> Share:
        """Seeds that obey Lemma 6.7 at every step."""
        return Share.of(int((self.gradient_ratios >= self.gradient_bound).all(axis=1).sum()), len(self.ratios))

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "loss": self.loss, "bound": bound_table(self.bound), "kept": vars(self.kept),
            "ratios": _extremes(self.ratios), "gradient_ratios": _extremes(self.gradient_ratios),
            "gradient_bound": self.gradient_bound, "gradient_kept": vars(self.gradient_kept),
            "violations": int(self.violations.sum()), "first_loss": _extremes(self.losses[:, 1]),
            "last_loss": _extremes(self.losses[:, -1]),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Decay:
    """Theorem 5.2 with one loss, schedule and power r: all layers.

    Attributes
    ----------
    experiment : Experiment
    power : float
        r.
    bound : Bound
        Pace up to T0.
    losses : (n, T) float64
        Before each step; NaN from where a run diverged.
    diverged : int
        Runs.
    """

    experiment: Experiment
    power: float
    bound: Bound
    losses: Floats
    diverged: int

    @property
    def slopes(self) -> Floats:
        """Slope of ln L against ln t from step `FITTED_FROM` on, by seed; NaN of runs that diverged."""
        t = np.log(np.arange(FITTED_FROM, self.losses.shape[1]))
        t -= t.mean()
        return np.log(self.losses[:, FITTED_FROM:]) @ t / (t @ t)

    @property
    def early_kept(self) -> Share:
        """Seeds below ``L(1) / (1 + a (t - 1))`` for all t up to T0, a being the pace for their own L(1)."""
        t = np.arange(1, CONSTANT_STEPS + 1)
        first = self.losses[:, 1:2]
        pace = 0.0 if self.bound.bound is None else self.bound.bound / float(np.nanmean(first))
        fine = self.losses[:, 1 : CONSTANT_STEPS + 1] <= first / (1 + pace * first * (t - 1)) * (1 + 1e-12)
        return Share.of(int(fine.all(axis=1).sum()), len(fine))

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "experiment": self.experiment.to_dict(), "power": self.power, "bound": bound_table(self.bound),
            "slopes": _extremes(self.slopes), "last_loss": _extremes(self.losses[:, -1]),
            "early_kept": vars(self.early_kept), "diverged": self.diverged,
        }  # fmt: skip


@dataclass(frozen=True)
class Curvature:
    """The Hessian along Theorem 5.2 with r = 1, of which Lemma C.15 says that its norm is at most C t L.

    Attributes
    ----------
    loss : str
    seeds, steps : int
        That were watched; t from 1.
    constant : float
        Largest |Hess| / (t L), which C has to be at least.
    violations : int
        Of S1 to S5 together.
    """

    loss: str
    seeds: int
    steps: int
    constant: float
    violations: int


def _extremes(values: Floats) -> dict[str, float] | None:
    """Of runs that did not diverge."""
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    return {"min": float(values.min()), "median": float(np.median(values)), "max": float(values.max())}


@dataclass(frozen=True)
class Rates:
    """Both theorems on one data set.

    Attributes
    ----------
    nets : SeparatedNets
    v : float
        V of eq. (7).
    contractions : tuple of Contraction
    curvatures : tuple of Curvature
    decays : tuple of Decay
        With the schedule that keeps its promise.
    literal : tuple of Decay
        With the one that the text seems to have, as it is and capped.
    """

    nets: SeparatedNets
    v: float
    contractions: tuple[Contraction, ...]
    curvatures: tuple[Curvature, ...]
    decays: tuple[Decay, ...]
    literal: tuple[Decay, ...]

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        curvatures = [
            vars(found) | {"constant": found.constant if math.isfinite(found.constant) else None}
            for found in self.curvatures
        ]
        return {"study": "rates", "nets": self.nets.to_dict(), "v": self.v, "curvatures": curvatures} | {
            name: [found.to_dict() for found in getattr(self, name)] for name in ("contractions", "decays", "literal")
        }


def rates(
    nets: SeparatedNets, seeds: int = 100, *, decay_seeds: int = 16, losses: Sequence[str] = LOSSES, watch: Watch = None
) -> Rates:
    """Train in float64 by the schedules of Theorems 5.3 (`seeds` runs) and 5.2 (`decay_seeds` of them at most).

    Raises
    ------
    ValueError
        No seeds, or V is not above 0, since the width is too small.
    """
    v = convergence_constant(nets.separation, nets.width, nets.delta)
    if v <= 0:
        raise ValueError(
            f"V of eq. (7) is {v:.3g}, not above 0, so nothing is promised; choose a larger width or delta"
        )
    decay_seeds = min(seeds, decay_seeds)
    contractions = tuple(_contraction(nets, v, loss, seeds, watch) for loss in losses)
    curvatures = tuple(_curvature(nets, loss, watch) for loss in losses)
    decays = tuple(
        _decay(nets, loss, {"name": "power_law", "power": float(power)}, decay_seeds, watch)
        for loss in losses
        for power in POWERS
    )
    literal = tuple(
        _decay(
            nets, losses[0], {"name": "power_law_literal", "power": 1.0, "v": v, "capped": capped}, decay_seeds, watch
        )
        for capped in (False, True)
    )
    return Rates(nets, v, contractions, curvatures, decays, literal)


def _contraction(nets: SeparatedNets, v: float, loss: str, seeds: int, watch: Watch) -> Contraction:
    made = nets.experiment(loss, {"name": "inverse_loss"}, INNER_STEPS, train_output=False)
    seen = watched(made, seeds, train_output=False, only=FIGURES, watch=watch).measured
    bound = theorem_5_3(nets.separation, nets.setting(loss, adaptive=True))
    g_a = nets.setting(loss).constants.g_a or math.nan
    return Contraction(
        loss=loss,
        bound=bound,
        losses=seen["loss"],
        ratios=seen["loss_after"][:, 1:] / seen["loss"][:, 1:],
        gradient_ratios=seen["gradient_ratio"][:, 1:],
        gradient_bound=g_a * math.sqrt(v),
        violations=np.sum([seen[name].sum(axis=1, dtype=np.int64) for name in STATEMENTS], axis=0),
    )


def _curvature(nets: SeparatedNets, loss: str, watch: Watch) -> Curvature:
    optimizer = {"name": "power_law", "learning_rate": RATE, "constant_steps": CONSTANT_STEPS}
    made = nets.experiment(loss, optimizer, CURVATURE_STEPS)
    wanted = "loss", "hessian_norm", *STATEMENTS
    seen = watched(made, CURVATURE_SEEDS, hessian_iterations=10, only=wanted, watch=watch).measured
    t = np.arange(1, CURVATURE_STEPS)
    constant = (seen["hessian_norm"][:, 1:] / (t * seen["loss"][:, 1:])).max()
    violations = sum(int(seen[name].sum()) for name in STATEMENTS)
    return Curvature(loss, CURVATURE_SEEDS, CURVATURE_STEPS, float(constant), violations)


def _decay(nets: SeparatedNets, loss: str, optimizer: dict[str, Any], seeds: int, watch: Watch) -> Decay:
    if watch is not None:
        watch(f"{nets.data}, {loss}: {optimizer['name']}, r = {optimizer['power']:g}")
    table = optimizer | {"learning_rate": RATE, "constant_steps": CONSTANT_STEPS}
    if optimizer["name"] == "power_law_literal":
        table["g_a"] = nets.setting(loss).constants.g_a
    made = nets.experiment(loss, table, STEPS)
    run = simulate(made, seeds, traces="loss", parameters="none", x64=True)
    found = np.full((seeds, STEPS), np.nan)
    for row, seed in enumerate(run.seeds):
        trace = run.trace(int(seed))
        found[row, trace.step] = trace.loss
    bound = theorem_5_2(
        nets.separation, nets.setting(loss, adaptive=True), eta=RATE, first_loss=float(np.nanmean(found[:, 1])),
        r=optimizer["power"], t0=CONSTANT_STEPS,
    )  # fmt: skip
    return Decay(made, optimizer["power"], bound, found, int((run.status == Status.DIVERGED).sum()))
