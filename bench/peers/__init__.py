"""What people would write instead of jaxor: the same trainings by other means, one module each.

A peer has a `NAME` and ``trainer(name, cores)``, which gives a function from initial parameters (n, P) in jaxor's flat
order to an `Outcome`, or None where the peer does not cover the experiment or cannot run here. What takes time once
(compilers, threads, processes) is done by `trainer`, apart from programs that XLA compiles anew for each n.

All follow jaxor's semantics: the loss before a step is tested, that step is taken and counted, and the final loss
comes from one more forward pass. Runs are the same up to rounding, so a few of them end at another epoch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MODULES = ("torch_loop", "torch_func", "numpy_loop", "plain_jax", "numba_loop", "c_kernel")


class Outcome(NamedTuple):
    """Epochs (n,) int32, final parameters (n, P) float32 and final loss (n,) float32 of n runs."""

    epochs: NDArray[Any]
    params: NDArray[Any]
    loss: NDArray[Any]

    @classmethod
    def of(cls, epochs: Any, params: Any, loss: Any) -> Outcome:
        """From arrays of any library."""
        return cls(np.asarray(epochs, np.int32), np.asarray(params, np.float32), np.asarray(loss, np.float32))


Train = Callable[[NDArray[Any]], Outcome]


def load(module: str) -> ModuleType | None:
    """A peer's module, or None where a package that it needs is not installed."""
    try:
        return importlib.import_module(f"bench.peers.{module}")
    except ModuleNotFoundError:
        return None
