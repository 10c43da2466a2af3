"""What jaxor runs on here, for reports of bugs.

Nothing but JAX and h5py is imported, and these may fail: that one of them does may be the bug.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

import jaxor
from jaxor.machine import cores, processor

PACKAGES = (
    "jax", "jaxlib", "optax", "numpy", "scipy", "scikit-learn", "threadpoolctl", "h5py", "click", "tomli-w", "tqdm",
    "filelock",
)  # fmt: skip
"""Those that jaxor needs."""

EXTRAS = {
    "xarray": ("xarray", "h5netcdf"), "plot": ("matplotlib",), "survival": ("lifelines",), "parquet": ("pyarrow",),
    "models": ("skops",), "cluster": ("dask", "distributed"), "cuda": ("jax-cuda13-plugin",),
}  # fmt: skip
"""Packages of each extra for users."""

VARIABLES = ("CUDA_", "HDF5_", "JAX_", "JAXOR_", "MKL_", "NVIDIA_", "OMP_", "OPENBLAS_", "XLA_")
"""Beginnings of the names of environment variables that change what jaxor and its packages do."""


def described() -> dict[str, Any]:
    """Versions, machine, extras and settings, as plain values for JSON."""
    return {
        "jaxor": jaxor.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "processor": processor(),
        "cores": {"usable": len(cores()), "all": os.cpu_count()},
        "memory_bytes": _memory(),
        "disk_free_bytes": shutil.disk_usage(Path()).free,
        "packages": {name: _version(name) for name in PACKAGES},
        "hdf5": _hdf5(),
        "jax": _jax(),
        "extras": {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()},
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
    }


def described_text(found: dict[str, Any]) -> str:
    """The same for people, to be pasted."""
    jax, cores, memory = found["jax"], found["cores"], found["memory_bytes"]
    rows = [
        ("jaxor", found["jaxor"]),
        ("python", found["python"]),
        ("system", found["system"]),
        ("processor", f"{found['processor']}, {cores['usable']} of {cores['all']} cores"),
        ("memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB"),
        ("disk", f"{found['disk_free_bytes'] / 2**30:.1f} GiB free in the current directory"),
        ("packages", _listed(found["packages"])),
        ("HDF5", found["hdf5"]),
        ("JAX", jax["error"] if "error" in jax else _jax_text(jax)),
        *((f"[{extra}]", _listed(packages)) for extra, packages in found["extras"].items()),
        *(found["environment"].items() or [("environment", "no variables of JAX, XLA, CUDA, OpenMP, BLAS or HDF5")]),
    ]
    text = click.HelpFormatter(width=80)
    text.write_dl(rows, col_max=12)
    return text.getvalue().rstrip()


def _listed(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {number or 'is missing'}" for name, number in packages.items())


def _jax_text(jax: dict[str, Any]) -> str:
    devices = ", ".join(f"{number} x {kind}" for kind, number in jax["devices"].items())
    return f"backend {jax['backend']}, devices {devices}, float64 by default: {'yes' if jax['x64'] else 'no'}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _jax() -> dict[str, Any]:
    """What JAX finds, or why it cannot be asked."""
    try:
        import jax

        devices = Counter(device.device_kind for device in jax.devices())
        return {"backend": jax.default_backend(), "devices": devices, "x64": jax.config.values["jax_enable_x64"]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _hdf5() -> str:
    """Version of the library within h5py, or why it cannot be asked."""
    try:
        import h5py

        return h5py.version.hdf5_version
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _memory() -> int | None:
    """Of the machine, in bytes; None where the system does not tell."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
