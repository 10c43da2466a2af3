"""A run directory: a manifest and shards, one writer at a time, any number of readers."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from jaxor.engine.block import Block
from jaxor.engine.seeds import Ranges, compress, within
from jaxor.engine.tally import Tally
from jaxor.store import atomic, shard
from jaxor.store.errors import StoreError
from jaxor.store.listing import Listing, Shard, inspect_shards
from jaxor.store.manifest import Manifest
from jaxor.store.schema import columns, counts

_MANIFEST = "manifest.json"
_LOCK = "run.lock"
_SHARDS = "shards"


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
        self._listing: Listing | None = None  # once a writer has looked: nobody else changes anything

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
            wanted = manifest if recorded is None else recorded.with_seeds(manifest.seeds, manifest.until)
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
        """Release the lock; from now on this is a reader."""
        if self._lock is not None:
            self._lock.release()
        self._lock = self._listing = None

    def inspect(self) -> Listing:
        """Check every file among the shards and say which are good; see `inspect_shards`.

        Raises
        ------
        StoreError
            If two good shards hold the same seed.
        """
        return inspect_shards(self.path / _SHARDS, self.manifest)

    def listing(self) -> Listing:
        """Give what `inspect` finds; a writer looks once, since nobody else changes anything."""
        listing = self._listing or self.inspect()
        if self._lock is not None:
            self._listing = listing
        return listing

    def shards(self) -> list[Shard]:
        """List the shards, by lowest seed, if all is well.

        Raises
        ------
        StoreError
            If a file is foreign, or damaged and its runs were not computed again.
        """
        listing = self.listing()
        missing = listing.missing(self.manifest.seeds)
        for path, reason in listing.damaged.items():
            low, high = shard.seed_range(path) or (0, -1)
            if within(missing, low, high + 1):
                raise StoreError(reason)
        return sorted(listing.shards, key=lambda good: good.seeds[0])

    def missing(self, seeds: Ranges) -> Ranges:
        """Select those of the seeds that no good shard holds.

        Raises
        ------
        StoreError
            If a file is foreign; what is damaged counts as missing.
        """
        return self.listing().missing(seeds)

    def add(self, finished: Block | Tally) -> Path:
        """Seal finished runs, with ascending seeds, or counts of them as a shard.

        Raises
        ------
        ValueError
            If the block has other arrays than the manifest says.
        OSError
            As the system gave it (disk full, ...); what was sealed before is safe.
        """
        expected = list(self.manifest.variables)
        found = list(counts(finished) if isinstance(finished, Tally) else columns(finished))
        if found != expected:
            raise ValueError(f"this simulation stores {expected}, but the block has {found}")
        seeds = finished.seeds if isinstance(finished, Tally) else compress(finished.seeds)
        return self.add_sealed(seeds, shard.seal(finished, self.manifest))

    def add_sealed(self, seeds: Ranges, data: bytes) -> Path:
        """Keep a shard that was sealed elsewhere; `seeds` are those in it.

        Raises
        ------
        OSError
            As the system gave it.
        """
        path = self.path / _SHARDS / shard.shard_name(seeds, data)
        atomic.write(path, data)
        if self._listing is not None:
            self._listing.damaged.pop(path, None)
            self._listing.shards.append(Shard(path, seeds))
        return path

    def ask_for(self, seeds: Ranges) -> None:
        """Note in the manifest that these seeds are asked for too.

        Raises
        ------
        OSError
            As the system gave it.
        """
        wanted = self.manifest.with_seeds(seeds)
        if wanted != self.manifest:
            atomic.write(self.path / _MANIFEST, wanted.to_json().encode())
            self.manifest = wanted

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
    if recorded.kind != manifest.kind:
        raise StoreError(
            f"{path} holds {recorded.kind} of this simulation, not {manifest.kind}; choose another directory, or "
            f"--keep {recorded.kind} (keep={recorded.kind!r})"
        )
    if not resume:
        raise StoreError(
            f"{path} holds this simulation already (identity {manifest.identity[:8]}); add --resume (resume=True) to "
            "compute what is missing, or choose another directory"
        )
    for name in ("traces", "parameters", "layout", "versions", "platform"):
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
