"""The experiment that a command is told to use."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxor.experiments.experiment import Experiment


def named(name: str | None) -> Experiment:
    """By its name in the catalogue, the default if there is no name, or from the user's file."""
    from jaxor.experiments.catalog import DEFAULT, get_experiment
    from jaxor.experiments.load import load_experiment

    if name is None or not name.endswith((".toml", ".py")):
        return get_experiment(name or DEFAULT)
    with contextlib.redirect_stdout(sys.stderr):  # what a Python file prints is no result
        return load_experiment(name)
