"""Writers ended before and after every single thing that they ask of the system, and the order in which they ask."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.crash.commands import SEEDS, SIMULATE, unmeasured
from tests.crash.conftest import Count, Report
from tests.crash.faults import CASES, KILLED

ROOT = Path(__file__).parents[2]
DURABLE = ["open", "write", "fsync", "replace", "fsync directory"]


def faults(*arguments: object) -> list[Any]:
    command = [sys.executable, "-m", "tests.crash.faults", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("case", CASES)
def test_ended_at_every_point(tmp_path: Path, case: str, count: Count, report: Report):
    *ended, undisturbed = faults(case, tmp_path, count(7, 1))
    assert undisturbed["code"] == 0 and undisturbed["result"]
    damaged = 1 if case == "extend and repair" else 0  # there from the beginning, until it is repaired
    for point, found in enumerate(ended):
        assert (found["code"], found["touched"], found["temporaries"]) == (KILLED, [], []), point
        assert found["result"] == undisturbed["result"], point
        assert len(found["damaged"]) <= damaged, point
    report(f"ended at every point: {case}", len(ended), "same result each time, nothing left over")


def order(asked: list[tuple[str, str]]) -> dict[str, list[str]]:
    """What was asked about each file that appeared, in order, with the sync of its directory after it appeared."""
    temporary: defaultdict[str, list[str]] = defaultdict(list)
    done: dict[str, list[str]] = {}
    for what, path in asked:
        file = Path(path)
        if what == "fsync directory":
            for name, steps in done.items():
                if Path(name).parent == file and steps[-1] == "replace":
                    steps.append(what)
        elif what == "replace":
            candidates = [name for name in temporary if Path(name).name.startswith(f".{file.name}.")]
            done[path] = [*temporary.pop(candidates[0]), what]
        else:
            temporary[path].append(what)
    assert not temporary
    return done


def without_repetition(steps: list[str]) -> list[str]:
    return [step for step, last in zip(steps, [None, *steps], strict=False) if step != last]


@pytest.mark.parametrize("case", CASES)
def test_durable_before_visible(tmp_path: Path, case: str, report: Report):
    asked = [step for step in faults(case, tmp_path, "record") if step[0] != "flush"]
    orders = order(asked)
    assert {Path(path) for path in orders} == changed(tmp_path)
    for path, steps in orders.items():
        assert without_repetition(steps) == DURABLE, path
    report(f"write < fsync < rename < fsync of the directory: {case}", len(orders), "all files")


def changed(directory: Path) -> set[Path]:
    """Files that are new or other than before, but for the lock."""
    before, after = directory / "before", directory / "case"
    old = {path.relative_to(before): path.read_bytes() for path in before.rglob("*") if path.is_file()}
    new = {path.relative_to(after): path.read_bytes() for path in after.rglob("*") if path.is_file()}
    return {after / name for name, data in new.items() if old.get(name) != data and name.name != "run.lock"}


def traced(line: str) -> tuple[str, str] | None:
    """A line of strace, in the words of `faults`."""
    call = re.match(r"(\w+)\((.*)\) += \d", line)
    paths = re.findall(r'[<"](/[^">]*)[">]', call[2]) if call else []
    if call is None or not paths:
        return None
    name = call[1]
    if name.startswith("rename"):
        return "replace", paths[-1]
    if name == "openat":
        return ("open", paths[-1]) if "O_EXCL" in call[2] else None
    if name == "fsync" and Path(paths[0]).is_dir():
        return "fsync directory", paths[0]
    return ("write" if "write" in name else name), paths[0]


def test_the_system_sees_that_order(tmp_path: Path, count: Count, report: Report):
    if not count(0, 1) or shutil.which("strace") is None:
        pytest.skip("only with --full and where strace is installed")
    trace = ["strace", "-y", "-o", "log", "-e", "trace=openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat2"]
    code = "from jaxor.cli import main; main()"
    command = [*trace, sys.executable, "-c", code, *SIMULATE, "--out", str(tmp_path / "run"), "--devices", "1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    steps = [step for line in (tmp_path / "log").read_text().splitlines() if (step := traced(line))]
    orders = order([(what, path) for what, path in steps if path.startswith(f"{tmp_path}/run") and known(path)])
    written = {*(tmp_path / "run" / "shards").iterdir(), tmp_path / "run" / "manifest.json"}
    assert {*map(Path, orders)} == written and len(written) == 1 + -(-SEEDS // 32)
    for path, steps in orders.items():
        assert without_repetition(steps) == DURABLE, path
    report("the same, by strace of jaxor simulate", len(orders), "all files")


def known(path: str) -> bool:
    """All but the lock and the name of the writer, which need not survive a crash."""
    return Path(path).name not in ("run.lock", "writer")
