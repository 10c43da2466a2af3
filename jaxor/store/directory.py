"""A run directory: a manifest and shards, one writer at a time, any number of readers."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import stat
from pathlib import Path

from filelock import FileLock, Timeout

from jaxor.engine.seeds import Ranges, difference, union, within
from jaxor.store import atomic, shard
from jaxor.store.errors import StoreError
from jaxor.store.listing import Listing, Shard, inspect_shards
from jaxor.store.manifest import Manifest

_MANIFEST = "manifest.json"
_LOCK = "run.lock"
_WRITER = "writer"
_SHARDS = "shards"
_LARGEST_MANIFEST = 10**8


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
    def create_or_open(
        cls, path: str | Path, manifest: Manifest, resume: bool = False, allow_mixed: bool = False
    ) -> RunDirectory:
        """Open for writing; locked until the ``with`` block ends.

        Parameters
        ----------
        path : str or Path
        manifest : Manifest
            Of the simulation, with the seeds asked for now.
        resume : bool
            Extend the same simulation if it is there already.
        allow_mixed : bool
            Even if it was begun by other versions or on another kind of machine. Each shard says what made it.

        Raises
        ------
        StoreError
            If the directory holds something else, holds this simulation and `resume` is False, or another writer is at
            work. Then nothing has been touched.
        """
        path = Path(path).absolute()
        _check_may_write(path, manifest, resume, allow_mixed)
        lock = FileLock(path / _LOCK)
        try:
            (path / _SHARDS).mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(f"{_writer(path)} is writing to {path}; wait for it or choose another directory") from None
        except OSError as error:
            raise StoreError(f"cannot write to {path}: {error.strerror}") from error
        try:
            # What was there may have changed before the lock was taken.
            recorded = _check_may_write(path, manifest, resume, allow_mixed)
            wanted = manifest if recorded is None else recorded.with_seeds(manifest.seeds, manifest.until)
            atomic.remove_temporaries(path)
            atomic.remove_temporaries(path / _SHARDS)
            with contextlib.suppress(OSError):  # a courtesy to others
                (path / _WRITER).unlink(missing_ok=True)  # somebody may have made it a link
                (path / _WRITER).write_text(f"process {os.getpid()} on {platform.node()}")
            if wanted != recorded:
                atomic.write(path / _MANIFEST, wanted.to_json().encode())
        except BaseException:
            _release(path, lock)
            raise
        return cls(path, wanted, lock)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock; from now on this is a reader."""
        if self._lock is not None:
            _release(self.path, self._lock)
        self._lock = self._listing = None

    def inspect(self) -> Listing:
        """Check every file among the shards and say which are good; see `inspect_shards`."""
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
            If a file is foreign, or damaged and its runs were not computed again, or two shards hold the same seed.
        """
        listing = self.listing()
        missing = listing.missing(self.manifest.seeds)
        for path, reason in listing.damaged.items():
            low, high = shard.seed_range(path) or (0, -1)
            held = ((low, high + 1),) if self.manifest.until else ()  # not yet noted as asked for
            if within(union(missing, difference(held, listing.seeds)), low, high + 1):
                raise StoreError(reason)
        return sorted(listing.shards, key=lambda good: good.seeds[0])

    def missing(self, seeds: Ranges) -> Ranges:
        """Select those of the seeds that no good shard holds.

        Raises
        ------
        StoreError
            If a file is foreign or two shards hold the same seed; what is damaged counts as missing.
        """
        return self.listing().missing(seeds)

    def add(self, seeds: Ranges, data: bytes) -> Path:
        """Keep a sealed shard, which holds these seeds.

        Raises
        ------
        OSError
            As the system gave it (disk full, ...); what was kept before is safe.
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

    def check_space(self, needed: float) -> None:
        """Refuse to begin what the disk has no room for.

        Raises
        ------
        OSError
            ``ENOSPC``, if fewer bytes than that are free.
        """
        free = shutil.disk_usage(self.path).free
        if needed > free:
            raise OSError(
                errno.ENOSPC,
                f"no space: {free / 1e6:,.1f} MB are free for {self.path}, but about {needed / 1e6:,.1f} MB more are "
                "needed; make room or store less",
            )

    def bytes_on_disk(self) -> int:
        """Sum the sizes of the manifest and the shards."""
        files = [self.path / _MANIFEST, *(self.path / _SHARDS).glob("[!.]*")]
        return sum(file.stat().st_size for file in files)


def _recorded(path: Path) -> Manifest | None:
    """Read the manifest of a directory, if there is one."""
    file = path / _MANIFEST
    try:
        found = file.lstat()  # a link leads elsewhere
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_MANIFEST:
            raise StoreError(f"it is not itself a file of at most {_LARGEST_MANIFEST / 1e6:.0f} MB")
        return Manifest.from_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise StoreError(f"{path} is not a directory; choose another") from None
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}") from error
    except StoreError as error:
        raise StoreError(f"{file}: {error}") from error


def _release(path: Path, lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # it does no harm where it is
        (path / _WRITER).unlink(missing_ok=True)
    lock.release()


def _writer(path: Path) -> str:
    """Who holds the lock."""
    try:
        return f"another process ({(path / _WRITER).read_text()})"
    except (OSError, ValueError):  # it has only just begun, or just ended
        return "another process"


def _check_may_write(path: Path, manifest: Manifest, resume: bool, allow_mixed: bool) -> Manifest | None:
    """Refuse a directory that this simulation may not be written to; else give the manifest that is there."""
    recorded = _recorded(path)
    if recorded is None:
        if path.is_dir():
            _check_empty(path)
        return None
    if recorded.identity == manifest.identity and recorded.kind == manifest.kind and not resume:
        raise StoreError(
            f"{path} holds this simulation already (identity {manifest.identity[:8]}); add --resume (resume=True) to "
            "compute what is missing, or choose another directory"
        )
    _check_same(path, recorded, manifest, allow_mixed)
    return recorded


def _check_same(path: Path, recorded: Manifest, manifest: Manifest, allow_mixed: bool) -> None:
    """Refuse a directory that differs from the simulation in more than the seeds."""
    if recorded.identity != manifest.identity:
        raise StoreError(
            f"{path} holds another simulation (identity {recorded.identity[:8]}, this one is {manifest.identity[:8]}; "
            f"they differ in {', '.join(differences(recorded, manifest))}); choose another directory"
        )
    if recorded.kind != manifest.kind:
        raise StoreError(
            f"{path} holds {recorded.kind} of this simulation, not {manifest.kind}; choose another directory, or "
            f"--keep {recorded.kind} (keep={recorded.kind!r})"
        )
    for name in ("traces", "parameters", "draws", "layout", "versions", "platform"):
        there, now, mixable = getattr(recorded, name), getattr(manifest, name), name in ("versions", "platform")
        if there != now and not (mixable and allow_mixed):
            advice = "; or add --allow-mixed: each shard says what made it, but bits may differ" if mixable else ""
            raise StoreError(
                f"{path} was begun with {name} = {there!r}, this is {now!r}; go on as it was begun, or choose another "
                f"directory{advice}"
            )


def _check_empty(path: Path) -> None:
    """Refuse a directory without manifest that has anything but what a writer leaves if killed before its manifest."""
    ours = (_LOCK, _WRITER, _SHARDS)
    found = [entry for entry in path.iterdir() if entry.name not in ours and not atomic.is_temporary(entry)]
    found += (path / _SHARDS).glob("[!.]*")
    if found:
        raise StoreError(
            f"{path} has no {_MANIFEST}, but it has {found[0].relative_to(path)}; choose an empty or another directory"
        )


def differences(one: Manifest, other: Manifest) -> list[str]:
    """Name what differs in the identities of two simulations."""
    keys = sorted(one.experiment.keys() | other.experiment.keys())
    return [key for key in keys if one.experiment.get(key) != other.experiment.get(key)] + [
        name
        for name in ("lane_width", "x64", "prng", "initial_params_hash")
        if getattr(one, name) != getattr(other, name)
    ]
