"""Why a low initial loss helps: success given the loss, given which points are dead, and what is left of the gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from jaxor.estimates import Interval, Share

RESAMPLES = 999

STATES = ("no point dead", "only class 0 dead", "class 1 dead")
"""What can be dead at the start, by the points that the nets are to answer with 1 and with 0."""


class Group(NamedTuple):
    """Runs of one kind: how many, and how many of them succeeded."""

    runs: int
    success: Share


def states(dead: ArrayLike, positive: ArrayLike) -> NDArray[np.int64]:
    """Number in `STATES` of each run (n,), from dead points (n, points) and the points (points,) of class 1."""
    dead, one = np.asarray(dead, bool), np.asarray(positive, bool)
    return np.where(dead[:, one].any(axis=1), 2, np.where(dead[:, ~one].any(axis=1), 1, 0))


def by_state(state: ArrayLike, success: ArrayLike) -> tuple[Group, ...]:
    """Success of the runs in each of `STATES`."""
    state, success = np.asarray(state), np.asarray(success, bool)
    runs = np.bincount(state, minlength=len(STATES))
    counts = np.bincount(state[success], minlength=len(STATES))
    return tuple(Group(int(n), Share.of(int(k), int(n))) for n, k in zip(runs, counts, strict=True))


class Step(NamedTuple):
    """Runs between two initial losses: success, share with a dead class-1 point, mean distance to a solution."""

    low: float
    high: float
    runs: int
    success: Share
    dead: float | None
    distance: float | None


def by_loss(
    loss: ArrayLike,
    success: ArrayLike,
    state: ArrayLike | None = None,
    distance: ArrayLike | None = None,
    steps: int = 20,
) -> tuple[Step, ...]:
    """Success by initial loss, in groups of about equally many runs.

    Parameters
    ----------
    loss, success : (n,) array_like
        Losses that are not finite are left out.
    state : (n,) array_like of int, optional
        See `states`.
    distance : (n,) array_like, optional
        To the nearest solution.
    steps : int

    Examples
    --------
    >>> [step.success.share for step in by_loss([4, 1, 3, 2], [0, 1, 0, 1], steps=2)]
    [1.0, 0.0]
    """
    loss, success = np.asarray(loss, np.float64), np.asarray(success, bool)
    order = np.argsort(loss, kind="stable")
    order = order[np.isfinite(loss[order])]
    found = []
    for part in np.array_split(order, min(steps, max(len(order), 1))):
        if len(part):
            dead = None if state is None else float(np.mean(np.asarray(state)[part] == 2))
            share = Share.of(int(success[part].sum()), len(part))
            far = None if distance is None else float(np.mean(np.asarray(distance)[part]))
            found.append(Step(float(loss[part[0]]), float(loss[part[-1]]), len(part), share, dead, far))
    return tuple(found)


@dataclass(frozen=True)
class Gain:
    """The gain in success over the control, taken apart (Kitagawa 1955, J. Amer. Statist. Assoc. 50, 1168-1194).

    Attributes
    ----------
    total : float
        Success of the strategy less that of the control.
    avoided : float
        What comes of having other shares of runs with dead points.
    remaining : float
        What comes of higher success among runs alike in this.
    remaining_interval : Interval
        95 %, runs of both resampled.
    """

    total: float
    avoided: float
    remaining: float
    remaining_interval: Interval


def gain(control: tuple[Group, ...], strategy: tuple[Group, ...], random_state: int = 0) -> Gain:
    """Take the gain of a strategy apart, by the states that runs began in.

    Where a state does not occur in one of the two, success in it is taken to be that of the other.

    Examples
    --------
    >>> def groups(*pairs):
    ...     return tuple(Group(n, Share.of(k, n)) for k, n in pairs)
    >>> found = gain(groups((50, 50), (25, 25), (0, 25)), groups((60, 60), (40, 40), (0, 0)))
    >>> found.total, found.avoided, found.remaining
    (0.25, 0.25, 0.0)
    """
    tables = [_table(groups) for groups in (control, strategy)]
    total, avoided, remaining = _apart(*(table[None] for table in tables))
    rng = np.random.default_rng(random_state)
    resampled = [
        rng.multinomial(int(table.sum()), (table / table.sum()).ravel(), RESAMPLES).reshape(-1, *table.shape)
        for table in tables
    ]
    ends = np.percentile(_apart(*resampled)[2], [2.5, 97.5])
    return Gain(float(total[0]), float(avoided[0]), float(remaining[0]), Interval(*ends.tolist()))


def _table(groups: tuple[Group, ...]) -> NDArray[np.int64]:
    """Failures and successes (states, 2)."""
    return np.array([[group.runs - group.success.count, group.success.count] for group in groups])


def _apart(control: NDArray[Any], strategy: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Total, avoided and remaining gain of tables (m, states, 2)."""
    runs = [table.sum(axis=2) for table in (control, strategy)]
    share = [count / count.sum(axis=1, keepdims=True) for count in runs]
    with np.errstate(invalid="ignore"):
        success = [table[:, :, 1] / count for table, count in zip((control, strategy), runs, strict=True)]
    first, second = (np.where(np.isnan(a), np.nan_to_num(b), a) for a, b in (success, success[::-1]))
    avoided = ((share[1] - share[0]) * (first + second) / 2).sum(axis=1)
    remaining = ((second - first) * (share[0] + share[1]) / 2).sum(axis=1)
    return avoided + remaining, avoided, remaining


class Exceptions(NamedTuple):
    """How well "success exactly if no class-1 point is dead at the start" holds: runs of each kind against it."""

    runs: int
    dead_succeeded: int
    alive_failed: int

    @property
    def share(self) -> Share:
        """Of all runs, those against it."""
        return Share.of(self.dead_succeeded + self.alive_failed, self.runs)


def exceptions(state: ArrayLike, success: ArrayLike) -> Exceptions:
    """Runs that succeeded with a dead point of class 1, or failed without.

    Examples
    --------
    >>> exceptions([0, 1, 2, 2], [True, False, False, False])
    Exceptions(runs=4, dead_succeeded=0, alive_failed=1)
    """
    dead, success = np.asarray(state) == 2, np.asarray(success, bool)
    return Exceptions(len(dead), int(np.sum(dead & success)), int(np.sum(~dead & ~success)))


def rank_correlation(loss: ArrayLike, distance: ArrayLike) -> float:
    """Spearman's correlation of initial loss and distance to the nearest solution; NaN if one of them is constant."""
    fine = np.isfinite(loss) & np.isfinite(distance)
    a, b = (np.asarray(values)[fine] for values in (loss, distance))
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])
