"""Where results go, and on what machine they were measured."""

from __future__ import annotations

import functools
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jaxor", "jax", "jaxlib", "optax", "numpy", "scikit-learn", "h5py", "torch", "numba")

_GPU = "import jax; print(jax.devices('gpu')[0].device_kind)"


def publish(name: str, content: dict[str, Any]) -> None:
    """Write a bench's JSON, and its figure if that can be drawn here."""
    print(f"written to {write(name, content)}")
    try:
        from bench import figures
    except ModuleNotFoundError as error:
        print(f"no figure, {error.name} is not installed")
    else:
        print(f"drawn in {figures.draw(name, content, RESULTS / f'{name}.svg')}")


def write(name: str, content: dict[str, Any]) -> Path:
    """Write a bench's JSON."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    target.write_text(json.dumps(content, indent=1) + "\n")
    return target


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Spread of ratios turn by turn, as far as both took turns; slow spells of the machine change them little."""
    return spread([a / b for a, b in zip(above, below, strict=False)])


def text(values: dict[str, float], scale: float = 1.0) -> str:
    """A spread in so many units, for a table."""
    median, low, high = (f"{float(f'{values[name] * scale:.3g}'):,g}" for name in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def machine() -> dict[str, Any]:
    """Processor, GPU, versions and revision."""
    cpu = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": len(cpu),
        "gpu": gpu(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "revision": _git("describe", "--always") + "-changed" * bool(_git("status", "--porcelain", ":!bench/results")),
    }


def _git(*arguments: str) -> str:
    """What git says; nothing where there is no repository."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


@functools.cache
def gpu() -> str | None:
    """The GPU that JAX finds; it is asked in another process, since it would take the GPU's memory in this one."""
    found = subprocess.run([sys.executable, "-c", _GPU], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
