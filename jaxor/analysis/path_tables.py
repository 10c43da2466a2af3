"""Ratios along paths by tenths of the runs, beside a random walk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxor.analysis.geometry import Floats
from jaxor.analysis.over_seeds import finite, number
from jaxor.analysis.path_claims import largest_over_smallest
from jaxor.analysis.path_views import TENTHS, View, Views, group_medians


class Opening(NamedTuple):
    """Median over the runs of the locally optimal rate, in units of the rate in use, at single steps of tenth 1.

    Where runs differ in length it is the first tenth of the shortest.
    """

    first: float
    """At step 0."""
    highest: float
    step: int
    """At which it is highest; 0 if there is none."""


@dataclass(frozen=True, eq=False)
class Tenths:
    """Medians over the runs and steps of each tenth of the runs' own steps, and shares of steps with gamma above 0.

    Attributes
    ----------
    columns : mapping of str to (10,) float64
        ``rsi``, ``eb``, ``gamma``, ``null_gamma``, ``flat_null`` (1 / sqrt(T - t), of steps that are all as long),
        ``ratio`` (gamma over the null's), ``local_rate``, ``relative_rate`` (in units of the rate in use),
        ``contraction``, ``null_rsi``, ``null_eb`` and ``null_relative_rate``.
    positive : mapping of str to float
        ``all`` and ``early`` (first 95 %): of all runs together; ``worst``: the lowest of a run, first 95 %;
        ``null``, ``other``, ``random`` and ``labels``: first 95 %.
    opening : Opening
        What the tenths do not tell apart.
    ranges : mapping of str to float
        Largest over smallest of tenths 2 to 8 of ``rsi``, ``eb`` and ``gamma``; infinite if one is not above 0.
    """

    columns: Mapping[str, Floats]
    positive: Mapping[str, float]
    opening: Opening
    ranges: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "columns": {name: [finite(value) for value in column] for name, column in self.columns.items()},
            "positive": {name: finite(value) for name, value in self.positive.items()},
            "opening": {
                "step": self.opening.step,
                "first": finite(self.opening.first),
                "highest": finite(self.opening.highest),
            },
            "ranges": {name: finite(value) for name, value in self.ranges.items()},
        }


def tenths(seen: Views) -> Tenths:
    """Lay paths out by tenths of the runs."""
    view = seen.gradient
    with np.errstate(divide="ignore"):
        flat = 1 / np.sqrt(np.maximum(view.steps[:, None] - view.step, 0))
    there = np.where(np.isnan(view.gamma), np.nan, flat)
    columns = {
        **{name: view.pooled(name) for name in ("rsi", "eb", "gamma")},
        "null_gamma": seen.null.pooled("gamma"),
        "flat_null": group_medians(there, view.tenth, 10),
        "ratio": view.pooled("ratio"),
        "local_rate": view.pooled("local_rate"),
        "relative_rate": seen.update.pooled("local_rate"),
        "contraction": view.pooled("contraction"),
        "null_rsi": seen.null.pooled("rsi"),
        "null_eb": seen.null.pooled("eb"),
        "null_relative_rate": seen.null_update.pooled("local_rate"),
    }
    positive = {
        "all": _positive(view),
        "early": _positive(view.early()),
        "worst": number(np.min, view.early().share_positive()),
        "null": _positive(seen.null.early()),
        **dict(zip(("other", "random", "labels"), map(_positive, seen.controls().values()), strict=True)),
    }
    ranges = {name: float(largest_over_smallest(columns[name][1:8])) for name in ("rsi", "eb", "gamma")}
    return Tenths(columns, positive, _opening(seen.update), ranges)


def _positive(view: View) -> float:
    """Share of all steps of all runs; NaN of none."""
    there = view.positive[~np.isnan(view.positive)]
    return float(there.mean()) if len(there) else float("nan")


def _opening(view: View) -> Opening:
    steps = max(int(view.steps.min(initial=len(view.step))) // TENTHS, 1)
    rates = view.local_rate[:, :steps]
    medians = group_medians(rates, np.broadcast_to(np.arange(rates.shape[1]), rates.shape), steps)
    step = int(np.nan_to_num(medians, nan=-np.inf).argmax())
    return Opening(float(medians[0]), float(medians[step]), step)
