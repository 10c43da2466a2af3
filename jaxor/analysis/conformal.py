"""Intervals for the epochs that remain, right for a given share of new runs whatever the model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

RUNS_PER_BIN = 50
MOST_BINS = 10


@dataclass(frozen=True)
class Conformal:
    """How far forecasts are off, by the size of the forecast.

    A row of a new run, drawn at random from its rows, lies within the interval with probability `level`, if runs are
    exchangeable; rows of one run need not be (split conformal prediction for runs of several rows: Dunn, Wasserman
    and Ramdas 2023,
    J. Amer. Statist. Assoc. 118, 2491-2502), and the same within each bin of forecasts (Mondrian conformal prediction,
    Vovk, Gammerman and Shafer 2005).

    Attributes
    ----------
    level : float
    edges : (bins - 1,) tuple of float
        Of the forecasts, ascending.
    halfwidths : (bins,) tuple of float
        Epochs; infinite where there were too few runs for the level.
    """

    level: float
    edges: tuple[float, ...]
    halfwidths: tuple[float, ...]

    @classmethod
    def calibrate(cls, predicted: ArrayLike, actual: ArrayLike, groups: ArrayLike, level: float = 0.9) -> Conformal:
        """Learn from forecasts of runs that the model has not seen.

        Parameters
        ----------
        predicted, actual : (n,) array_like
            Epochs.
        groups : (n,) array_like of int
            The run of each row.
        level : float
            Between 0 and 1.

        Examples
        --------
        >>> errors = np.arange(1.0, 101.0)
        >>> Conformal.calibrate(np.zeros(100), errors, np.arange(100), level=0.9).halfwidths
        (91.0,)
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        predicted, error = np.asarray(predicted, np.float64), np.abs(np.subtract(actual, predicted, dtype=np.float64))
        if not np.isfinite(predicted).all():
            return cls(level, (), (float("inf"),))
        runs, owner = np.unique(groups, return_inverse=True)
        bins = int(np.clip(len(runs) // RUNS_PER_BIN, 1, MOST_BINS))
        edges = np.unique(np.quantile(predicted, np.arange(1, bins) / bins, method="higher"))
        edges = edges[edges > predicted.min()]  # no bin is empty
        place = np.searchsorted(edges, predicted, side="right")
        weight, share = 1 / np.bincount(owner)[owner], level * (len(runs) + 1) / len(runs)
        widths = [_quantile(error[place == b], weight[place == b], share) for b in range(len(edges) + 1)]
        return cls(level, tuple(edges.tolist()), tuple(widths))

    def interval(self, predicted: ArrayLike) -> tuple[Numbers, Numbers]:
        """Lower and upper ends (n,), not below 0."""
        predicted = np.asarray(predicted, np.float64)
        half = np.array(self.halfwidths)[np.searchsorted(np.array(self.edges), predicted, side="right")]
        return np.maximum(predicted - half, 0.0), predicted + half

    def coverage(self, predicted: ArrayLike, actual: ArrayLike, groups: ArrayLike) -> float:
        """Share of the rows of a run that lie within their intervals, averaged over runs."""
        low, high = self.interval(predicted)
        inside = (low <= np.asarray(actual)) & (np.asarray(actual) <= high)
        _, owner = np.unique(groups, return_inverse=True)
        return float((np.bincount(owner, inside) / np.bincount(owner)).mean())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for infinity."""
        widths = [width if np.isfinite(width) else None for width in self.halfwidths]
        return {"level": self.level, "edges": list(self.edges), "halfwidths": widths}

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Conformal:
        """Undo `to_dict`; a ValueError if the numbers do not fit together."""
        widths = tuple(float("inf") if width is None else float(width) for width in table["halfwidths"])
        edges = tuple(map(float, table["edges"]))
        if len(widths) != len(edges) + 1 or list(edges) != sorted(edges):
            raise ValueError(f"{len(edges)} ascending edges need one more halfwidths, got {edges} and {widths}")
        return cls(float(table["level"]), edges, widths)


def _quantile(error: Numbers, weight: Numbers, share: float) -> float:
    """The smallest error within which a share of the weight lies; infinite for a share above 1.

    Rows weigh in every bin what they weigh in their run. Were the runs of a bin counted alike, long runs, which are in
    many bins, would count more than short ones.
    """
    order = np.argsort(error, kind="stable")
    reached = np.cumsum(weight[order])
    place = int(np.searchsorted(reached, share * reached[-1] - 1e-9))
    return float(error[order[place]]) if place < len(error) else float("inf")
