"""How many epochs runs take, where some ended before they converged."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.engine.status import Status, by_status
from jaxor.estimates import Quantiles, Share, quantiles, wilson

if TYPE_CHECKING:
    from jaxor.store.run import Run

Epochs = NDArray[np.int64]
Floats = NDArray[np.float64]


class Median(NamedTuple):
    """Epoch by which half of the runs have converged, with its interval; None is an epoch that was not reached."""

    value: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True, eq=False)
class Curve:
    """Kaplan-Meier's estimate of the share of runs that have not converged, with a band at each epoch.

    Attributes
    ----------
    times : (m,) int64
        Epochs at which runs ended, ascending; between two of them nothing changes.
    survival, low, high : (m,) float64
        After that epoch.
    """

    times: Epochs
    survival: Floats
    low: Floats
    high: Floats

    @property
    def median(self) -> Median:
        """The median with the interval of Brookmeyer and Crowley: where the curves of the band cross 1/2."""
        return Median(*(_half(self.times, 1 - curve) for curve in (self.survival, self.low, self.high)))


@dataclass(frozen=True, eq=False)
class Incidence:
    """Share of all runs that have converged, with Wilson's interval at each epoch.

    Attributes
    ----------
    times : (m,) int64
        Epochs at which runs ended, ascending; between two of them nothing changes.
    share, low, high : (m,) float64
        After that epoch.
    """

    times: Epochs
    share: Floats
    low: Floats
    high: Floats

    @property
    def median(self) -> Median:
        """When half of all runs have converged; its interval is where the ends of Wilson's cross 1/2."""
        return Median(*(_half(self.times, curve) for curve in (self.share, self.high, self.low)))


@dataclass(frozen=True)
class Ended:
    """Runs that ended in one way: their share of all, and their epochs (None if there are none)."""

    share: Share
    epochs: Quantiles | None


@dataclass(frozen=True, eq=False)
class Censoring:
    """How many epochs runs take, under two assumptions about those that ended without converging.

    Attributes
    ----------
    runs : int
    ended : dict of Status to Ended
        The epochs of all but the converged runs are when they were censored.
    kaplan_meier : Curve
        As if every censored run would have gone on like those then still in training.
    incidence : Incidence
        As if stalled, diverged and unstarted runs never converge; only the epoch cap leaves a run open.
    stopped_short : int
        Stalled runs that ended with accuracy 1. They are not at a plateau where a run is stuck: without the patience,
        which a loss that swings as with Adam uses up, they may have converged.
    """

    runs: int
    ended: dict[Status, Ended]
    kaplan_meier: Curve
    incidence: Incidence
    stopped_short: int

    @property
    def censored(self) -> int:
        """Runs that ended without converging."""
        return self.runs - self.ended[Status.CONVERGED].share.count

    @property
    def note(self) -> str:
        """What the curves presume about the censored runs, in a sentence or two."""
        if not self.censored:
            return "All runs converged; none is censored."
        ended = {status: ended.share.count for status, ended in self.ended.items()}
        capped = ended[Status.EPOCH_CAP]
        if capped == self.censored:
            cap = int(self.incidence.times[-1])
            return f"All censored runs ({capped:,}) reached the epoch cap of {cap:,}, so both curves say the same."
        stuck = [
            f"{ended[status]:,} {status.label}"
            for status in (Status.STALLED, Status.DIVERGED, Status.UNSTARTED)
            if ended.get(status)
        ]
        note = (
            f"Kaplan-Meier takes runs that ended otherwise ({', '.join(stuck)}) as if they would have gone on "
            "like those still in training, the share of all runs as if they would never converge. The second is so "
            "at a plateau"
        )
        if self.stopped_short:
            note += f", but of those stalled {self.stopped_short:,} had accuracy 1: the patience may have cut them off"
        return f"{note}."

    def to_dict(self) -> dict[str, Any]:
        """Plain tables for JSON; what was not reached is None."""
        return {
            "runs": self.runs,
            "censored": self.censored,
            "stopped_short": self.stopped_short,
            "ended": {status.name.lower(): asdict(ended.share) | _plain(ended) for status, ended in self.ended.items()},
            "kaplan_meier": _table(self.kaplan_meier),
            "incidence": _table(self.incidence),
            "note": self.note,
        }


def kaplan_meier(epochs: ArrayLike, converged: ArrayLike, confidence: float = 0.95) -> Curve:
    """Kaplan-Meier's curve with a log-log band (Kaplan and Meier 1958, J. Amer. Statist. Assoc. 53, 457-481).

    It presumes that a censored run would have gone on like those that were still in training when it ended. That
    may hold for runs cut off at an epoch cap, but not for those at a plateau or diverged; see `cumulative_incidence`.

    Parameters
    ----------
    epochs : (n,) array_like of int
        Until a run converged, or until it was censored.
    converged : (n,) array_like of bool
        All others are censored.
    confidence : float
        Of the band at each epoch, between 0 and 1. The formula says nothing where the curve is at 1 or at 0: before
        the first run converged the band is at 1, and where none is left its upper end stays as it was.

    Raises
    ------
    ValueError
        There are no runs, or the numbers are impossible.

    Examples
    --------
    >>> curve = kaplan_meier([6, 6, 6, 7, 10, 13], [True, True, False, True, True, False])
    >>> curve.times, curve.survival
    (array([ 6,  7, 10, 13]), array([0.6667, 0.4444, 0.2222, 0.2222]))
    >>> curve.median
    Median(value=7, low=6, high=None)
    """
    times, event = times_and_events(epochs, converged)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    from scipy import stats  # takes half a second

    survival = stats.ecdf(stats.CensoredData(uncensored=times[event], right=times[~event])).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The confidence interval is undefined", category=RuntimeWarning)
        band = survival.confidence_interval(confidence, method="log-log")
    share = survival.probabilities
    low, high = (np.where(share == 1, 1.0, end.probabilities) for end in (band.low, band.high))
    if share[-1] == 0:
        low[-1], high[-1] = 0.0, high[-2] if len(high) > 1 else 1.0
    return Curve(survival.quantiles.astype(np.int64), share, low, high)


def cumulative_incidence(epochs: ArrayLike, status: ArrayLike) -> Incidence:
    """Share of all runs that converged within so many epochs, with Wilson's 95 % interval.

    Runs that stalled or diverged count as never converging. Only the epoch cap leaves open what would have become of
    a run, and since it is the same for all, the share is a plain one up to there.

    Parameters
    ----------
    epochs : (n,) array_like of int
        When runs ended.
    status : (n,) array_like of int
        Values of `Status`.

    Raises
    ------
    ValueError
        There are no runs, the numbers are impossible, or the runs have different epoch caps.

    Examples
    --------
    >>> incidence = cumulative_incidence([10, 12, 30, 40], [Status.CONVERGED, Status.CONVERGED, Status.STALLED, 2])
    >>> incidence.times, incidence.share
    (array([10, 12, 30, 40]), array([0.25, 0.5 , 0.5 , 0.5 ]))
    >>> incidence.median
    Median(value=12, low=10, high=None)
    """
    ended, how = _checked(epochs, status)
    caps = np.unique(ended[how == Status.EPOCH_CAP])
    if caps.size > 1 or (caps.size and ended.max() > caps[0]):
        raise ValueError(
            f"the runs have different epoch caps, from {caps[0]} to {ended.max()} epochs; look at each cap separately"
        )
    times, place = np.unique(ended, return_inverse=True)
    return incidence_of_counts(times, np.bincount(place[how == Status.CONVERGED], minlength=times.size), ended.size)


def incidence_of_counts(times: Epochs, converged: NDArray[np.int64], runs: int) -> Incidence:
    """The same from counts.

    Parameters
    ----------
    times : (m,) int64
        Ascending.
    converged : (m,) int64
        How many runs converged at each.
    runs : int
        Of all.

    Examples
    --------
    >>> incidence_of_counts(np.array([10, 12]), np.array([1, 1]), 4).share
    array([0.25, 0.5 ])
    """
    counts = np.cumsum(converged)
    distinct, which = np.unique(counts, return_inverse=True)
    low, high = np.array([wilson(count, runs) for count in distinct.tolist()])[which].T
    return Incidence(times, counts / runs, low, high)


def censoring(run: Run) -> Censoring:
    """How many epochs the runs of a simulation take, with all that did not converge as censored.

    Raises
    ------
    ValueError
        There are no runs yet.

    Examples
    --------
    >>> from jaxor import simulate
    >>> found = censoring(simulate("abs1_convergence", seeds=50, traces="none"))
    >>> found.censored, found.kaplan_meier.median, found.incidence.median
    (0, Median(value=34, low=33, high=36), Median(value=34, low=33, high=36))
    """
    epochs, status = _checked(run.epochs, run.status)
    counts = by_status(np.bincount(status, minlength=len(Status)).tolist())
    groups = {one: epochs[status == one] for one in counts}
    return Censoring(
        runs=len(epochs),
        ended={one: Ended(Share.of(len(group), len(epochs)), quantiles(group)) for one, group in groups.items()},
        kaplan_meier=kaplan_meier(epochs, status == Status.CONVERGED),
        incidence=cumulative_incidence(epochs, status),
        stopped_short=int(np.count_nonzero((status == Status.STALLED) & (run.final_accuracy == 1))),
    )


def times_and_events(epochs: ArrayLike, converged: ArrayLike) -> tuple[Epochs, NDArray[np.bool_]]:
    """Epochs and whether each run converged, as arrays; a ValueError where they are not that, or there are none."""
    times, event = _checked(epochs, converged)
    if event.dtype != bool:
        raise ValueError(f"converged must be true or false for each run, got {event.dtype}")
    return times, event


def _checked(epochs: ArrayLike, outcome: ArrayLike) -> tuple[Epochs, NDArray[Any]]:
    """Epochs and what became of each run, as arrays of one length."""
    times, what = np.asarray(epochs), np.asarray(outcome)
    if times.shape != what.shape or times.ndim != 1:
        raise ValueError(f"epochs and outcomes must be as many, got shapes {times.shape} and {what.shape}")
    if not times.size:
        raise ValueError("there are no runs, so nothing to say about how long they take; simulate some first")
    if not np.issubdtype(times.dtype, np.integer) or times.min() < 0:
        raise ValueError("epochs must be whole numbers from 0")
    return times.astype(np.int64), what


def _half(times: Epochs, share: Floats) -> int | None:
    """When a share first comes to 1/2."""
    # A product of a million factors is rounded by 1e-10, which must not decide whether it is 1/2.
    reached = share >= 0.5 - 1e-9
    return int(times[reached.argmax()]) if reached.any() else None


def _plain(ended: Ended) -> dict[str, Any]:
    return {"epochs": ended.epochs and ended.epochs._asdict()}


def _table(curve: Curve | Incidence) -> dict[str, Any]:
    return {"median": curve.median._asdict()} | {name: array.tolist() for name, array in vars(curve).items()}
