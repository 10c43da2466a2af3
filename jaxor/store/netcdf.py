"""Writing a whole run directory as one netCDF-4 file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import SEEK_END, SEEK_SET
from typing import BinaryIO, TypeVar

from jaxor.engine.seeds import number
from jaxor.store import hdf5
from jaxor.store.interrupts import held_back
from jaxor.store.listing import Shard
from jaxor.store.manifest import Manifest
from jaxor.store.pieces import count_records, everything

T = TypeVar("T")


def write(file: BinaryIO, manifest: Manifest, shards: Sequence[Shard]) -> None:
    """Write all runs with the variables of their shards.

    Parameters
    ----------
    file : BinaryIO
        Empty, for writing and reading.
    manifest : Manifest
    shards : sequence of Shard
        Disjoint.
    """
    sizes = {"seed": sum(number(found.seeds) for found in shards), "obs": 0}
    if manifest.traces != "none":
        sizes["obs"] = count_records(shards)
    pieces = everything(manifest, shards)
    done = {"seed": 0, "obs": 0}
    sink = _Sink(file)
    with held_back() as deliver, hdf5.create(sink) as output:
        hdf5.define(output, manifest.variables, sizes, manifest.floats, manifest.attributes(), manifest.param_names)
        for arrays in pieces:
            deliver()
            ends = dict(done)
            for name, array in arrays.items():
                dim = manifest.variables[name].dims[0]
                ends[dim] = done[dim] + len(array)
                output[name][done[dim] : ends[dim]] = array
                sink.check()
            done = ends
    sink.check()


class _Sink:
    """A file as HDF5 likes it: one that never fails.

    After a failed write HDF5 makes the process crash at its end. So the first failure is kept for `check`, and what
    HDF5 does to the file from then on has no effect. Interrupts must not get in here at all: see `held_back`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self._size = 0
        self._failure: Exception | None = None

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
            except Exception as failure:
                self._failure = failure
        return otherwise
