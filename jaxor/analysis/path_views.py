"""The paths of runs as seen from several points, and random walks beside them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.geometry import Floats, Forms, along, contraction, forms
from jaxor.analysis.walks import Walk, chance
from jaxor.engine.geometry import Geometry

TENTHS = 10
"""Parts that each run's own steps are cut into; numbered from 1 in words, from 0 in arrays."""


@dataclass(frozen=True, eq=False)
class View:
    """What is seen at each of k steps of n runs; NaN where there is none.

    Attributes
    ----------
    steps : (n,) int
        Of each whole run.
    step : (k,) or (n, k) int
        Which they are.
    rsi, eb, gamma, local_rate : (n, k) float64
        See `jaxor.analysis.geometry.Forms`.
    contraction : (n, k) float64
        Factor of the squared distance in the step taken.
    positive : (n, k) float64
        1 where gamma is above 0, else 0; the probability of it on a walk known in closed form.
    ratio : (n, k) float64
        gamma over what is expected of the walk.
    """

    steps: NDArray[np.integer[Any]]
    step: NDArray[np.integer[Any]]
    rsi: Floats
    eb: Floats
    gamma: Floats
    local_rate: Floats
    contraction: Floats
    positive: Floats
    ratio: Floats

    @property
    def tenth(self) -> NDArray[np.int64]:
        """Tenth of its own run that each step is in, (n, k); beyond a run's end what comes is of no use."""
        return np.minimum(TENTHS * self.step.astype(np.int64) // np.maximum(self.steps, 1)[:, None], TENTHS - 1)

    @property
    def late(self) -> NDArray[np.bool_]:
        """Whether a step is among the last 5 % of its own run, (n, k)."""
        return 20 * self.step.astype(np.int64) >= 19 * self.steps[:, None].astype(np.int64)

    def where(self, chosen: NDArray[np.bool_]) -> View:
        """Some of the steps (n, k); of the others nothing is known."""
        known = {
            field.name: np.where(chosen, getattr(self, field.name), np.nan)
            for field in fields(self)
            if field.name not in ("steps", "step")
        }
        return replace(self, **known)

    def early(self) -> View:
        """The first 95 % of each run: a run's own end as reference forces less there."""
        return self.where(~self.late)

    def share_positive(self) -> Floats:
        """Share of steps with gamma above 0, (n,)."""
        count = (~np.isnan(self.positive)).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.nansum(self.positive, axis=1) / count

    def medians(self, name: str) -> Floats:
        """Median of a quantity over the steps of each run, (n,)."""
        rows = np.broadcast_to(np.arange(len(self.steps))[:, None], self.gamma.shape)
        return group_medians(getattr(self, name), rows, len(self.steps))

    def tenths(self, name: str) -> Floats:
        """Median of a quantity over the steps of each tenth of each run, (n, 10)."""
        group = TENTHS * np.arange(len(self.steps))[:, None] + self.tenth
        return group_medians(getattr(self, name), group, TENTHS * len(self.steps)).reshape(-1, TENTHS)

    def pooled(self, name: str) -> Floats:
        """Median over the runs and steps of each tenth, (10,)."""
        return group_medians(getattr(self, name), self.tenth, TENTHS)


def group_medians(values: Floats, group: NDArray[np.integer[Any]], groups: int) -> Floats:
    """Median of the values of each group; NaN is left out, of none it is NaN.

    Examples
    --------
    >>> group_medians(np.array([1.0, 5.0, 2.0, np.nan, 7.0]), np.array([0, 0, 0, 2, 2]), 3)
    array([ 2., nan,  7.])
    """
    there = ~np.isnan(values)
    values, group = values[there], group[there]
    size = np.bincount(group, minlength=groups)
    start = np.cumsum(size) - size
    ordered = np.append(values[np.lexsort((values, group))], np.nan)  # the end is what empty groups point at
    with np.errstate(invalid="ignore"):  # between infinities
        middle = ordered[start + (size - 1) // 2] + ordered[start + size // 2]
    return np.where(size > 0, middle / 2, np.nan)


@dataclass(frozen=True, eq=False)
class Views:
    """All that claims about paths are held against.

    Attributes
    ----------
    seeds : (n,) int64
    gradient, update : View
        With the gradient that a step saw, and with the step that was taken.
    null, null_update : View
        Both on random walks as long.
    other, random, labels : View
        Gradients, seen from where another seed ends and from a random point as far away as the reference, and those of
        targets dealt out at random (at looks only).
    closed : bool
        Whether the walk is known in closed form; else one walk a run was simulated.
    """

    seeds: NDArray[np.int64]
    gradient: View
    update: View
    null: View
    null_update: View
    other: View
    random: View
    labels: View
    closed: bool

    def controls(self, *, whole: bool = False) -> dict[str, View]:
        """By name; the first 95 % of each run, or the whole of it."""
        seen = {"other seed's end": self.other, "random point": self.random, "random labels": self.labels}
        return {name: view if whole else view.early() for name, view in seen.items()}


def views(geometry: Geometry, null: Walk, parameters: int | None = None) -> Views:
    """Look at runs from all sides.

    Parameters
    ----------
    geometry : Geometry
    null : Walk
        Of the same runs: `closed_form` of plain gradient descent, `surrogate` of every other optimizer.
    parameters : int, optional
        How many the model has, which says how probable a gamma above 0 is on a walk in closed form; left out for a
        surrogate, whose walks are counted.

    Raises
    ------
    ValueError
        The null is of other runs.
    """
    step = np.arange(geometry.steps.max(initial=0))
    if null.dot.shape != (len(geometry), len(step)):
        raise ValueError(
            f"the null must be of the runs that were measured, {len(geometry)} of {len(step)} steps at most, "
            f"got {' x '.join(map(str, null.dot.shape))}"
        )
    left = geometry.steps[:, None] - step
    factor = contraction(geometry)

    def walk(variant: Any) -> tuple[View, Floats]:
        found = along(null, variant)
        # One simulated walk alone is mostly noise: what is expected is the mean over all.
        expected = found.gamma if parameters is not None else _means(found.gamma, left)
        seen = _view(geometry.steps, step, found, contraction(null), expected)
        if parameters is not None:
            seen = replace(seen, positive=np.where(np.isnan(found.gamma), np.nan, chance(null, parameters)))
        return seen, expected

    (walked, expected), (walked_update, expected_update) = walk("gradient"), walk("update")
    gradient2 = geometry.padded("gradient2")

    def control(name: str) -> View:
        found = forms(geometry.padded(f"{name}_dot"), geometry.padded(f"{name}_distance2"), gradient2)
        return _view(geometry.steps, step, found, np.full_like(factor, np.nan), expected)

    looks = np.where(geometry.look_step >= 0, geometry.look_step, 0)
    labels = forms(geometry.labels_dot, geometry.at_looks("distance2"), geometry.labels_gradient2)
    beside = np.take_along_axis(expected, looks, axis=1) if len(step) else np.full(looks.shape, np.nan)
    return Views(
        geometry.seeds,
        gradient=_view(geometry.steps, step, along(geometry), factor, expected),
        update=_view(geometry.steps, step, along(geometry, "update"), factor, expected_update),
        null=walked,
        null_update=walked_update,
        other=control("other"),
        random=control("random"),
        labels=_view(geometry.steps, looks, labels, np.full(looks.shape, np.nan), beside),
        closed=parameters is not None,
    )


def _view(
    steps: NDArray[np.integer[Any]], step: NDArray[np.integer[Any]], found: Forms, factor: Floats, walk: Floats
) -> View:
    positive = np.where(np.isnan(found.gamma), np.nan, found.gamma > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = found.gamma / walk
    return View(steps, step, *found, factor, positive, np.where(np.isfinite(ratio), ratio, np.nan))


def _means(values: Floats, left: NDArray[np.integer[Any]]) -> Floats:
    """Mean over runs with as many steps to go, for each step; NaN where there is none."""
    there = ~np.isnan(values)
    size = np.bincount(left[there], minlength=left.max(initial=0) + 1)
    total = np.bincount(left[there], values[there], minlength=len(size))
    means = total / np.maximum(size, 1)
    return np.where(there, means[np.maximum(left, 0)], np.nan)
