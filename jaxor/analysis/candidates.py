"""Which models are compared, and what each of them looks at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxor.analysis.design import Design
from jaxor.analysis.exact import exact_law
from jaxor.analysis.features import ARTICLE, LAYERS
from jaxor.analysis.judgement import Candidate
from jaxor.analysis.laws import Exact, Line, LogLaw, RateForecast, ShiftedLogLaw, SlopeForecast
from jaxor.analysis.published import published
from jaxor.analysis.sound import hist_boosting, sound

FACES = ("law", "published", "sound", "causal")

ROWS = 20_000
"""Rows that costly models learn from at most."""

KERNEL_ROWS = 5_000
"""Rows of the article's kernels, which take the memory of three matrices of rows x rows."""

LINEAR_NUMBERS = 5_000_000
"""Rows times columns that least squares learns from at most."""

CHEAP = ("linear", "log_linear")
"""Least squares."""


def candidates(
    design: Design,
    experiment: Mapping[str, Any],
    *,
    faces: Sequence[str] = FACES,
    random_state: int = 0,
    full: bool = False,
) -> list[Candidate]:
    """All models of some faces, with their columns and limits; `full` lifts the limits."""
    made = {"law": _laws, "published": _published, "sound": _sound, "causal": _causal}
    found = [model for face in faces for model in made[face](design, experiment, random_state)]
    return [Candidate(m.name, m.face, m.estimator, m.columns, None if full else m.limit) for m in found]


def _laws(design: Design, experiment: Mapping[str, Any], _: int) -> Iterator[Candidate]:
    def law(name: str, estimator: BaseEstimator, *columns: str) -> Candidate:
        return Candidate(name, "law", estimator, columns)

    yield law("distance", Line(), "L2")
    yield law("log_distance", LogLaw(), "L2")
    yield law("log_shifted", ShiftedLogLaw(), "L2")
    yield law("rate_forecast", RateForecast(), "L2", "contraction")
    tolerance = experiment["stop"].get("loss")
    if tolerance is not None:
        yield law("loss_slope", SlopeForecast(tolerance), "loss", "decline")
    if "L2 to the minimum" in design.columns:
        yield law("log_to_minimum", LogLaw(), "L2 to the minimum")
    exact = exact_law(experiment)
    if exact is not None:
        yield law("exact", Exact(exact.learning_rate, exact.tolerance), "L2 to the minimum")


def _published(design: Design, _: Any, random_state: int) -> Iterator[Candidate]:
    for name, estimator in published(random_state).items():
        limit = KERNEL_ROWS if name.startswith("kernel") else ROWS
        yield Candidate(name, "published", estimator, design.base, limit)


def _sound(design: Design, _: Any, random_state: int) -> Iterator[Candidate]:
    models = sound(random_state)
    for name, estimator in models.items():
        yield Candidate(name, "sound", estimator, design.base, linear_rows(design.base) if name in CHEAP else ROWS)
    memory = design.family("moment") or design.family("update")
    if memory:
        yield Candidate("hist_boosting_memory", "sound", models["hist_boosting"], (*design.base, *memory), ROWS)


def _causal(design: Design, _: Any, random_state: int) -> Iterator[Candidate]:
    made: list[set[str]] = []
    for name, families in CAUSAL.items():
        columns = design.family(*families)
        if columns and set(columns) not in made:  # wide models have no state, plain descent no moments
            made.append(set(columns))
            yield Candidate(name, "causal", boosting(random_state), columns, ROWS)


CAUSAL = {
    "state": ("state",),
    "state_and_update": ("state", "update"),
    "state_and_moments": ("state", "moment"),
    "losses": ("loss",),
    "state_and_losses": ("state", "loss"),
}
"""What the models look at that use no final parameters."""


def boosting(random_state: int) -> BaseEstimator:
    """A flexible model that needs no scaling and no choices."""
    return hist_boosting(300, random_state)


def ablations(design: Design) -> list[Candidate]:
    """Least squares with all columns of the article, without each family, with each family alone, and of layers."""
    base = design.base
    families = [family for family in (*ARTICLE, *LAYERS) if set(design.family(family)) & set(base)]
    chosen: dict[str, Sequence[str]] = {"all": base}
    for family in families:
        chosen[f"without {family}"] = [name for name in base if design.columns[name].family != family]
        chosen[f"only {family}"] = design.family(family)
    chosen["only L2"] = ("L2",)
    chosen |= {f"only {family}": design.family(family) for family in LAYERS}
    made = {
        name: Candidate(
            name, "sound", make_pipeline(StandardScaler(), LinearRegression()), tuple(columns), linear_rows(columns)
        )
        for name, columns in chosen.items()
        if columns
    }
    return [*made.values(), Candidate("only ln L2", "law", LogLaw(), ("L2",))]


def linear_rows(columns: Sequence[str]) -> int:
    """Rows that least squares learns from at most."""
    return LINEAR_NUMBERS // len(columns)
