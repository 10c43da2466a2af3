"""``--cache DIR``: compiled programs kept for the next time."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path


def keep_compiled(folder: Path) -> None:
    """Have JAX keep what it compiles, in this process and in its workers; to be called before JAX is imported.

    Each jaxlib and each kind of processor gets a folder of its own: a program compiled for another one may end the
    process (seen by others when they shared a cache).
    """
    own = folder.absolute() / f"jaxlib-{version('jaxlib')}-{_processor()}"
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": os.fspath(own),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    # Up to 0.10.0 at least, XLA says of every program it loads that it was compiled on another machine and may crash.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _processor() -> str:
    """A short name for what compiled programs may depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    known = [platform.machine(), platform.processor()]
    if cpuinfo.exists():
        first = cpuinfo.read_text().split("\n\n")[0].splitlines()
        known += [line for line in first if line.startswith(("model", "stepping", "flags", "Features", "CPU"))]
    return f"{platform.machine()}-{hashlib.sha256(repr(known).encode()).hexdigest()[:12]}"
