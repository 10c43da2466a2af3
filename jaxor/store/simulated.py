"""What all results of a simulation have in common: where they are, and what was simulated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from jaxor.store.manifest import Manifest

if TYPE_CHECKING:
    import xarray

    from jaxor.experiments.experiment import Experiment


class Simulated:
    """A simulation that was done; see `Run` and `Population`."""

    def __init__(self, manifest: Manifest, path: Path | None, experiment: Experiment | None) -> None:
        self.manifest = manifest
        self.path = path
        """Run directory; None in memory."""
        self._experiment = experiment

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment that was simulated."""
        if self._experiment is not None:
            return self._experiment
        from jaxor.experiments.experiment import Experiment  # numbers need none of what it imports

        return Experiment.from_dict(self.manifest.experiment)

    @property
    def identity(self) -> str:
        """SHA-256 of what fixes every bit of a run, given its seed."""
        return self.manifest.identity

    def _dataset(self, arrays: Mapping[str, NDArray[Any]]) -> xarray.Dataset:
        """Arrays with the dimensions and attributes of the files; an ImportError where xarray is not installed."""
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray needs xarray; install it with: pip install 'jaxor[xarray]'") from error
        variables = {
            name: (variable.dims, arrays[name], dict(variable.attributes))
            for name, variable in self.manifest.variables.items()
        }
        return xarray.Dataset(variables, attrs=self.manifest.attributes())
