"""Experiments from the user's own files."""

from __future__ import annotations

import hashlib
import runpy
from dataclasses import replace
from pathlib import Path

from jaxor.experiments.experiment import Experiment, Source
from jaxor.experiments.registry import ExperimentError


def load_experiment(path: str | Path) -> Experiment:
    """Read an experiment from a TOML file, or from a Python file that defines exactly one.

    A Python file is run. Only files that the user names are; never one that a stored run names.

    Parameters
    ----------
    path : str or Path
        ``.toml`` or ``.py``.

    Raises
    ------
    ExperimentError
        No such file, not readable, or no (or more than one) experiment in it.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExperimentError(f"cannot read the experiment {path}: {error.strerror}") from error
    if path.suffix == ".py":
        return _from_python(path, data)
    if path.suffix != ".toml":
        raise ExperimentError(f"an experiment file ends in .toml or .py, got {path}")
    try:
        return Experiment.from_toml(data.decode())
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path} is not a text file in UTF-8") from error
    except ExperimentError as error:
        raise ExperimentError(f"{path}: {error}") from error


def _from_python(path: Path, data: bytes) -> Experiment:
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ExperimentError(f"{path} failed with {type(error).__name__}: {error}") from error
    found = {id(value): value for value in names.values() if isinstance(value, Experiment)}
    if len(found) != 1:
        named = ", ".join(name for name, value in names.items() if isinstance(value, Experiment))
        raise ExperimentError(f"{path} must define exactly one Experiment, found {len(found)}{named and ': ' + named}")
    return replace(*found.values(), source=Source(path.name, hashlib.sha256(data).hexdigest()))
