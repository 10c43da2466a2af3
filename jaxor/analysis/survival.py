"""Models of how long runs take, by what they start from, with those that did not converge as censored."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.censoring import times_and_events

Floats = NDArray[np.float64]

UNDETERMINED = (
    "the fit did not converge or left coefficients undetermined, so it is left out; features that nearly follow from "
    "one another, order the epochs without error, or tell converged from censored runs without error do this"
)
# Of a logarithm of time or rate, per standard deviation: a factor of e either way, where there is no clear effect.
_LARGEST_ERROR = 1.0
# Part of a column that the columns before it leave over; parameters are float32.
_DEPENDENT = 1e-6


class Feature(NamedTuple):
    """A feature with the mean and standard deviation, over the fitted runs, by which it was standardised."""

    name: str
    mean: float
    scale: float


class Coefficient(NamedTuple):
    """Estimate with its 95 % interval, and Wald's p value against 0."""

    name: str
    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class SurvivalModel:
    """One fitted model, or why there is none.

    Attributes
    ----------
    name : str
        ``weibull_aft``, ``lognormal_aft`` or ``cox``.
    failure : str or None
        Why the fit was of no use; then there are no coefficients, and all figures are None.
    coefficients : tuple of Coefficient
        For each feature, per standard deviation. Accelerated failure time: the logarithm of the factor by which the
        epochs grow. Cox: the logarithm of the factor by which the rate of converging grows, so that more is sooner.
    baseline : tuple of Coefficient
        Intercept and logarithm of the shape; Cox has none.
    log_likelihood, aic : float or None
        Per epoch as if time were continuous. Of Cox partial, so not to be compared with those of the others.
    concordance : float or None
        Share of pairs of held-out runs that the model puts in order; None also if no two of them can be compared.
    """

    name: str
    failure: str | None = None
    coefficients: tuple[Coefficient, ...] = ()
    baseline: tuple[Coefficient, ...] = ()
    log_likelihood: float | None = None
    aic: float | None = None
    concordance: float | None = None


@dataclass(frozen=True)
class SurvivalModels:
    """Models of epochs by features, and the runs they are from.

    Attributes
    ----------
    runs : int
        All that were given.
    without_epochs : int
        Left out, since a time of 0 has no logarithm.
    fitted, held_out : int
        Runs the models were fitted to, and runs they were scored on.
    converged : int
        Of the fitted ones; all others are censored.
    features : tuple of Feature
    left_out : dict of str to str
        Features that are in no model, and why.
    models : tuple of SurvivalModel
    """

    runs: int
    without_epochs: int
    fitted: int
    held_out: int
    converged: int
    features: tuple[Feature, ...]
    left_out: dict[str, str]
    models: tuple[SurvivalModel, ...]

    @property
    def note(self) -> str:
        """Which runs the figures are over and what they presume, in a few sentences."""
        none = f"; {self.without_epochs:,} without an epoch are left out" if self.without_epochs else ""
        censored = self.fitted - self.converged
        ended = f"of which {censored:,} are censored" if censored else "all converged"
        note = (
            f"Fitted to {self.fitted:,} of {self.runs:,} runs, {ended}; concordance over {self.held_out:,} held-out "
            f"runs{none}."
        )
        if not censored:
            return note
        return f"{note} All models presume that censored runs would converge in the end; those at a plateau would not."

    def to_dict(self) -> dict[str, Any]:
        """Plain tables for JSON."""
        table = asdict(self) | {"features": [feature._asdict() for feature in self.features], "note": self.note}
        for model in table["models"]:
            for part in ("coefficients", "baseline"):
                model[part] = [coefficient._asdict() for coefficient in model[part]]
        return table


def survival_models(
    epochs: ArrayLike,
    converged: ArrayLike,
    features: ArrayLike,
    names: Sequence[str],
    *,
    limit: int | None = 20_000,
    random_state: int = 0,
) -> SurvivalModels:
    """Fit Weibull and log-normal models of accelerated failure time, and Cox's, to epochs by features.

    A fifth of the runs is held out for the concordance. Features are standardised over the others; those that are
    constant there, or follow linearly from features before them, are left out.

    Parameters
    ----------
    epochs : (n,) array_like of int
        Until a run converged, or until it was censored.
    converged : (n,) array_like of bool
        All others are censored.
    features : (n, F) array_like of float
        What is known of each run before it starts.
    names : sequence of F str
    limit : int or None
        Take so many runs at most, drawn at random; None for all.
    random_state : int
        For drawing and holding out runs; fixes the result.

    Raises
    ------
    ImportError
        lifelines is not installed.
    ValueError
        The numbers are impossible, or too few of the runs converged, or all took equally long, or no feature varies.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> distance = rng.uniform(1, 3, 1000)
    >>> epochs = np.ceil(100 * distance**2 * rng.weibull(5, 1000)).astype(int)
    >>> found = survival_models(np.minimum(epochs, 600), epochs <= 600, np.log(distance)[:, None], ["ln distance"])
    >>> weibull = found.models[0]
    >>> round(weibull.coefficients[0].value / found.features[0].scale, 1)
    2.0
    """
    try:
        import lifelines  # noqa: F401
    except ImportError as error:
        raise ImportError("survival models need lifelines; install it with: pip install 'jaxor[survival]'") from error
    times, event, table = _checked(epochs, converged, features, names)
    started = np.flatnonzero(times)
    drawn = np.random.default_rng(random_state).permutation(started)[:limit]
    held_out, fitted = np.split(drawn, [len(drawn) // 5])
    used, left_out = _distinct(table[fitted], names)
    _check_enough(times[fitted], event[fitted], used)
    columns = [list(names).index(feature.name) for feature in used]
    scaled = (table[:, columns] - [feature.mean for feature in used]) / [feature.scale for feature in used]
    parts = (_Runs(times[part], event[part], scaled[part]) for part in (fitted, held_out))
    return SurvivalModels(
        runs=len(times),
        without_epochs=len(times) - len(started),
        fitted=len(fitted),
        held_out=len(held_out),
        converged=int(event[fitted].sum()),
        features=used,
        left_out=left_out,
        models=tuple(_models(*parts, names=[feature.name for feature in used])),
    )


class _Runs(NamedTuple):
    """Epochs, whether they ended in convergence, and standardised features."""

    times: Floats
    event: NDArray[np.bool_]
    features: Floats


def _checked(
    epochs: ArrayLike, converged: ArrayLike, features: ArrayLike, names: Sequence[str]
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    times, event = times_and_events(epochs, converged)
    table = np.asarray(features, np.float64)
    if table.shape != (len(times), len(names)) or len(set(names)) != len(names):
        raise ValueError(
            f"features must be a row for each of the {len(times):,} runs and a column for each of {len(names)} "
            f"different names, got shape {table.shape} and the names {', '.join(names)}"
        )
    if not np.isfinite(table).all():
        bad = ", ".join(np.array(names)[~np.isfinite(table).all(axis=0)])
        raise ValueError(f"features must be finite; these are not for every run: {bad}")
    return times.astype(np.float64), event, table


def _distinct(table: Floats, names: Sequence[str]) -> tuple[tuple[Feature, ...], dict[str, str]]:
    """Features that can be told apart, and why the others cannot."""
    left_out: dict[str, str] = {}
    used: list[Feature] = []
    basis = np.empty((len(table), 0))  # orthonormal, of the columns used so far
    for name, column in zip(names, table.T, strict=True):
        if not len(column) or np.ptp(column) == 0:
            left_out[name] = "constant"
            continue
        mean, scale = float(column.mean()), float(column.std())
        unit = (column - mean) / (scale * math.sqrt(len(column)))
        unit -= basis @ (basis.T @ unit)
        if (rest := float(np.linalg.norm(unit))) < _DEPENDENT:
            left_out[name] = "follows linearly from features before it"
            continue
        basis = np.column_stack([basis, unit / rest])
        used.append(Feature(name, mean, scale))
    return tuple(used), left_out


def _check_enough(times: Floats, event: NDArray[np.bool_], used: Sequence[Feature]) -> None:
    """Refuse runs that no model can be fitted to."""
    runs, converged = f"{len(times):,} runs to fit", int(event.sum())
    if not converged:
        raise ValueError(f"none of the {runs} converged; simulate with a higher epoch cap or more seeds")
    if np.ptp(times) == 0:
        raise ValueError(f"all {runs} ended at epoch {times[0]:.0f}, so there is nothing to explain")
    if not used:
        raise ValueError(f"no feature varies over the {runs}, so none can explain their epochs")
    if converged < len(used) + 3:  # besides the features an intercept, a shape, and something to err by
        raise ValueError(
            f"of the {runs} {converged} converged, too few for {len(used)} features; "
            "simulate more seeds or choose fewer features"
        )


def _models(fitted: _Runs, held_out: _Runs, names: Sequence[str]) -> Iterator[SurvivalModel]:
    from lifelines import CoxPHFitter, LogNormalAFTFitter, WeibullAFTFitter

    fitters = (
        ("weibull_aft", WeibullAFTFitter(), ("intercept", "log shape")),
        ("lognormal_aft", LogNormalAFTFitter(), ("intercept", "log sigma")),
        ("cox", CoxPHFitter(), ()),
    )
    for name, fitter, baseline in fitters:
        if not _fit(fitter, fitted):
            yield SurvivalModel(name, UNDETERMINED)
            continue
        rows = fitter.summary[["coef", "coef lower 95%", "coef upper 95%", "p"]].to_numpy().tolist()
        found = tuple(Coefficient(of, *row) for of, row in zip((*names, *baseline), rows, strict=True))
        coefficients = found[: len(names)]
        longer = held_out.features @ [one.value for one in coefficients]
        yield SurvivalModel(
            name,
            coefficients=coefficients,
            baseline=found[len(names) :],
            log_likelihood=float(fitter.log_likelihood_),
            aic=float(2 * (len(found) - fitter.log_likelihood_)),
            concordance=_concordance(held_out, longer if baseline else -longer),
        )


def _fit(fitter: Any, runs: _Runs) -> bool:
    """Whether it determines all coefficients; without a word on the terminal."""
    import pandas as pd
    from lifelines.exceptions import ApproximationWarning, ConvergenceError, StatError

    labels = [f"x{place:06}" for place in range(runs.features.shape[1])]  # some fitters sort them
    columns = dict(zip(labels, runs.features.T, strict=True))
    frame = pd.DataFrame(columns | {"epochs": runs.times, "converged": runs.event})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            fitter.fit(frame, "epochs", "converged")
        except (ConvergenceError, StatError, np.linalg.LinAlgError):
            return False
    # Errors from a pseudo-inverse look small; that Newton's steps ended elsewhere, only the text of a warning tells.
    if any(one.category is ApproximationWarning or "Newton-Raphson" in str(one.message) for one in said):
        return False
    errors = fitter.standard_errors_
    determined = (errors < _LARGEST_ERROR) | (errors < abs(fitter.params_) / 2)
    return math.isfinite(fitter.log_likelihood_) and bool(determined.all())


def _concordance(runs: _Runs, longer: Floats) -> float | None:
    from lifelines.utils import concordance_index

    try:
        return float(concordance_index(runs.times, longer, runs.event))
    except (ValueError, ZeroDivisionError):  # no runs, or no two of which it is known which takes longer
        return None
