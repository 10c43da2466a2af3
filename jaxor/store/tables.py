"""Run directories as tables: rows of runs, of recorded steps, or of counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.status import Status
from jaxor.engine.tally import Tally, loss_of
from jaxor.store.errors import StoreError
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.pieces import Arrays, everything, without_traces
from jaxor.store.schema import Attributes

STATUS_NAMES = tuple(status.name.lower() for status in Status)
"""What stands in the column ``status`` for the values of `Status`."""

# A space, so that "final " begins the names of parameters and neither final_loss nor final_accuracy.
_NAMES = {"initial_params": "initial ", "final_params": "final "}
_NAMES |= {"trace_step": "step", "trace_loss": "loss", "trace_params": ""}


@dataclass(frozen=True)
class Table:
    """Columns of numbers, some rows at a time.

    Attributes
    ----------
    columns : dict of str to dtype
        In order. The column ``status`` holds values of `Status`, to be written as their names.
    pieces : iterator of lists of (n,) arrays
        One for each column; how many rows depends on the runs alone.
    attributes : mapping
        What the table says about itself.
    """

    columns: dict[str, np.dtype[Any]]
    pieces: Iterator[list[NDArray[Any]]]
    attributes: Attributes


def table_of_runs(manifest: Manifest, shards: Sequence[Shard]) -> Table:
    """Make a row of each run: what the files have along ``seed``, with a column for each parameter.

    Raises
    ------
    StoreError
        If two columns would have the same name; while reading, if a shard is no good.
    """
    columns = _distinct(_columns(manifest, "seed"))
    pieces = (_spread(arrays, [*arrays]) for arrays in without_traces(manifest, shards))
    return Table(columns, pieces, manifest.attributes())


def table_of_records(manifest: Manifest, shards: Sequence[Shard]) -> Table:
    """Make a row of each recorded step, with a column for each parameter.

    Raises
    ------
    StoreError
        If two columns would have the same name; while reading, if a shard is no good.
    """
    columns = _distinct([("seed", np.dtype(np.int64)), *_columns(manifest, "obs")])
    names = [name for name, variable in manifest.variables.items() if variable.dims[0] == "obs"]
    pieces = (
        [np.repeat(arrays["seed"], arrays["row_size"]), *_spread(arrays, names)]
        for arrays in everything(manifest, shards)
    )
    return Table(columns, pieces, manifest.attributes())


def table_of_counts(manifest: Manifest, tally: Tally, quantity: str) -> Table:
    """Make a row of each value, status and success that some run has, with how many runs have them.

    Parameters
    ----------
    manifest : Manifest
    tally : Tally
    quantity : {"epochs", "initial_loss", "final_loss"}
        Losses stand for themselves by the middle of their bin.
    """
    histogram = getattr(tally, quantity)
    values = histogram.values if quantity == "epochs" else loss_of(histogram.values)
    row, status, success = np.nonzero(histogram.counts)
    arrays = {
        quantity: values[row],
        "status": status.astype(np.int8),
        "success": success.astype(np.bool_),
        "runs": histogram.counts[row, status, success],
    }
    columns = {name: array.dtype for name, array in arrays.items()}
    return Table(columns, iter([[*arrays.values()]]), manifest.attributes())


def _columns(manifest: Manifest, dim: str) -> Iterator[tuple[str, np.dtype[Any]]]:
    for name, variable in manifest.variables.items():
        if variable.dims[0] == dim:
            shown = _NAMES.get(name, name)
            names = [shown + param for param in manifest.param_names] if "param" in variable.dims else [shown]
            yield from ((column, variable.type(manifest.floats)) for column in names)


def _spread(arrays: Arrays, names: Sequence[str]) -> list[NDArray[Any]]:
    """Columns of (n,) and (n, P) arrays."""
    return [column for name in names for column in np.atleast_2d(arrays[name].T)]


def _distinct(columns: Iterable[tuple[str, np.dtype[Any]]]) -> dict[str, np.dtype[Any]]:
    found: dict[str, np.dtype[Any]] = {}
    for name, dtype in columns:
        if name in found:
            raise StoreError(
                f"two columns would be called {name!r}; export to a .nc file, where parameters are apart from the rest"
            )
        found[name] = dtype
    return found
