"""The first step of four neurons in the plane, figure 1 of Wang & Ma (NeurIPS 2022), from a real run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.separated_nets import RATE, SeparatedNets
from jaxor.simulation import simulate

Floats = NDArray[np.float64]

STATES = "true-living", "true-dead", "false-living", "false-dead"
SEARCHED = 4096


@dataclass(frozen=True, eq=False)
class FirstStep:
    """Two points and four neurons at t = 0 and t = 1.

    Attributes
    ----------
    seed : int
        The first whose neurons are in four different states at the first point.
    inputs : (2, 2) float64
        One point of each class.
    output : (4,) float64
        a at t = 0; no sign changes.
    before, after : (4, 2) float64
        b at t = 0 and 1.
    states : tuple of tuple of str
        By time, point and neuron: ``states[t][i][k]``.
    """

    seed: int
    inputs: Floats
    output: Floats
    before: Floats
    after: Floats
    states: tuple[tuple[tuple[str, ...], ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        arrays = {name: getattr(self, name).tolist() for name in ("inputs", "output", "before", "after")}
        return {"study": "first-step", "seed": self.seed, "states": self.states} | arrays


def first_step() -> FirstStep:
    """Find a seed of model (4) with d = 2, m = 4 that shows all four states, and take its first step.

    The data are two classes of two points with antipodes; kappa is 1e-6, small beside the step.

    Raises
    ------
    RuntimeError
        There is none among the first `SEARCHED` seeds.

    Examples
    --------
    >>> found = first_step()
    >>> sorted(found.states[0][0])
    ['false-dead', 'false-living', 'true-dead', 'true-living']
    >>> sorted(found.states[1][0])
    ['false-dead', 'false-dead', 'true-living', 'true-living']
    """
    nets = SeparatedNets("antipodal", points=4, given_dimension=2, given_width=4, given_kappa=1e-6)
    run = simulate(nets.experiment("quadratic", {"name": "sgd", "learning_rate": RATE}, 1), SEARCHED, x64=True)
    inputs, signs = (
        np.asarray(nets.built.inputs[[0, 3]], np.float64),
        np.array([1.0, -1.0]),
    )  # not antipodes of each other
    first, last = (
        np.asarray(array, np.float64).reshape(len(run), 12) for array in (run.initial_params, run.final_params)
    )
    for row in range(len(run)):
        output, before, after = first[row, 8:], first[row, :8].reshape(4, 2), last[row, :8].reshape(4, 2)
        states = tuple(_states(weight, output, inputs, signs) for weight in (before, after))
        if len(set(states[0][0])) == 4:
            return FirstStep(int(run.seeds[row]), inputs, output, before, after, states)
    raise RuntimeError(f"none of {SEARCHED} seeds has neurons in four states")


def _states(weight: Floats, output: Floats, inputs: Floats, signs: Floats) -> tuple[tuple[str, ...], ...]:
    """State of each neuron at each point."""
    false, dead = signs[:, None] * output < 0, inputs @ weight.T <= 0
    return tuple(tuple(STATES[number] for number in row) for row in (2 * false + dead).tolist())
