"""Claims about optimisation paths, held against thresholds, the null and the controls; over the seeds of one setting.

They are those that can be read off the abstract and the public reviews of "No Wrong Turns" (Guille-Escuret et al., ICML
2024); its body could not be read. Thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.geometry import Floats
from jaxor.analysis.over_seeds import Figure, figure, mean, median, number, share_figure
from jaxor.analysis.path_views import View, Views
from jaxor.experiments.registry import nearest


@dataclass(frozen=True)
class Thresholds:
    """From which number on a claim counts as supported.

    Attributes
    ----------
    positive : float
        P1: share of steps with gamma above 0.
    above_null : float
        P1: gamma beside that of the null.
    growing : float
        P2: share of seeds in which gamma grows with each larger batch.
    variation : float
        P4: coefficient of variation across seeds.
    stable : float
        P5: largest over smallest median of tenths 2 to 8.
    late_rise : float
        P6: EB of the last 5 % over that of tenths 4 to 6.
    decay : float
        P7: Spearman correlation of tenth and locally optimal rate.
    warm_up : float
        P7: share of seeds whose highest rate is not in the first tenth.
    rise : float
        P7: that highest rate over the one of the first tenth; the highest of equal ones is anywhere.
    ported : float
        P8: final loss with rates read off other runs over that with usual ones.
    seeds : int
        With fewer nothing is decided.
    """

    positive: float = 0.95
    above_null: float = 1.5
    growing: float = 0.95
    variation: float = 0.25
    stable: float = 3.0
    late_rise: float = 2.0
    decay: float = -0.8
    warm_up: float = 0.5
    rise: float = 1.1
    ported: float = 1.0
    seeds: int = 32

    @classmethod
    def from_dict(cls, table: Any) -> Thresholds:
        """From a table of some of them; the others keep their defaults.

        Raises
        ------
        ValueError
            Unknown threshold, or not a number.
        """
        if not isinstance(table, Mapping):
            raise ValueError(f"thresholds must be a table, got {table!r:.60}")
        names = [field.name for field in fields(cls)]
        for name, value in table.items():
            if name not in names:
                raise ValueError(f"thresholds.{name!s:.60} is not a threshold; {nearest(name, names)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise ValueError(f"thresholds.{name} must be a number, got {value!r:.60}")
        if not isinstance(table.get("seeds", 32), int) or table.get("seeds", 32) < 2:
            raise ValueError(f"thresholds.seeds must be a whole number above 1, got {table['seeds']!r:.60}")
        return cls(**table)


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes
    ----------
    claim : str
        P1, P2, ...
    statement : str
    paper : str
        What is known of the paper's own finding, with where from.
    figures : tuple of Figure
        All have to be supported.
    seeds : int
        That are needed to decide.
    forced : str
        What of it the reference or the null forces, whatever the landscape.
    """

    claim: str
    statement: str
    paper: str
    figures: tuple[Figure, ...]
    seeds: int
    forced: str

    @property
    def answer(self) -> str:
        """One of supported, not, undecided."""
        answers = {found.answer for found in self.figures}
        if self.lacking or not answers:
            return "undecided"
        return "not" if "not" in answers else "undecided" if "undecided" in answers else "supported"

    @property
    def lacking(self) -> bool:
        """Whether there are too few seeds to decide anything."""
        return any(found.seeds < self.seeds for found in self.figures)

    @property
    def reason(self) -> str:
        """Why it is undecided; empty if it is not."""
        if self.answer != "undecided":
            return ""
        if self.lacking:
            return f"{min(found.seeds for found in self.figures)} seeds have a number, at least {self.seeds} are needed"
        open_ones = [found for found in self.figures if found.answer == "undecided"]
        return "; ".join(f"the interval of {found.name} holds {found.threshold:g}" for found in open_ones)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self) | {"figures": [found.to_dict() for found in self.figures]}
        return plain | {"answer": self.answer, "reason": self.reason}


UNREAD = "the paper's body was not read"

SHOWN = {"rsi": "RSI", "eb": "EB", "gamma": "gamma"}
"""What is stable, as it is written."""

Quantity = Callable[[View], Floats]
"""Numbers (n,) or (n, k) of the runs of a view."""


def claims(seen: Views, thresholds: Thresholds, own_end: bool = True) -> list[Verdict]:
    """P1, P4, P5, P6 and P7 of the runs of one setting, with the gradient that each step saw.

    Parameters
    ----------
    seen : Views
    thresholds : Thresholds
    own_end : bool
        Whether the reference is where a run itself ends, which forces more.
    """
    return [
        positivity(seen, thresholds),
        _same_curves(seen, thresholds),
        _stability(seen, thresholds),
        _late_rise(seen, thresholds, own_end),
        *_rates(seen, thresholds, own_end),
    ]


def positivity(seen: Views, thresholds: Thresholds, *, update: bool = False) -> Verdict:
    """P1, of gradients or of the steps that the optimizer made of them."""
    view, null = (seen.update, seen.null_update) if update else (seen.gradient, seen.null)
    controls = {} if update else seen.controls()
    walk = number(mean, null.early().share_positive())
    return Verdict(
        "P1", "gamma is above 0 almost always, and well above that of a random walk" + " (steps taken)" * update,
        f"gamma almost always above 0 with minibatch gradients [ABS, REV]; {UNREAD}",
        (
            figure(
                "share of gamma > 0", mean, view.early().share_positive(), thresholds.positive, ">=",
                _beside(View.share_positive, view, null, controls),
            ),
            figure(
                "gamma / null", median, view.early().medians("ratio"), thresholds.above_null, ">=",
                _beside(lambda one: one.medians("ratio"), view, null, controls),
            ),
        ),
        thresholds.seeds,
        f"a random walk with as many parameters and steps is at {100 * walk:.1f} % positive, so that the share alone "
        "says nothing where that is high; gamma beside the null does",
    )  # fmt: skip


def _same_curves(seen: Views, thresholds: Thresholds) -> Verdict:
    return Verdict(
        "P4", "seeds have the same curves", f"seeds are listed as a factor [ABS], its numbers are [UNSEEN]; {UNREAD}",
        tuple(
            _figure(f"variation of {shown}", _largest_variation, _tenths(name), seen, thresholds.variation, "<=")
            for name, shown in SHOWN.items()
        ),
        thresholds.seeds,
        "lengths of steps that hardly differ between seeds make all random walks alike, too",
    )  # fmt: skip


def _stability(seen: Views, thresholds: Thresholds) -> Verdict:
    return Verdict(
        "P5", "RSI, EB and gamma are stable over most of training",
        f"stable or predictable over most of training [ABS, REV]; {UNREAD}",
        tuple(
            _figure(f"max/min of {shown}", _range, _tenths(name, slice(1, 8)), seen, thresholds.stable, "<=")
            for name, shown in SHOWN.items()
        ),
        thresholds.seeds,
        "on a random walk they grow as 1/(T - t) or its root, slowly before the end",
    )  # fmt: skip


def _late_rise(seen: Views, thresholds: Thresholds, own_end: bool) -> Verdict:
    """Of all steps: the last ones are what it is about."""

    def rise(view: View) -> Floats:
        middle = view.where((view.tenth >= 3) & (view.tenth < 6))
        with np.errstate(divide="ignore", invalid="ignore"):
            return view.where(view.late).medians("eb") / middle.medians("eb")

    beside = {"null": rise(seen.null)} | {name: rise(view) for name, view in seen.controls(whole=True).items()}
    return Verdict(
        "P6", "EB rises late", f"RSI and EB rise sharply late, in mean and variance [REV]; {UNREAD}",
        (figure("late EB / middle EB", median, rise(seen.gradient), thresholds.late_rise, ">", beside),),
        thresholds.seeds,
        "w* being the run's own end: at the last step EB is 1/rate exactly (plain SGD)" if own_end else "",
    )  # fmt: skip


def _rates(seen: Views, thresholds: Thresholds, own_end: bool) -> list[Verdict]:
    paper = f"the locally optimal rate resembles warm-up and decay [ABS, REV]; {UNREAD}"
    null = "flat at the rate in use on a random walk with plain SGD"
    end = "; w* being the run's own end makes it fall before the end, on a quadratic, too" if own_end else ""

    def rises(view: View) -> Floats:
        tenths = _without_rounding(view.tenths("local_rate"))
        found = (np.nan_to_num(tenths).argmax(axis=1) > 0) & (tenths.max(axis=1) > 0)
        return np.where(np.isnan(tenths).any(axis=1), np.nan, found)

    return [
        Verdict(
            "P7 decay", "the locally optimal rate falls", paper,
            (_figure("Spearman of tenth and rate", median, _trend, seen, thresholds.decay, "<"),),
            thresholds.seeds, null + end,
        ),
        Verdict(
            "P7 warm-up", "the locally optimal rate rises first", paper,
            (
                share_figure(
                    "share of seeds with the highest tenth after the first", rises(seen.gradient.early()),
                    thresholds.warm_up, _beside(rises, seen.gradient, seen.null, seen.controls()),
                ),
                _figure("highest rate / rate of tenth 1", _rise, _tenths("local_rate"), seen, thresholds.rise, ">="),
            ),
            thresholds.seeds, null,
        ),
    ]  # fmt: skip


def _figure(
    name: str, over: Callable[[Floats], NDArray[Any]], quantity: Quantity, seen: Views, threshold: float, relation: str
) -> Figure:
    """Of the first 95 % of each run, with everything else beside."""
    beside = _beside(quantity, seen.gradient, seen.null, seen.controls())
    return figure(name, over, quantity(seen.gradient.early()), threshold, relation, beside)


def _beside(quantity: Quantity, view: View, null: View, controls: Mapping[str, View]) -> dict[str, Floats]:
    """The same over all steps, of the null (first 95 % again) and of the controls."""
    return {"all steps": quantity(view), "null": quantity(null.early())} | {
        name: quantity(control) for name, control in controls.items()
    }


def _tenths(name: str, part: slice = slice(None)) -> Quantity:
    return lambda view: view.tenths(name)[:, part]


def _largest_variation(values: Floats) -> NDArray[Any]:
    """Standard deviation over the size of the mean, in the tenth where that is largest."""
    if values.shape[-2] < 2:
        return np.full(values.shape[:-2], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = values.std(axis=-2, ddof=1) / np.abs(values.mean(axis=-2))
    return found.max(axis=-1)


def _range(values: Floats) -> NDArray[Any]:
    return largest_over_smallest(np.median(values, axis=-2))


def largest_over_smallest(medians: Floats) -> NDArray[Any]:
    """Of medians of tenths (..., k); infinite if one is not above 0, NaN if one is."""
    low, high = medians.min(axis=-1), medians.max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isnan(low), np.nan, np.where(low > 0, high / low, np.inf))


def _rise(values: Floats) -> NDArray[Any]:
    """Largest median of a tenth over that of the first; infinite if only that is not above 0, 0 if no one is."""
    medians = np.median(values, axis=-2)
    first, highest = medians[..., 0], medians.max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(first > 0, highest / first, np.where(highest > 0, np.inf, 0.0))


def _trend(view: View) -> Floats:
    """Spearman correlation (n,) of tenths 2 to 10 with their rates; NaN where all are equal."""
    return spearman(_without_rounding(view.tenths("local_rate")[:, 1:]))


def _without_rounding(values: Floats) -> Floats:
    """In units of the largest of each row (n, k), to four digits: ranks would tell rounding apart, too."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.round(values / np.abs(values).max(axis=1, keepdims=True), 4)


def spearman(values: Floats) -> Floats:
    """Rank correlation of each row (n, k) with 1, 2, ..., k; NaN of rows that are constant or not complete.

    Examples
    --------
    >>> spearman(np.array([[1.0, 2.0, 5.0], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0]]))
    array([ 1., -1., nan])
    """
    from scipy.stats import rankdata  # takes a second to import

    ranks = rankdata(values, axis=1, nan_policy="propagate")
    ranks -= ranks.mean(axis=1, keepdims=True)
    order = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return ranks @ order / np.sqrt((ranks**2).sum(axis=1) * (order @ order))
