"""Fits put on disk: what was learned as JSON, and the models themselves without a line of code in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import jaxor
from jaxor.analysis.fit import Fit
from jaxor.analysis.judge import Judged
from jaxor.analysis.laws import LAWS
from jaxor.store.derived import derived, keep

FORMAT = 1
"""Version of the JSON; described in docs/convergence.md."""


def to_dict(fit: Fit) -> dict[str, Any]:
    """Everything that was learned but the models that have no closed form, in plain values for JSON."""
    rows, manifest = fit.rows, fit.run.manifest
    table = {
        "jaxor_fit": FORMAT,
        "experiment": manifest.experiment["name"],
        "identity": manifest.identity,
        "versions": {**_versions(), "simulated_with": manifest.versions},
        "settings": asdict(fit.settings),
        "rows": {
            "rows": len(rows), "runs": len(np.unique(rows.seed)),
            "held_out_runs": len(np.unique(rows.seed[fit.held_out])),
            "runs_in_all": len(fit.run), "range_of_distance": fit.range_of_distance,
        },
        "features": [column._asdict() for column in fit.columns],
        "models": [_model(judged) for judged in fit.models],
        "verdicts": [verdict.to_dict() for verdict in fit.verdicts],
        "ablations": [ablation.to_dict() for ablation in fit.ablations],
        "importances": [asdict(importance) for importance in fit.importances],
        "slopes": fit.slopes.to_dict(),
        "speed": fit.speed and fit.speed.to_dict(),
        "regions": fit.regions and fit.regions.to_dict(),
        "censoring": fit.censoring.to_dict(),
        "survival": {"failure": fit.survival} if isinstance(fit.survival, str) else fit.survival.to_dict(),
    }  # fmt: skip
    return _finite(table)


def _versions() -> dict[str, str]:
    import scipy
    import sklearn

    return {
        "jaxor": jaxor.__version__,
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
        "numpy": np.__version__,
    }


def _model(judged: Judged) -> dict[str, Any]:
    return judged.to_dict() | {"learned": learned(judged.estimator, judged.candidate.columns)}


def learned(estimator: Any, columns: tuple[str, ...]) -> dict[str, Any] | None:
    """The numbers of a law, or the coefficients of least squares by column; None for models without a closed form."""
    if type(estimator).__name__ in LAWS:
        found = {
            name: float(value) for name, value in vars(estimator).items() if name.endswith("_") and np.ndim(value) == 0
        }
        return {"law": type(estimator).__name__} | estimator.get_params() | found
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
    if [*map(type, steps)] == [StandardScaler, LinearRegression]:
        scaler, line = steps
        slopes = line.coef_ / scaler.scale_
        intercept = float(line.intercept_ - slopes @ scaler.mean_)
        return {"intercept": intercept, "coefficients": dict(zip(columns, slopes.tolist(), strict=True))}
    return None


def save(fit: Fit, run_dir: str | Path, name: str = "default") -> list[Path]:
    """Keep a fit beside its runs; laws are in the JSON, other models in files of their own if skops is installed.

    The article's own procedures are not kept: they are there to be compared with. The JSON goes first and comes last,
    so that it never tells of models of another fit, even if this is interrupted.

    Returns
    -------
    list of Path
        What was written, the JSON first.
    """
    path = derived(run_dir, "fits", f"{name}.json")
    table = json.dumps(to_dict(fit), indent=1, allow_nan=False).encode()
    models = {model_file(path, m.candidate.face, m.candidate.name): m.estimator for m in fit.models if _in_a_file(m)}
    data = _dumped(models)
    for old in (path, *models):
        old.unlink(missing_ok=True)
    for file, content in data.items():
        keep(file, content)
    keep(path, table)
    return [path, *data]


def _in_a_file(model: Judged) -> bool:
    """Whether a model is kept, and not as numbers in the JSON."""
    kept = model.candidate.face != "published" and not model.failure
    return kept and learned(model.estimator, model.candidate.columns) is None


def _dumped(models: Mapping[Path, Any]) -> dict[Path, bytes]:
    """What the files of models hold; nothing without skops."""
    try:
        from skops import io
    except ImportError:
        return {}
    return {path: io.dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=1) for path, model in models.items()}


def model_file(path: Path, face: str, name: str) -> Path:
    """Where a model of a fit is that is not in its JSON."""
    return path.with_name(f"{path.stem}-{face}-{name}.skops")


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
