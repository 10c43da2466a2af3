"""Measurements along paths that NumPy took: plain loops over stored parameters, for tests of what is read off them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.geometry import BATCHES, FRACTIONS, LAGS, LOOKS, Geometry, join

Floats = NDArray[np.float64]


def measured(paths: list[Floats], gradients: list[Floats], seed: int = 0) -> Geometry:
    """Parameters (T + 1, D) and gradients (T, D) of each run, with its own last parameters as reference."""
    rng = np.random.default_rng(seed)
    ends = [path[-1] for path in paths]
    runs = []
    for run, (w, g) in enumerate(zip(paths, gradients, strict=True)):
        steps, end = len(g), ends[run]
        other = ends[run ^ 1] if run ^ 1 < len(ends) else np.full_like(end, np.nan)
        away = rng.normal(size=len(end))
        away *= np.linalg.norm(end - w[0]) / np.linalg.norm(away)
        d, s = w[:-1] - end, w[:-1] - w[1:]
        look = (2 * np.arange(LOOKS) + 1) * steps // (2 * LOOKS)
        dealt = rng.normal(size=(LOOKS, len(end)))
        step: dict[str, Any] = {
            "loss": np.zeros(steps),
            "dot": (g * d).sum(1), "distance2": (d * d).sum(1), "gradient2": (g * g).sum(1),
            "step_dot": (s * d).sum(1), "step2": (s * s).sum(1),
            "other_dot": (g * (w[:-1] - other)).sum(1), "other_distance2": ((w[:-1] - other) ** 2).sum(1),
            "random_dot": (g * (w[:-1] - w[0] - away)).sum(1),
            "random_distance2": ((w[:-1] - w[0] - away) ** 2).sum(1),
        }  # fmt: skip
        one: dict[str, Any] = {
            "seeds": np.int64(run), "status": np.int8(0), "steps": np.int32(steps), "difference": 0.0,
            "reference_loss": 0.0, "look_step": look.astype(np.int32),
            "full_loss": np.zeros(LOOKS), "full_dot": step["dot"][look], "full_gradient2": step["gradient2"][look],
            "labels_dot": (dealt * d[look]).sum(1), "labels_gradient2": (dealt**2).sum(1),
            "batch_dot": np.zeros((LOOKS, BATCHES)), "batch_gradient2": np.ones((LOOKS, BATCHES)),
            "lag_cosine": np.zeros((LOOKS, len(LAGS))), "lag_distance": np.zeros((LOOKS, len(LAGS))),
            "line_loss": np.zeros(FRACTIONS),
        }  # fmt: skip
        runs.append(Geometry(**step, **{name: np.asarray(value)[None] for name, value in one.items()}))
    return join(runs)


def descent(
    gradient: Any, start: Floats, rate: float, steps: int, noise: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats]:
    """Parameters (steps + 1, D) and gradients (steps, D) of gradient descent, with Gaussian noise on each gradient."""
    rng = np.random.default_rng(seed)
    path, gradients = [start], []
    for _ in range(steps):
        gradients.append(gradient(path[-1]) + noise * rng.normal(size=len(start)))
        path.append(path[-1] - rate * gradients[-1])
    return np.array(path), np.array(gradients)


def random_walks(runs: int = 32, steps: int = 60, parameters: int = 400) -> Geometry:
    """No landscape at all: gradients are independent and isotropic."""
    taken = [descent(np.zeros_like, np.zeros(parameters), 0.1, steps, 1.0, run) for run in range(runs)]
    return measured([w for w, _ in taken], [g for _, g in taken])


def quadratics(runs: int = 32, steps: int = 60, parameters: int = 400, noise: float = 0.0) -> Geometry:
    """f = ||w||^2 / 2 from a random start: RSI, EB and gamma are 1 to the minimum."""
    starts = np.random.default_rng(1).normal(size=(runs, parameters))
    taken = [descent(np.copy, start, 0.1, steps, noise, run) for run, start in enumerate(starts)]
    return measured([w for w, _ in taken], [g for _, g in taken])
