"""Where results go, and on what machine they were measured."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def write(name: str, content: dict[str, Any]) -> Path:
    """Write a bench's JSON."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    target.write_text(json.dumps(content, indent=1) + "\n")
    return target


def machine() -> dict[str, Any]:
    """Processor, versions and revision."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    cpu = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": len(cpu),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("jaxor", "jax", "jaxlib", "optax", "numpy", "torch", "numba")},
        "revision": git.stdout.strip(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
