"""Measurements along paths on disk: immutable files beside the runs, in `derived/geometry/`.

The same form as shards: netCDF-4 files with a contiguous ragged array of steps, named by their seeds and the hash of
their bytes. So measuring goes on where it was: list, check, subtract.
"""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from jaxor.engine.geometry import Geometry, Measuring, join
from jaxor.engine.seeds import Ranges, compress, union
from jaxor.store import atomic, hdf5
from jaxor.store.derived import derived
from jaxor.store.errors import StoreError
from jaxor.store.interrupts import held_back
from jaxor.store.manifest import Manifest
from jaxor.store.schema import VARIABLES, Variable
from jaxor.store.shard import seed_range, shard_name


def _float(long_name: str, *dims: str) -> Variable:
    return Variable(dims or ("obs",), None, {"long_name": long_name, "units": "1"})


_LOOKS = ("seed", "look")

GEOMETRY: Mapping[str, Variable] = {
    "seed": VARIABLES["seed"],
    "status": VARIABLES["status"],
    "steps": Variable(("seed",), "<i4", {"long_name": "steps taken", "sample_dimension": "obs"}),
    "difference": _float("largest difference between the final parameters of the replay and of the run", "seed"),
    "reference_loss": _float("loss over the whole task at the reference", "seed"),
    "loss": _float("loss that the step saw, before it"),
    "dot": _float("inner product of gradient and distance to the reference"),
    "distance2": _float("squared distance to the reference"),
    "gradient2": _float("squared length of the gradient"),
    "step_dot": _float("inner product of the step, before minus after, and distance to the reference"),
    "step2": _float("squared length of the step"),
    "other_dot": _float("inner product of gradient and distance to where another seed ended"),
    "other_distance2": _float("squared distance to where another seed ended"),
    "random_dot": _float("inner product of gradient and distance to a random point"),
    "random_distance2": _float("squared distance to a random point"),
    "look_step": Variable(_LOOKS, "<i4", {"long_name": "step of the look, -1 if there is none", "units": "1"}),
    "full_loss": _float("loss over the whole task", *_LOOKS),
    "full_dot": _float("inner product of its gradient and distance to the reference", *_LOOKS),
    "full_gradient2": _float("squared length of its gradient", *_LOOKS),
    "labels_dot": _float("inner product of gradient with targets dealt out at random and distance", *_LOOKS),
    "labels_gradient2": _float("squared length of that gradient", *_LOOKS),
    "batch_dot": _float("inner product of gradient of a fixed minibatch and distance", *_LOOKS, "batch"),
    "batch_gradient2": _float("squared length of that gradient", *_LOOKS, "batch"),
    "lag_cosine": _float("cosine of gradients across the path, now and some steps later", *_LOOKS, "lag"),
    "lag_distance": _float("distance between parameters now and some steps later", *_LOOKS, "lag"),
    "line_loss": _float("loss on the straight line from first parameters to the reference", "seed", "fraction"),
}
"""Every variable of stored measurements, in the order of the files; see `jaxor.engine.geometry.Geometry`."""


def seal_geometry(geometry: Geometry, measuring: Measuring, manifest: Manifest) -> bytes:
    """Turn measurements along runs of a simulation into the bytes of a file; equal ones give equal bytes."""
    arrays = {("seed" if name == "seeds" else name): array for name, array in geometry.arrays()}
    about = {"title": f"{manifest.experiment['name']}: geometry of paths", "measuring": str(measuring)}
    return hdf5.packed(GEOMETRY, arrays, manifest.floats, manifest.attributes() | about)


@held_back()  # else an interrupt may end up where h5py tidies up, and be lost
def _read(path: Path, measuring: Measuring, manifest: Manifest) -> Geometry:
    """Measurements from a file that is what its name says, and of this simulation.

    Raises
    ------
    StoreError
        It is not.
    """
    damaged = StoreError(f"{path} is damaged; delete it and measure again")
    data = _content(path)
    if hashlib.sha256(data).hexdigest()[:16] not in path.name:
        raise damaged
    with hdf5.reading(path, GEOMETRY, GEOMETRY) as file:
        about = {name: hdf5.text(file, name) for name in ("identity", "measuring")}
        arrays = {("seeds" if name == "seed" else name): file[name][...] for name in GEOMETRY}
    if about != {"identity": manifest.identity, "measuring": str(measuring)}:
        raise StoreError(f"{path} holds measurements of something else; delete it and measure again")
    seeds, steps = arrays["seeds"], arrays["steps"].astype(np.int64)
    sound = len(seeds) and (np.diff(seeds) > 0).all() and (steps >= 0).all() and steps.sum() == len(arrays["loss"])
    if not sound or path.name != shard_name(compress(seeds), data):
        raise damaged
    return Geometry(**arrays)


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # reading a pipe would wait for ever, a link leads elsewhere
            raise StoreError(f"{path} is a link or not a file; remove it and measure again")
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class GeometryDirectory:
    """Measurements of one kind along the runs of a run directory.

    Attributes
    ----------
    path : Path
    measuring : Measuring
    manifest : Manifest
        Of the runs.
    """

    path: Path
    measuring: Measuring
    manifest: Manifest

    @classmethod
    def of(cls, run_dir: Path, measuring: Measuring, manifest: Manifest) -> GeometryDirectory:
        """The place for them.

        Raises
        ------
        StoreError
            It is a link, or lies in one.
        """
        return cls(derived(run_dir, "geometry", str(measuring)), measuring, manifest)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer.

        Raises
        ------
        StoreError
            Somebody else is, or nothing can be written there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(f"another process is measuring into {self.path}; wait for it") from None
        except OSError as error:
            raise StoreError(f"cannot write to {self.path}: {error.strerror}") from error
        try:
            atomic.remove_temporaries(self.path)
            yield
        finally:
            lock.release()

    def parts(self, most: int | None = None) -> list[Geometry]:
        """What is there, a file each.

        Parameters
        ----------
        most : int, optional
            Only files that may hold one of so many lowest seeds.

        Raises
        ------
        StoreError
            A file is damaged or foreign.
        """
        parts: list[Geometry] = []
        for path in sorted(self.path.glob("s*.h5")):  # by lowest seed
            lowest, _ = seed_range(path) or (0, 0)
            if most is not None and sum(int((part.seeds < lowest).sum()) for part in parts) >= most:
                break
            parts.append(_read(path, self.measuring, self.manifest))
        return parts

    def add(self, seeds: Ranges, data: bytes) -> None:
        """Keep a sealed file."""
        try:
            atomic.write(self.path / shard_name(seeds, data), data)
        except OSError as error:
            raise StoreError(f"cannot write to {self.path}: {error.strerror}") from error


def held(parts: Sequence[Geometry]) -> Ranges:
    """Seeds that were measured along."""
    return union(*(compress(part.seeds) for part in parts))


def select(parts: Sequence[Geometry], seeds: NDArray[np.int64]) -> Geometry:
    """Measurements along the runs of some seeds (n,), in their order, from files that hold them all."""
    joined = join(parts)
    order = np.argsort(joined.seeds, kind="stable")
    places = order[np.searchsorted(joined.seeds, seeds, sorter=order)]
    return joined if np.array_equal(places, np.arange(len(joined))) else joined.take(places)
