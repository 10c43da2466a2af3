"""Files of every version of the format: older ones are read, newer ones refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

import jaxor
from jaxor.cli import main
from jaxor.engine.status import Status
from jaxor.store.directory import RunDirectory
from jaxor.store.export import export_run
from jaxor.store.merge import merge_runs
from jaxor.store.population import Population
from jaxor.store.schema import SCHEMA
from jaxor.store.shard import shard_name
from jaxor.store.verify import verify_run
from tests.store.golden import DATA, plain

GOLDEN = sorted(path.with_suffix("") for path in DATA.glob("format-*/*.json"))
FORMATS = [path.name for path in DATA.glob("format-*")]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="jaxor")


@pytest.fixture(params=GOLDEN, ids=lambda path: "-".join(path.parts[-2:]))
def golden(request: pytest.FixtureRequest) -> Path:
    return request.param


def written_down(golden: Path) -> dict[str, Any]:
    return json.loads(golden.with_suffix(".json").read_text())


def test_every_format_has_its_golden_directories() -> None:
    assert sorted(FORMATS) == [f"format-{k}" for k in range(1, SCHEMA + 1)]
    assert {path.name for path in GOLDEN} == {"runs", "statistics"}


def test_every_array_is_as_it_was(golden: Path) -> None:
    expected, run = written_down(golden), jaxor.open_run(golden)
    assert (run.identity, run.experiment.to_dict()) == (expected["identity"], expected["experiment"])
    dataset = run.to_xarray()
    for name, values in expected["arrays"].items():
        assert plain(dataset[name].values) == values, name


@pytest.mark.parametrize(("format", "statuses"), [("format-1", [0, 1, 2]), ("format-2", [0, 1, 2, 4])])
def test_traces_are_as_they_were(format: str, statuses: list[int]) -> None:
    expected, run = written_down(DATA / format / "runs"), jaxor.open_run(DATA / format / "runs")
    assert len(RunDirectory.open(DATA / format / "runs").shards()) == 2
    assert sorted(set(run.status.tolist())) == statuses
    for k, seed in enumerate(run.seeds):
        trace = run.trace(seed)
        assert trace.loss.tolist() == expected["trace_loss"][k]
        assert trace.step.tolist() == list(range(len(trace.loss)))
        if run.status[k] == Status.UNSTARTED:
            assert not len(trace.loss) and np.isnan(run.final_params[k]).all()
        else:
            assert trace.params[-1].tolist() == expected["arrays"]["final_params"][k]


def test_draws_are_as_they_were() -> None:
    assert jaxor.open_run(DATA / "format-1/runs").draws.tolist() == [1] * 5  # by an initializer that does not choose
    run = jaxor.open_run(DATA / "format-2/runs")
    assert run.draws.tolist() == written_down(DATA / "format-2/runs")["arrays"]["draws"]
    assert (run.draws[run.status == Status.UNSTARTED] == 3).all()


@pytest.mark.parametrize("format", FORMATS)
def test_counts_are_as_they_were(format: str) -> None:
    population = jaxor.open_run(DATA / format / "statistics")
    assert isinstance(population, Population)
    counts = np.array(written_down(DATA / format / "statistics")["arrays"]["runs_by_epochs"])
    assert population.success.count == counts[:, :, 1].sum() and len(population) == 60
    assert (Status.UNSTARTED in population.status) == (format != "format-1") == (counts.shape[1] == len(Status))
    assert [*population.status.values()] == counts.sum(axis=(0, 2)).tolist()


def test_it_is_sound(golden: Path) -> None:
    expected, found = written_down(golden), verify_run(golden)
    assert (found.problems, found.missing, found.digest) == ([], (), expected["digest"])
    assert found.seeds == tuple(map(tuple, expected["seeds"]))


def test_it_is_exported(golden: Path, tmp_path: Path) -> None:
    export_run(golden, tmp_path / "all.nc")
    with h5py.File(tmp_path / "all.nc") as file:
        for name, values in written_down(golden)["arrays"].items():
            assert plain(np.asarray(file[name])) == values, name


def test_it_is_merged(golden: Path, tmp_path: Path) -> None:
    merge_runs([golden], tmp_path / "all")
    assert verify_run(tmp_path / "all").digest == written_down(golden)["digest"]


@pytest.mark.parametrize("command", ["info", "verify"])
def test_commands_read_it(golden: Path, command: str) -> None:
    result = call(command, golden, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["identity"] == written_down(golden)["identity"]


# Newer ones


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of today, so that it can be resumed."""
    monkeypatch.chdir(tmp_path)
    assert call("simulate", "--seeds", 5, "--out", "run").exit_code == 0
    return tmp_path / "run"


def edit(run: Path, **changes: Any) -> None:
    """Change keys of the manifest; None takes one out."""
    values = json.loads((run / "manifest.json").read_text()) | changes
    kept = {name: value for name, value in values.items() if name not in changes or value is not None}
    (run / "manifest.json").write_text(json.dumps(kept))


COMMANDS = {
    "info": ["info", "run"],
    "verify": ["verify", "run"],
    "export": ["export", "run", "all.nc"],
    "merge": ["merge", "run", "--out", "all"],
    "resume": ["simulate", "--seeds", "5", "--out", "run", "--resume"],
}


def refused(run: Path, command: str) -> str:
    """What a command says that ends with exit code 1 and changes nothing."""
    before = {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file()}
    result = call(*COMMANDS[command])
    assert result.exit_code == 1, result.stdout
    assert {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file()} == before
    assert result.stderr.count("\n") == (command != "verify" or not result.stdout)
    return " ".join(result.output.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_newer_manifest_is_refused(run: Path, command: str) -> None:
    edit(run, schema=SCHEMA + 1)
    assert f"written by a newer jaxor (format {SCHEMA + 1}, this one reads {SCHEMA}); upgrade" in refused(run, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_newer_shard_is_refused(run: Path, command: str) -> None:
    (shard,) = (run / "shards").iterdir()
    with h5py.File(shard, "r+") as file:
        file.attrs["jaxor_schema"] = SCHEMA + 1
    shard.rename(shard.with_name(shard_name(((0, 5),), shard.read_bytes())))
    assert f"written by a newer jaxor (format {SCHEMA + 1}, this one reads {SCHEMA}); upgrade" in refused(run, command)


KEYS = sorted(json.loads((DATA / "format-1/runs/manifest.json").read_text()).keys() - {"schema", "until"})


@pytest.mark.parametrize("key", KEYS)
def test_a_manifest_that_lacks_a_key_is_refused(run: Path, key: str) -> None:
    edit(run, **{key: None})
    for command in COMMANDS:
        assert f"the manifest lacks {key};" in refused(run, command)


def test_unknown_keys_are_kept(run: Path) -> None:
    edit(run, mood="sunny", weather={"wind": [3, None]})
    assert call("verify", "run").exit_code == 0
    assert call("simulate", "--seeds", 9, "--out", "run", "--resume").exit_code == 0
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["mood"], manifest["weather"], manifest["seeds"]) == ("sunny", {"wind": [3, None]}, [[0, 9]])
