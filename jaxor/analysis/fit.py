"""What determines convergence time: models fitted to the rows of a simulation and judged on runs they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.candidates import FACES, ROWS, ablations, candidates
from jaxor.analysis.censoring import Censoring, censoring
from jaxor.analysis.design import Column, Design
from jaxor.analysis.exact import has_exact_minimum, nearest_minimum
from jaxor.analysis.judge import Ablation, Judge, Judged, with_delta_aic
from jaxor.analysis.judgement import Candidate, fitted, forecast, held_out, whole_runs
from jaxor.analysis.laws import ShiftedLogLaw
from jaxor.analysis.moments import moments
from jaxor.analysis.paths import Regions, Speed, regions, speed
from jaxor.analysis.rows import MAX_ROWS, NoRows, Reference, Rows, Which, rows_of
from jaxor.analysis.slopes import Slopes, slopes
from jaxor.analysis.survival import SurvivalModels, survival_models
from jaxor.analysis.verdicts import Verdict, verdicts
from jaxor.engine.status import Status
from jaxor.machine import cores
from jaxor.store.run import Run

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """How to fit.

    Attributes
    ----------
    reference : {"final", "exact"}
        What distances are measured to.
    initial : bool
        The state before the first step is a row too.
    which : {"converged", "successful"}
        Runs that the rows are made of.
    faces : tuple of str
        Of ``law``, ``published``, ``sound``, ``causal``.
    folds : int
        Of cross-validation.
    held_out : float
        Share of the runs that no model learns from until it is judged; 0 for none.
    fold_rows : int
        Rows that costly models learn from at most within a fold, by default as many as the article had in all. For the
        final fit there are 20,000.
    full : bool
        Lift all limits of rows.
    level : float
        Of conformal intervals.
    random_state : int
    """

    reference: Reference = "final"
    initial: bool = False
    which: Which = "converged"
    faces: tuple[str, ...] = FACES
    folds: int = 10
    held_out: float = 0.2
    fold_rows: int = 3_345
    full: bool = False
    level: float = 0.9
    random_state: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "faces", tuple(dict.fromkeys(self.faces)))  # a model is judged once
        unknown = [face for face in self.faces if face not in FACES]
        if unknown or not self.faces:
            raise ValueError(f"models must be some of {', '.join(FACES)}, got {', '.join(unknown) or 'none'}")
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"the share of held-out runs must be at least 0 and below 1, got {self.held_out}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be between 0 and 1, got {self.level}")
        if not 0 <= self.random_state < 2**32:
            raise ValueError(f"the random state must be between 0 and 2^32 - 1, got {self.random_state}")


@dataclass(frozen=True)
class Importance:
    """By how much R2 on held-out runs falls if a column is shuffled."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class Fit:
    """What was learned from a simulation; see `fit_run`.

    In place of survival models there may be a sentence on why there are none.
    """

    run: Run
    settings: Settings
    rows: Rows
    columns: tuple[Column, ...]
    held_out: NDArray[np.bool_] = field(repr=False)
    models: tuple[Judged, ...]
    verdicts: tuple[Verdict, ...]
    ablations: tuple[Ablation, ...]
    importances: tuple[Importance, ...]
    slopes: Slopes
    speed: Speed | None
    regions: Regions | None
    censoring: Censoring
    survival: SurvivalModels | str

    def model(self, name: str, face: str | None = None) -> Judged:
        """One of the models.

        Raises
        ------
        KeyError
            It is not there; the message says which are.
        """
        for judged in self.models:
            if judged.candidate.name == name and face in (None, judged.candidate.face):
                return judged
        names = ", ".join(f"{m.candidate.face}/{m.candidate.name}" for m in self.models)
        raise KeyError(f"no model {name!r}; there are {names}")

    @property
    def range_of_distance(self) -> float:
        """Largest distance to the reference divided by the smallest, over the runs' first rows."""
        first = np.unique(self.rows.seed, return_index=True)[1]
        distance = np.linalg.norm(self.rows.state[first].astype(np.float64) - self.rows.reference[first], axis=1)
        return float(distance.max() / distance.min()) if distance.min() > 0 else float("inf")


def fit_run(
    run: Run, settings: Settings | None = None, *, workers: int | None = None, watch: Callable[[int], Any] | None = None
) -> Fit:
    """Learn what determines the epochs that a run takes to converge, and judge it on runs not learned from.

    Source: convergence-time article; its regressors as published and as well-posed estimators, beside laws.

    Parameters
    ----------
    run : Run
        With traces of parameters.
    settings : Settings, optional
    workers : int, optional
        Threads; as many as there are cores if left out. The result does not depend on it.
    watch : callable, optional
        Called with the number of tasks in all, then with 1 for each that is done.

    Raises
    ------
    TraceNotStored, NoRows
        There is nothing to learn from.
    ValueError
        Fewer runs than folds, or all runs took equally long.

    Examples
    --------
    >>> from jaxor import simulate
    >>> fit = fit_run(simulate("abs1_convergence", seeds=40), Settings(faces=("law",), folds=4))
    >>> round(fit.slopes.log_to_minimum, 1), round(fit.slopes.theory, 4)
    (4.5, 4.4814)
    >>> fit.verdicts[0].answer
    'no'
    """
    settings = settings or Settings()
    rows = rows_of(
        run, reference=settings.reference, initial=settings.initial, which=settings.which,
        max_rows=None if settings.full else MAX_ROWS,
    )  # fmt: skip
    out = _check(rows, settings)
    exact = settings.reference == "exact"
    found = moments(run, rows) if {"sound", "causal"} & {*settings.faces} else {}
    experiment = run.manifest.experiment
    design = Design(rows, run.param_names, experiment, moments=found, exact=exact)
    models = candidates(
        design, experiment, faces=settings.faces, random_state=settings.random_state, full=settings.full
    )
    judge = Judge(
        design, out, folds=settings.folds, fold_rows=settings.fold_rows, level=settings.level,
        random_state=settings.random_state,
    )  # fmt: skip
    ablated = ablations(design)
    if watch:
        watch(len(models) + len(ablated))
    judged, ablation = (
        _each(task, some, workers, watch, stop=judge.stopped.set)
        for task, some in ((judge.judge, models), (judge.ablate, ablated))
    )
    judged = with_delta_aic(judged)
    law = Candidate("log_shifted", "law", ShiftedLogLaw(), ("L2",))  # whatever faces there are
    known, found_slopes = has_exact_minimum(experiment), slopes(design, judge, experiment)
    goal, short = (nearest_minimum(rows.state), 0.0) if known else (rows.reference, found_slopes.shift)
    estimator, _ = fitted(law, design, judge.inside, settings.random_state)
    residual = rows.remaining - forecast(estimator, law, design, np.arange(len(rows)))
    return Fit(
        run=run, settings=settings, rows=rows, columns=tuple(design.columns.values()), held_out=out,
        models=tuple(judged), verdicts=tuple(verdicts(judged, settings.random_state)), ablations=tuple(ablation),
        importances=tuple(_importances(judged, design, out, settings)), slopes=found_slopes,
        speed=speed(rows, goal, settings.random_state, short=short),
        regions=regions(rows, residual, run.param_names, settings.random_state) if design.few else None,
        censoring=censoring(run), survival=_survival(run, design.few, settings),
    )  # fmt: skip


def _check(rows: Rows, settings: Settings) -> NDArray[np.bool_]:
    """Which rows are held out; a ValueError if there is nothing to judge by."""
    out = held_out(rows.seed, settings.held_out, settings.random_state)
    learning, runs = len(np.unique(rows.seed[~out])), len(np.unique(rows.seed))
    if learning < settings.folds or learning - -(-learning // settings.folds) < 2:
        raise NoRows(
            f"{settings.folds} folds need at least as many runs to learn from, and two outside of each; got {learning} "
            f"of {runs} runs with rows; simulate more seeds, or choose fewer --folds"
        )
    if np.ptp(rows.remaining) == 0:
        raise NoRows(f"every row has {rows.remaining[0]:g} epochs to go, so there is nothing to explain")
    return out


def _importances(
    models: Sequence[Judged], design: Design, out: NDArray[np.bool_], settings: Settings
) -> list[Importance]:
    """Of the columns of the sound random forest, on held-out runs; empty without one of them."""
    from sklearn.inspection import permutation_importance

    forest = next((m for m in models if m.candidate.name == "random_forest" and m.candidate.face == "sound"), None)
    if forest is None or not out.any():
        return []
    index = np.flatnonzero(out)
    index = index[whole_runs(design.rows.seed[index], settings.fold_rows, settings.random_state)]
    X, y = design.matrix(forest.candidate.columns, index), design.rows.remaining[index]
    if np.ptp(y) == 0:
        return []
    result: Any = permutation_importance(
        forest.estimator, X, y, scoring="r2", n_repeats=5, random_state=settings.random_state, n_jobs=1
    )
    means, stds = result.importances_mean, result.importances_std
    found = [
        Importance(name, float(m), float(s)) for name, m, s in zip(forest.candidate.columns, means, stds, strict=True)
    ]
    return sorted(found, key=lambda importance: -importance.mean)


def _survival(run: Run, few: bool, settings: Settings) -> SurvivalModels | str:
    """Models of the epochs of all runs, the censored ones included, on the initial state."""
    if run.manifest.parameters != "both":
        return "initial parameters were not stored"
    loss = run.initial_loss.astype(np.float64)
    columns = {"ln(initial loss)": np.log(np.maximum(loss, np.finfo(np.float32).tiny))}
    if few:
        columns |= dict(zip(run.param_names, run.initial_params.T.astype(np.float64), strict=True))
    if has_exact_minimum(run.manifest.experiment):
        gap = np.linalg.norm(run.initial_params - nearest_minimum(run.initial_params), axis=1)
        columns["ln(initial distance)"] = np.log(np.maximum(gap, np.finfo(np.float32).tiny))
    usable = np.isfinite(loss)
    try:
        return survival_models(
            run.epochs[usable], (run.status == Status.CONVERGED)[usable], np.column_stack([*columns.values()])[usable],
            [*columns], limit=None if settings.full else ROWS, random_state=settings.random_state,
        )  # fmt: skip
    except (ImportError, ValueError) as error:
        return str(error)


def _each(
    task: Callable[[Candidate], Any],
    candidates: Sequence[Candidate],
    workers: int | None,
    watch: Callable[[int], Any] | None,
    stop: Callable[[], Any],
) -> list[Any]:
    """Do a task for all candidates, some at a time, in threads: what takes long in them lets go of Python's lock.

    `stop` is called if it ends in an error or an interrupt, since threads cannot be ended from outside.
    """
    from threadpoolctl import threadpool_limits

    def one(candidate: Candidate) -> Any:
        done = task(candidate)
        if watch:
            watch(1)
        return done

    # BLAS has one limit for the process, OpenMP one for each thread; their threads would only be in each other's way.
    limit, number = partial(threadpool_limits, 1), workers or len(cores())
    with limit(), ThreadPoolExecutor(number, initializer=limit) as pool:
        try:
            return list(pool.map(one, candidates))
        except BaseException:
            stop()
            raise
