"""Figures about many runs: shares with intervals, quantiles, and the summary of a simulation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxor.engine.status import Status
from jaxor.store.run import Run


class Interval(NamedTuple):
    """Confidence interval."""

    low: float
    high: float


def wilson(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Score interval of a probability (Wilson 1927, J. Amer. Statist. Assoc. 22, 209-212).

    Parameters
    ----------
    count, total : int
        Successes among independent trials. No trials: every probability is possible.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        Impossible numbers.

    Examples
    --------
    >>> low, high = wilson(29, 50)
    >>> round(low, 4), round(high, 4)
    (0.4423, 0.7062)
    >>> wilson(0, 50).low, wilson(50, 50).high
    (0.0, 1.0)
    """
    if not 0 <= count <= total:
        raise ValueError(f"count must be between 0 and total, got {count} of {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    if total == 0:
        return Interval(0.0, 1.0)
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), count / total
    centre = share + z**2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    scale = 1 + z**2 / total
    # Two ends are exact where rounding would miss them.
    return Interval(0.0 if count == 0 else (centre - half) / scale, 1.0 if count == total else (centre + half) / scale)


@dataclass(frozen=True)
class Share:
    """How many of all, with Wilson's 95 % interval; `share` is None if there are none at all."""

    count: int
    share: float | None
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int) -> Share:
        """Share of `count` in `total`."""
        return cls(count, count / total if total else None, *wilson(count, total))


class Quantiles(NamedTuple):
    """Extremes, quartiles and mean of a sample."""

    min: float
    q25: float
    q50: float
    q75: float
    max: float
    mean: float


def quantiles(values: ArrayLike) -> Quantiles | None:
    """Extremes, quartiles (linear between neighbours) and mean, in float64.

    Parameters
    ----------
    values : (n,) array_like
        Finite.

    Returns
    -------
    Quantiles or None
        None if there are no values.

    Examples
    --------
    >>> quantiles([4, 1, 2, 3])
    Quantiles(min=1.0, q25=1.75, q50=2.5, q75=3.25, max=4.0, mean=2.5)
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return None
    with np.errstate(over="ignore"):
        mean = array.mean()
    if np.isinf(mean):  # the sum is too large for a float64, the mean is not
        mean = (array / array.size).sum()
    low, q25, q50, q75, high = np.quantile(array, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return Quantiles(low, q25, q50, q75, high, float(mean))


class Losses(NamedTuple):
    """Quantiles of the finite losses, and how many were left out since they are not finite."""

    quantiles: Quantiles | None
    nonfinite: int

    @classmethod
    def of(cls, values: ArrayLike) -> Losses:
        """Losses of several runs."""
        array = np.asarray(values)
        finite = array[np.isfinite(array)]
        return cls(quantiles(finite), array.size - finite.size)


@dataclass(frozen=True)
class Summary:
    """What a simulation shows at a glance.

    Attributes
    ----------
    seeds : int
        Number of runs.
    status : dict of Status to int
        Runs by how they ended.
    success : Share
        Of all runs, those with accuracy 1 after their last step.
    epochs, epochs_converged : Quantiles or None
        Over all runs, and over those that converged. Over all, the epochs of the others are lower bounds (censored).
    initial_loss, final_loss : Losses
        Over all runs.
    """

    seeds: int
    status: dict[Status, int]
    success: Share
    epochs: Quantiles | None
    epochs_converged: Quantiles | None
    initial_loss: Losses
    final_loss: Losses

    @property
    def censored(self) -> int:
        """Runs that ended without converging."""
        return self.seeds - self.status[Status.CONVERGED]

    def to_dict(self) -> dict[str, Any]:
        """Plain tables for JSON; figures of no runs are None."""
        return {
            "seeds": self.seeds,
            "status": {status.name.lower(): count for status, count in self.status.items()},
            "success": asdict(self.success),
            "epochs": {"all": _plain(self.epochs), "converged": _plain(self.epochs_converged)},
            "initial_loss": _plain(self.initial_loss.quantiles) | {"nonfinite": self.initial_loss.nonfinite},
            "final_loss": _plain(self.final_loss.quantiles) | {"nonfinite": self.final_loss.nonfinite},
        }


def _plain(figures: Quantiles | None) -> dict[str, float | None]:
    return dict.fromkeys(Quantiles._fields) if figures is None else figures._asdict()


def summary(run: Run) -> Summary:
    """Sum up all runs.

    Examples
    --------
    >>> from jaxor import simulate
    >>> figures = summary(simulate("abs1_convergence", seeds=50, traces="none"))
    >>> figures.status[Status.CONVERGED], figures.success.share, round(figures.success.low, 4)
    (50, 1.0, 0.9287)
    """
    counts = np.bincount(run.status, minlength=len(Status)).tolist()
    return Summary(
        seeds=len(run),
        status=dict(zip(Status, counts, strict=True)),
        success=Share.of(int(np.count_nonzero(run.final_accuracy == 1)), len(run)),
        epochs=quantiles(run.epochs),
        epochs_converged=quantiles(run.epochs[run.status == Status.CONVERGED]),
        initial_loss=Losses.of(run.initial_loss),
        final_loss=Losses.of(run.final_loss),
    )
