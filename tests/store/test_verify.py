"""Checking whole run directories: what is sound, what is named, and a digest that knows nothing of files."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxor
from jaxor.engine.block import Block
from jaxor.engine.seeds import compress
from jaxor.experiments.catalog import get_entry
from jaxor.store import shard
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError
from jaxor.store.verify import verify_run
from tests.store.samples import manifest

EXPERIMENT = jaxor.get_experiment("relu1_normal").replace(max_epochs=60)
CHOSEN = jaxor.get_experiment("relu1_reinit_25th").replace(**{"init.max_draws": 3})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    out = tmp_path_factory.mktemp("runs") / "run"
    jaxor.simulate(EXPERIMENT, seeds=range(5, 45), out=out, devices=1)
    return RunDirectory.open(out)


def block(simulated: RunDirectory) -> Block:
    (found,) = simulated.shards()
    return shard.decode(found.path)


def store(path: Path, like: RunDirectory, *parts: Block) -> Path:
    with RunDirectory.create_or_open(path, like.manifest) as directory:
        for part in parts:
            directory.add(compress(part.seeds), shard.seal(part, like.manifest))
    return path


def test_a_sound_directory(simulated: RunDirectory) -> None:
    found = verify_run(simulated.path)
    assert found.problems == [] and found.shards == 1
    assert found.seeds == ((5, 45),) and found.missing == ()
    (made_by,) = found.made_by
    assert f"jaxor {jaxor.__version__}" in made_by and "machine" in made_by


def test_the_digest_is_of_values_not_of_files(simulated: RunDirectory, tmp_path: Path) -> None:
    runs = block(simulated)
    odd, even, rest = (runs.take(np.arange(*ends)) for ends in ((0, 20, 2), (1, 20, 2), (20, 40)))
    cut = verify_run(store(tmp_path / "cut", simulated, odd, even, rest))
    assert cut.shards == 3 and cut.digest == verify_run(simulated.path).digest
    # by hand, from the definition
    run = jaxor.open_run(simulated.path)
    lines = [f"{name} {hashlib.sha256(np.asarray(run.to_xarray()[name]).tobytes()).hexdigest()}\n"
             for name in sorted(run.manifest.variables)]  # fmt: skip
    assert cut.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    other = replace(rest, final_loss=np.nextafter(rest.final_loss, np.float32(9)))
    assert verify_run(store(tmp_path / "other", simulated, odd, even, other)).digest != cut.digest


def test_missing_seeds_are_told(simulated: RunDirectory, tmp_path: Path) -> None:
    found = verify_run(store(tmp_path / "half", simulated, block(simulated).take(np.arange(10, 20))))
    assert found.problems == [] and found.missing == ((5, 15), (25, 45))


def changed(runs: Block, name: str, row: int, value: Any) -> Block:
    """The runs with one number changed, as a bug or a stranger might."""
    inside = runs.traces is not None and name in [f.name for f in fields(runs.traces)]
    array = getattr(runs.traces if inside else runs, name).copy()
    array[row] = value
    return replace(runs, traces=replace(runs.traces, **{name: array})) if inside else replace(runs, **{name: array})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "row", "value", "sentence"),
    [
        ("status", 3, 7, "seed 8 has a status that there is not"),
        ("status", 3, -1, "seed 8 has a status that there is not"),
        ("epochs", 4, 61, "seed 9 has more than 60 epochs or less than 0"),
        ("epochs", 4, -2, "seed 9 has more than 60 epochs or less than 0"),
        ("epochs", 4, 1, "seed 9 "),
        ("steps", 4, 0, "seed 9 took fewer steps than it began epochs"),
        ("steps", 4, 70, "seed 9 has not a step for each epoch"),
        ("final_accuracy", 4, 1.5, "seed 9 has an impossible accuracy"),
        ("final_accuracy", 4, np.nan, "seed 9 has an impossible accuracy"),
        ("initial_params", 4, np.nan, "seed 9 has initial_params that are not finite"),
        ("final_params", 4, np.inf, "seed 9 has final_params that are not finite"),
        ("final_params", 4, 0.5, "seed 9 has other final_params than after its last step"),
        ("step", 4, 9, "seed 5 has records of other steps than it took"),
        ("loss", 4, np.nan, "seed 5 took a step with a loss that is not finite"),
        ("loss", 4, 0.0, "seed 5 did not converge at its first loss below the threshold"),
    ],
)
def test_accounting(simulated: RunDirectory, tmp_path: Path, name: str, row: int, value: float, sentence: str) -> None:
    path = store(tmp_path / "run", simulated, changed(block(simulated), name, row, value))
    found = verify_run(path)
    (problem,) = found.problems
    (file,) = (path / "shards").iterdir()
    assert problem.startswith(f"{file} cannot be right: {sentence}"), problem
    assert found.digest is None and found.seeds == () and found.missing == ((5, 45),)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Seeds 0, 1 and 4294967295 find no acceptable draw, seed 2 does."""
    out = tmp_path_factory.mktemp("chosen") / "run"
    jaxor.simulate(CHOSEN, seeds=[0, 1, 2, 4294967295], out=out, devices=1)
    return RunDirectory.open(out)


def test_runs_that_did_not_start_are_sound(chosen: RunDirectory) -> None:
    assert block(chosen).status.tolist() == [4, 4, 0, 4] and block(chosen).draws is not None
    assert verify_run(chosen.path).problems == []


@pytest.mark.parametrize(
    ("name", "row", "value", "sentence"),
    [
        ("status", 1, 1, "seed 1 has an impossible accuracy"),
        ("status", 2, 4, "seed 2 took steps without first parameters"),
        ("final_accuracy", 1, 0.5, "seed 1 has an impossible accuracy"),
        ("initial_params", 1, 0.5, "seed 1 has initial_params though it did not start"),
        ("final_params", 1, np.inf, "seed 1 has final_params though it did not start"),
        ("draws", 2, 0, "seed 2 has parameters that were not drawn"),
    ],
)
def test_accounting_of_choices(
    chosen: RunDirectory, tmp_path: Path, name: str, row: int, value: float, sentence: str
) -> None:
    (problem,) = verify_run(store(tmp_path / "run", chosen, changed(block(chosen), name, row, value))).problems
    assert f"cannot be right: {sentence}" in problem


def test_records_are_accounted_for(simulated: RunDirectory, tmp_path: Path) -> None:
    runs = block(simulated)
    assert runs.traces is not None
    longer = runs.traces.row_size.copy()
    longer[[2, 3]] += [1, -1]
    path = store(tmp_path / "run", simulated, replace(runs, traces=replace(runs.traces, row_size=longer)))
    (problem,) = verify_run(path).problems
    assert "seed 7 has another number of records than its steps ask for" in problem


def test_a_converged_run_ends_below_the_threshold(tmp_path: Path) -> None:
    jaxor.simulate("abs1_convergence", seeds=20, out=tmp_path / "run", devices=1)
    directory = RunDirectory.open(tmp_path / "run")
    runs = block(directory)
    assert runs.traces is not None
    last = int(runs.traces.row_size[:4].sum()) - 1
    for name, wrong, sentence in (
        ("loss", changed(runs, "loss", last, 0.5), "seed 3 did not converge at its first loss below the threshold"),
        ("stalled", changed(runs, "status", 3, jaxor.Status.STALLED), "seed 3 has a status for which there is no rule"),
        ("diverged", changed(runs, "status", 3, jaxor.Status.DIVERGED), "seed 3 did not converge at its first loss"),
        ("cap", changed(runs, "status", 3, jaxor.Status.EPOCH_CAP), "seed 3 ended at the cap before it"),
    ):
        (problem,) = verify_run(store(tmp_path / name, directory, wrong)).problems
        assert sentence in problem


@pytest.mark.parametrize(("threshold", "start"), [(1e-50, [0.5, -0.5, 0.0]), (0.5000000001, [1.0, 0.0, 0.0])])
def test_thresholds_between_two_floats(tmp_path: Path, threshold: float, start: list[float]) -> None:
    """The engine's test is that of real numbers, and so is the check's."""
    experiment = jaxor.get_experiment("abs1_convergence").replace(**{"stop.loss": threshold})
    run = jaxor.simulate(experiment, initial_params=[start], out=tmp_path, devices=1)
    assert run.status.tolist() == [jaxor.Status.CONVERGED]
    assert verify_run(tmp_path).problems == []


CATALOGUE = [name for name in jaxor.list_experiments() if "tr_xor" in get_entry(name).provenance]


@pytest.mark.slow
@pytest.mark.parametrize(  # quick are an eater and a pivot; others are like what is verified above and below
    "name", [pytest.param(name, marks=[pytest.mark.full] * (k % 2 == 0)) for k, name in enumerate(CATALOGUE[::12])]
)
def test_the_catalogue_is_sound(tmp_path: Path, name: str) -> None:
    jaxor.simulate(name, seeds=16, lane_width=16, traces="all", out=tmp_path, devices=1)
    assert verify_run(tmp_path).problems == []


@pytest.mark.parametrize("traces", ["none", "loss", "every=7"])
@pytest.mark.parametrize("parameters", ["none", "both"])
def test_whatever_was_recorded_is_sound(tmp_path: Path, traces: str, parameters: str) -> None:
    jaxor.simulate(EXPERIMENT, seeds=20, out=tmp_path, traces=traces, parameters=parameters, devices=1)
    found = verify_run(tmp_path)
    assert found.problems == [] and found.digest


def test_minibatches_are_sound(tmp_path: Path) -> None:
    batch = {"batch.mode": "shuffle", "batch.size": 2}
    jaxor.simulate(EXPERIMENT.replace(**batch), seeds=20, out=tmp_path, devices=1)
    assert verify_run(tmp_path).problems == []


def test_diverging_runs_are_sound(tmp_path: Path) -> None:
    experiment = EXPERIMENT.replace(optimizer={"name": "sgd", "learning_rate": 1e9})
    run = jaxor.simulate(experiment, seeds=50, out=tmp_path, devices=1)
    assert (run.status == jaxor.Status.DIVERGED).any()
    assert verify_run(tmp_path).problems == []


def test_other_variables_are_named(simulated: RunDirectory, tmp_path: Path) -> None:
    runs = block(simulated)
    fewer = replace(runs, final_params=None)
    floats = replace(runs, final_loss=runs.final_loss.astype(np.float64))
    renamed = replace(simulated.manifest, param_names=tuple("abcdef"))
    for part, names, sentence in (
        (fewer, simulated.manifest.param_names, "lacks final_params"),
        (floats, simulated.manifest.param_names, "type float64"),
        (runs, renamed.param_names, "names other parameters"),
    ):
        data = shard.encode(part, names, simulated.manifest.attributes())
        path = tmp_path / sentence[:5]
        with RunDirectory.create_or_open(path, simulated.manifest) as directory:
            directory.add(compress(part.seeds), data)
        assert sentence in " ".join(verify_run(path).problems)


def test_damaged_and_foreign_files_are_all_named(simulated: RunDirectory, tmp_path: Path) -> None:
    runs = block(simulated)
    parts = [runs.take(np.arange(start, start + 10)) for start in (0, 10, 20)]
    path = store(tmp_path / "run", simulated, *parts, runs.take(np.arange(25, 40)))
    first, second, *_ = sorted((path / "shards").iterdir())
    first.write_bytes(first.read_bytes()[:-1])
    second.rename(second.with_name(second.name.replace("s000000000015", "s000000000014")))
    (path / "shards" / "notes.txt").touch()
    (path / "shards" / "empty").mkdir()
    problems = verify_run(path).problems
    for words in ("is damaged", "was renamed", "notes.txt is not a shard", "both hold seed 30"):
        assert any(words in problem for problem in problems), (words, problems)
    assert len(problems) == 5


def test_what_was_damaged_and_is_elsewhere_by_now(simulated: RunDirectory, tmp_path: Path) -> None:
    """Resuming may cut runs otherwise than before, and deletes nothing."""
    runs = block(simulated)
    path = store(tmp_path / "run", simulated, runs.take(np.arange(20)))
    (bad,) = (path / "shards").iterdir()
    bad.write_bytes(bad.read_bytes()[1:])
    with RunDirectory.create_or_open(path, simulated.manifest, resume=True) as directory:
        directory.add(((5, 45),), shard.seal(runs, simulated.manifest))
    assert verify_run(path).problems == [f"{bad} is damaged, but runs of all its seeds are in other shards; delete it"]
    bad.unlink()
    assert verify_run(path).digest == verify_run(simulated.path).digest


def test_statistics_are_sound(tmp_path: Path) -> None:
    parts = [range(30), range(30, 90)]
    for name, seeds in (("one", [range(90)]), ("two", parts)):
        for k, some in enumerate(seeds):
            jaxor.simulate(EXPERIMENT, some, keep="statistics", out=tmp_path / name, resume=k > 0, devices=1)
    one, two = (verify_run(tmp_path / name) for name in ("one", "two"))
    assert one.problems == two.problems == [] and (one.shards, two.shards) == (1, 2)
    assert one.digest == two.digest and one.digest is not None


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        verify_run(tmp_path)
    with RunDirectory.create_or_open(tmp_path / "empty", manifest()):
        pass
    found = verify_run(tmp_path / "empty")
    assert (found.problems, found.shards, found.missing) == ([], 0, ((0, 10),))
