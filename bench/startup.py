"""Wall and CPU seconds of commands that start, work a little and end, beside those of Python and of JAX.

They take turns. CPU seconds are those of the command and all its processes, user and system together.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.calls import environment
from bench.options import devices, parser
from bench.report import machine, publish, ratios, spread, text

TURNS = 5
QUICK_TURNS = 3
SEEDS = 10_000
BASE = "import jax; ones"
"""What all others are compared with: the least that uses JAX."""


def main() -> None:
    """Measure, print a table, write JSON and figure."""
    options = parser("bench.startup", __doc__).parse_args()
    rows = []
    for device in devices(options):
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(device, Path(folder), QUICK_TURNS if options.quick else TURNS)
    _print(rows)
    publish("startup", {"machine": machine(), "quick": options.quick, "rows": rows})


def measure(device: str, folder: Path, turns: int) -> list[Any]:
    """A row for each command."""
    commands = _commands(folder)
    _took(commands["jaxor simulate --cache"], device, folder)  # fills the cache
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            samples[name].append(_took(command, device, folder))
    return [_row(name, device, taken, samples[BASE]) for name, taken in samples.items()]


def _commands(folder: Path) -> dict[str, list[str]]:
    simulate = ["-m", "jaxor", "simulate", "--quiet", "--seeds", str(SEEDS), "--out", str(folder / "run")]
    return {
        "python -c pass": ["-c", "pass"],
        BASE: ["-c", "import jax; jax.numpy.ones(3).sum()"],
        "import jaxor": ["-c", "import jaxor"],
        "jaxor --help": ["-m", "jaxor", "--help"],
        "jaxor simulate": simulate,
        "jaxor simulate --cache": [*simulate, "--cache", str(folder / "cache")],
    }


def _took(arguments: list[str], device: str, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a Python command, which may leave a run directory that is then removed."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment(device))
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    shutil.rmtree(folder / "run", ignore_errors=True)
    return wall, usage.ru_utime + usage.ru_stime


def _row(name: str, device: str, taken: list[tuple[float, float]], base: list[tuple[float, float]]) -> dict[str, Any]:
    wall, cpu = zip(*taken, strict=True)
    base_wall, base_cpu = zip(*base, strict=True)
    return {
        "command": name,
        "device": device,
        "wall_s": spread(wall),
        "cpu_s": spread(cpu),
        "wall_to_jax": ratios(wall, base_wall),
        "cpu_to_jax": ratios(cpu, base_cpu),
        "samples_s": {"wall": wall, "cpu": cpu},
    }


def _print(rows: list[Any]) -> None:
    print(f"\nmedians, least and most in brackets; jaxor simulate trains {SEEDS:,} seeds and stores all traces")
    print(f"  {'':<32}{'wall, s':<26}{f'to {BASE}':<26}{'CPU, s':<26}to {BASE}")
    for row in rows:
        cells = [text(row[name]) for name in ("wall_s", "wall_to_jax", "cpu_s", "cpu_to_jax")]
        print(f"  {row['command']:<25}{row['device']:<7}" + "".join(f"{cell:<26}" for cell in cells).rstrip())


if __name__ == "__main__":
    main()
