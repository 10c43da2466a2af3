"""The runs of studies of paths: trained and measured in a folder, as far as that has not been done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxor.analysis.measure import measure
from jaxor.engine.geometry import Geometry, Measuring
from jaxor.experiments.experiment import Experiment
from jaxor.job import prepare
from jaxor.simulation import execute
from jaxor.store.run import Run
from jaxor.work import Where


@dataclass(frozen=True)
class Paths:
    """Trains and measures.

    Attributes
    ----------
    folder : Path
        Each setting has a run directory there, by the name of its experiment.
    devices : int or None
        Worker processes.
    """

    folder: Path
    devices: int | None = None

    def train(self, experiment: Experiment, seeds: range) -> Run:
        """Runs of some seeds, resumed if they were begun."""
        out = self.folder / experiment.name
        job = prepare(experiment, seeds, traces="none")
        return execute(job, out=out, where=Where(self.devices), resume=out.exists()).run

    def measure(self, experiment: Experiment, seeds: int, measuring: Measuring) -> Geometry:
        """Measurements along the runs of seeds 0, 1, ..."""
        run = self.train(experiment, range(seeds))
        return measure(run, run.seeds, measuring, devices=self.devices)
