"""All that can be said of the hidden units of a simulation's runs: `diagnose`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from jaxor.analysis.diagnostics import Bin
from jaxor.analysis.findings import PARTS, Clustering, DeadPoints, DeadUnits, Failures, MirrorPairs, Spread
from jaxor.analysis.subject import NotKnown, Subject
from jaxor.estimates import Share
from jaxor.store.run import Run


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What can be said of the hidden units of a simulation's runs; parts that cannot be given are None.

    Attributes
    ----------
    run : Run
    runs : int
        Those that are looked at; runs that were never started are not.
    success : Share
        Of them, those with accuracy 1.
    left_out : dict
        Names of parts that cannot be given, with the reason.
    dead_points : tuple of DeadPoints
        By final accuracy, the highest first, and as the last one of all runs.
    dead_units : dict
        After training, of ``"success"`` and ``"failure"``.
    mirror_pairs : MirrorPairs
    nearest : dict
        Distances of the points of each class to the nearest hyperplane, over all runs.
    distances : Clustering
        Of the mean distances of each class to a unit's hyperplane, over the units of successful runs.
    clusters : dict
        Of weights and of biases of the units of successful and of failed runs, and of whole layers of weights.
    failure_angles : dict
        Of ``"success"`` and ``"failure"``: initial weights of units against the directions of the solutions.
    displacement : dict
        Mean epochs by ``"angle"`` and by ``"ratio"`` of how units moved.
    failures : Failures
        How many, and the plateaus that many of them ended on.
    """

    run: Run
    runs: int
    success: Share
    left_out: dict[str, str]
    dead_points: tuple[DeadPoints, ...] | None = None
    dead_units: dict[str, DeadUnits] | None = None
    mirror_pairs: MirrorPairs | None = None
    nearest: dict[str, Spread] | None = None
    distances: Clustering | None = None
    clusters: dict[str, Clustering] | None = None
    failure_angles: dict[str, Spread] | None = None
    displacement: dict[str, tuple[Bin, ...]] | None = None
    failures: Failures | None = None

    @property
    def unstarted(self) -> int:
        """Runs without first parameters, which are not looked at."""
        return len(self.run) - self.runs

    def to_dict(self) -> dict[str, Any]:
        """Plain tables for JSON."""
        parts = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name != "run"}
        manifest = self.run.manifest
        head = {"experiment": manifest.experiment["name"], "identity": manifest.identity, "unstarted": self.unstarted}
        return head | parts


def _plain(value: Any) -> Any:
    if isinstance(value, Clustering):
        return value.to_dict()
    if isinstance(value, Share):
        return vars(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def diagnose(run: Run) -> Diagnosis:
    """Say everything that is known of hidden units, by the definitions in `jaxor.analysis.diagnostics`.

    Parameters
    ----------
    run : Run
        With final parameters at least. `jaxor.analysis.finished.finished` makes one of arrays from elsewhere.

    Raises
    ------
    StoreError
        There are no runs, or no parameters were stored.

    Examples
    --------
    >>> from jaxor import simulate
    >>> found = diagnose(simulate("relu1_mirror", seeds=50))
    >>> found.success.count, found.mirror_pairs.perfect, found.dead_points[-1].dead
    (49, 49, 0)
    """
    subject = Subject(run)
    parts, left_out = {}, {}
    for name, part in PARTS.items():
        try:
            parts[name] = part(subject)
        except NotKnown as reason:
            left_out[name] = str(reason)
    success = Share.of(int(subject.success.sum()), len(subject.success))
    return Diagnosis(run, len(subject.success), success, left_out, **parts)
