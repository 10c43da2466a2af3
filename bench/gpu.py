"""Runs a second on a GPU by lane width, beside the same machine's processor at the default width.

Only counts are kept of the runs, so that little but training is measured. Each place is a process of its own, and every
program is compiled before it is timed. The wide nets are those of `bench.nets`, with fewer columns.
"""

from __future__ import annotations

import functools
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from bench.calls import Call, Place, perform, places, process, warm
from bench.options import devices, parser
from bench.report import machine, spread, text, write

TURNS = 3

NARROW = tuple(2**k for k in (11, 14, 16, 18, 20))


class Case(NamedTuple):
    """Lane widths on the GPU and how many of each are filled; fewest seeds there, and seeds for a core of the CPU."""

    widths: tuple[int, ...]
    fillings: int
    fewest: int
    core: int


CASES = {
    "abs1_convergence": Case(NARROW, 16, 2**20, 2**21),
    "relu1_normal": Case(NARROW, 16, 2**19, 2**20),
    "relu2_eight_mse_norm": Case(NARROW[:4], 8, 2**15, 2**16),
    "digits_mlp": Case((16, 256, 4096), 2, 64, 32),
    "n = 20, d = 50, width 1,295": Case((1, 32, 1024), 4, 128, 512),
    "MNIST, width 200": Case((1, 16, 128), 4, 32, 16),
}


def main() -> None:
    """Measure, print a table, write JSON."""
    options = parser("bench.gpu", __doc__).parse_args()
    where, rows = places(devices(options)), []
    for name in CASES:
        with process(Place("cpu", 1)) as one:
            if failure := one.submit(_failure, name).result():
                print(f"{name}: not measured, {failure}")
                continue
        for place in where:
            rows += _rates(name, place, options.quick)
        write("gpu", {"machine": machine(), "quick": options.quick, "rows": rows})


@functools.cache
def _experiment(name: str) -> Any:
    from bench.nets import _mnist, _theory
    from jaxor.experiments.catalog import get_experiment

    if name in (nets := {"MNIST, width 200": _mnist, "n = 20, d = 50, width 1,295": _theory}):
        return nets[name]().reduced
    return get_experiment(name)


def _failure(name: str) -> str | None:
    """Why an experiment cannot be had here."""
    from jaxor.experiments.registry import ExperimentError

    try:
        _experiment(name)
    except ExperimentError as error:
        return str(error)


def _rates(name: str, place: Place, quick: bool) -> list[dict[str, Any]]:
    """Runs a second of an experiment at a place, by lane width if it is a GPU."""
    case, rows = CASES[name], []
    with process(place) as running:
        for width in [None] if place.device == "cpu" else case.widths[:: 2 if quick else 1]:
            seeds = case.core * place.cores if width is None else max(case.fillings * width, case.fewest)
            rows.append({"experiment": name, "place": str(place), **_rate(name, seeds, width, running)})
            _print(rows[-1])
    return rows


def _rate(name: str, seeds: int, width: int | None, running: ProcessPoolExecutor) -> dict[str, Any]:
    first = running.submit(_perform, name, seeds, width).result()
    samples = [running.submit(_warm, name, seeds, width).result() for _ in range(TURNS)]
    return {
        "lane_width": width,
        "seeds": seeds,
        "compile_s": first.compiling,
        "runs_per_s": spread([seeds / seconds for seconds in samples]),
        "samples_s": samples,
    }


def _call(name: str, seeds: int, width: int | None) -> Call:
    return Call(_experiment(name), seeds, "statistics", lane_width=width)


def _perform(name: str, seeds: int, width: int | None) -> Any:
    return perform(_call(name, seeds, width))


def _warm(name: str, seeds: int, width: int | None) -> float:
    return warm(_call(name, seeds, width))


def _print(row: dict[str, Any]) -> None:
    width = "default" if row["lane_width"] is None else f"{row['lane_width']:,}"
    print(
        f"  {row['experiment']:<30}{row['place']:<10}{width:>10} lanes{row['seeds']:>12,} seeds"
        f"{text(row['runs_per_s']):>40} runs/s, compiled in {row['compile_s']:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
