"""The parts of a diagnosis: what is found of the runs of a simulation, each by one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import jaxor.analysis.diagnostics as units
from jaxor.analysis.diagnostics import Bin, Clusters, Flags, Floats, Layer
from jaxor.analysis.plateaus import Plateau, plateaus
from jaxor.analysis.subject import NotKnown, Subject

CLUSTERED = 5_000
"""Rows that are clustered at most: DBSCAN's time and memory grow with the square of the rows of a cluster."""

FEW = 16
"""Points at most of which each is looked at for itself."""

LEVELS = 8
"""Final accuracies at most that are told apart; of more, accuracy 1 is told from all others."""

AT_ONCE = 2**22
"""Pre-activations that are computed at a time."""


class Spread(NamedTuple):
    """Mean and sample standard deviation of so many values; None of too few."""

    values: int
    mean: float | None
    sd: float | None

    @classmethod
    def of(cls, values: ArrayLike) -> Spread:
        """Of the finite ones among some values."""
        array = np.asarray(values, np.float64)
        array = array[np.isfinite(array)]
        mean, sd = float(array.mean()) if array.size else None, float(array.std(ddof=1)) if array.size > 1 else None
        return cls(array.size, mean, sd)


class DeadPoints(NamedTuple):
    """Runs with one final accuracy, or all: without and with a dead point, and with one of each class.

    The last two are None if the task has not just two classes.
    """

    accuracy: str
    runs: int
    alive: int
    dead: int
    dead_class_0: int | None
    dead_class_1: int | None


class DeadUnits(NamedTuple):
    """Runs, how many of them have a dead unit, and how many dead units these have together."""

    runs: int
    affected: int
    units: int


class MirrorPairs(NamedTuple):
    """Of the runs with accuracy .75 or more: how many have a mirror pair, a perfect one, and the pairs' cosines."""

    runs: int
    found: int
    perfect: int
    cosine: Spread


class Clustering(NamedTuple):
    """Clusters among the first `used` of so many rows."""

    rows: int
    used: int
    clusters: Clusters

    def to_dict(self) -> dict[str, Any]:
        """Plain table for JSON."""
        found = self.clusters
        sizes = [
            {"size": int(size), "centre": centre.tolist(), "spread": spread.tolist()}
            for size, centre, spread in zip(found.size, found.centre, found.spread, strict=True)
        ]
        return {"rows": self.rows, "used": self.used, "noise": found.noise, "clusters": sizes}


class Stuck(NamedTuple):
    """A plateau of failed runs, the seed of an example, and what that one answers at each point; None if not known."""

    plateau: Plateau
    seed: int
    outputs: list[Any] | None


class Failures(NamedTuple):
    """How many runs failed, and the losses that many of them ended with."""

    runs: int
    plateaus: tuple[Stuck, ...]


def _some_at_a_time(function: Callable[[Layer], Any], layer: Layer, points: int) -> Any:
    """`function` of the units of all runs, for so many runs at a time that pre-activations do not fill the memory."""
    size = max(AT_ONCE // (points * layer.bias.shape[1]), 1)
    parts = [Layer(*(array[start : start + size] for array in layer)) for start in range(0, len(layer.bias), size)]
    return np.concatenate([function(part) for part in parts])


def dead_at_start(subject: Subject) -> Flags:
    """Points (n, points) that no unit is active at before training."""
    inputs = subject.inputs_before()
    return _some_at_a_time(lambda layer: units.dead_points(layer, inputs), subject.initial, len(inputs))


def _dead_points(subject: Subject) -> tuple[DeadPoints, ...]:
    dead = dead_at_start(subject)
    try:
        classes = [dead[:, subject.positive == one].any(axis=1) for one in (False, True)]
    except NotKnown:
        classes = []
    some = np.asarray(dead.any(axis=1))

    def row(accuracy: str, which: Flags) -> DeadPoints:
        by_class = [int(which[there].sum()) for there in classes] or [None, None]
        total, hit = int(which.sum()), int(which[some].sum())
        return DeadPoints(accuracy, total, total - hit, hit, *by_class)

    levels = np.unique(subject.accuracy)[::-1].tolist()
    if len(levels) > LEVELS:
        rows = [row("1", subject.success), row("below 1", ~subject.success)]
    else:
        rows = [row(f"{level:g}", subject.accuracy == level) for level in levels]
    return (*rows, row("all", np.ones(len(some), bool)))


def _dead_units(subject: Subject) -> dict[str, DeadUnits]:
    inputs = subject.inputs_after()
    dead = _some_at_a_time(lambda layer: units.dead_units(layer, inputs), subject.final, len(inputs)).sum(axis=1)
    return {
        name: DeadUnits(int(which.sum()), int(np.count_nonzero(dead[which])), int(dead[which].sum()))
        for name, which in (("success", subject.success), ("failure", ~subject.success))
    }


def _mirror_pairs(subject: Subject) -> MirrorPairs:
    if subject.final.weight.shape[1] < 2:
        raise NotKnown("the model has one hidden unit, and a pair takes two")
    good = subject.accuracy >= 0.75
    pairs = units.mirror_pairs(subject.final.weight[good])
    return MirrorPairs(len(pairs.found), int(pairs.found.sum()), int(pairs.perfect.sum()), Spread.of(pairs.cosine))


def _nearest(subject: Subject) -> dict[str, Spread]:
    inputs, positive = subject.inputs_after(), subject.positive
    distance = _some_at_a_time(lambda layer: units.nearest_hyperplanes(layer, inputs), subject.final, len(inputs))
    return {"class 0": Spread.of(distance[:, ~positive]), "class 1": Spread.of(distance[:, positive])}


def _distances(subject: Subject) -> Clustering:
    inputs, positive = subject.inputs_after(), subject.positive
    good = Layer(*(array[subject.success] for array in subject.final))
    if not len(good.bias):
        raise NotKnown("no run succeeded")
    found = _some_at_a_time(lambda part: units.hyperplane_distances(part, inputs, positive), good, len(inputs))
    rows = found.reshape(-1, 2)
    return _clustering(rows[np.isfinite(rows).all(axis=1)])


def _clusters(subject: Subject) -> dict[str, Clustering]:
    weight, bias = subject.final
    found = {}
    for name, which in (("success", subject.success), ("failure", ~subject.success)):
        found[f"weights, {name}"] = _clustering(weight[which].reshape(-1, weight.shape[2]))
        found[f"biases, {name}"] = _clustering(bias[which].reshape(-1, 1))
    return found | {"layers, all runs": _clustering(weight.reshape(len(weight), -1))}


def _clustering(rows: Floats) -> Clustering:
    return Clustering(len(rows), min(len(rows), CLUSTERED), units.clusters(rows[:CLUSTERED]))


def _failure_angles(subject: Subject) -> dict[str, Spread]:
    if subject.run.manifest.experiment["task"].get("name") not in ("xor", "xor_one_hot"):
        raise NotKnown("the directions are those of the solutions of XOR, and this is another task")
    angle = units.angles_to(subject.initial.weight)
    return {"success": Spread.of(angle[subject.success]), "failure": Spread.of(angle[~subject.success])}


def _displacement(subject: Subject) -> dict[str, tuple[Bin, ...]]:
    moved = units.displacement(subject.initial.weight, subject.final.weight)
    epochs = np.repeat(subject.epochs, moved.angle.shape[1])
    return {name: units.by_percentile(metric.ravel(), epochs) for name, metric in moved._asdict().items()}


def failures(subject: Subject) -> Failures:
    """Where failed runs ended."""
    failed = np.flatnonzero(~subject.success)
    if not len(failed):
        return Failures(0, ())
    loss, place, outputs, errors = subject.run.final_loss[subject.place][failed], subject.place[failed], None, None
    if subject.knows_task and subject.explained and len(subject.task.inputs) <= FEW:
        from jaxor.analysis.answers import answers  # brings JAX with it

        outputs, _, errors = answers(subject.run.experiment, subject.final_params[failed], subject.run.x64)
    seeds, found = subject.run.seeds[place], plateaus(loss, errors, subject.accuracy[failed])
    examples = [None if outputs is None else outputs[one.example].tolist() for one in found]
    stuck = (Stuck(one, int(seeds[one.example]), shown) for one, shown in zip(found, examples, strict=True))
    return Failures(len(failed), tuple(stuck))


PARTS: Mapping[str, Callable[[Subject], Any]] = {
    "dead_points": _dead_points,
    "dead_units": _dead_units,
    "mirror_pairs": _mirror_pairs,
    "nearest": _nearest,
    "distances": _distances,
    "clusters": _clusters,
    "failure_angles": _failure_angles,
    "displacement": _displacement,
    "failures": failures,
}
