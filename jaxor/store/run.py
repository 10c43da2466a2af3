"""Results of a simulation as arrays, in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.engine.block import Block, Floats
from jaxor.engine.seeds import check_seeds
from jaxor.engine.status import Status
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError, TraceNotStored
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.population import read_population
from jaxor.store.schema import PARAM, columns
from jaxor.store.simulated import Simulated
from jaxor.store.sources import Memory, Shards, Source, find

if TYPE_CHECKING:
    import xarray

    from jaxor.experiments.experiment import Experiment

_TRACE_BYTES = 2**20  # a trace is read with its neighbours, since the next one asked for is most often one of them
NO_TRACES = "no traces were recorded; simulate with traces='all' or 'loss' (--traces all|loss)"


@dataclass(frozen=True, eq=False)
class Trace:
    """What was recorded of one run.

    Attributes
    ----------
    step : (T,) int32
        Numbers of the recorded steps, from 0.
    loss : (T,) float
        Loss before each of them.
    """

    step: NDArray[np.int32]
    loss: Floats
    _params: Floats | None = field(repr=False)

    @property
    def params(self) -> Floats:
        """(T, P) parameters after each step; `TraceNotStored` if only losses were recorded."""
        if self._params is None:
            raise TraceNotStored("only losses were recorded; simulate with traces='all' (--traces all)")
        return self._params


class Run(Simulated):
    """Finished runs of one simulation; the seed is the first axis of every array.

    Made by `jaxor.simulate` and `jaxor.open_run`. Arrays of a stored run are read when first asked for.
    """

    def __init__(
        self, manifest: Manifest, source: Source, path: Path | None = None, experiment: Experiment | None = None
    ) -> None:
        super().__init__(manifest, path, experiment)
        self._source = source
        self._block = lru_cache(maxsize=4)(source.block)

    @classmethod
    def from_block(cls, manifest: Manifest, block: Block, experiment: Experiment | None = None) -> Run:
        """Hold runs in memory, in the order of the block.

        Parameters
        ----------
        manifest : Manifest
        block : Block
            With the arrays that the manifest says.
        experiment : Experiment or None
            Needed if it cannot be made again from the manifest.
        """
        return cls(manifest, Memory(block), experiment=experiment)

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        counts = np.bincount(self.status, minlength=len(Status))
        ends = ", ".join(
            f"{count} {status.name.lower()}" for status, count in zip(Status, counts, strict=True) if count
        )
        where = "in memory" if self.path is None else str(self.path)
        return (
            f"<Run of {self.manifest.experiment['name']}: {len(self)} seeds ({ends or 'none'}), "
            f"{len(self.param_names)} parameters, traces {self.manifest.traces}, {where}>"
        )

    @property
    def seeds(self) -> NDArray[np.int64]:
        """(n,) seeds, in the order given; ascending from `jaxor.open_run`."""
        return self._source.seeds

    @property
    def status(self) -> NDArray[np.int8]:
        """(n,) values of `jaxor.Status`."""
        return self._source.column("status")

    @property
    def steps(self) -> NDArray[np.int32]:
        """(n,) steps taken."""
        return self._source.column("steps")

    @property
    def epochs(self) -> NDArray[np.int32]:
        """(n,) epochs begun."""
        return self._source.column("epochs")

    @property
    def initial_loss(self) -> Floats:
        """(n,) loss over the whole task before the first step."""
        return self._source.column("initial_loss")

    @property
    def final_loss(self) -> Floats:
        """(n,) loss over the whole task after the last step."""
        return self._source.column("final_loss")

    @property
    def final_accuracy(self) -> Floats:
        """(n,) accuracy over the whole task after the last step."""
        return self._source.column("final_accuracy")

    @property
    def draws(self) -> NDArray[np.int64]:
        """(n,) draws of first parameters that were made; 1 each if the initializer does not choose among several."""
        return self._source.column("draws") if self.manifest.draws else np.ones(len(self), np.int64)

    @property
    def initial_params(self) -> Floats:
        """(n, P) parameters before the first step; `StoreError` if they were left out."""
        return self._params("initial_params", ("both",))

    @property
    def final_params(self) -> Floats:
        """(n, P) parameters after the last step; `StoreError` if they were left out."""
        return self._params("final_params", ("both", "final"))

    def _params(self, name: str, kept_by: tuple[str, ...]) -> Floats:
        if self.manifest.parameters not in kept_by:
            raise StoreError(f"{name} were not stored; simulate with --parameters {kept_by[0]}")
        return self._source.column(name)

    @property
    def row_size(self) -> NDArray[np.int32]:
        """(n,) recorded steps; `TraceNotStored` if no traces were recorded."""
        if self.manifest.traces == "none":
            raise TraceNotStored(NO_TRACES)
        return self._source.column("row_size")

    @property
    def param_names(self) -> tuple[str, ...]:
        """Names of the parameters in their flat order."""
        return self.manifest.param_names

    @property
    def lane_width(self) -> int:
        """Lanes per compiled block."""
        return self.manifest.lane_width

    @property
    def x64(self) -> bool:
        """Whether the runs are in float64."""
        return self.manifest.x64

    def trace(self, seed: int) -> Trace:
        """Read the recorded steps of one run.

        Raises
        ------
        KeyError
            If the seed is not in this run.
        TraceNotStored
            If the simulation recorded no traces.
        """
        if not isinstance(seed, int | np.integer):
            raise KeyError(f"a seed is a whole number, got {seed!r:.60}")
        index = int(self.places(np.array([seed]))[0])
        window = int(np.searchsorted(self._windows, index, side="right")) - 1
        start, stop = self._windows[window : window + 2]
        traces = self._block(start, stop).traces
        if traces is None:
            raise TraceNotStored(NO_TRACES)
        rows = traces.rows(index - start)
        return Trace(traces.step[rows], traces.loss[rows], None if traces.params is None else traces.params[rows])

    def places(self, seeds: NDArray[np.int64]) -> NDArray[np.intp]:
        """Where seeds (k,) are among the runs; KeyError if one is not."""
        order, ascending = self._by_seed
        return order[find(ascending, seeds)]

    def blocks(self, max_bytes: int = 2**26) -> Iterator[Block]:
        """Read all runs, in order, some at a time.

        Parameters
        ----------
        max_bytes : int
            About so much memory a block, but at least one run.

        Yields
        ------
        Block
            With traces and parameters as far as they were recorded.
        """
        for start, stop in pairwise(self._cuts(max_bytes)):
            yield self._source.block(start, stop)

    def to_xarray(self) -> xarray.Dataset:
        """Put everything into a dataset with the variables, dimensions and attributes of the files.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        dataset = self._dataset(columns(self._source.block(0, len(self))))
        if "param" in dataset.dims:
            attributes = {name: value for name, value in PARAM.attributes.items() if name != "_Encoding"}
            dataset["param"] = (("param",), np.array(self.param_names, object), attributes)
        return dataset

    @cached_property
    def _by_seed(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        order = np.argsort(self.seeds, kind="stable")
        return order, self.seeds[order]

    @cached_property
    def _windows(self) -> list[int]:
        return self._cuts(_TRACE_BYTES)

    def _cuts(self, max_bytes: int) -> list[int]:
        """Where to cut the runs into blocks of about `max_bytes`."""
        row_bytes = self.manifest.row_bytes
        sizes = np.full(len(self), row_bytes["seed"], np.int64)
        if self.manifest.traces != "none":
            sizes += np.int64(row_bytes["obs"]) * self.row_size
        block = (np.cumsum(sizes) - 1) // max_bytes
        return [*np.flatnonzero(np.diff(block, prepend=-1)).tolist(), len(self)]


def stream(manifest: Manifest, shards: Iterable[Shard]) -> Iterator[Block]:
    """Read all runs of some shards by ascending seed, some at a time.

    Only shards whose seeds interleave are looked into together, so a directory may be larger than memory.

    Parameters
    ----------
    manifest : Manifest
    shards : iterable of Shard
        Disjoint.

    Yields
    ------
    Block
    """
    for group in interleaved(shards):
        yield from Run(manifest, Shards(manifest, group)).blocks()


def interleaved(shards: Iterable[Shard]) -> Iterator[list[Shard]]:
    """Group shards, by ascending seed, so that all seeds of one group are below those of the next."""
    group: list[Shard] = []
    end = 0
    for found in sorted(shards, key=lambda shard: shard.seeds[0]):
        if group and found.seeds[0][0] >= end:
            yield group
            group = []
        group.append(found)
        end = max(end, found.seeds[-1][1])
    if group:
        yield group


def open_run(path: str | Path, seeds: ArrayLike | None = None, experiment: Experiment | None = None) -> Run | Any:
    """Open a run directory; every file in it is checked, arrays are read when asked for.

    Parameters
    ----------
    path : str or Path
    seeds : (n,) array_like of int, optional
        Which runs, in which order; all of them, ascending, if left out.
    experiment : Experiment, optional
        Needed if it cannot be made again.

    Returns
    -------
    Run, or Population if only statistics were kept

    Raises
    ------
    StoreError
        It is not a run directory, or a file in it is foreign or damaged.
    KeyError
        One of the seeds is not stored.
    ValueError
        `seeds` are not different whole numbers, or only statistics were kept.
    """
    directory = RunDirectory.open(path)
    if directory.manifest.kind == "statistics":
        if seeds is not None:
            raise ValueError(f"{path} holds statistics and no single runs; open it without seeds")
        return read_population(directory, experiment=experiment)
    wanted = None if seeds is None else check_seeds(seeds)
    source = Shards(directory.manifest, directory.shards(), wanted)
    return Run(directory.manifest, source, directory.path, experiment)
