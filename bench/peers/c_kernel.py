"""C by hand: runs in the lanes of vector registers, lanes refilled as runs end. The ceiling to measure against."""

from __future__ import annotations

import ctypes
import functools
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import Outcome, Train
from bench.peers.cases import Case, xor_case
from bench.peers.parallel import on_threads

NAME = "C kernel"

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

WHY = None if COMPILER else "no C compiler found"
"""Why the kernel cannot run here, if so; a failed compilation sets it too."""

# Sums keep jaxor's order (which costs nothing): without it 1.5 % of the runs of relu1 end elsewhere.
FLAGS = ["-std=gnu11", "-O3", "-march=native", "-ffast-math", "-fno-associative-math", "-fPIC"]
X86_FLAGS = ["-mprefer-vector-width=512"]

# Vectors that step together, lanes that must have ended before they are refilled, and steps between two looks, as
# measured. Short runs of about equal length are best exchanged all together, long and uneven ones soon.
TUNING = {
    "abs1_convergence": ("4", "LANES", "1"),
    "abs1_normal": ("4", "4", "4"),
    "abs1_large": ("4", "4", "4"),
    "relu2_eight_mse_norm": ("1", "1", "1"),
}
TUNED = ("2", "2", "2")


def trainer(name: str, cores: int) -> Train | None:
    """Compiles a kernel for the experiment's numbers."""
    given = xor_case(name)
    kernel = given and _build(_definitions(given) | _tuning(name))
    return kernel and on_threads(functools.partial(_fill, kernel), cores)


def _definitions(case: Case) -> dict[str, str]:
    numbers = {
        "P": str(case.size),
        "UNITS": str(case.units),
        "OUTPUTS": str(case.outputs),
        case.activation.upper(): "1",
        "RATE": f"{case.learning_rate!r}f",
        "STOP": f"{case.stop_loss!r}f",
        "CAP": str(case.max_epochs),
    }
    if case.adam:
        numbers |= {"ADAM": "1", "B1": repr(case.b1), "B2": repr(case.b2), "EPS": f"{case.eps!r}f"}
    if case.patience is not None:
        numbers |= {"PATIENCE": str(case.patience), "MIN_IMPROVEMENT": f"{case.min_improvement!r}f"}
    return numbers


def _tuning(name: str) -> dict[str, str]:
    return dict(zip(("GROUP", "QUORUM", "CHECK"), TUNING.get(name, TUNED), strict=True))


def _build(definitions: dict[str, str]) -> Any:
    """The kernel as a loaded library, or None."""
    global WHY
    if COMPILER is None:
        return None
    flags = FLAGS + (X86_FLAGS if platform.machine() in ("x86_64", "AMD64") else [])
    flags += [f"-D{key}={value}" for key, value in definitions.items()]
    source = str(Path(__file__).with_name("kernel.c"))
    with tempfile.TemporaryDirectory() as directory:
        compiled, library = f"{directory}/kernel.o", f"{directory}/kernel.so"
        # Linked without -ffast-math, which would have the library switch the whole process to flushing subnormals.
        for command in ([*flags, "-c", source, "-o", compiled], ["-shared", compiled, "-o", library, "-lm"]):
            done = subprocess.run([COMPILER, *command], capture_output=True, text=True, check=False)
            if done.returncode:
                WHY = f"{COMPILER} failed: {done.stderr.strip()[:500]}"
                return None
        return ctypes.CDLL(library)


def _fill(kernel: Any, initial: Any, outcome: Outcome) -> None:
    initial = np.ascontiguousarray(initial, np.float32)
    epochs, params, loss = (ctypes.c_void_p(array.ctypes.data) for array in outcome)
    kernel.train(ctypes.c_int(len(initial)), ctypes.c_void_p(initial.ctypes.data), params, epochs, loss)
