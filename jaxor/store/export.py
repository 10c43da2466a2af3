"""A whole run directory as one file for other tools."""

from __future__ import annotations

from collections.abc import Callable
from io import SEEK_END, SEEK_SET
from pathlib import Path
from typing import BinaryIO, TypeVar

from jaxor.store import atomic, hdf5
from jaxor.store.errors import StoreError
from jaxor.store.population import Population
from jaxor.store.run import Run, open_run
from jaxor.store.schema import columns
from jaxor.store.shard import encode_tally

T = TypeVar("T")


def export_netcdf(run_dir: str | Path, target: str | Path) -> None:
    """Write all that a directory holds into one netCDF-4 file with the variables of its shards.

    Runs are written by ascending seed; counts of runs are added up. Equal runs give equal bytes, however they were cut
    into shards; traces and parameters are never in memory at once.

    Parameters
    ----------
    run_dir : str or Path
    target : str or Path
        A new file in an existing directory.

    Raises
    ------
    StoreError
        If the run cannot be read, `target` exists, or it cannot be written; then there is no `target`.
    """
    target = Path(target).absolute()
    if target.exists():
        raise StoreError(f"{target} exists already; remove it or choose another name")
    run = open_run(run_dir)
    try:
        with atomic.replacing(target) as file:
            if isinstance(run, Population):
                file.write(encode_tally(run.tally, run.manifest.attributes()))
            else:
                sink = _Sink(file)
                _write(run, sink)
                sink.check()
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error


def _write(run: Run, sink: _Sink) -> None:
    manifest = run.manifest
    sizes = {"seed": len(run), "obs": 0 if manifest.traces == "none" else int(run.row_size.sum(dtype="i8"))}
    done = {"seed": 0, "obs": 0}
    with hdf5.create(sink) as output:
        hdf5.define(output, manifest.variables, sizes, manifest.floats, manifest.attributes(), run.param_names)
        for block in run.blocks():
            ends = dict(done)
            for name, array in columns(block).items():
                dim = manifest.variables[name].dims[0]
                ends[dim] = done[dim] + len(array)
                output[name][done[dim] : ends[dim]] = array
                sink.check()
            done = ends


class _Sink:
    """A file as HDF5 likes it: one that never fails.

    After a failed write HDF5 makes the process crash at its end. So the first failure is kept for `check`, and what
    HDF5 does to the file from then on has no effect.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self._size = 0
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong so far, if anything."""
        if self._failure is not None:
            raise self._failure

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._position = offset + (self._size if whence == SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        return self._try(lambda: self._file.read(size), b"").ljust(size, b"\0")

    def write(self, data: bytearray) -> int:
        self._try(lambda: self._file.write(data), 0)
        self._size = max(self._size, self._position + len(data))
        return len(data)

    def truncate(self, size: int) -> int:
        self._try(lambda: self._file.truncate(size), 0)
        self._size = size
        return size

    def flush(self) -> None:
        """Leave it to the owner of the file."""

    def _try(self, action: Callable[[], T], otherwise: T) -> T:
        if self._failure is None:
            try:
                self._file.seek(self._position)
                return action()
            except BaseException as failure:  # an interrupt must not reach HDF5 either
                self._failure = failure
        return otherwise
