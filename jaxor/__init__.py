"""Train thousands to billions of seeds of small networks at once, keep their traces, answer with statistics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxor.analysis.fit import fit_run as fit_run
    from jaxor.analysis.measure import measure_run as measure_run
    from jaxor.analysis.measure import replay_run as replay_run
    from jaxor.engine.geometry import Geometry as Geometry
    from jaxor.engine.status import Status as Status
    from jaxor.experiments.catalog import get_experiment as get_experiment
    from jaxor.experiments.catalog import list_experiments as list_experiments
    from jaxor.experiments.experiment import Experiment as Experiment
    from jaxor.experiments.load import load_experiment as load_experiment
    from jaxor.experiments.model import Model as Model
    from jaxor.experiments.registry import ExperimentError as ExperimentError
    from jaxor.experiments.task import Task as Task
    from jaxor.simulation import simulate as simulate
    from jaxor.store.errors import StoreError as StoreError
    from jaxor.store.errors import TraceNotStored as TraceNotStored
    from jaxor.store.export import export_run as export_run
    from jaxor.store.merge import merge_runs as merge_runs
    from jaxor.store.population import Population as Population
    from jaxor.store.run import Run as Run
    from jaxor.store.run import open_run as open_run
    from jaxor.store.verify import verify_run as verify_run

# Names are looked up when first used, so that `import jaxor` does not import JAX.
_HOMES = {
    "Experiment": "jaxor.experiments.experiment",
    "ExperimentError": "jaxor.experiments.registry",
    "Geometry": "jaxor.engine.geometry",
    "Model": "jaxor.experiments.model",
    "Population": "jaxor.store.population",
    "Run": "jaxor.store.run",
    "Status": "jaxor.engine.status",
    "StoreError": "jaxor.store.errors",
    "Task": "jaxor.experiments.task",
    "TraceNotStored": "jaxor.store.errors",
    "export_run": "jaxor.store.export",
    "fit_run": "jaxor.analysis.fit",
    "get_experiment": "jaxor.experiments.catalog",
    "list_experiments": "jaxor.experiments.catalog",
    "load_experiment": "jaxor.experiments.load",
    "measure_run": "jaxor.analysis.measure",
    "merge_runs": "jaxor.store.merge",
    "open_run": "jaxor.store.run",
    "replay_run": "jaxor.analysis.measure",
    "simulate": "jaxor.simulation",
    "verify_run": "jaxor.store.verify",
}

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxor' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
