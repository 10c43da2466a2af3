"""Fits on disk: what comes back is what was fitted, and whatever else lies there is refused with a sentence."""

from __future__ import annotations

import builtins
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer
from skops import io

import jaxor
from jaxor.analysis import candidates, loaded, saved
from jaxor.analysis.fit import FACES, Fit, Settings, fit_run
from jaxor.analysis.judgement import Failed
from jaxor.analysis.loaded import load
from jaxor.analysis.saved import save, to_dict
from jaxor.analysis.sound import hist_boosting, sound
from jaxor.store.errors import StoreError
from jaxor.store.run import Run

IN_FILES = ("sound/poly_2", "sound/random_forest", "causal/state")


@pytest.fixture(scope="module")
def run() -> Run:
    found = jaxor.simulate("abs1_convergence", seeds=12, devices=1)
    assert isinstance(found, Run)
    return found


@pytest.fixture(scope="module")
def fit(run: Run) -> Iterator[Fit]:
    """Laws, causal models, and some of the sound ones, with few trees."""

    def some(random_state: int) -> dict[str, Any]:
        models = {name: sound(random_state)[name] for name in ("linear", "poly_2", "random_forest", "hist_boosting")}
        models["random_forest"].set_params(n_estimators=5)  # reading a hundred trees takes long
        models["hist_boosting"].set_params(max_iter=5)
        return models

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "sound", some)
        patch.setattr(candidates, "boosting", lambda random_state: hist_boosting(5, random_state))
        yield fit_run(run, Settings(faces=("law", "sound", "causal"), folds=3))


@pytest.fixture(scope="module")
def kept(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    save(fit, folder)
    return folder


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    """A fit of one's own to spoil."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    return tmp_path / "derived" / "fits" / "default.json"


def inputs(fit: Fit, columns: tuple[str, ...]) -> np.ndarray:
    """Numbers of the size of the columns'; no model looks further than its columns."""
    return np.random.default_rng(len(columns)).uniform(0.1, 0.9, (50, len(columns)))


def assert_read_back_exactly(fit: Fit, path: Path) -> None:
    """Every model that is kept forecasts to the bit what the fitted one does; least squares to rounding."""
    for judged in fit.models:
        candidate = judged.candidate
        if candidate.face == "published":
            continue
        found = load(path, f"{candidate.face}/{candidate.name}")
        assert (found.name, found.face, found.columns) == (candidate.name, candidate.face, candidate.columns)
        assert (found.causal, found.conformal) == (judged.causal, judged.conformal)
        X = inputs(fit, found.columns)
        ours, theirs = judged.estimator.predict(X), found.estimator.predict(X)
        if (found.face, found.name) == ("sound", "linear"):
            assert_allclose(theirs, ours, rtol=1e-12, atol=1e-12 * np.abs(ours).max())
        else:
            assert_array_equal(theirs, ours, err_msg=candidate.name)


@pytest.mark.full
def test_every_model_comes_back(fit: Fit, path: Path):
    assert_read_back_exactly(fit, path)


@pytest.mark.full
def test_all_faces_are_equal_to_the_bit_with_any_number_of_workers_and_come_back(run: Run, tmp_path: Path):
    settings = Settings(faces=FACES, folds=2)
    one, two = (fit_run(run, settings, workers=workers) for workers in (1, 2))
    assert json.dumps(to_dict(one)) == json.dumps(to_dict(two))
    assert_read_back_exactly(one, save(one, tmp_path)[0])


def test_equal_states_give_equal_bytes_and_others_do_not(run: Run, tmp_path: Path):
    settings = Settings(faces=("law",), folds=3)
    for name, state, workers in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        save(fit_run(run, replace(settings, random_state=state), workers=workers), tmp_path, name)
    a, b, c = ((tmp_path / "derived" / "fits" / f"{name}.json").read_bytes() for name in "abc")
    assert a == b != c


def test_the_default_is_the_best_causal_model(fit: Fit, path: Path):
    causal = [judged for judged in fit.models if judged.causal and judged.candidate.face != "published"]
    best = min(causal, key=lambda judged: judged.grouped.mae)
    found = load(path)
    assert (found.face, found.name) == (best.candidate.face, best.candidate.name)


def test_a_model_whose_error_is_not_known_is_not_the_best(path: Path):
    table = json.loads(path.read_bytes())
    for entry in table["models"]:
        if entry["causal"] and entry["name"] != "loss_slope":
            entry["grouped"]["mae"] = None
    path.write_text(json.dumps(table))
    assert load(path).name == "loss_slope"


def test_only_models_that_are_no_numbers_have_files(fit: Fit, path: Path):
    files = {file.name for file in path.parent.iterdir()} - {path.name}
    assert {f"default-{name.replace('/', '-')}.skops" for name in IN_FILES} <= files
    assert not [name for name in files if "-law-" in name or "-linear" in name]


def test_the_coefficients_are_those_of_least_squares_by_column(fit: Fit):
    judged = fit.model("linear", "sound")
    found = saved.learned(judged.estimator, judged.candidate.columns)
    assert found is not None
    X = inputs(fit, judged.candidate.columns)
    by_hand = found["intercept"] + sum(
        X[:, k] * found["coefficients"][name] for k, name in enumerate(judged.candidate.columns)
    )
    assert_allclose(by_hand, judged.estimator.predict(X), rtol=1e-9)


def refused(path: Path, model: str | None = None) -> str:
    with pytest.raises(StoreError) as error:
        load(path, model)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value)


def changed(path: Path, model: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same fit with something else in the entry of a model."""
    table = json.loads(path.read_bytes())
    change(next(entry for entry in table["models"] if entry["name"] == model))
    path.write_text(json.dumps(table))
    return path


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"9" * 10_000, "is not JSON"),
        (b"NaN", "is not a fit"),
        (b"[]", "is not a fit"),
        (b"{}", "is not a fit"),
        (b'{"jaxor_fit": "1", "models": []}', "is not a fit"),
        (b'{"jaxor_fit": 1, "models": {}}', "is not a fit"),
        (b'{"jaxor_fit": 2, "models": []}', "of format 2, newer than 1; install a newer jaxor"),
        (b'{"jaxor_fit": 1, "models": [7]}', "is not a fit"),
        (b'{"jaxor_fit": 1, "models": [{"face": "law"}]}', "is not a fit"),
        (b'{"jaxor_fit": 1, "models": [{"face": [], "name": {}, "__class__": "os.system"}]}', "is not a fit"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: bytes, sentence: str):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert sentence in refused(path)


@pytest.mark.parametrize("half", [0.1, 0.5, 0.99])
def test_a_truncated_fit_is_refused(path: Path, half: float):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * half)])
    assert "is not JSON" in refused(path)


LAW = {"law": "LogLaw", "slope_": 1.0, "intercept_": 2.0}


@pytest.mark.parametrize(
    "change",
    [
        {"learned": {"law": "system"}},
        {"learned": {"law": ["LogLaw"]}},
        {"learned": {"law": "LogLaw"}},
        {"learned": "LogLaw"},
        {"learned": 5},
        {"learned": LAW | {"slope_": "fast"}},
        {"learned": LAW | {"slope_": 10**400}},
        {"learned": LAW | {"slope_": [1]}},
        {"learned": {"coefficients": {}, "intercept": 0.0}},
        {"learned": {"coefficients": {"L2": None}, "intercept": 0.0}},
        {"columns": ["L2", "L1"]},
        {"columns": 7},
        {"conformal": {}},
        {"conformal": {"level": 0.9, "edges": [1.0], "halfwidths": [1.0]}},
        {"conformal": {"level": 0.9, "edges": [2.0, 1.0], "halfwidths": [1.0, 1.0, 1.0]}},
        {"conformal": {"level": 10**400, "edges": [], "halfwidths": [1.0]}},
    ],
)
def test_what_makes_no_sense_in_a_model_is_refused(path: Path, change: dict[str, Any]):
    assert "is not a fit of jaxor" in refused(
        changed(path, "log_distance", lambda entry: entry.update(change)), "log_distance"
    )


@pytest.mark.parametrize("key", ["columns", "causal", "learned", "conformal", "failure"])
def test_what_is_missing_in_a_model_is_named(path: Path, key: str):
    assert key in refused(changed(path, "log_distance", lambda entry: entry.pop(key)), "log_distance")


def test_names_of_attributes_change_nothing_but_numbers_of_a_law(path: Path):
    """A law read back has no attribute of a foreign kind, whatever the JSON calls it."""
    extra = {"__class__": "os.system", "__dict__": 3.0, "predict": 4.0}
    found = load(changed(path, "log_distance", lambda entry: entry["learned"].update(extra)), "log_distance")
    assert set(vars(found.estimator)) == {"slope_", "intercept_"}


def test_a_model_name_cannot_leave_the_folder(path: Path):
    away = {"learned": None, "face": "sound", "name": "../../poly_2"}
    assert "is not a fit" in refused(changed(path, "log_distance", lambda entry: entry.update(away)), "../../poly_2")


def test_what_is_no_file_is_refused(path: Path, tmp_path: Path):
    assert "make one with: jaxor fit" in refused(path.with_name("other.json"))
    assert "is not a file" in refused(path.parent)
    dangling, device = tmp_path / "dangling.json", tmp_path / "device.json"
    dangling.symlink_to(tmp_path / "nothing")
    device.symlink_to(os.devnull.replace("null", "zero"))
    assert "there is no fit" in refused(dangling) and "is not a file" in refused(device)


def test_a_fit_larger_than_any_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded, "MAX_BYTES", 100)
    assert "larger than a fit can be" in refused(path)


def test_unknown_models_are_misuse(path: Path):
    with pytest.raises(ValueError, match="keeps no model cubic; it keeps law/distance, "):
        load(path, "cubic")


class Evil:
    """Would make a file if it were unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def _foreign(X: Any) -> Any:
    Path("ran").touch()
    return X


@pytest.mark.parametrize("content", [Evil(), FunctionTransformer(_foreign), FunctionTransformer(os.system), Failed("")])
def test_files_of_foreign_types_are_not_loaded(path: Path, content: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(path.parent)
    path.with_name("default-sound-poly_2.skops").write_bytes(io.dumps(content))
    assert "which no model of jaxor does; it was not loaded" in refused(path, "poly_2")
    assert not Path("ran").exists()


@pytest.mark.parametrize("content", [[1, 2], LinearRegression(), {"predict": 3}])
def test_trusted_types_that_forecast_nothing_are_refused(path: Path, content: Any):
    path.with_name("default-sound-poly_2.skops").write_bytes(io.dumps(content))
    assert "is not a fit of jaxor" in refused(path, "poly_2")


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_a_truncated_model_is_refused(path: Path, size: int):
    file = path.with_name("default-sound-poly_2.skops")
    file.write_bytes(file.read_bytes()[:size])
    assert "is not a model of jaxor" in refused(path, "poly_2")


def test_without_skops_numbers_still_come_back(fit: Fit, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == "skops":
            raise ImportError(name)
        return real(name, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        assert load(path, "log_shifted").name == "log_shifted" and load(path, "sound/linear").name == "linear"
        with pytest.raises(ImportError, match=r"pip install 'jaxor\[models\]'"):
            load(path, "random_forest")
        # The files of the first fit would be taken for those of the second.
        assert save(fit, tmp_path) == [path]
    assert "is not there; make it with skops installed" in refused(path, "random_forest")


def test_an_interrupted_fit_leaves_none_or_a_whole_one(fit: Fit, path: Path, monkeypatch: pytest.MonkeyPatch):
    kept = []

    def keep_one(file: Path, data: bytes) -> None:
        if kept:
            raise KeyboardInterrupt
        kept.append(file)
        file.write_bytes(data)

    monkeypatch.setattr(saved, "keep", keep_one)
    with pytest.raises(KeyboardInterrupt):
        save(fit, path.parents[2])
    assert "there is no fit" in refused(path)


def test_a_model_that_could_not_be_fitted_says_so(fit: Fit, tmp_path: Path):
    def fails(judged: Any) -> Any:
        return replace(judged, estimator=Failed("it diverged")) if judged.candidate.name == "poly_2" else judged

    broken = replace(fit, models=tuple(map(fails, fit.models)))
    path = save(broken, tmp_path)[0]
    with pytest.raises(ValueError, match="sound/poly_2 could not be fitted: it diverged"):
        load(path, "poly_2")
    assert load(path).causal
