"""A candidate, judged: fitted to all runs it may learn from, forecast by folds, scored on runs it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from jaxor.analysis.candidates import CHEAP
from jaxor.analysis.conformal import Conformal
from jaxor.analysis.design import Design
from jaxor.analysis.judgement import (
    Candidate,
    Errors,
    Failed,
    fitted,
    forecast,
    group_folds,
    out_of_fold,
    row_folds,
    whole_runs,
)  # fmt: skip
from jaxor.estimates import Interval

Numbers = NDArray[np.float64]
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]

CALIBRATING = 5
"""One run in so many calibrates intervals, if there are no others to do so."""


@dataclass(frozen=True)
class Score:
    """On runs that a model has not seen: over all their rows, with 95 % intervals from resampling runs."""

    r2: float
    r2_interval: Interval
    mae: float
    mae_interval: Interval

    @classmethod
    def of(cls, errors: Errors, random_state: int) -> Score:
        """Score of forecasts."""
        return cls(errors.r2(), errors.r2_interval(random_state), errors.mae(), errors.mae_interval(random_state))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "r2": self.r2, "r2_interval": self.r2_interval._asdict(),
            "mae": self.mae, "mae_interval": self.mae_interval._asdict(),
        }  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """A fitted model and how good it is.

    Attributes
    ----------
    candidate : Candidate
    estimator : fitted regressor
    causal : bool
        It looks at nothing that is not known while the run is under way.
    rows, fold_rows : int
        That it learned from, and in each fold at most.
    in_sample, by_rows : float
        R2 on the rows it learned from; and by folds cut between rows, as the article claims.
    grouped : Score
        By folds cut between runs.
    held_out : Score or None
    delta_aic : float or None
        To the best of the models that can be counted, on one row a run.
    errors : Errors
        Of the forecasts behind `grouped`.
    predicted : (n,) float64
        Those forecasts, of all rows that are not held out.
    """

    candidate: Candidate
    estimator: Any
    causal: bool
    rows: int
    fold_rows: int
    in_sample: float
    by_rows: float
    grouped: Score
    held_out: Score | None
    delta_aic: float | None
    errors: Errors = field(repr=False)
    predicted: Numbers = field(repr=False)
    conformal: Conformal = field(repr=False)
    coverage: float | None

    @property
    def failure(self) -> str | None:
        """Why it could not be fitted."""
        return self.estimator.reason if isinstance(self.estimator, Failed) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        c = self.candidate
        return {
            "name": c.name, "face": c.face, "columns": list(c.columns), "causal": self.causal, "rows": self.rows,
            "fold_rows": self.fold_rows, "in_sample_r2": self.in_sample, "by_rows_r2": self.by_rows,
            "grouped": self.grouped.to_dict(), "held_out": self.held_out and self.held_out.to_dict(),
            "failure": self.failure, "delta_aic": self.delta_aic, "conformal": self.conformal.to_dict(),
            "coverage": self.coverage,
        }  # fmt: skip


@dataclass(frozen=True)
class Ablation:
    """Least squares with some of the columns: R2 by folds cut between runs, with a 95 % interval."""

    name: str
    columns: int
    r2: float
    interval: Interval
    in_sample: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"interval": self.interval._asdict()}


class Stopped(Exception):
    """Judging was given up."""


class Judge:
    """Judges candidates by the same folds, so that their errors can be compared run by run.

    Once `stopped` is set, as another thread may do, what is being judged is given up before its next fold.

    Parameters
    ----------
    design : Design
    held_out : (n,) bool
        Rows that no model learns from.
    folds : int
    fold_rows : int
        Rows that costly models learn from at most within a fold.
    level : float
        Of conformal intervals.
    random_state : int
    """

    def __init__(
        self, design: Design, held_out: NDArray[np.bool_], *, folds: int, fold_rows: int, level: float,
        random_state: int,
    ) -> None:  # fmt: skip
        self.stopped = Event()
        self.design, self.fold_rows, self.level, self.random_state = design, fold_rows, level, random_state
        self.inside, self.outside = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        rows, inside, state = design.rows, self.inside, random_state
        self.actual, self.groups = rows.remaining[inside], rows.seed[inside]
        self.folds = list(group_folds(self.groups, folds))
        shuffled = np.random.default_rng(state).permutation(len(inside))
        self.one_each = np.sort(shuffled[np.unique(self.groups[shuffled], return_index=True)[1]])

    def judge(self, candidate: Candidate) -> Judged:
        """Fit to all, by folds of rows and by folds of runs."""
        design, state, rows = self.design, self.random_state, self.design.rows
        estimator, some = fitted(candidate, design, self.inside, state)
        in_sample = _score(rows.remaining[some], forecast(estimator, candidate, design, some))
        inner = self._within_folds(candidate)
        sample = whole_runs(self.groups, inner.limit, state)
        cuts = list(row_folds(len(sample), len(self.folds), state))
        by_rows = out_of_fold(inner, design, self.inside[sample], self._unless_stopped(cuts), state)
        predicted = out_of_fold(inner, design, self.inside, self._unless_stopped(self.folds), state)
        errors = Errors(self.actual, predicted, self.groups)
        conformal = Conformal.calibrate(*self._unseen(candidate, inner, estimator, some, predicted), self.level)
        held, coverage = None, None
        if len(self.outside):
            guess = forecast(estimator, candidate, design, self.outside)
            truth, runs = rows.remaining[self.outside], rows.seed[self.outside]
            held, coverage = Score.of(Errors(truth, guess, runs), state), conformal.coverage(guess, truth, runs)
        return Judged(
            candidate=candidate, estimator=estimator, causal=design.causal(candidate.columns), rows=len(some),
            fold_rows=min(inner.limit or len(self.inside), len(self.inside)), in_sample=in_sample,
            by_rows=_score(self.actual[sample], by_rows), grouped=Score.of(errors, state), held_out=held,
            delta_aic=self._aic(candidate, estimator), errors=errors, predicted=predicted, conformal=conformal,
            coverage=coverage,
        )  # fmt: skip

    def ablate(self, candidate: Candidate) -> Ablation:
        """Fit to all, and by folds of runs."""
        state = self.random_state
        estimator, some = fitted(candidate, self.design, self.inside, state)
        in_sample = _score(self.design.rows.remaining[some], forecast(estimator, candidate, self.design, some))
        folds = self._unless_stopped(self.folds)
        errors = Errors(self.actual, out_of_fold(candidate, self.design, self.inside, folds, state), self.groups)
        return Ablation(candidate.name, len(candidate.columns), errors.r2(), errors.r2_interval(state), in_sample)

    def _unless_stopped(self, folds: Iterable[Fold]) -> Iterator[Fold]:
        for fold in folds:
            if self.stopped.is_set():
                raise Stopped
            yield fold

    def _within_folds(self, candidate: Candidate) -> Candidate:
        """The candidate with what it may learn from in a fold."""
        limit = candidate.limit
        if limit is None or (candidate.face == "sound" and candidate.name in CHEAP):
            return candidate
        return replace(candidate, limit=min(limit, self.fold_rows))

    def _unseen(
        self, candidate: Candidate, inner: Candidate, estimator: Any, some: NDArray[np.intp], predicted: Numbers
    ) -> tuple[Numbers, Numbers, NDArray[Any]]:
        """Forecasts of runs not learned from, with what came and the runs, to calibrate intervals of the kept model.

        Those by folds will do only if folds learn from as many rows: models of fewer err more, and intervals would be
        too wide. Otherwise the kept model is asked, about runs that its limit left out, or where these are few, one of
        as many rows less a fifth of the runs.
        """
        if inner.limit == candidate.limit or inner.limit is None or inner.limit >= len(self.inside):
            return predicted, self.actual, self.groups
        left = np.flatnonzero(~np.isin(self.groups, self.design.rows.seed[some]))
        runs = len(self.one_each)
        if len(np.unique(self.groups[left])) < runs / CALIBRATING:
            train, left = next(group_folds(self.groups, min(CALIBRATING, runs)))
            estimator, _ = fitted(candidate, self.design, self.inside[train], self.random_state)
        return forecast(estimator, candidate, self.design, self.inside[left]), self.actual[left], self.groups[left]

    def _aic(self, candidate: Candidate, estimator: Any) -> float | None:
        """Akaike's criterion n ln(mean squared error) + 2 k on one row a run; None if there is no k, or no error.

        Rows of one run are not independent, so on all rows the criterion would mean nothing. The estimator, fitted to
        all of them, says how many parameters there are.
        """
        freedom, index = None if candidate.face == "published" else _freedom(estimator), self.inside[self.one_each]
        if freedom is None or len(index) <= freedom + 1:
            return None
        estimator, some = fitted(replace(candidate, limit=None), self.design, index, self.random_state)
        error = self.design.rows.remaining[some] - forecast(estimator, candidate, self.design, some)
        squares = float(np.mean(error**2))
        return len(some) * float(np.log(squares)) + 2 * freedom if squares > 0 else None


def _score(actual: Numbers, predicted: Numbers) -> float:
    spread = float(np.square(actual - actual.mean()).sum())
    return 1 - float(np.square(actual - predicted).sum()) / spread if spread else float("nan")


def _freedom(estimator: Any) -> int | None:
    """Numbers that were learned, the variance of the residuals included."""
    last: Any = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    if hasattr(last, "freedom"):
        return last.freedom + 1
    if not hasattr(last, "coef_") and hasattr(last, "best_estimator_"):
        last = last.best_estimator_
    return int(np.size(last.coef_)) + 2 if hasattr(last, "coef_") else None


def with_delta_aic(models: Sequence[Judged]) -> list[Judged]:
    """The same, with information criteria relative to the best."""
    known = [model.delta_aic for model in models if model.delta_aic is not None]
    best = min(known, default=0.0)
    return [model if model.delta_aic is None else replace(model, delta_aic=model.delta_aic - best) for model in models]
