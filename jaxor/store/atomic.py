"""Files that are whole or not there at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\..+\.[0-9]+\.tmp")


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path`, replacing what was there; after a crash the old or the new file is there, never a part.

    This is the only way in which a file gets into a run directory.

    Parameters
    ----------
    path : Path
        In an existing directory.
    data : bytes

    Raises
    ------
    OSError
        As the system gave it (``ENOSPC``, ``EACCES``, ...); nothing is left behind.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file, for writing and reading, that takes the place of `path` if the block succeeds."""
    # In the same directory, since a rename is atomic only within a file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if not (isinstance(error, FileExistsError) and error.filename == str(temporary)):  # that one is not ours
            temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def remove_temporaries(directory: Path) -> None:
    """Delete what killed writers left in a directory that the caller has locked."""
    for path in directory.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of an unfinished one of ours.

    Examples
    --------
    >>> is_temporary(Path(".manifest.json.4711.tmp")), is_temporary(Path("notes.tmp"))
    (True, False)
    """
    return _TEMPORARY.fullmatch(path.name) is not None


def _sync_directory(directory: Path) -> None:
    """Make the rename itself survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
