"""What is learned from runs, kept beside them in `derived/`."""

from __future__ import annotations

import re
from pathlib import Path

from jaxor.store import atomic
from jaxor.store.errors import StoreError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def derived(run_dir: str | Path, *names: str) -> Path:
    """Where something derived from a run directory is: `derived/<names>`.

    Parameters
    ----------
    run_dir : str or Path
    *names : str
        Such as ``fits`` and the name of a fit. Letters, digits, ``.``, ``_`` and ``-``, at most 64.

    Raises
    ------
    ValueError
        Another name.
    StoreError
        It is a link, or lies in one.

    Examples
    --------
    >>> derived("outputs/a", "fits", "default").as_posix()
    'outputs/a/derived/fits/default'
    """
    path = Path(run_dir) / "derived"
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"a name has letters, digits, '.', '_' and '-', at most 64, got {name!r:.80}")
        _check_no_link(path)
        path /= name
    _check_no_link(path)
    return path


def _check_no_link(path: Path) -> None:
    """A link leads to what is not the run directory's own: not to be shown, nor to be overwritten."""
    if path.is_symlink():
        raise StoreError(f"{path} is a link, which a run directory must not hold; remove it")


def keep(path: Path, data: bytes) -> None:
    """Write a derived file as a whole or not at all, in place of an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, data)
