"""Open, verify and export run directories of strangers: ``python examine.py HONEST HONEST DIR...``.

Each in a forked process of its own, whose time, memory and deeds are told as a line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxor.store.errors import StoreError
from jaxor.store.export import export_run
from jaxor.store.population import Population
from jaxor.store.run import open_run
from jaxor.store.verify import verify_run

LONGEST_S = 20
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
_DEEDS = ("exec", "compile", "import", "code.", "ctypes.", "marshal.", "os.", "pickle.", "socket.", "subprocess.")
_HARMLESS = ("os.scandir", "os.listdir", "os.rename", "os.remove")


def read(path: Path) -> str:
    """Read everything that there is."""
    run: Any = open_run(path)
    if isinstance(run, Population):
        for quantity in ("epochs", "initial_loss", "final_loss"):
            run.distribution(quantity)
        return repr(run)
    names = ("seeds", "status", "steps", "epochs", "initial_loss", "final_loss", "final_accuracy")
    names += ("initial_params", "final_params", "row_size")
    arrays = [getattr(run, name) for name in names]
    blocks = [len(block) for block in run.blocks()]
    traces = [len(run.trace(int(seed)).loss) for seed in run.seeds[:5]]
    return f"{run!r} {len(arrays)} {blocks} {traces}"


def verify(path: Path) -> str:
    found = verify_run(path)
    if found.problems:
        raise StoreError("; ".join(found.problems))
    return str(found.made_by)


def export(path: Path) -> str:
    export_run(path, path.with_suffix(".nc"))
    return "exported"


def attempt(action: Callable[[Path], str], path: Path) -> dict[str, Any]:
    start = time.process_time()
    try:
        said, error = action(path), None
    except StoreError as refusal:
        said, error = str(refusal), "StoreError"
    except BaseException as other:
        said, error = str(other), type(other).__name__
    return {"error": error, "said": said, "seconds": time.process_time() - start}


def examine(path: Path) -> dict[str, Any]:
    return {action.__name__: attempt(action, path) for action in (read, verify, export)}


def watch(path: Path) -> list[str]:
    """List what this process does from now on that reading data does not need."""
    deeds: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            deeds.extend([] if Path(arguments[0]).is_relative_to(path.parent) else [f"open {arguments[0]}"])
        elif event.startswith(_DEEDS) and event not in _HARMLESS:
            deeds.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(note)
    return deeds


def forked(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do work in a copy of this process; say how it ended and how much memory it had."""
    sys.stdout.flush()
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        signal.alarm(LONGEST_S)
        with open(sink, "w") as pipe:
            json.dump(work(), pipe)
        os._exit(0)
    os.close(sink)
    with open(source) as pipe:
        told = pipe.read()
    _, status, usage = os.wait4(child, 0)
    return {"ended": status, "bytes": usage.ru_maxrss * _UNIT, **json.loads(told or "{}")}


def work(path: Path) -> dict[str, Any]:
    deeds = watch(path)
    outcome = examine(path)
    return {"outcome": outcome, "deeds": deeds}


if __name__ == "__main__":
    runs, counts, *others = map(Path, sys.argv[1:])
    for path in (runs, counts):
        assert all(outcome["error"] is None for outcome in examine(path).values())  # imports what is imported late
    baseline = forked(dict)["bytes"]
    for path in others:
        told = forked(lambda path=path: work(path))
        print(json.dumps({"name": path.name, **told, "bytes": told["bytes"] - baseline}))
