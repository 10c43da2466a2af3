"""What the paths of one setting, or of all settings of a study, have been found to be like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jaxor.analysis.path_arms import Medians, batch_claims, optimizer_claim
from jaxor.analysis.path_claims import Thresholds, Verdict, claims, positivity
from jaxor.analysis.path_looks import Looks, looks
from jaxor.analysis.path_study import Arm, PathStudy
from jaxor.analysis.path_tables import Tenths, tenths
from jaxor.analysis.path_views import Views, views
from jaxor.analysis.ported_rates import PortedRates, Train, ported_rates
from jaxor.analysis.walks import closed_form, surrogate
from jaxor.engine.geometry import Geometry, Measuring
from jaxor.engine.parameters import flat_order
from jaxor.engine.status import Status
from jaxor.experiments.experiment import Experiment

Measure = Callable[[Experiment, int, Measuring], Geometry]
"""Trains and measures seeds 0, 1, ... of an experiment."""


@dataclass(frozen=True, eq=False)
class PathResult:
    """What was found along the paths of one setting.

    Attributes
    ----------
    experiment : Experiment
    measuring : Measuring
    seeds, parameters : int
    steps : (int, int)
        Of the shortest and of the longest run.
    status : dict of str to int
        How the runs ended.
    difference : float
        The largest between final parameters of the first pass and of the replay, of runs with as many steps in both.
    lengths : int
        Runs whose replay took another number of steps.
    closed : bool
        Whether the null is a closed form; else walks were simulated.
    tenths : Tenths
    looks : Looks
    verdicts : tuple of Verdict
    """

    experiment: Experiment
    measuring: Measuring
    seeds: int
    parameters: int
    steps: tuple[int, int]
    status: dict[str, int]
    difference: float
    lengths: int
    closed: bool
    tenths: Tenths
    looks: Looks
    verdicts: tuple[Verdict, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "experiment": self.experiment.to_dict(), "reference": str(self.measuring), "seeds": self.seeds,
            "parameters": self.parameters, "steps": list(self.steps), "status": self.status,
            "difference": self.difference, "other_lengths": self.lengths,
            "null": "closed form" if self.closed else "surrogate",
            "tenths": self.tenths.to_dict(), "looks": self.looks.to_dict(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Comparison:
    """A claim that compares arms of a study.

    Attributes
    ----------
    labels : tuple of str
    verdict : Verdict
    """

    labels: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    study : PathStudy
    arms : dict of str to PathResult
        By label.
    comparisons : tuple of Comparison
    rates : dict of str to PortedRates
        By label of the arm that rates were read off.
    """

    study: PathStudy
    arms: dict[str, PathResult]
    comparisons: tuple[Comparison, ...]
    rates: dict[str, PortedRates]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        study = self.study
        return {
            "study": study.name, "title": study.title, "factor": study.factor, "seeds": study.seeds,
            "thresholds": asdict(study.thresholds), "notes": list(study.notes),
            "arms": {label: result.to_dict() for label, result in self.arms.items()},
            "rates": {label: one.to_dict() for label, one in self.rates.items()},
            "comparisons": [{"labels": list(one.labels)} | one.verdict.to_dict() for one in self.comparisons],
        }  # fmt: skip


def look_at(experiment: Experiment, geometry: Geometry) -> Views:
    """Runs from all sides, with the null that belongs to their optimizer.

    Of plain gradient descent, with or without schedule and decay, that is known in closed form; of all others each run
    has a walk through its own optimizer.
    """
    if experiment.to_dict()["optimizer"].get("name") == "sgd":
        return views(geometry, closed_form(geometry), _parameters(experiment))
    return views(geometry, surrogate(experiment, geometry))


def judge_paths(
    experiment: Experiment, geometry: Geometry, measuring: Measuring, seen: Views | None = None
) -> PathResult:
    """Tables and verdicts of the paths of one experiment.

    Parameters
    ----------
    experiment : Experiment
    geometry : Geometry
    measuring : Measuring
        With which it was measured.
    seen : Views, optional
        What `look_at` gives, where that is known already.
    """
    return _judged(experiment, geometry, measuring, seen or look_at(experiment, geometry), Thresholds())


def run_study(
    study: PathStudy, measure: Measure, train: Train, watch: Callable[[str], Any] | None = None
) -> StudyResult:
    """Measure and judge one arm after the other.

    Parameters
    ----------
    study : PathStudy
    measure : callable
        Of experiment, number of seeds and reference, the measurements.
    train : callable
        Of experiment and seeds, the runs, for rates that are tried on fresh seeds.
    watch : callable, optional
        Is told the label of each arm before it is measured.
    """
    results: dict[str, PathResult] = {}
    tried: dict[str, PortedRates] = {}
    medians: dict[str, Medians] = {}
    positive: dict[str, tuple[Verdict, Verdict]] = {}
    for arm in study.arms:
        if watch is not None:
            watch(arm.label)
        geometry = measure(arm.experiment, study.seeds, arm.measuring)
        results[arm.label], medians[arm.label], positive[arm.label] = _of_arm(study, arm, geometry)
        if arm.label in study.rates:
            tried[arm.label] = ported_rates(arm.experiment, geometry, train, study.thresholds)
    found = [
        Comparison(group, verdict)
        for group in study.batches
        for verdict in batch_claims([medians[label] for label in group], study.thresholds)
    ]
    found += [
        Comparison(group, optimizer_claim({label: positive[label] for label in group}, study.thresholds))
        for group in study.optimizers
    ]
    found += [Comparison((label,), one.verdict) for label, one in tried.items()]
    return StudyResult(study, results, tuple(found), tried)


def _of_arm(study: PathStudy, arm: Arm, geometry: Geometry) -> tuple[PathResult, Medians, tuple[Verdict, Verdict]]:
    """What is kept of an arm: its steps are too many to keep those of all."""
    seen = look_at(arm.experiment, geometry)
    found = _judged(arm.experiment, geometry, arm.measuring, seen, study.thresholds)
    both = positivity(seen, study.thresholds), positivity(seen, study.thresholds, update=True)
    return found, Medians.of(seen), both


def _judged(
    experiment: Experiment, geometry: Geometry, measuring: Measuring, seen: Views, thresholds: Thresholds
) -> PathResult:
    same = ~np.isinf(geometry.difference)
    return PathResult(
        experiment, measuring, len(geometry), _parameters(experiment),
        (min(geometry.steps.tolist(), default=0), max(geometry.steps.tolist(), default=0)),
        {Status(code).name.lower(): int(np.sum(geometry.status == code)) for code in np.unique(geometry.status)},
        float(geometry.difference[same].max(initial=0.0)), int((~same).sum()), seen.closed, tenths(seen),
        looks(geometry),
        tuple(claims(seen, thresholds, own_end=measuring.reference == "final")),
    )  # fmt: skip


def _parameters(experiment: Experiment) -> int:
    return flat_order(experiment.build().model).size
