"""A worker process: ``python -m jaxor._worker CORE``; tasks on standard input, answers on standard output."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time


def main(core: int) -> None:
    """Serve tasks until the input closes."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # before JAX starts its threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the parent was killed and reads no answer any more
        with os.fdopen(os.dup(1), "wb") as answers, os.fdopen(os.dup(0), "rb") as tasks:
            os.dup2(2, 1)  # whatever a library prints must not mix with the answers
            _serve(tasks, answers)


def _end_with_parent(parent: int) -> None:
    """End at once when the parent is gone, even in the middle of a task."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _serve(tasks: io.BufferedReader, answers: io.BufferedWriter) -> None:
    import numpy as np

    from jaxor.compute import compute
    from jaxor.workers import PLAIN, Task, arrays_of, receive, send

    while tasks.peek(1):
        request, arrays = receive(tasks)
        try:
            seeds = tuple((start, stop) for start, stop in request["seeds"])
            how = {name: request[name] for name in PLAIN if name != "seeds"}
            answer = compute(Task(seeds=seeds, arrays=arrays, **how))
            if request["seal"]:
                arrays = {"shard": np.frombuffer(answer.result, np.uint8)}
            else:
                arrays = arrays_of(answer.result)
        except Exception as error:  # the parent reports it
            send(answers, {"error": str(error) or type(error).__name__})
            continue
        header = {name: getattr(answer, name) for name in ("epochs", "seconds", "compile_seconds")}
        send(answers, header | {"error": None}, **arrays)


if __name__ == "__main__":
    main(int(sys.argv[1]))
