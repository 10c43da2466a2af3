"""The summary of a simulation: of its runs, or of counts of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxor.engine.status import Status, by_status
from jaxor.estimates import Distribution, Interval, Quantiles, Share, quantiles
from jaxor.store.population import Population, Quantity
from jaxor.store.run import Run
from jaxor.until import Rule


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


class Draws(NamedTuple):
    """How many draws of first parameters runs took: all together, and the quantiles of their numbers."""

    total: int
    quantiles: Quantiles


@dataclass(frozen=True)
class Summary:
    """What a simulation shows at a glance.

    Attributes
    ----------
    seeds : int
        Number of runs.
    status : dict of Status to int
        Runs by how they ended; unstarted ones only if there are any.
    success : Share
        Of all runs, those with accuracy 1 after their last step.
    epochs, epochs_converged : Quantiles or None
        Over all runs that started, and over those that converged. Over all, the epochs of the others are lower bounds
        (censored).
    initial_loss, final_loss : Losses
        Over all runs that started.
    draws : Draws or None
        Over all runs, if the initializer chooses among draws and their number was kept.
    """

    seeds: int
    status: dict[Status, int]
    success: Share
    epochs: Quantiles | None
    epochs_converged: Quantiles | None
    initial_loss: Losses
    final_loss: Losses
    draws: Draws | None

    @property
    def unstarted(self) -> int:
        """Runs for which the initializer found no acceptable draw: without epochs and losses, and no success."""
        return self.status.get(Status.UNSTARTED, 0)

    @property
    def started(self) -> int:
        """All others."""
        return self.seeds - self.unstarted

    @property
    def censored(self) -> int:
        """Runs that started and ended without converging."""
        return self.started - self.status[Status.CONVERGED]

    def to_dict(self) -> dict[str, Any]:
        """Plain tables for JSON; figures of no runs are None."""
        drawn = {} if self.draws is None else {"draws": {"total": self.draws.total} | _plain(self.draws.quantiles)}
        return {
            "seeds": self.seeds,
            "status": {status.name.lower(): count for status, count in self.status.items()},
            "success": asdict(self.success),
            "epochs": {"all": _plain(self.epochs), "converged": _plain(self.epochs_converged)},
            "initial_loss": _plain(self.initial_loss.quantiles) | {"nonfinite": self.initial_loss.nonfinite},
            "final_loss": _plain(self.final_loss.quantiles) | {"nonfinite": self.final_loss.nonfinite},
        } | drawn


@dataclass(frozen=True)
class LossGroup:
    """Runs with neighbouring initial losses: from `low` to `high`, and how many of them succeeded."""

    low: float
    high: float
    runs: int
    success: Share


@dataclass(frozen=True)
class Ending:
    """A rule that ends a simulation, half the width of the confidence sequence, and whether the rule holds."""

    rule: str
    halfwidth: float
    holds: bool


@dataclass(frozen=True)
class PopulationSummary(Summary):
    """What counts of runs show at a glance.

    Attributes
    ----------
    success_sequence : Interval
        95 % confidence sequence of the success share; valid whenever one stops.
    until : Ending or None
        If a rule was given.
    by_initial_loss : tuple of LossGroup
        Tenths of the runs by initial loss, as nearly as the bins allow; runs whose loss is not finite are left out.
    """

    success_sequence: Interval
    until: Ending | None
    by_initial_loss: tuple[LossGroup, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain tables for JSON; figures of no runs are None."""
        return super().to_dict() | {
            "success_sequence": self.success_sequence._asdict(),
            "until": self.until and asdict(self.until),
            "success_by_initial_loss": [asdict(group) for group in self.by_initial_loss],
        }


def _plain(figures: Quantiles | None) -> dict[str, float | None]:
    return dict.fromkeys(Quantiles._fields) if figures is None else figures._asdict()


def summary(runs: Run | Population) -> Summary:
    """Sum up all runs, or counts of them.

    Examples
    --------
    >>> from jaxor import simulate
    >>> figures = summary(simulate("abs1_convergence", seeds=50, traces="none"))
    >>> figures.status[Status.CONVERGED], figures.success.share, round(figures.success.low, 4)
    (50, 1.0, 0.9287)
    """
    if isinstance(runs, Population):
        return _of_population(runs)
    counts = np.bincount(runs.status, minlength=len(Status)).tolist()
    started = runs.status != Status.UNSTARTED
    return Summary(
        seeds=len(runs),
        status=by_status(counts),
        success=Share.of(int(np.count_nonzero(runs.final_accuracy == 1)), len(runs)),
        epochs=quantiles(runs.epochs[started]),
        epochs_converged=quantiles(runs.epochs[runs.status == Status.CONVERGED]),
        initial_loss=Losses.of(runs.initial_loss[started]),
        final_loss=Losses.of(runs.final_loss[started]),
        draws=_draws(runs),
    )


def _draws(runs: Run) -> Draws | None:
    found = quantiles(runs.draws) if runs.manifest.draws else None
    return found and Draws(int(runs.draws.sum()), found)


def _of_population(population: Population) -> PopulationSummary:
    low, high = sequence = population.success_sequence
    until = None
    if population.until is not None:
        holds = Rule.parse(population.until).holds(population.success.count, len(population))
        until = Ending(population.until, (high - low) / 2, holds)
    losses = (population.initial_loss, population.final_loss)
    started = len(population) - population.status.get(Status.UNSTARTED, 0)
    initial, final = (Losses(finite.quantiles, started - finite.size) for finite in losses)
    return PopulationSummary(
        seeds=len(population),
        status=population.status,
        success=population.success,
        epochs=population.epochs.quantiles,
        epochs_converged=population.distribution("epochs", Status.CONVERGED).quantiles,
        initial_loss=initial,
        final_loss=final,
        draws=None,
        success_sequence=sequence,
        until=until,
        by_initial_loss=success_by_initial_loss(population),
    )


def distribution(
    runs: Run | Population, quantity: Quantity, status: Status | None = None, success: bool | None = None
) -> Distribution:
    """One quantity of the runs that started, or of those that ended in a certain way.

    Parameters
    ----------
    runs : Run or Population
        Of the second losses are the middles of the bins that they were counted in.
    quantity : {"epochs", "initial_loss", "final_loss"}
        Of losses those that are finite.
    status : Status, optional
        Only runs that ended so.
    success : bool, optional
        Only runs with accuracy 1 after their last step, or only those without.

    Examples
    --------
    >>> from jaxor import simulate
    >>> run = simulate("relu1_normal", seeds=200, traces="none")
    >>> counts = simulate("relu1_normal", seeds=200, keep="statistics")
    >>> one, other = (distribution(runs, "epochs", Status.CONVERGED) for runs in (run, counts))
    >>> one.values.tolist() == other.values.tolist(), one.counts.tolist() == other.counts.tolist()
    (True, True)
    """
    if isinstance(runs, Population):
        return runs.distribution(quantity, status, success)
    wanted = runs.status != Status.UNSTARTED if status is None else runs.status == status
    if success is not None:
        wanted &= (runs.final_accuracy == 1) == success
    return Distribution.of(getattr(runs, quantity)[wanted])


def success_by_initial_loss(runs: Run | Population, groups: int = 10) -> tuple[LossGroup, ...]:
    """Success of runs grouped by initial loss, in groups as equal as can be.

    Parameters
    ----------
    runs : Run or Population
        Of the second a bin of losses is in one group as a whole.
    groups : int
        At most so many.
    """
    everything = distribution(runs, "initial_loss")
    succeeded = distribution(runs, "initial_loss", success=True)
    successes = np.zeros_like(everything.counts)
    successes[np.searchsorted(everything.values, succeeded.values)] = succeeded.counts
    # Runs of one loss belong to the group in which the middle one of them is.
    group = groups * (2 * np.cumsum(everything.counts) - everything.counts) // (2 * everything.size or 1)
    found = []
    for number in np.unique(group):
        inside = np.flatnonzero(group == number)
        size = int(everything.counts[inside].sum())
        low, high = everything.values[inside[[0, -1]]].tolist()
        found.append(LossGroup(low, high, size, Share.of(int(successes[inside].sum()), size)))
    return tuple(found)
