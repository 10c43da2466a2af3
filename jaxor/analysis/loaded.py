"""Fits read back from disk, with suspicion: nothing in their files is run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LinearRegression

from jaxor.analysis.conformal import Conformal
from jaxor.analysis.laws import LAWS
from jaxor.analysis.saved import FORMAT, model_file
from jaxor.store.errors import StoreError

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
    table = read_table(path)
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


class Scored(NamedTuple):
    """How good a model of a fit is at forecasts of runs that it has not learned from; None where that is not known."""

    name: str
    causal: bool
    r2: float | None
    low: float | None
    high: float | None
    mae: float | None


class Scores(NamedTuple):
    """What a fit is of, and how good its models are.

    Attributes
    ----------
    identity : str
        Of the simulation.
    runs, runs_in_all : int
        Those that models were judged by, and those that there were.
    models : list of Scored
        The best first.
    """

    identity: str
    runs: int
    runs_in_all: int
    models: list[Scored]


def scores(path: Path) -> Scores:
    """How good the models of a fit are.

    Raises
    ------
    StoreError
        It is not a fit.
    """
    table = read_table(path)
    try:
        rows = table["rows"]
        runs, runs_in_all = int(rows["runs"]) - int(rows["held_out_runs"]), int(rows["runs_in_all"])
        found = [_scored(entry) for entry in table["models"]]
        found.sort(key=lambda one: -math.inf if one.r2 is None else one.r2, reverse=True)
        return Scores(str(table["identity"]), runs, runs_in_all, found)
    except (*_WRONG, ValueError) as error:
        raise _no_fit(path, error) from error


def _scored(entry: Mapping[str, Any]) -> Scored:
    grouped = entry["grouped"]
    numbers = (grouped["r2"], grouped["r2_interval"]["low"], grouped["r2_interval"]["high"], grouped["mae"])
    return Scored(
        f"{entry['face']}/{entry['name']}", bool(entry["causal"]),
        *(None if number is None else float(number) for number in numbers),
    )  # fmt: skip


def read_table(path: Path) -> dict[str, Any]:
    """What a fit's JSON holds.

    Raises
    ------
    StoreError
        It is not there, or not such a one.
    """
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
        return min(causal, key=_badness)
    found = [entry for full, entry in known.items() if model in (full, full.partition("/")[2])]
    if not found:
        raise ValueError(f"{path} keeps no model {model}; it keeps {', '.join(known)}")
    return found[0]


def _badness(entry: Mapping[str, Any]) -> tuple[bool, float]:
    """The error by folds between runs; models that gave no number for some row come after all that did."""
    error = entry["grouped"]["mae"]
    return entry["failure"] is not None, float("inf") if error is None else error


def _estimator(entry: Mapping[str, Any], path: Path) -> Any:
    numbers = entry["learned"]
    if numbers is not None and "law" in numbers:
        return _law(numbers)
    if numbers is not None:
        line = LinearRegression()
        line.coef_ = np.array([float(numbers["coefficients"][name]) for name in entry["columns"]])
        line.intercept_ = float(numbers["intercept"])
        return line
    return _from_file(model_file(path, str(entry["face"]), str(entry["name"])))


def _law(numbers: Mapping[str, Any]) -> Any:
    kind = LAWS[numbers["law"]]
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
