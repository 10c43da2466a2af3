"""The benches count, compare and draw correctly; how fast anything is, no test can say."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import __main__ as runner
from bench import gpu, lanes, options, populations, report, scaling, startup, storage
from bench.calls import Call, Place, peak_memory, perform, process, resident, warm
from jaxor.engine.plan import plan

SPREAD = report.spread([1.0, 2.0, 4.0])
SPEED = {"experiment": "abs1_convergence", "jaxor_to": {"jaxor": report.spread([1.0]), "C kernel": SPREAD}}
COST = {"experiment": "abs1_convergence", "place": "1 core", "seconds_per_run": SPREAD}
CONTENTS: dict[str, dict[str, Any]] = {
    "throughput": {"rows": [SPEED | {"cores": 1}, SPEED | {"cores": 2}]},
    "scaling": {
        "costs": [COST | {"seeds": seeds, "keep": keep} for seeds in (10, 100) for keep in ("runs", "statistics")],
        "memory": [{"place": "1 core", "seeds": 10, "peak_bytes": 1e8}],
        "widths": [
            {
                "experiment": "abs1_convergence",
                "place": "1 core",
                "widths": [16, 32],
                "default_width": 32,
                "runs_per_s": [SPREAD] * 2,
            }
        ],
    },
    "lanes": {
        "rows": [{"experiment": "abs1_convergence", "way": "refilled", "live": 0.9, "live_without_refills": 0.3}]
    },
    "storage": {
        "experiment": "abs1_convergence",
        "seeds": 10,
        "observations": 340,
        "seconds": dict.fromkeys((storage.WITH, storage.WITHOUT, storage.PLAIN), SPREAD),
        "bytes": dict.fromkeys((storage.WITH, storage.WITHOUT, storage.PLAIN), 1000),
    },
    "startup": {
        "rows": [{"command": "abs1_convergence", "device": name, "wall_s": SPREAD, "cpu_s": SPREAD} for name in "ab"]
    },
    "populations": {
        "law": {"experiment": "abs1_convergence", "seeds": 9, "epochs": [34, 35], "law": [4, 5], "counted": [4, 5]}
    },
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_figure_is_drawn_the_same_each_time(name: str, tmp_path: Path) -> None:
    figures = pytest.importorskip("bench.figures", reason="matplotlib draws them", exc_type=ModuleNotFoundError)
    drawn = [figures.draw(name, CONTENTS[name], tmp_path / f"{k}.svg").read_bytes() for k in range(2)]
    assert b"abs1_convergence" in drawn[0]
    assert drawn[0] == drawn[1]


def test_each_bench_has_a_module_and_a_figure() -> None:
    assert all(importlib.util.find_spec(f"bench.{name}") for name in runner.NAMES)
    assert sorted(CONTENTS) == sorted(runner.NAMES)


def test_ratios_are_of_the_same_turn() -> None:
    assert report.ratios([2.0, 30.0, 5.0], [1.0, 10.0]) == {"median": 2.5, "min": 2.0, "max": 3.0}
    assert report.text(SPREAD, 1e3) == "2,000 (1,000 to 4,000)"


def test_devices_asked_for_but_absent_are_named(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(options, "gpu", lambda: None)
    parser = options.parser("bench.name", None)
    assert options.devices(parser.parse_args([])) == ["cpu"]
    assert capsys.readouterr().out == "gpu: not measured, none here\n"
    assert options.devices(parser.parse_args(["--quick", "--device=cpu"])) == ["cpu"]
    assert not capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        options.devices(parser.parse_args(["--device", "gpu"]))


def test_a_gpu_is_measured_where_that_says_something(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(options, "gpu", lambda: "a GPU")
    asked = options.parser("bench.name", None).parse_args([])
    assert options.devices(asked) == ["cpu", "gpu"]
    assert options.devices(asked, cpu_only="this is about the disk") == ["cpu"]
    assert "gpu: not measured, this is about the disk" in capsys.readouterr().out


def test_memory_is_that_of_a_process_and_its_descendants() -> None:
    before = resident(os.getpid())
    with peak_memory(os.getpid()) as samples:
        held = np.ones(2**23)
        command = [sys.executable, "-c", "held = bytearray(2**26); print(flush=True); input()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout
            child.stdout.readline()
            assert resident(os.getpid()) - before > 0.9 * (held.nbytes + 2**26)
            child.communicate(b"\n")
    assert max(samples) >= samples[0] > 0


def test_calls_are_made_on_the_cores_of_their_process() -> None:
    with process(Place("cpu", 1)) as running:
        assert len(running.submit(os.sched_getaffinity, 0).result()) == 1
        call = Call("abs1_convergence", 16)
        first = running.submit(perform, call).result()
        assert 0 < first.compiling < first.work
        assert 0 < running.submit(warm, call).result() < first.work


def test_costs_are_compared_with_a_tenth_of_the_seeds_and_with_the_first_place() -> None:
    one, two = Place("cpu", 1), Place("cpu", 2)
    samples = {(one, 100): [1.0, 2.0], (one, 1000): [8.0, 18.0], (two, 1000): [4.0, 6.0]}
    assert scaling._sizes(100, 3000) == [100, 1000]
    large = scaling._cost(one, 1000, samples, one)
    assert large["cost_to_a_tenth"] == report.spread([0.8, 0.9])
    assert large["seconds_per_run"] == report.spread([0.008, 0.018])
    assert scaling._cost(two, 1000, samples, one)["speed_to_first_place"] == report.spread([2.0, 3.0])


@pytest.mark.parametrize("name", [pytest.param("abs1_convergence", marks=pytest.mark.full), "relu1_normal"])
def test_shares_of_live_lanes_are_shares(name: str) -> None:
    found = lanes.count(name, 5000)
    assert found["runs"] == 4096
    assert found["way"] == "refilled"  # a few lane widths are too few for another way
    assert 0 < found["live"] <= 1
    assert 0 < found["live_without_refills"] <= 1


def test_traces_are_written_as_they_are_stored(tmp_path: Path) -> None:
    found = storage.measure(tmp_path, seeds=32, turns=1)
    params = 6
    assert found["array_bytes"] == found["observations"] * 4 * (2 + params) + 32 * 4
    assert found["bytes"][storage.PLAIN] > found["array_bytes"]
    assert not list(tmp_path.iterdir())


def test_seconds_are_those_of_all_processes_of_a_command(tmp_path: Path) -> None:
    busy = "sum(range(10**7))"
    wall, cpu = startup._took(["-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{busy}'])"],
                              "cpu", tmp_path)  # fmt: skip
    alone = startup._took(["-c", "pass"], "cpu", tmp_path)
    assert wall > alone[0]
    assert cpu > 2 * alone[1]


def test_counts_are_compared_with_runs_and_with_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populations, "PART", 500)
    assert populations._equal("relu1_normal", 500)["equal"]
    found = populations._law(1000)
    assert found["agree"] > 0.99 and found["counts_equal"]
    assert sum(found["counted"]) == sum(found["law"]) == 1000


def test_the_bench_of_a_gpu_asks_for_experiments_and_lane_widths_that_there_are() -> None:
    there = {name: case for name, case in gpu.CASES.items() if gpu._failure(name) is None}
    assert {*gpu.CASES} - {*there} <= {"MNIST, width 200"}  # its images may be missing
    for name, case in there.items():
        assert [plan(gpu._experiment(name), width, "none").lane_width for width in case.widths] == [*case.widths]
