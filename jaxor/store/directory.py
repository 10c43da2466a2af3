"""A run directory: a manifest and shards, one writer at a time, any number of readers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from jaxor.engine.block import Block
from jaxor.store import atomic, shard
from jaxor.store.errors import StoreError
from jaxor.store.manifest import Manifest, expand
from jaxor.store.schema import columns

_MANIFEST = "manifest.json"
_LOCK = "run.lock"
_SHARDS = "shards"


@dataclass(frozen=True, eq=False)
class Shard:
    """A shard whose content was checked.

    Attributes
    ----------
    path : Path
    seeds : (n,) int64
        Ascending.
    """

    path: Path
    seeds: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Listing:
    """What was found among the shards.

    Attributes
    ----------
    shards : list of Shard
        The good ones, by lowest seed.
    damaged : dict of Path to str
        Files that are no good, each with a sentence why; they are ignored, never deleted.
    """

    shards: list[Shard]
    damaged: dict[Path, str]

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Seeds of the good shards, one shard after the other."""
        return np.concatenate([np.empty(0, np.int64), *(good.seeds for good in self.shards)])


class RunDirectory:
    """One simulation on disk.

    Attributes
    ----------
    path : Path
    manifest : Manifest
    """

    def __init__(self, path: Path, manifest: Manifest, lock: FileLock | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self._lock = lock

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Open for reading; takes no lock.

        Raises
        ------
        StoreError
            If there is no run directory, or its manifest cannot be used.
        """
        path = Path(path).absolute()
        manifest = _recorded(path)
        if manifest is None:
            raise StoreError(f"{path} is not a run directory: it has no {_MANIFEST}")
        return cls(path, manifest)

    @classmethod
    def create_or_open(cls, path: str | Path, manifest: Manifest, resume: bool = False) -> RunDirectory:
        """Open for writing; locked until the ``with`` block ends.

        Parameters
        ----------
        path : str or Path
        manifest : Manifest
            Of the simulation, with the seeds asked for now.
        resume : bool
            Extend the same simulation if it is there already.

        Raises
        ------
        StoreError
            If the directory holds something else, holds this simulation and `resume` is False, or another writer is at
            work. Then nothing has been touched.
        """
        path = Path(path).absolute()
        _check_may_write(path, manifest, resume)
        lock = FileLock(path / _LOCK)
        try:
            (path / _SHARDS).mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(f"another process is writing to {path}; wait for it or choose another directory") from None
        except OSError as error:
            raise StoreError(f"cannot write to {path}: {error.strerror}") from error
        try:
            # What was there may have changed before the lock was taken.
            recorded = _check_may_write(path, manifest, resume)
            wanted = manifest if recorded is None else recorded.with_seeds(manifest.seeds)
            atomic.remove_temporaries(path)
            atomic.remove_temporaries(path / _SHARDS)
            if wanted != recorded:
                atomic.write(path / _MANIFEST, wanted.to_json().encode())
        except BaseException:
            lock.release()
            raise
        return cls(path, wanted, lock)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()

    def inspect(self) -> Listing:
        """Check every file among the shards (name, hash, simulation) and say which are good.

        Raises
        ------
        StoreError
            If two good shards hold the same seed.
        """
        shards, damaged = [], {}
        for path in sorted((self.path / _SHARDS).glob("[!.]*")):
            try:
                shards.append(Shard(path, shard.verify(path, self.manifest.identity)))
            except StoreError as error:
                damaged[path] = str(error)
        listing = Listing(sorted(shards, key=lambda good: int(good.seeds[0])), damaged)
        _check_disjoint(listing)
        return listing

    def shards(self) -> list[Shard]:
        """List the shards, by lowest seed, if all is well.

        Raises
        ------
        StoreError
            If a file is foreign, or damaged and its runs were not computed again.
        """
        listing = self.inspect()
        missing = _missing(listing, expand(self.manifest.seeds))
        for path, reason in listing.damaged.items():
            low, high = shard.seed_range(path) or (0, -1)
            if np.any((missing >= low) & (missing <= high)):
                raise StoreError(reason)
        return listing.shards

    def missing(self, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
        """Select those of the seeds that no good shard holds, in the order given.

        Raises
        ------
        StoreError
            If a file is foreign; what is damaged counts as missing.
        """
        return _missing(self.inspect(), seeds)

    def add(self, block: Block) -> Path:
        """Seal finished runs, with ascending seeds, as a shard.

        Raises
        ------
        ValueError
            If the block has other arrays than the manifest says.
        OSError
            As the system gave it (disk full, ...); what was sealed before is safe.
        """
        expected = list(self.manifest.variables)
        if list(columns(block)) != expected:
            raise ValueError(f"this simulation stores {expected}, but the block has {list(columns(block))}")
        data = shard.encode(block, self.manifest.param_names, self.manifest.attributes())
        return self.add_sealed(block.seeds, data)

    def add_sealed(self, seeds: NDArray[np.int64], data: bytes) -> Path:
        """Keep a shard that was sealed elsewhere; `seeds` are those in it.

        Raises
        ------
        OSError
            As the system gave it.
        """
        path = self.path / _SHARDS / shard.shard_name(seeds, data)
        atomic.write(path, data)
        return path

    def bytes_on_disk(self) -> int:
        """Sum the sizes of the manifest and the shards."""
        files = [self.path / _MANIFEST, *(self.path / _SHARDS).glob("[!.]*")]
        return sum(file.stat().st_size for file in files)


def _recorded(path: Path) -> Manifest | None:
    """Read the manifest of a directory, if there is one."""
    try:
        return Manifest.from_json((path / _MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise StoreError(f"{path} is not a directory; choose another") from None
    except OSError as error:
        raise StoreError(f"cannot read {path / _MANIFEST}: {error.strerror}") from error
    except StoreError as error:
        raise StoreError(f"{path / _MANIFEST}: {error}") from error


def _check_may_write(path: Path, manifest: Manifest, resume: bool) -> Manifest | None:
    """Refuse a directory that this simulation may not be written to; else give the manifest that is there."""
    recorded = _recorded(path)
    if recorded is None:
        if path.is_dir():
            _check_empty(path)
        return None
    if recorded.identity != manifest.identity:
        raise StoreError(
            f"{path} holds another simulation (identity {recorded.identity[:8]}, this one is {manifest.identity[:8]}; "
            f"they differ in {', '.join(_differences(recorded, manifest))}); choose another directory"
        )
    if not resume:
        raise StoreError(
            f"{path} holds this simulation already (identity {manifest.identity[:8]}); add --resume (resume=True) to "
            "compute what is missing, or choose another directory"
        )
    for name in ("kind", "traces", "parameters", "layout", "versions", "platform"):
        there, now = getattr(recorded, name), getattr(manifest, name)
        if there != now:
            raise StoreError(
                f"{path} was begun with {name} = {there!r}, this is {now!r}; go on as it was begun, or choose another "
                "directory"
            )
    return recorded


def _check_empty(path: Path) -> None:
    """Refuse a directory without manifest that has anything but what a writer leaves if killed before its manifest."""
    found = [entry for entry in path.iterdir() if entry.name not in (_LOCK, _SHARDS) and not atomic.is_temporary(entry)]
    found += (path / _SHARDS).glob("[!.]*")
    if found:
        raise StoreError(
            f"{path} has no {_MANIFEST}, but it has {found[0].relative_to(path)}; choose an empty or another directory"
        )


def _differences(one: Manifest, other: Manifest) -> list[str]:
    """Name what differs in two identities."""
    keys = sorted(one.experiment.keys() | other.experiment.keys())
    return [key for key in keys if one.experiment.get(key) != other.experiment.get(key)] + [
        name
        for name in ("lane_width", "x64", "prng", "initial_params_hash")
        if getattr(one, name) != getattr(other, name)
    ]


def _missing(listing: Listing, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Select the seeds that are in no good shard, provided that all files are shards."""
    for path, reason in listing.damaged.items():
        if shard.seed_range(path) is None:
            raise StoreError(reason)
    return seeds[~np.isin(seeds, listing.seeds)]


def _check_disjoint(listing: Listing) -> None:
    seeds = listing.seeds
    order = np.argsort(seeds, kind="stable")
    twice = np.flatnonzero(np.diff(seeds[order]) == 0)
    if len(twice):
        ends = np.cumsum([len(good.seeds) for good in listing.shards])
        holders = np.searchsorted(ends, order[twice[0] : twice[0] + 2], side="right")
        one, other = (listing.shards[k].path for k in holders)
        raise StoreError(f"{one} and {other} both hold seed {seeds[order[twice[0]]]}; move one of them away")
