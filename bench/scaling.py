"""Cost of a run by number of seeds, by cores and by lane width; start-up apart from the rest; memory.

Each place (one core, all cores, a GPU) is a process of its own. Its first call is its start-up; then all numbers of
seeds and all places take turns, and ratios are taken turn by turn, so that they mean something on a noisy machine. Lane
widths are tried at the first place.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from bench.calls import Call, Place, peak_memory, perform, places, process, warm
from bench.options import devices, parser
from bench.report import machine, publish, ratios, spread, text

Case = tuple[str, str]
"""An experiment and what is kept of its runs."""

COUNTED = ("abs1_convergence", "statistics")
"""The case with most seeds, whose memory is measured too."""

FIRST = 10**6
"""Seeds of the first call: so many that each core has a worker process."""

ONCE = 10**9
"""So many seeds or more, which take minutes, have one turn only."""


class Scale(NamedTuple):
    """Turns; fewest seeds, and most of each case; lane widths, and the runs at each of them."""

    turns: int
    fewest: int
    most: dict[Case, int]
    widths: tuple[int, ...]
    width_seeds: dict[str, int]


FULL = Scale(
    turns=5,
    fewest=10**2,
    most={
        ("abs1_convergence", "runs"): 10**7,
        ("relu1_normal", "runs"): 10**6,
        COUNTED: 10**8,
        ("relu1_normal", "statistics"): 10**7,
    },
    widths=(256, 512, 1024, 2048, 4096, 8192),
    width_seeds={
        "abs1_convergence": 2**22,
        "relu1_normal": 2**19,
        "relu2_two_mse_sgd": 2**18,
        "relu2_eight_mse_norm": 2**16,
    },
)
QUICK = Scale(
    turns=3,
    fewest=10**4,
    most=dict.fromkeys(FULL.most, 10**6),
    widths=(512, 2048, 8192),
    width_seeds={name: seeds // 8 for name, seeds in FULL.width_seeds.items()},
)


def main() -> None:
    """Measure, print tables, write JSON and figure."""
    made = parser("bench.scaling", __doc__)
    made.add_argument("--most", type=int, metavar="N", help="go to N seeds of abs1_convergence with statistics")
    options = made.parse_args()
    where, scale = places(devices(options)), QUICK if options.quick else FULL
    if options.most:
        scale = scale._replace(most=scale.most | {COUNTED: max(options.most, FIRST)})
    starts, costs = [], []
    for case in scale.most:
        started, cost = _grow(case, where, scale)
        _print_costs(cost)
        starts += started
        costs += cost
    _print_starts(starts)
    memory = [_memory(seeds, place) for seeds in _sizes(FIRST, scale.most[COUNTED]) for place in where]
    _print_memory(memory)
    widths = [_widths(name, where[0], scale) for name in scale.width_seeds]
    _print_widths(widths)
    content = {"starts": starts, "costs": costs, "memory": memory, "widths": widths}
    publish("scaling", {"machine": machine(), "quick": options.quick, **content})


def _sizes(fewest: int, most: int) -> list[int]:
    """Powers of ten."""
    return [10**k for k in range(len(str(most))) if fewest <= 10**k <= most]


def _grow(case: Case, where: list[Place], scale: Scale) -> tuple[list[Any], list[Any]]:
    """The start-up at each place, and the cost of a run there by number of seeds."""
    call = Call(case[0], FIRST, case[1])
    sizes, samples = _sizes(scale.fewest, scale.most[case]), defaultdict(list)
    with contextlib.ExitStack() as stack:
        running = {place: stack.enter_context(process(place)) for place in where}
        first = {place: _first(call, running[place]) for place in where}
        for turn in range(scale.turns):
            for seeds in sizes:
                for place in where if turn == 0 or seeds < ONCE else ():
                    samples[place, seeds].append(running[place].submit(warm, call._replace(seeds=seeds)).result())
    about = {"experiment": call.experiment, "keep": call.keep}
    starts = [about | _start(place, first[place], samples[place, FIRST]) for place in where]
    costs = [about | _cost(place, seeds, samples, where[0]) for seeds in sizes for place in where]
    return starts, costs


def _first(call: Call, running: ProcessPoolExecutor) -> dict[str, float]:
    """Seconds until a new process can be asked, and of the first call there."""
    started = time.perf_counter()
    running.submit(os.getpid).result()
    ready = time.perf_counter() - started
    took = running.submit(perform, call).result()
    return {"process_s": ready, "checks_s": took.checks, "work_s": took.work, "compile_s": took.compiling}


def _start(place: Place, first: dict[str, float], warm_s: list[float]) -> dict[str, Any]:
    """What was new in a first call, and what is left of it in a warm one."""
    left = statistics.median(warm_s)
    start = first["process_s"] + first["checks_s"] + first["work_s"] - left
    return {"place": str(place), "seeds": FIRST, **first, "warm_s": left, "start_up_s": start}


def _cost(place: Place, seeds: int, samples: dict[tuple[Place, int], list[float]], base: Place) -> dict[str, Any]:
    """Cost of a run, its ratio to that with a tenth of the seeds, and how much faster than the first place it is."""
    taken, tenth = samples[place, seeds], samples.get((place, seeds // 10))
    return {
        "place": str(place),
        "seeds": seeds,
        "seconds_per_run": spread([seconds / seeds for seconds in taken]),
        "runs_per_s": spread([seeds / seconds for seconds in taken]),
        "speed_to_first_place": ratios(samples[base, seeds], taken),
        "cost_to_a_tenth": tenth and ratios(taken, [10 * seconds for seconds in tenth]),
        "samples_s": taken,
    }


def _memory(seeds: int, place: Place) -> dict[str, Any]:
    """Most memory that a fresh process and its workers take together."""
    with process(place) as running:
        number = running.submit(os.getpid).result()
        with peak_memory(number) as samples:
            running.submit(perform, Call(COUNTED[0], seeds, COUNTED[1])).result()
    return {"place": str(place), "seeds": seeds, "before_bytes": samples[0], "peak_bytes": max(samples)}


def _widths(experiment: str, place: Place, scale: Scale) -> dict[str, Any]:
    """Runs a second by lane width; the widths take turns."""
    seeds = scale.width_seeds[experiment]
    calls = [Call(experiment, seeds, lane_width=width) for width in scale.widths]
    with process(place) as running:
        turns = [[running.submit(warm, call).result() for call in calls] for _ in range(scale.turns)]
        default = running.submit(_default_width, experiment).result()
    samples = list(zip(*turns, strict=True))
    return {
        "experiment": experiment,
        "place": str(place),
        "seeds": seeds,
        "default_width": default,
        "widths": scale.widths,
        "runs_per_s": [spread([seeds / seconds for seconds in taken]) for taken in samples],
        "samples_s": samples,
    }


def _default_width(experiment: str) -> int:
    from jaxor.engine.plan import plan
    from jaxor.experiments.catalog import get_experiment

    return plan(get_experiment(experiment)).lane_width


def _print_costs(costs: list[Any]) -> None:
    first = costs[0]
    print(f"\n{first['experiment']}, keeping {first['keep']}; medians, least and most in brackets")
    faster = f"speed to {first['place']}"
    print(f"  {'seeds':>13}  {'':<8}{'runs/s':>12}   {'us a run':<26}{faster:<26}cost to a tenth of the seeds")
    for row in costs:
        against = "" if row["cost_to_a_tenth"] is None else text(row["cost_to_a_tenth"])
        print(
            f"  {row['seeds']:>13,}  {row['place']:<8}{row['runs_per_s']['median']:>12,.0f}   "
            f"{text(row['seconds_per_run'], 1e6):<26}{text(row['speed_to_first_place']):<26}{against}",
            flush=True,
        )


def _print_starts(starts: list[Any]) -> None:
    print(f"\nstart-up: a fresh process and its first call, of {FIRST:,} seeds, against a warm one; seconds")
    print(f"  {'':<30}{'':<8}{'process':>9}{'checks':>9}{'first':>9}{'compile':>9}{'warm':>9}{'start-up':>10}")
    for row in starts:
        parts = "".join(f"{row[f'{part}_s']:>9.2f}" for part in ("process", "checks", "work", "compile", "warm"))
        print(f"  {row['experiment'] + ', ' + row['keep']:<30}{row['place']:<8}{parts}{row['start_up_s']:>10.2f}")


def _print_memory(memory: list[Any]) -> None:
    print(f"\nmemory of {', '.join(COUNTED)}: resident, summed over the process and its workers; MB")
    print(f"  {'seeds':>13}  {'':<8}{'before':>9}{'at most':>9}")
    for row in memory:
        sizes = "".join(f"{row[name] / 1e6:>9,.0f}" for name in ("before_bytes", "peak_bytes"))
        print(f"  {row['seeds']:>13,}  {row['place']:<8}{sizes}")


def _print_widths(widths: list[Any]) -> None:
    print(f"\nthousands of runs a second by lane width, {widths[0]['place']}; * is the default width")
    print(f"  {'':<22}{'seeds':>10}" + "".join(f"  {width:<26}" for width in widths[0]["widths"]))
    for row in widths:
        stars = ["*" * (width == row["default_width"]) for width in row["widths"]]
        cells = [text(speed, 1e-3) + star for speed, star in zip(row["runs_per_s"], stars, strict=True)]
        print(f"  {row['experiment']:<22}{row['seeds']:>10,}" + "".join(f"  {cell:<26}" for cell in cells))


if __name__ == "__main__":
    main()
