"""What the article concludes about the paths: constant speed, and no slow regions. Tested, not assumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor, export_text

from jaxor.analysis.judgement import bootstrap, held_out, per_run
from jaxor.analysis.rows import Rows
from jaxor.estimates import Interval

Numbers = NDArray[np.float64]

REGIONS = 8
FEW = 10
"""Runs; of fewer nothing is concluded."""

CLOSE = 0.05
"""Exponents of speed are not told apart if they differ by less: rounding of the parameters shows in many runs."""

ONE_EPOCH = 1.0
"""A region is slow if runs there take longer than the law says by more than this."""


@dataclass(frozen=True)
class Speed:
    """How the length of a step depends on the distance to go.

    Attributes
    ----------
    exponent : float
        Of length ~ distance^exponent: 0 is a constant speed, 1 a constant relative rate.
    interval : Interval
        95 %, runs resampled.
    shifted : float or None
    shifted_interval : Interval or None
        The same with what distances are short of added to them; None where they are short of nothing.
    fastest : float
        Longest step of a run divided by its shortest, median over runs.
    constant_speed, constant_rate : {"yes", "no", "undecided"}
        Whether the exponent is 0, and whether it is 1, give or take `CLOSE`: yes or no if all of the interval is so or
        is not, by either exponent.
    """

    exponent: float
    interval: Interval
    shifted: float | None
    shifted_interval: Interval | None
    fastest: float
    constant_speed: str
    constant_rate: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        shifted = self.shifted_interval and self.shifted_interval._asdict()
        return asdict(self) | {"interval": self.interval._asdict(), "shifted_interval": shifted}


def speed(rows: Rows, goal: NDArray[Any], random_state: int = 0, *, short: float = 0.0) -> Speed | None:
    """Test "constant speed" (convergence-time article, "Theoretical Interpretation", 1).

    Parameters
    ----------
    rows : Rows
    goal : (n, P) array
        What distances are measured to. To the final parameters they are too short by what is left at the end, which
        makes the exponent of a constant rate less than 1; so an exact minimum is better where it is known.
    random_state : int
    short : float
        By how much distances are too short, such as the shift of `ShiftedLogLaw`. That presumes what is to be tested,
        so nothing is concluded where it decides.

    Returns
    -------
    Speed or None
        None if steps were not recorded one by one.
    """
    if not rows.update.shape[1]:
        return None
    length = np.linalg.norm(rows.update.astype(np.float64), axis=1)
    before = np.linalg.norm(rows.state.astype(np.float64) - rows.update - goal, axis=1)
    moved = (length > 0) & (before > 0)
    if not moved.any():
        return None
    y, seed = np.log(length[moved]), rows.seed[moved]
    _, owner = np.unique(seed, return_inverse=True)
    found = [slope(np.log(before[moved] + more), y, seed, random_state) for more in dict.fromkeys((0.0, short))]
    most = np.full(owner.max() + 1, -np.inf)
    least = -most
    np.maximum.at(most, owner, y)
    np.minimum.at(least, owner, y)
    ends = [interval for _, interval in found]
    answers = [_agreed({_is(claimed, interval) for interval in ends}) for claimed in (0, 1)]
    shifted = found[1] if short else (None, None)
    return Speed(*found[0], *shifted, float(np.exp(np.median(most - least))), *answers)


def _is(claimed: float, interval: Interval) -> str:
    """Whether an exponent is what is claimed, give or take `CLOSE`."""
    low, high = claimed - CLOSE, claimed + CLOSE
    if low <= interval.low and interval.high <= high:
        return "yes"
    return "no" if interval.low > high or interval.high < low else "undecided"


def _agreed(answers: set[str]) -> str:
    return answers.pop() if len(answers) == 1 else "undecided"


def slope(x: Numbers, y: Numbers, groups: NDArray[Any], random_state: int = 0) -> tuple[float, Interval]:
    """Slope of the least-squares line through points (n,), with a 95 % interval, runs resampled."""
    _, owner = np.unique(groups, return_inverse=True)
    x, y = x - x.mean(), y - y.mean()  # so that squares do not cancel
    sums = per_run(owner, np.ones_like(x), x, y, x * x, x * y)
    return float(_slope(sums.sum(axis=1))), bootstrap(_slope, sums, random_state)


def _slope(sums: Numbers) -> Numbers:
    n, x, y, xx, xy = sums
    return (xy - x * y / n) / (xx - x**2 / n)


@dataclass(frozen=True)
class Region:
    """A box of parameter space: how many runs pass through it, and how much longer they take than the law says.

    The interval is None with fewer than `FEW` runs.
    """

    runs: int
    rows: int
    excess: float
    interval: Interval | None


@dataclass(frozen=True)
class Regions:
    """Boxes in which runs take longest and shortest, compared with what a law says.

    Attributes
    ----------
    share : float
        Of the variance of the residuals, explained by the boxes, on runs that did not choose them.
    regions : tuple of Region
    rules : str
        The boxes, as conditions on parameters.
    slow : {"yes", "no", "undecided"}
        Whether in some box the excess is surely above one epoch; no if in all with `FEW` runs it surely is below.
    """

    share: float
    regions: tuple[Region, ...]
    rules: str
    slow: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        boxes = [asdict(box) | {"interval": box.interval and box.interval._asdict()} for box in self.regions]
        return {"share": self.share, "regions": boxes, "rules": self.rules, "slow": self.slow}


def regions(rows: Rows, residual: Numbers, names: tuple[str, ...], random_state: int = 0) -> Regions | None:
    """Test "no slow regions" (convergence-time article, "Theoretical Interpretation", 2 and 3).

    A small tree cuts parameter space where residuals (actual minus forecast) differ most, with half of the runs; the
    other half says by how much they do. None with fewer than four runs.
    """
    if len(np.unique(rows.seed)) < 4:
        return None
    judge = held_out(rows.seed, 0.5, random_state)
    tree: Any = DecisionTreeRegressor(
        max_leaf_nodes=REGIONS, min_samples_leaf=max(len(rows) // 200, 1), random_state=random_state
    )
    tree.fit(rows.state[~judge], residual[~judge])
    leaf = tree.apply(rows.state)[judge]
    found = [_region(residual[judge][leaf == number], rows.seed[judge][leaf == number]) for number in np.unique(leaf)]
    intervals = [region.interval for region in found if region.interval]
    if any(interval.low > ONE_EPOCH for interval in intervals):
        slow = "yes"
    else:
        slow = "no" if intervals and all(interval.high < ONE_EPOCH for interval in intervals) else "undecided"
    share = float(tree.score(rows.state[judge], residual[judge]))
    rules = export_text(tree, feature_names=list(names), decimals=4)
    return Regions(share, tuple(sorted(found, key=lambda region: -region.excess)), rules, slow)


def _region(residual: Numbers, seed: NDArray[np.int64]) -> Region:
    runs, owner = np.unique(seed, return_inverse=True)
    sums = per_run(owner, np.ones_like(residual), residual)

    def mean(total: Numbers) -> Numbers:
        return total[1] / total[0]

    interval = bootstrap(mean, sums) if len(runs) >= FEW else None
    return Region(len(runs), len(residual), float(residual.mean()), interval)
