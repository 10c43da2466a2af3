"""Counts of runs as figures: what is known of a simulation that kept no run by itself."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from jaxor.engine.seeds import Ranges, number, within
from jaxor.engine.status import Status, by_status
from jaxor.engine.tally import Tally, loss_of
from jaxor.estimates import Distribution, Interval, Share, confidence_sequence
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.manifest import Manifest
from jaxor.store.schema import counts
from jaxor.store.shard import decode_tally
from jaxor.store.simulated import Simulated

if TYPE_CHECKING:
    import xarray

    from jaxor.experiments.experiment import Experiment

Quantity = Literal["epochs", "initial_loss", "final_loss"]


class Population(Simulated):
    """Counts of the runs of one simulation, by status, success, epochs and losses.

    Made by `jaxor.simulate` with ``keep="statistics"`` and by `jaxor.open_run`. Counts of epochs are exact; losses are
    counted in bins at most 1/128 as wide as the losses in them, and stand for themselves by the middle of their bin.
    """

    def __init__(
        self, manifest: Manifest, tally: Tally, path: Path | None = None, experiment: Experiment | None = None
    ) -> None:
        super().__init__(manifest, path, experiment)
        self.tally = tally

    def __len__(self) -> int:
        return len(self.tally)

    def __repr__(self) -> str:
        ends = ", ".join(f"{count} {status.name.lower()}" for status, count in self.status.items() if count)
        where = "in memory" if self.path is None else str(self.path)
        return f"<Population of {self.manifest.experiment['name']}: {len(self)} seeds ({ends or 'none'}), {where}>"

    @property
    def seeds(self) -> Ranges:
        """Whose runs are counted: ascending ranges (start, stop)."""
        return self.tally.seeds

    @cached_property
    def status(self) -> dict[Status, int]:
        """Runs by how they ended; unstarted ones only if there are any."""
        return by_status(self.tally.runs.sum(axis=1).tolist())

    @cached_property
    def success(self) -> Share:
        """Runs with accuracy 1 after their last step, with Wilson's 95 % interval.

        That is for a number of runs fixed in advance; `success_sequence` is also for one that a rule has chosen.
        """
        return Share.of(self.tally.successes, len(self))

    @property
    def success_sequence(self) -> Interval:
        """The same by `jaxor.estimates.confidence_sequence`, with 95 %; it is valid whenever one stops."""
        return confidence_sequence(self.tally.successes, len(self))

    @property
    def until(self) -> str | None:
        """Rule by which the simulation ended, if one was given."""
        return self.manifest.until

    @property
    def epochs(self) -> Distribution:
        """Epochs begun, over all runs that started."""
        return self.distribution("epochs")

    @property
    def initial_loss(self) -> Distribution:
        """Finite losses before the first step, over all runs that started, by the middles of their bins."""
        return self.distribution("initial_loss")

    @property
    def final_loss(self) -> Distribution:
        """Finite losses after the last step, over all runs that started, by the middles of their bins."""
        return self.distribution("final_loss")

    def distribution(
        self, quantity: Quantity, status: Status | int | None = None, success: bool | None = None
    ) -> Distribution:
        """One quantity of the runs that started, or of those that ended in a certain way.

        Parameters
        ----------
        quantity : {"epochs", "initial_loss", "final_loss"}
        status : Status, optional
            Only runs that ended so.
        success : bool, optional
            Only runs with accuracy 1 after their last step, or only those without.

        Examples
        --------
        >>> from jaxor import Status, simulate
        >>> population = simulate("relu1_normal", seeds=200, keep="statistics")
        >>> population.distribution("epochs", Status.CONVERGED).size == population.status[Status.CONVERGED]
        True
        """
        histogram = getattr(self.tally, quantity)
        groups = histogram.counts[:, : Status.UNSTARTED] if status is None else histogram.counts[:, [int(status)]]
        groups = groups if success is None else groups[:, :, [int(success)]]
        values = histogram.values if quantity == "epochs" else loss_of(histogram.values).astype(np.float64)
        runs = groups.sum(axis=(1, 2))
        kept = (runs > 0) & np.isfinite(values)
        return Distribution(values[kept], runs[kept])

    def to_xarray(self) -> xarray.Dataset:
        """Put all counts into a dataset with the variables, dimensions and attributes of the files.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        return self._dataset(counts(self.tally))


def read_population(
    directory: RunDirectory, stop: int | None = None, experiment: Experiment | None = None
) -> Population:
    """Add up the shards of a directory, or those of the seeds below `stop`.

    Raises
    ------
    StoreError
        If a file is foreign or damaged, or a shard goes on beyond `stop`.
    """
    tally = Tally.empty()
    for shard in directory.shards():
        inside = shard.seeds if stop is None else within(shard.seeds, 0, stop)
        if not inside:
            continue
        if number(inside) < number(shard.seeds):
            raise StoreError(f"{shard.path} holds runs on both sides of seed {stop}; choose another directory")
        tally += decode_tally(shard.path)
    return Population(directory.manifest, tally, directory.path, experiment)
