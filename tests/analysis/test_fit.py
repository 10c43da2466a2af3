"""The whole of a fit: what it refuses, what it says of |w x + b|, and that it says the same again."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from jaxor import Run, get_experiment, simulate
from jaxor.analysis.candidates import FACES
from jaxor.analysis.design import Design
from jaxor.analysis.fit import Fit, Settings, _each, fit_run
from jaxor.analysis.judge import Judge, Stopped
from jaxor.analysis.judgement import Candidate
from jaxor.analysis.laws import Line
from jaxor.analysis.rows import NoRows, rows_of
from jaxor.analysis.sound import sound

LAWS = Settings(faces=("law",), folds=5)


@cache
def run() -> Run:
    return simulate("abs1_convergence", 60)


@cache
def laws() -> Fit:
    return fit_run(run(), LAWS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"faces": ("law", "magic")}, "models must be some of law, published, sound, causal, got magic"),
        ({"faces": ()}, "models must be some of law, published, sound, causal, got none"),
        ({"folds": 1}, "folds must be at least 2, got 1"),
        ({"held_out": 1.0}, "share of held-out runs must be at least 0 and below 1, got 1.0"),
        ({"held_out": -0.1}, "share of held-out runs must be at least 0 and below 1, got -0.1"),
        ({"level": 1.0}, "level must be between 0 and 1, got 1.0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        Settings(**settings)


def test_a_face_named_twice_is_one():
    assert Settings(faces=("law", "sound", "law")).faces == ("law", "sound")


def test_fewer_runs_than_folds_are_refused():
    with pytest.raises(
        NoRows, match=r"10 folds need at least as many runs to learn from, .* got 8 of 10 runs with rows"
    ):
        fit_run(simulate("abs1_convergence", 10))
    with pytest.raises(NoRows, match=r"2 folds need .*, and two outside of each; got 2 of 2 runs"):
        fit_run(simulate("abs1_convergence", 2), Settings(folds=2, held_out=0))


def test_a_constant_target_is_refused():
    """At rate 1/2 every run takes two epochs, so every row has one to go."""
    half = get_experiment("abs1_convergence").replace(**{"optimizer.learning_rate": 0.5})
    with pytest.raises(NoRows, match="every row has 1 epochs? to go, so there is nothing to explain"):
        fit_run(simulate(half, 20), LAWS)


def test_models_come_in_the_order_of_their_faces():
    faces = [judged.candidate.face for judged in laws().models]
    assert faces == sorted(faces, key=FACES.index)
    assert [judged.candidate.name for judged in laws().models] == [
        "distance", "log_distance", "log_shifted", "rate_forecast", "loss_slope", "log_to_minimum", "exact",
    ]  # fmt: skip
    assert laws().model("exact").candidate.face == "law"
    with pytest.raises(KeyError, match="no model 'magic'; there are law/distance, law/log_distance"):
        laws().model("magic")


def test_the_laws_of_abs1_are_recovered():
    exact = laws().model("exact")
    assert (exact.in_sample, exact.by_rows, exact.grouped.r2, exact.grouped.mae, exact.coverage) == (1, 1, 1, 0, 1)
    assert laws().model("log_shifted").grouped.r2 > 0.999
    assert laws().model("distance").grouped.r2 == pytest.approx(0.5, abs=0.1)
    assert laws().slopes.theory == pytest.approx(4.4814, abs=1e-4)
    assert laws().slopes.log_to_minimum == pytest.approx(4.4814, rel=2e-3)
    assert laws().slopes.log_shifted == pytest.approx(4.4814, rel=5e-3)
    assert laws().slopes.log_distance == pytest.approx(4.02, abs=0.05)  # too short by what is left at the end
    assert [(v.first, v.second, v.answer) for v in laws().verdicts] == [
        ("law/distance", "law/log_shifted", "no"), ("law/distance", "law/log_distance", "no"),
    ]  # fmt: skip
    found = laws().speed
    assert found is not None and found.constant_speed == "no"


def test_what_is_causal():
    causal = {judged.candidate.name for judged in laws().models if judged.causal}
    assert causal == {"loss_slope", "log_to_minimum", "exact"}


def test_no_run_is_learned_from_and_held_out():
    fit = laws()
    out = set(fit.rows.seed[fit.held_out])
    assert len(out) == 12 and not out & set(fit.rows.seed[~fit.held_out])
    assert all(len(judged.predicted) == (~fit.held_out).sum() for judged in fit.models)
    everything = fit_run(run(), Settings(faces=("law",), folds=5, held_out=0))
    assert not everything.held_out.any() and everything.models[0].held_out is None


def test_information_criteria_are_on_one_row_a_run():
    deltas: dict[str, Any] = {judged.candidate.name: judged.delta_aic for judged in laws().models}
    assert min(delta for delta in deltas.values() if delta is not None) == 0
    assert deltas["distance"] > deltas["log_distance"] > deltas["log_shifted"]
    assert deltas["exact"] is None  # without an error its logarithm is infinite


def test_leaving_out_logarithms_costs_what_it_does():
    r2 = {ablation.name: ablation.r2 for ablation in laws().ablations}
    assert r2["without log"] < 0.8 < 0.9 < r2["all"]
    assert r2["only ln L2"] > 0.98 > 0.6 > r2["only L2"]


def test_slow_regions_are_measured_by_the_law_whatever_models_there_are(monkeypatch: pytest.MonkeyPatch):
    expected = laws().regions
    monkeypatch.setattr(
        "jaxor.analysis.fit.candidates", lambda *_, **__: [Candidate("distance", "law", Line(), ("L2",))]
    )
    assert expected is not None and fit_run(run(), LAWS).regions == expected


def test_memory_is_the_moments_also_without_causal_models(monkeypatch: pytest.MonkeyPatch):
    def memory(design: Design, *_: Any, **__: Any) -> list[Candidate]:
        assert design.family("moment")
        return [Candidate("distance", "law", Line(), ("L2",))]

    monkeypatch.setattr("jaxor.analysis.fit.candidates", memory)
    assert fit_run(simulate("abs1_normal", 10), Settings(faces=("sound",), folds=2)).models


def test_progress_counts_every_task():
    seen: list[int] = []
    fit_run(run(), LAWS, workers=1, watch=seen.append)
    assert seen == [len(seen) - 1] + [1] * (len(seen) - 1)


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many runs are enough does not depend on the number of trees."""

    def some(random_state: int) -> dict[str, Any]:
        models = sound(random_state)
        for name, number in (("random_forest", "n_estimators"), ("gradient_boosting", "n_estimators"),
                             ("hist_boosting", "max_iter")):  # fmt: skip
            models[name].set_params(**{number: 3})
        return models

    monkeypatch.setattr("jaxor.analysis.candidates.sound", some)


@pytest.mark.usefixtures("few_trees")
def test_a_handful_of_runs_is_enough_for_all_sound_models():
    fit = fit_run(simulate("abs1_convergence", 5), Settings(faces=("sound",), folds=2))
    assert all(np.isfinite(judged.grouped.mae) for judged in fit.models)


@pytest.mark.usefixtures("few_trees")
def test_runs_longer_than_the_limit_of_rows_are_learned_from_two_at_a_time():
    """Each has more than thirty rows; with one run there is nothing to choose by."""
    fit = fit_run(simulate("abs1_convergence", 10), Settings(faces=("sound",), folds=2, fold_rows=30))
    assert all(np.isfinite(judged.grouped.mae) for judged in fit.models)


def test_systems_that_pin_no_processes(monkeypatch: pytest.MonkeyPatch):
    """Such as macOS and Windows, whose Python lacks that function."""
    monkeypatch.delattr("os.sched_getaffinity")
    candidates = [Candidate(name, "law", Line(), ("L2",)) for name in ("one", "other")]
    assert _each(lambda candidate: candidate.name, candidates, None, None, pytest.fail) == ["one", "other"]


def test_threads_are_told_of_an_interrupt():
    told: list[str] = []

    def interrupted(_: Candidate) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _each(interrupted, [Candidate("one", "law", Line(), ("L2",))], 1, None, stop=lambda: told.append("stop"))
    assert told == ["stop"]


def test_judging_ends_at_the_next_fold_once_stopped():
    rows = rows_of(run())
    design = Design(rows, run().param_names, run().manifest.experiment)
    judge = Judge(design, np.zeros(len(rows), bool), folds=5, fold_rows=300, level=0.9, random_state=0)
    fits: list[int] = []

    class Counted(Line):
        def fit(self, X: Any, y: Any) -> Any:
            fits.append(1)
            if len(fits) == 3:  # all rows, then two folds
                judge.stopped.set()
            return super().fit(X, y)

    for judged in (judge.judge, judge.ablate):
        with pytest.raises(Stopped):
            judged(Candidate("distance", "law", Counted(), ("L2",)))
    assert len(fits) == 3 + 1
