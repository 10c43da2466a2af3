"""What is measured at looks only: the whole task, minibatches beside each other, lags, the line to the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxor.analysis.geometry import Floats, forms, star_gap
from jaxor.analysis.over_seeds import finite, mean, median, number
from jaxor.analysis.path_views import group_medians
from jaxor.engine.geometry import LAGS, Geometry

SHOWN_LAGS = (1, 10, 50)


@dataclass(frozen=True, eq=False)
class Looks:
    """Ten looks, in the middle of each tenth of a run, and the straight line from w_0 to w*.

    Attributes
    ----------
    columns : mapping of str to (10,) float64
        Medians over the runs of ``full_loss`` and ``full_gamma`` (over the whole task), ``batch_gamma`` (of fixed
        minibatches), ``batch_spread`` (standard deviation of RSI over these, over the size of its mean), ``lag_1``,
        ``lag_10`` and ``lag_50`` (cosine between the parts of two gradients across the path); ``star_convex``, the
        share of runs whose gap is at most 0. NaN where there is none.
    falling : float
        Share of the runs whose loss nowhere rises on the line.
    highest : float
        Median over the runs of the highest loss on the line over that at w_0.
    """

    columns: Mapping[str, Floats]
    falling: float
    highest: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        columns = {name: [finite(value) for value in column] for name, column in self.columns.items()}
        return {"columns": columns, "falling": finite(self.falling), "highest": finite(self.highest)}


def looks(geometry: Geometry) -> Looks:
    """Sum up looks over runs.

    Examples
    --------
    >>> import jaxor
    >>> found = looks(jaxor.measure_run(jaxor.simulate("abs1_convergence", seeds=20), reference="exact"))
    >>> found.columns["full_gamma"].round(2), found.falling
    (array([1., 1., 1., 1., 1., 1., 1., 1., 1., 1.]), 1.0)
    """
    distance2 = geometry.at_looks("distance2")
    whole = forms(geometry.full_dot, distance2, geometry.full_gradient2)
    batches = forms(geometry.batch_dot, distance2[:, :, None], geometry.batch_gradient2)
    gap = star_gap(geometry.full_loss, geometry.reference_loss[:, None], geometry.full_dot)
    cosine = geometry.lag_cosine.astype(np.float64)
    columns = {
        "full_loss": _medians(geometry.full_loss.astype(np.float64)),
        "full_gamma": _medians(whole.gamma),
        "batch_gamma": _medians(batches.gamma),
        "batch_spread": _medians(_spread(batches.rsi)),
        **{f"lag_{lag}": _medians(cosine[:, :, LAGS.index(lag)]) for lag in SHOWN_LAGS},
        "star_convex": np.array([number(mean, at) for at in np.where(np.isnan(gap), np.nan, gap <= 0).T]),
    }
    line = geometry.line_loss[np.isfinite(geometry.line_loss).all(axis=1)].astype(np.float64)
    rounding = 4 * np.finfo(geometry.line_loss.dtype).eps * np.abs(line).max(axis=1, initial=0, keepdims=True)
    falls = (np.diff(line, axis=1) <= rounding).all(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        highest = line.max(axis=1, initial=-np.inf) / line[:, 0]
    return Looks(columns, number(mean, falls), number(median, highest))


def _spread(values: Floats) -> Floats:
    """Standard deviation over the size of the mean, over those of the last axis that there are; NaN of fewer than 2."""
    there = ~np.isnan(values)
    many = there.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(there, values, 0).sum(axis=-1) / many
        squares = (np.where(there, values - mean[..., None], 0) ** 2).sum(axis=-1)
        return np.where(many > 1, np.sqrt(squares / (many - 1)) / np.abs(mean), np.nan)


def _medians(values: Floats) -> Floats:
    """Over runs, and over what more there is of each look."""
    look = np.arange(values.shape[1]).reshape(1, -1, *[1] * (values.ndim - 2))
    return group_medians(values, np.broadcast_to(look, values.shape), values.shape[1])
