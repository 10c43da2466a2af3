"""What choosing by initial loss would do, from runs that were not chosen.

Best of k, or the first below a threshold, takes runs of the same law with other probabilities. So success, epochs and
cost of every k and every threshold follow from one simulation without any selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from jaxor.estimates import Interval, wilson

Floats = NDArray[np.float64]

LEAST = 50
"""Runs that success is said of at least."""


class Outcome(NamedTuple):
    """What comes of a selection.

    Attributes
    ----------
    success : float
        Probability of success.
    interval : Interval
        Of that, 95 %: Wilson's, with as many trials as equally weighted runs would be as certain; of the best of k
        with fewer if its ranks are less certain than its weights say.
    steps : float
        Mean steps of a run, failures included.
    epochs : float or None
        Mean epochs of successes.
    draws : float
        Mean draws of first parameters.
    """

    success: float
    interval: Interval
    steps: float
    epochs: float | None
    draws: float

    def cost(self, draw: float) -> float:
        """Steps that a success costs if a draw costs as much as `draw` steps; infinite if there are no successes."""
        return (self.draws * draw + self.steps) / self.success if self.success else float("inf")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Runs of a control by ascending initial loss.

    Attributes
    ----------
    loss : (n,) float64
    success : (n,) float64
        1 or 0.
    steps, epochs : (n,) float64
    draws : float
        Mean draws that a run of the control takes; more than 1 if the control chooses among several itself.
    """

    loss: Floats
    success: Floats
    steps: Floats
    epochs: Floats
    draws: float = 1.0

    @classmethod
    def of(
        cls, loss: ArrayLike, success: ArrayLike, steps: ArrayLike, epochs: ArrayLike, draws: float = 1.0
    ) -> Ranking:
        """Sort runs; equal losses stay in their order. NaN losses are the last.

        Raises
        ------
        ValueError
            There are no runs.
        """
        loss = np.asarray(loss, np.float64)
        if not loss.size:
            raise ValueError("there are no runs, so nothing to say about selections; simulate some first")
        order = np.argsort(loss, kind="stable")
        return cls(loss[order], *(np.asarray(a, np.float64)[order] for a in (success, steps, epochs)), draws=draws)

    def __len__(self) -> int:
        return len(self.loss)

    def best_of(self, k: int) -> Outcome:
        """The run with the lowest initial loss of k.

        The run of rank i (from 0) of n is the lowest of k different ones with probability C(n-1-i, k-1) / C(n, k), so
        the weighted mean is an unbiased estimate (a U-statistic over all sets of k runs).

        Raises
        ------
        ValueError
            k is below 1 or above the number of runs.

        Examples
        --------
        >>> ranking = Ranking.of([1, 2, 3, 4], [1, 1, 0, 0], [5, 5, 5, 5], [5, 5, 5, 5])
        >>> [round(ranking.best_of(k).success, 4) for k in (1, 2, 3)]
        [0.5, 0.8333, 1.0]
        """
        n = len(self)
        if not 1 <= k <= n:
            raise ValueError(f"the best of {k} needs at least {k} runs and k of at least 1, but there are {n}")
        rank = np.arange(n - k)
        weight = np.zeros(n)
        weight[: n - k + 1] = k / n * np.concatenate([[1.0], np.cumprod((n - k - rank) / (n - 1 - rank))])
        # What a run is worth: its own part, and what it takes from those above it in rank (first term of Hoeffding's
        # decomposition). Where only the lowest losses succeed, most of the error is in how many of them there are.
        part = weight * self.success
        part[1:] += np.cumsum(-np.diff(weight) * self.success[:-1])
        return self._weighted(weight, k * self.draws, n * float(np.var(part)))

    def below(self, share: float) -> Outcome:
        """The first draw among the lowest `share` of the law: the mean over the lowest runs.

        Raises
        ------
        ValueError
            The share is not above 0 and at most 1.
        """
        if not 0 < share <= 1:
            raise ValueError(f"the share of draws to take from must be above 0 and at most 1, got {share}")
        count = max(round(share * len(self)), 1)
        weight = np.zeros(len(self))
        weight[:count] = 1 / count
        return self._weighted(weight, self.draws / share)

    def _weighted(self, weight: Floats, draws: float, variance: float = 0.0) -> Outcome:
        success = min(float(weight @ self.success), 1.0)  # weights do not sum to 1 to the last bit
        effective = 1 / float(weight @ weight)
        if effective * variance > success * (1 - success) > 0:
            effective = success * (1 - success) / variance
        epochs = float(weight @ (self.success * self.epochs)) / success if success else None
        return Outcome(success, wilson(success * effective, effective), float(weight @ self.steps), epochs, draws)

    @cached_property
    def _cumulative(self) -> Floats:
        return np.cumsum(self.success) / np.arange(1, len(self) + 1)

    def success_below(self, share: ArrayLike) -> Floats:
        """Success of the lowest shares of the law (m,); NaN where that is fewer than `LEAST` runs."""
        count = np.clip(np.ceil(np.asarray(share) * len(self)).astype(int), 1, len(self))
        return np.where(count >= LEAST, self._cumulative[count - 1], np.nan)


class Recommendation(NamedTuple):
    """The cheapest k and the cheapest share for a cost of a draw, with the steps that a success then costs."""

    draw_cost: float
    control: float
    k: int
    best_of: float
    share: float
    below: float


def recommend(
    ranking: Ranking, costs: Sequence[float], ks: Sequence[int], shares: Sequence[float]
) -> list[Recommendation]:
    """What to take if a draw costs as much as so many steps.

    Parameters
    ----------
    ranking : Ranking
    costs : sequence of float
        Of a draw, in steps.
    ks, shares : sequence
        To choose among.
    """
    lowest, first = {k: ranking.best_of(k) for k in ks}, {share: ranking.below(share) for share in shares}
    control, found = ranking.best_of(1), []
    for cost in costs:
        k = min(lowest, key=lambda k: lowest[k].cost(cost))
        share = min(first, key=lambda share: first[share].cost(cost))
        found.append(Recommendation(cost, control.cost(cost), k, lowest[k].cost(cost), share, first[share].cost(cost)))
    return found


class ThresholdError(NamedTuple):
    """What becomes of a threshold that is the lowest `share` of a sample of so many draws.

    Attributes
    ----------
    sample : int
    share : float
        Wanted.
    true : (float, float, float)
        Share of the law that is below the threshold: 5 %, median, 95 % over samples. Exact, whatever the law.
    success : (float, float, float)
        With those shares; NaN where they are too few of the runs to say.
    draws : float or None
        Mean draws until one is below, over samples. None: infinite.
    """

    sample: int
    share: float
    true: tuple[float, float, float]
    success: tuple[float, float, float]
    draws: float | None


def threshold_error(ranking: Ranking, sample: int, share: float) -> ThresholdError:
    """The error of a threshold that was estimated from a sample.

    The j-th lowest of n draws has a share of the law below it that is Beta(j, n + 1 - j). The mean of its reciprocal,
    the draws needed, is n / (j - 1): infinite for the lowest of all.

    Examples
    --------
    >>> ranking = Ranking.of(np.arange(1000), np.arange(1000) < 100, np.ones(1000), np.ones(1000))
    >>> found = threshold_error(ranking, 100, 0.01)
    >>> [round(x, 4) for x in found.true], found.draws
    ([0.0005, 0.0069, 0.0295], None)
    """
    rank = max(int(np.ceil(share * sample)), 1)
    true = stats.beta.ppf([0.05, 0.5, 0.95], rank, sample + 1 - rank)
    low, middle, high = true.tolist()
    at_low, at_middle, at_high = ranking.success_below(true).tolist()
    draws = ranking.draws * sample / (rank - 1) if rank > 1 else None
    return ThresholdError(sample, share, (low, middle, high), (at_low, at_middle, at_high), draws)
