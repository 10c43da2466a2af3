"""Fits on disk: what was learned as JSON, and the models themselves without a line of code in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import jaxor
from jaxor.analysis import laws
from jaxor.analysis.conformal import Conformal
from jaxor.analysis.fit import Fit
from jaxor.analysis.judge import Judged
from jaxor.store.derived import derived, keep
from jaxor.store.errors import StoreError

FORMAT = 1
"""Version of the JSON; described in docs/convergence.md."""

MAX_BYTES = 50_000_000
"""Of a file that is read."""

TRUSTED = (
    "jaxor.analysis.networks.Network",
    "jaxor.analysis.sound.Landmarks",
    "jaxor.analysis.sound.LogLinear",
    "jaxor.analysis.sound.Powers",
    "jaxor.analysis.sound.WholeRuns",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._regression.mean_squared_error",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.tree._tree.Tree",
)
"""All that a model file may hold besides what skops itself trusts: nothing that runs when it is loaded."""

_LAWS = {
    kind.__name__: kind
    for kind in (laws.Line, laws.LogLaw, laws.ShiftedLogLaw, laws.RateForecast, laws.SlopeForecast, laws.Exact)
}


@dataclass(frozen=True)
class Saved:
    """A model that was read back.

    Attributes
    ----------
    name, face : str
    columns : tuple of str
        That it looks at.
    causal : bool
    reference : str
        What distances were measured to.
    conformal : Conformal
    estimator : fitted regressor
    identity : str
        Of the simulation that it was learned from.
    """

    name: str
    face: str
    columns: tuple[str, ...]
    causal: bool
    reference: str
    conformal: Conformal
    estimator: Any
    identity: str


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
        "slopes": asdict(fit.slopes) | {"intervals": {k: v._asdict() for k, v in fit.slopes.intervals.items()}},
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
    if type(estimator).__name__ in _LAWS:
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
    models = {_model_file(path, m.candidate.face, m.candidate.name): m.estimator for m in fit.models if _in_a_file(m)}
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


def load(path: str | Path, model: str | None = None) -> Saved:
    """Read one model of a fit back; no code comes from its files.

    Parameters
    ----------
    path : str or Path
        The fit's JSON.
    model : str, optional
        A name, or ``face/name``; the best of the causal ones if left out, else the best of all.

    Raises
    ------
    StoreError
        The files are no fit, of a newer format, or hold what is not trusted.
    ValueError
        There is no such model, or it was not kept.
    ImportError
        It takes skops to read and skops is not installed.
    """
    path = Path(path)
    table = _read(path)
    try:
        entry = _choose(table["models"], model, path)
        if entry["failure"] is not None:
            raise ValueError(f"{entry['face']}/{entry['name']} could not be fitted: {entry['failure']!s:.200}")
    except _WRONG as error:
        raise _no_fit(path, error) from error
    try:
        return _saved(table, entry, path)
    except (*_WRONG, ValueError) as error:
        raise _no_fit(path, error) from error


_WRONG = (LookupError, TypeError, AttributeError, OverflowError)
"""What comes of JSON that is other than expected."""


def _no_fit(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} is not a fit of jaxor: {error!r:.80}")


def _saved(table: Mapping[str, Any], entry: Mapping[str, Any], path: Path) -> Saved:
    columns, estimator = tuple(map(str, entry["columns"])), _estimator(entry, path)
    try:
        estimator.predict(np.ones((1, len(columns))))
    except Exception as error:  # whatever is missing, or does not fit together
        raise _no_fit(path, error) from error
    return Saved(
        name=str(entry["name"]), face=str(entry["face"]), columns=columns, causal=bool(entry["causal"]),
        reference=str(table["settings"]["reference"]), conformal=Conformal.from_dict(entry["conformal"]),
        estimator=estimator, identity=str(table["identity"]),
    )  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise StoreError(f"{path} is not a file")
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{path} is larger than a fit can be")
        table = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(f"there is no fit {path}; make one with: jaxor fit DIR --name {path.stem}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not JSON: {error!s:.80}") from error
    if (
        not isinstance(table, dict)
        or not isinstance(table.get("jaxor_fit"), int)
        or not isinstance(table.get("models"), list)
    ):
        raise StoreError(f"{path} is not a fit of jaxor")
    if table["jaxor_fit"] > FORMAT:
        raise StoreError(f"{path} is of format {table['jaxor_fit']}, newer than {FORMAT}; install a newer jaxor")
    return table


def _choose(models: list[Any], model: str | None, path: Path) -> Mapping[str, Any]:
    known = {f"{entry['face']}/{entry['name']}": entry for entry in models if entry["face"] != "published"}
    if not known:
        raise ValueError(
            f"{path} keeps no models, since the article's own procedures are only there to be compared with"
        )
    if model is None:
        causal = [entry for entry in known.values() if entry["causal"]] or [*known.values()]
        return min(causal, key=lambda entry: (entry["failure"] is not None, entry["grouped"]["mae"] or 0.0))
    found = [entry for full, entry in known.items() if model in (full, full.partition("/")[2])]
    if not found:
        raise ValueError(f"{path} keeps no model {model}; it keeps {', '.join(known)}")
    return found[0]


def _estimator(entry: Mapping[str, Any], path: Path) -> Any:
    numbers = entry["learned"]
    if numbers is not None and "law" in numbers:
        return _law(numbers)
    if numbers is not None:
        line = LinearRegression()
        line.coef_ = np.array([float(numbers["coefficients"][name]) for name in entry["columns"]])
        line.intercept_ = float(numbers["intercept"])
        return line
    return _from_file(_model_file(path, str(entry["face"]), str(entry["name"])))


def _law(numbers: Mapping[str, Any]) -> Any:
    kind = _LAWS[numbers["law"]]
    law = kind(**{name: float(numbers[name]) for name in kind().get_params()})
    for name, value in numbers.items():
        if name.endswith("_") and not name.startswith("_"):
            setattr(law, name, float(value))
    return law


def _from_file(path: Path) -> Any:
    try:
        from skops import io
    except ImportError as error:
        raise ImportError(
            "this model is in a file of skops; install it with: pip install 'jaxor[models]', or choose a law, such as: "
            "--model log_shifted"
        ) from error
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is not there; make it with skops installed (pip install 'jaxor[models]') and: jaxor fit; or "
            "choose a law, such as: --model log_shifted"
        ) from error
    try:
        foreign = sorted({*io.get_untrusted_types(data=data)} - {*TRUSTED})
        if foreign:
            raise StoreError(
                f"{path} holds {', '.join(foreign)[:200]}, which no model of jaxor does; it was not loaded"
            )
        return io.loads(data, trusted=list(TRUSTED))
    except StoreError:
        raise
    except Exception as error:  # whatever a crafted file makes of skops
        raise StoreError(f"{path} is not a model of jaxor: {type(error).__name__}: {error!s:.80}") from error


def _model_file(path: Path, face: str, name: str) -> Path:
    return path.with_name(f"{path.stem}-{face}-{name}.skops")


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
