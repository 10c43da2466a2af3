"""`simulate` with keep="statistics": counts of the very runs that it would keep, however they are computed."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxor
from jaxor import simulation
from jaxor.engine.status import Status
from jaxor.engine.tally import Tally, loss_bin
from jaxor.estimates import confidence_sequence, wilson
from jaxor.until import looks
from jaxor.work import Where

NAME = "relu1_normal"
BLOCK = 1024  # in tests that need many blocks
SEEDS = 20 * BLOCK


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> jaxor.Run:
    """Stored runs."""
    out = tmp_path_factory.mktemp("runs") / "run"
    jaxor.simulate(NAME, SEEDS, lane_width=BLOCK, traces="none", out=out)
    return jaxor.open_run(out)


def job(seeds: Any = SEEDS, **options: Any) -> simulation.Job:
    """A job with blocks small enough for there to be many."""
    made = simulation.prepare(NAME, seeds, lane_width=BLOCK, keep="statistics", **options)
    return dataclasses.replace(made, plan=dataclasses.replace(made.plan, block_seeds=BLOCK))


def opened(path: Path) -> Any:
    return jaxor.open_run(path)


def counted(run: jaxor.Run, seeds: slice = slice(None)) -> Tally:
    return Tally.of(next(run.blocks(2**40)).take(np.arange(len(run))[seeds]))


def test_counts_are_those_of_the_stored_runs(runs: jaxor.Run):
    population = jaxor.simulate(NAME, SEEDS, lane_width=BLOCK, keep="statistics")
    assert isinstance(population, jaxor.Population)
    assert len(population) == SEEDS and population.seeds == ((0, SEEDS),)
    assert population.identity == runs.identity and population.experiment == runs.experiment
    assert list(population.status.values()) == np.bincount(runs.status, minlength=4).tolist()
    success = runs.final_accuracy == 1
    assert population.success.count == success.sum() and population.success.low == wilson(success.sum(), SEEDS).low
    assert population.success_sequence == confidence_sequence(success.sum(), SEEDS)
    for solved in (True, False):
        histogram = population.distribution("epochs", Status.STALLED, success=solved)
        chosen = runs.epochs[(runs.status == Status.STALLED) & (success == solved)]
        values, numbers = np.unique(chosen, return_counts=True)
        assert np.array_equal(histogram.values, values) and np.array_equal(histogram.counts, numbers)
    for name in ("initial_loss", "final_loss"):
        bins, numbers = np.unique(loss_bin(getattr(runs, name)), return_counts=True)
        distribution = population.distribution(name)
        assert np.array_equal(loss_bin(distribution.values), bins) and np.array_equal(distribution.counts, numbers)
        for q in np.linspace(0, 1, 21):
            exact = np.sort(getattr(runs, name))[round(q * (SEEDS - 1))]  # within a bin of either neighbour
            assert distribution.quantile(q) == pytest.approx(exact, rel=1 / 64)
    for q in (0, 0.1, 0.25, 0.5, 0.9, 0.999, 1):
        assert population.epochs.quantile(q) == pytest.approx(np.quantile(runs.epochs, q), rel=1e-12)
    assert population.epochs.mean == pytest.approx(runs.epochs.mean(), rel=1e-12)
    assert population.epochs.variance == pytest.approx(runs.epochs.var(ddof=1), rel=1e-9)


def test_one_process_two_and_any_blocks_count_the_same(runs: jaxor.Run, tmp_path: Path):
    whole = counted(runs)
    for devices in (1, 2):
        assert simulation.execute(job(), where=Where(devices)).run.tally == whole
        out = tmp_path / str(devices)
        assert simulation.execute(job(), out=out, where=Where(devices)).run.tally == whole
        population = opened(out)
        assert population.tally == whole and population.path == out
    assert jaxor.simulate(NAME, SEEDS, lane_width=BLOCK, keep="statistics", devices=1).tally == whole


def test_seeds_with_holes(runs: jaxor.Run, tmp_path: Path):
    out = tmp_path / "run"
    ids = np.r_[5:3000, 3001:3003, 19_000:15_000:-1]
    population = simulation.execute(job(ids), out=out, where=Where(1)).run
    assert population.seeds == ((5, 3000), (3001, 3003), (15_001, 19_001))
    assert population.tally == counted(runs, np.sort(ids))  # type: ignore[arg-type]
    filled = simulation.execute(job(), out=out, where=Where(2), resume=True)
    assert filled.simulated == SEEDS - len(ids) and filled.run.tally == counted(runs)
    assert simulation.execute(job(range(9, 20)), out=out, resume=True).simulated == 0


class Interrupted(KeyboardInterrupt):
    pass


UNTIL = {"until": "halfwidth(success)<=0.018"}


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        pytest.param({}, 1, id="seeds-1"),
        pytest.param({}, 2, id="seeds-2", marks=pytest.mark.full),
        pytest.param(UNTIL, 1, id="until-1"),
        pytest.param(UNTIL, 2, id="until-2", marks=pytest.mark.full),  # on the command line: cli/test_failures.py
    ],
)
def test_interrupted_and_resumed_count_the_same(tmp_path: Path, devices: int, options: dict[str, Any]):
    whole = simulation.execute(job(**options), where=Where(1)).run
    out, seen = tmp_path / "run", itertools.count(1)

    def interrupt(runs: int, epochs: int) -> None:
        if next(seen) == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        simulation.execute(job(**options), out=out, where=Where(devices), watch=interrupt)
    assert 0 < len(jaxor.open_run(out)) < len(whole)
    resumed = simulation.execute(job(**options), out=out, where=Where(devices), resume=True)
    assert 0 < resumed.simulated < len(whole)
    assert resumed.run.tally == whole.tally == opened(out).tally


def test_a_lost_and_a_damaged_shard_are_computed_again(runs: jaxor.Run, tmp_path: Path):
    out = tmp_path / "run"
    simulation.execute(job(), out=out, where=Where(1))
    first, second, *_ = sorted((out / "shards").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(jaxor.StoreError, match="is damaged"):
        jaxor.open_run(out)
    assert simulation.execute(job(), out=out, where=Where(1), resume=True).run.tally == counted(runs)


RULE = "halfwidth(success)<=0.02"


def test_until_ends_where_the_interval_is_as_narrow_as_asked(runs: jaxor.Run, tmp_path: Path):
    outcomes = [simulation.execute(job(None, until=RULE), where=Where(devices)) for devices in (1, 2)]
    outcomes.append(simulation.execute(job(None, until=RULE), out=tmp_path / "run", where=Where(2)))
    populations = [outcome.run for outcome in outcomes]
    assert all(outcome.simulated == len(outcome.run) for outcome in outcomes)
    one = populations[0]
    assert all(other.tally == one.tally and other.until == RULE for other in populations)
    low, high = one.success_sequence
    assert (high - low) / 2 <= 0.02 and one.success_sequence == confidence_sequence(one.success.count, len(one))
    (stop,) = {end for _, end in one.seeds}
    assert one.seeds == ((0, stop),) and one.tally == counted(runs, slice(stop))
    before = max(look for look in looks(BLOCK) if look < stop)
    low, high = confidence_sequence(int((runs.final_accuracy[:before] == 1).sum()), before)
    assert (high - low) / 2 > 0.02, "the look before did not suffice"
    stored = opened(tmp_path / "run")
    assert stored.tally == one.tally and stored.manifest.seeds == one.seeds and stored.until == RULE


def test_until_ends_at_the_same_seeds_whatever_is_stored_already(tmp_path: Path):
    fresh = simulation.execute(job(None, until=RULE), where=Where(1)).run
    for name, seeds in (("some", range(3 * BLOCK, 5 * BLOCK)), ("more", SEEDS)):
        simulation.execute(job(seeds), out=tmp_path / name, where=Where(1))
        outcome = simulation.execute(job(None, until=RULE), out=tmp_path / name, where=Where(1), resume=True)
        assert outcome.run.tally == fresh.tally
        assert outcome.simulated == (0 if name == "more" else len(fresh) - 2 * BLOCK)
    again = simulation.execute(job(None, until=RULE), out=tmp_path / "some", where=Where(1), resume=True)
    assert again.simulated == 0 and again.run.tally == fresh.tally
    narrower = simulation.execute(job(None, until="halfwidth(success)<0.015"), out=tmp_path / "some", resume=True)
    assert narrower.simulated == len(narrower.run) - len(fresh) > 0


def test_a_cap_can_come_first(runs: jaxor.Run, tmp_path: Path):
    capped = simulation.execute(job(3000, until=RULE), out=tmp_path / "run", where=Where(1))
    assert capped.run.seeds == ((0, 3000),) and capped.run.tally == counted(runs, slice(3000))
    assert simulation.execute(job(10**9, until=RULE), where=Where(1)).run.seeds != capped.run.seeds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"traces": "all"}, "keep no traces"),
        ({"traces": True}, "keep no traces"),
        ({"parameters": "final"}, "keep no parameters"),
        ({"initial_params": np.zeros((3, 6))}, "drawn first parameters"),
        ({"keep": "everything"}, "keep must be runs or statistics"),
        ({"keep": "runs", "until": RULE}, "add --keep statistics"),
        ({"until": "soon"}, "of the form halfwidth"),
        ({"until": RULE, "seeds": range(5, 9)}, "start at 0"),
        ({"until": RULE, "seeds": [0, 2]}, "start at 0"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": 2**32 + 1}, "between 0 and"),
        ({"seeds": range(3, 3)}, "not be empty"),
        ({"seeds": None}, "seeds are missing"),
        ({"seeds": True}, "whole numbers"),
        ({"seeds": [1, 1]}, "more than once"),
    ],
)
def test_what_makes_no_sense_with_statistics(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        jaxor.simulate(NAME, **{"seeds": 3, "keep": "statistics"} | options)


def test_all_seeds_take_no_memory():
    """As ranges; an array of them would be 32 GiB."""
    made = simulation.prepare(NAME, 2**32, keep="statistics")
    assert made.wanted == ((0, 2**32),) == made.manifest.seeds and made.total == 2**32


def test_progress_counts_every_run(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    simulation.execute(job(3 * BLOCK), out=tmp_path / "run", where=Where(1))
    outcome = simulation.execute(
        job(), out=tmp_path / "run", where=Where(1), resume=True, watch=lambda *figures: seen.append(figures)
    )
    assert sum(runs for runs, _ in seen) == SEEDS and outcome.simulated == SEEDS - 3 * BLOCK
    assert seen[0] == (3 * BLOCK, 0)


def test_statistics_in_float64_of_wide_models_and_of_parts_made_in_python(tmp_path: Path):
    assert len(jaxor.simulate(NAME, 50, keep="statistics", x64=True)) == 50
    digits = jaxor.get_experiment("digits_mlp").replace(max_epochs=1)
    assert jaxor.simulate(digits, 2, keep="statistics").epochs.quantiles == (1, 1, 1, 1, 1, 1)
    (tmp_path / "mine.py").write_text(
        "from jaxor import get_experiment\nexperiment = get_experiment('abs1_normal').replace(name='mine')\n"
    )
    mine = jaxor.load_experiment(tmp_path / "mine.py")
    population = jaxor.simulate(mine, 50, keep="statistics", out=tmp_path / "run", devices=2)
    assert population.experiment is mine and len(jaxor.open_run(tmp_path / "run")) == 50


def test_statistics_need_no_jax_to_be_read(tmp_path: Path):
    jaxor.simulate(NAME, 50, keep="statistics", out=tmp_path / "run")
    code = (
        f"import jaxor, sys; p = jaxor.open_run({str(tmp_path / 'run')!r}); print(p); assert 'jax' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stdout.startswith("<Population of relu1_normal: 50 seeds ("), done.stderr
