"""``python -m tests.crash.faults CASE DIR EVERY``: a case ended before and after everything that it asks of the system.

Each time a child process does the case's work in a fresh directory and ends at the next point, as by kill -9; then this
process looks at what is left and does the same work to its end. A line of JSON says what was found at each point, or at
every so many. With ``record`` for EVERY the work is done once, and the lines are what it asked of the system.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jaxor.engine.seeds import Ranges, expand, pieces
from jaxor.engine.tally import Tally
from jaxor.store import atomic
from jaxor.store.directory import RunDirectory
from jaxor.store.export import export_run
from jaxor.store.listing import Listing
from jaxor.store.manifest import Manifest
from jaxor.store.merge import merge_runs
from jaxor.store.shard import seal
from jaxor.store.verify import verify_run
from tests.crash.commands import sealed, temporaries
from tests.store.samples import block, manifest

KILLED = 137


class System:
    """What `jaxor.store.atomic` asks of the system: noted, and ended at a point if one is given."""

    def __init__(self, point: int | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._left = point

    def install(self) -> None:
        """Stand between `atomic` and the system from now on."""
        fsync, replace, system = os.fsync, os.replace, self

        class File(io.BufferedRandom):
            def __init__(self, path: Path, mode: str) -> None:
                super().__init__(io.FileIO(path, mode))
                self.path = path

            def write(self, data: Any) -> int:
                half = len(data) // 2
                with system.asking("write", self.path):
                    super().write(data[:half])
                    super().flush()
                    system.pass_point()
                    super().write(data[half:])
                return len(data)

            def flush(self) -> None:
                with system.asking("flush", self.path):
                    super().flush()

        def open_new(path: Path, mode: str) -> File:
            with system.asking("open", path):
                return File(path, mode.replace("b", ""))

        def sync(descriptor: int) -> None:
            kind = "fsync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync"
            with system.asking(kind, os.readlink(f"/proc/self/fd/{descriptor}")):
                fsync(descriptor)

        def move(source: Path, target: Path) -> None:
            with system.asking("replace", target):
                replace(source, target)

        setattr(atomic, "open", open_new)  # noqa: B010 (the module has no such name yet)
        os.fsync, os.replace = sync, move

    def asking(self, what: str, path: str | Path) -> System:
        """Note it; a point before it, and with ``with`` one after it."""
        self.pass_point()
        self.asked.append((what, os.fspath(path)))
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.pass_point()

    def pass_point(self) -> None:
        """End the process here if this is the point."""
        if self._left == 0:
            os._exit(KILLED)
        if self._left is not None:
            self._left -= 1


@dataclass(frozen=True)
class Case:
    """Work of a writer in a directory, what was there before, and how its result is told."""

    work: Callable[[Path], object]
    before: Callable[[Path], object] = lambda path: None
    result: Callable[[Path], object] = lambda path: _digest(path)


def _write(path: Path, seeds: range, asked: int = 0, **changes: Any) -> None:
    """What `jaxor simulate --resume` does there, with made-up runs, four to a shard; `asked` as with ``--until``."""
    wanted = manifest(seeds, **changes)
    with RunDirectory.create_or_open(path, wanted, resume=True) as directory:
        for some in pieces(directory.missing(wanted.seeds), itertools.repeat(4)):
            directory.add(some, _sealed(some, wanted.to_json()))
        directory.ask_for(((0, asked),) if asked else ())


@lru_cache
def _sealed(seeds: Ranges, text: str) -> bytes:
    """A shard, which the children find made already."""
    like = Manifest.from_json(text)
    made_like = manifest() if like.kind == "statistics" else like
    runs = block(expand(seeds), made_like)
    return seal(Tally.of(runs) if like.kind == "statistics" else runs, like)


def _half(path: Path) -> None:
    """A simulation that is to be extended, with a damaged shard."""
    _write(path / "run", range(8), **SMALL)
    shard = min((path / "run" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])


def _two(path: Path) -> None:
    """Two directories that hold some of the same seeds, so that a shard is taken apart."""
    _write(path / "one", range(4), **SMALL)
    _write(path / "two", range(2, 6), **SMALL)


def _small(path: Path) -> None:
    _write(path / "run", range(8), **SMALL)


def _export(path: Path) -> None:
    (path / "run.nc").unlink(missing_ok=True)
    export_run(path / "run", path / "run.nc")


def _digest(path: Path) -> Any:
    found = verify_run(path / "run")
    return None if found.problems else [found.digest, found.missing]


SMALL: dict[str, Any] = {"traces": "none", "parameters": "none"}
CASES = {
    "simulate": Case(lambda path: _write(path / "run", range(8))),
    "statistics": Case(lambda path: _write(path / "run", range(8), 12, kind="statistics", **SMALL)),
    "extend and repair": Case(lambda path: _write(path / "run", range(10), **SMALL), _half),
    "merge": Case(lambda path: merge_runs([path / "one", path / "two"], path / "run", resume=True), _two),
    "export": Case(_export, _small, lambda path: sha256((path / "run.nc").read_bytes()).hexdigest()),
}


def record(case: Case, path: Path) -> list[tuple[str, str]]:
    """What the work asks of the system, in order."""
    system = System()
    system.install()
    case.work(path)
    return system.asked


def end_at(case: Case, path: Path, point: int) -> dict[str, Any]:
    """What is found after the work was ended there, and after it was done once more to its end."""
    child = os.fork()
    if child == 0:
        System(point).install()
        case.work(path)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    run = path / "run"
    listing = RunDirectory.open(run).inspect() if (run / "manifest.json").exists() else Listing([], {}, [])
    before = sealed(run)
    case.work(path)
    after = sealed(run)
    return {
        "code": code,
        "damaged": [file.name for file in listing.damaged],
        "touched": [shard.path.name for shard in listing.shards if before[shard.path.name] != after[shard.path.name]],
        "temporaries": [str(file) for file in temporaries(run)],
        "result": case.result(path),
    }


def main(name: str, directory: str, every: str) -> None:
    """Print a line for each point up to the first that is never reached, or for each thing asked."""
    case, path, before = CASES[name], Path(directory) / "case", Path(directory) / "before"
    before.mkdir()
    case.before(before)
    shutil.copytree(before, path)
    if every == "record":
        print(*map(json.dumps, record(case, path)), sep="\n")
        return
    case.work(path)  # seals what the children will need
    for point in itertools.count(step=int(every)):
        shutil.rmtree(path)
        shutil.copytree(before, path)
        found = end_at(case, path, point)
        print(json.dumps(found))
        if found["code"] == 0:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
