"""``python -m tests.crash.soak``: many seeds under kill -9 and resume, with memory and open files watched.

First the simulation runs undisturbed; then it runs again, and every process is killed some time after it has sealed its
first shard, until one comes to the end. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxor.store.verify import verify_run
from tests.crash.commands import sealed

GROWTH = 0.05
"""How much more memory the second half of the shards after the warm-up may take than the first half."""

WARM_UP = 0.2
"""Share of the shards during which memory may grow."""


@dataclass(frozen=True)
class Sample:
    """All processes of a simulation at a moment: bytes in memory, shared pages counted once, and open files."""

    shards: int
    memory: int
    files: int


def main() -> None:
    """Run it; the exit code says whether all was as it should be."""
    parser = argparse.ArgumentParser(prog="soak", description="Simulate many seeds under kill -9 and resume.")
    parser.add_argument("--seeds", type=int, default=10**6)
    parser.add_argument("--after", type=float, default=0.4, help="seconds from first shard to kill, on average")
    parser.add_argument("--out", type=Path, default=Path("outputs/soak"), help="takes 1.3 kB a seed while it runs")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    figures, series = soak(options.seeds, options.after, options.out)
    (options.out / "soak.json").write_text(json.dumps(figures | series, indent=1) + "\n")
    for name, value in figures.items():
        print(f"{name:40} {value}" if isinstance(value, bool) else f"{name:40} {value:,}")
    equal_files = figures["open files, first half"] == figures["open files, second half"]
    if figures["shards lost"] or not figures["digests equal"] or figures["memory growth"] > GROWTH or not equal_files:
        sys.exit("the soak failed: shards were lost, runs differ, memory grew, or files stayed open")


def soak(seeds: int, after: float, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Simulate undisturbed and under kills; figures, and the samples that they are from."""
    cache, undisturbed, killed = out / "compiled", out / "undisturbed", out / "killed"
    began = time.monotonic()
    alone = watch(start(undisturbed, seeds, cache), undisturbed, None)
    seconds, digest = time.monotonic() - began, digest_of(undisturbed)
    shutil.rmtree(undisturbed)

    moments, peaks, lost = random.Random(0), [], 0  # noqa: S311 (no secret)
    began = time.monotonic()
    while True:
        before = sealed(killed)
        process = start(killed, seeds, cache)
        samples = watch(process, killed, moments.uniform(0, 2 * after))
        lost += len(before.items() - sealed(killed).items())
        if process.returncode != -signal.SIGKILL:
            break
        peaks.append(max(sample.memory for sample in samples))
    seconds_killed, equal = time.monotonic() - began, digest is not None and digest == digest_of(killed)
    shutil.rmtree(killed)

    shards = alone[-1].shards
    warm = [sample for sample in alone if WARM_UP * shards <= sample.shards < shards]
    first, second = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    most = [max(sample.memory for sample in half) for half in (first, second)]
    figures = {
        "seeds": seeds,
        "shards": shards,
        "seconds, undisturbed": round(seconds, 1),
        "seconds, killed": round(seconds_killed, 1),
        "kills": len(peaks),
        "shards lost": lost,
        "digests equal": equal,
        "most memory in first half (MB)": round(most[0] / 1e6),
        "most memory in second half (MB)": round(most[1] / 1e6),
        "memory growth": round(most[1] / most[0] - 1, 4),
        "most memory of a killed simulation (MB)": round(max(peaks) / 1e6),
        "open files, first half": max(sample.files for sample in first),
        "open files, second half": max(sample.files for sample in second),
    }
    return figures, {"digest": digest, "undisturbed": [asdict(sample) for sample in alone], "peaks": peaks}


def start(run: Path, seeds: int, cache: Path) -> subprocess.Popen[bytes]:
    """Start or resume the simulation in two processes."""
    command = [sys.executable, "-m", "jaxor", "simulate", "--seeds", str(seeds), "--traces", "all", "--out", str(run)]
    command += ["--devices", "2", "--cache", str(cache), "--resume", "--json"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def watch(process: subprocess.Popen[bytes], run: Path, seconds: float | None) -> list[Sample]:
    """Samples until the process ends; it is killed so many seconds after it has sealed a shard."""
    before, first, samples = len(sealed(run)), None, []
    while process.poll() is None:
        if sample := look(process.pid, run):
            samples.append(sample)
            if first is None and sample.shards > before:
                first = time.monotonic()
        if seconds is not None and first is not None and time.monotonic() - first >= seconds:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.05)
    return samples


def look(pid: int, run: Path) -> Sample | None:
    """The process and its workers now; None if one of them has just ended."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        processes = [Path(f"/proc/{one}") for one in (pid, *children)]
        files = sum(len(os.listdir(one / "fd")) for one in processes)
        return Sample(len(sealed(run)), sum(map(memory_of, processes)), files)
    except (OSError, StopIteration):
        return None


def memory_of(process: Path) -> int:
    """Bytes in memory, each shared page divided by those that share it."""
    lines = (process / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def digest_of(run: Path) -> str | None:
    """Digest of a complete and sound directory."""
    found = verify_run(run)
    return None if found.problems or found.missing else found.digest


if __name__ == "__main__":
    main()
