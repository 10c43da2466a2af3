"""Wall time of runs with all traces on disk, against the same without traces and against h5py writing the same arrays.

All sync what they write, and they take turns after a first call each, which is reported apart. Without traces the runs
are one block, so one process trains them; with traces they are many, and all cores do unless it is quick.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.calls import Call, environment, perform, warm
from bench.options import devices, parser
from bench.report import machine, publish, ratios, spread, text

EXPERIMENT = "relu1_normal"
SEEDS = 100_000
QUICK_SEEDS = 10_000
TURNS = 5
QUICK_TURNS = 3
ARRAYS = ("row_size", "trace_step", "trace_loss", "trace_params")
WITH, WITHOUT, PLAIN = "with traces", "without traces", "plain h5py"


def main() -> None:
    """Measure, print a table, write JSON and figure."""
    made = parser("bench.storage", __doc__)
    made.add_argument("--folder", type=Path, default=Path("outputs"), help="on the disk to measure  [default: outputs]")
    options = made.parse_args()
    devices(options, cpu_only="this bench is about the disk")
    os.environ.update(environment("cpu"))  # before anything imports JAX
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        seeds, turns = (QUICK_SEEDS, QUICK_TURNS) if options.quick else (SEEDS, TURNS)
        found = measure(Path(folder), seeds, turns)
    _print(found)
    publish("storage", {"machine": machine(), "quick": options.quick, **found})


def measure(folder: Path, seeds: int, turns: int) -> dict[str, Any]:
    """Seconds of the three, in turns, and what they leave on disk."""
    out = folder / "run"
    calls = {WITH: Call(EXPERIMENT, seeds, traces="all", out=out), WITHOUT: Call(EXPERIMENT, seeds, out=out)}
    first, disk, arrays = {}, {}, {}
    for name, call in calls.items():
        took = perform(call)
        first[name], disk[name] = took.checks + took.work, _size(out)
        arrays = arrays or _traces(out)
        shutil.rmtree(out)
    first[PLAIN], disk[PLAIN] = _write(arrays, out), _size(out)
    out.unlink()
    samples: dict[str, list[float]] = {name: [] for name in (*calls, PLAIN)}
    for _ in range(turns):
        for name, call in calls.items():
            samples[name].append(warm(call))
            shutil.rmtree(out)
        samples[PLAIN].append(_write(arrays, out))
        out.unlink()
    sizes = {"observations": len(arrays["trace_step"]), "array_bytes": sum(array.nbytes for array in arrays.values())}
    return {"experiment": EXPERIMENT, "seeds": seeds, **sizes, **_summary(samples), "first_s": first, "bytes": disk}


def _traces(directory: Path) -> dict[str, Any]:
    """The stored arrays of the traces, those of all shards one after the other."""
    import numpy as np

    from jaxor.store.directory import RunDirectory
    from jaxor.store.shard import read

    shards = [read(shard.path, ARRAYS) for shard in RunDirectory.open(directory).shards()]
    return {name: np.concatenate(parts) for name, parts in zip(ARRAYS, zip(*shards, strict=True), strict=True)}


def _write(arrays: dict[str, Any], target: Path) -> float:
    """Seconds that h5py takes for them, on disk for certain."""
    import h5py

    started = time.perf_counter()
    with h5py.File(target, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    with target.open("rb") as written:
        os.fsync(written)
    return time.perf_counter() - started


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _summary(samples: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and traces against the rest of the work and a plain file of them."""
    turns = list(zip(samples[WITHOUT], samples[PLAIN], strict=True))
    return {
        "seconds": {name: spread(taken) for name, taken in samples.items()},
        "to_without_and_plain": ratios(samples[WITH], [without + plain for without, plain in turns]),
        "to_twice_without_and_plain": ratios(samples[WITH], [2 * without + plain for without, plain in turns]),
        "samples_s": samples,
    }


def _print(found: dict[str, Any]) -> None:
    print(
        f"\n{found['experiment']}, {found['seeds']:,} runs with {found['observations']:,} observations, "
        f"{found['array_bytes'] / 1e6:,.0f} MB as arrays"
    )
    print(f"  {'':<16}{'seconds':<26}{'first':>7}{'on disk, MB':>14}{'of the arrays, MB/s':>21}")
    for name, seconds in found["seconds"].items():
        rate = "" if name == WITHOUT else f"{found['array_bytes'] / 1e6 / seconds['median']:,.0f}"
        disk = found["bytes"][name] / 1e6
        print(f"  {name:<16}{text(seconds):<26}{found['first_s'][name]:>7.2f}{disk:>14,.1f}{rate:>21}")
    print(f"  with / (without + plain)      {text(found['to_without_and_plain'])}")
    print(f"  with / (2 x without + plain)  {text(found['to_twice_without_and_plain'])}")


if __name__ == "__main__":
    main()
