"""What is measured along the paths of runs: inner products and squared lengths, from which RSI and EB follow.

Quantities that are ratios of these (RSI, EB, gamma, learning rates) are formed on reading, in
`jaxor.analysis.geometry`; here are only the numbers that have to be taken while a run is replayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

LOOKS = 10
"""Places along a run, in the middle of each tenth of its steps, where what costs more than a step is measured."""

LAGS = (1, 2, 5, 10, 20, 50)
"""Steps between two gradients whose parts across the path are compared."""

BATCHES = 10
"""Fixed minibatches at each look."""

FRACTIONS = 11
"""Points on the straight line from the first parameters to the reference, both ends included."""


@dataclass(frozen=True)
class Measuring:
    """Where paths are taken to lead.

    Attributes
    ----------
    reference : {"final", "exact", "extra"}
        The point w* that distances are taken to: a run's own final parameters, the nearest exact minimum, or where the
        run is after some more steps.
    extra : int
        How many more; 0 unless `reference` is ``"extra"``.
    """

    reference: str = "final"
    extra: int = 0

    def __post_init__(self) -> None:
        if self.reference not in ("final", "exact", "extra"):
            raise ValueError(f"reference must be final, exact or extra, got {self.reference!r}")
        if isinstance(self.extra, bool) or not isinstance(self.extra, int | np.integer) or self.extra < 0:
            raise ValueError(f"extra must be a whole number of steps, got {self.extra!r}")
        if (self.reference == "extra") != (self.extra > 0):
            raise ValueError("extra, a number of steps above 0, goes with reference extra and with no other")

    def __str__(self) -> str:
        return f"extra{self.extra}" if self.extra else self.reference

    @classmethod
    def parse(cls, text: str) -> Measuring:
        """From the text that `str` gives.

        Raises
        ------
        ValueError
            It is none.

        Examples
        --------
        >>> Measuring.parse("extra100")
        Measuring(reference='extra', extra=100)
        """
        steps = text.removeprefix("extra")
        return cls("extra", int(steps)) if steps != text and steps.isdecimal() else cls(text)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Measurements along the paths of some runs.

    With w_t the parameters before step t, g_t the gradient of the loss that step sees (weight decay included), w* the
    reference and d_t = w_t - w*. Steps of all runs lie one after the other, `steps` of each (a contiguous ragged
    array); `padded` gives them by run. Looks are ten places along each run.

    Attributes
    ----------
    seeds : (n,) int64
    status : (n,) int8
    steps : (n,) int32
    difference : (n,) float
        Largest difference between the final parameters of the replay and those of the run itself; 0 if bits are equal,
        infinite if the replay took another number of steps.
    reference_loss : (n,) float
        Loss over the whole task at w*, with the state that a model has at the end.
    loss : (obs,) float
        Of the step, before it.
    dot, distance2, gradient2 : (obs,) float
        <g_t, d_t>, ||d_t||^2 and ||g_t||^2.
    step_dot, step2 : (obs,) float
        <s_t, d_t> and ||s_t||^2 of the step s_t = w_t - w_{t+1} that the optimizer took.
    other_dot, other_distance2 : (obs,) float
        <g_t, d> and ||d||^2 with the final parameters of another seed in place of w*: of seed 1 for seed 0 and
        the other way round, of 3 for 2, and so on; NaN if first parameters were given and that one is not among them.
    random_dot, random_distance2 : (obs,) float
        The same with a random point as far from the first parameters as w* is.
    look_step : (n, LOOKS) int32
        Steps at which the run was looked at; -1 beyond a run that is too short.
    full_loss, full_dot, full_gradient2 : (n, LOOKS) float
        Loss f over the whole task, <grad f, d_t>, ||grad f||^2.
    labels_dot, labels_gradient2 : (n, LOOKS) float
        The step's own batch with targets dealt out at random.
    batch_dot, batch_gradient2 : (n, LOOKS, BATCHES) float
        Gradients of fixed minibatches; NaN where a step sees the whole task.
    lag_cosine, lag_distance : (n, LOOKS, len(LAGS)) float
        At a look t and a lag k: the cosine between the parts of g_t and g_{t+k} across d_t and d_{t+k}, and
        ||w_t - w_{t+k}||; NaN beyond the end.
    line_loss : (n, FRACTIONS) float
        Loss over the whole task on the straight line from the first parameters to w*, both ends included.
    """

    seeds: NDArray[np.int64]
    status: NDArray[np.int8]
    steps: NDArray[np.int32]
    difference: Floats
    reference_loss: Floats
    loss: Floats
    dot: Floats
    distance2: Floats
    gradient2: Floats
    step_dot: Floats
    step2: Floats
    other_dot: Floats
    other_distance2: Floats
    random_dot: Floats
    random_distance2: Floats
    look_step: NDArray[np.int32]
    full_loss: Floats
    full_dot: Floats
    full_gradient2: Floats
    labels_dot: Floats
    labels_gradient2: Floats
    batch_dot: Floats
    batch_gradient2: Floats
    lag_cosine: Floats
    lag_distance: Floats
    line_loss: Floats

    def __len__(self) -> int:
        return len(self.seeds)

    def padded(self, name: str) -> Floats:
        """One of the quantities of each step as (n, T), T being the steps of the longest run; NaN beyond a run's end.

        Examples
        --------
        >>> import jaxor
        >>> geometry = jaxor.measure_run(jaxor.simulate("abs1_convergence", seeds=2))
        >>> geometry.steps, geometry.padded("dot").shape
        (array([31, 34], dtype=int32), (2, 34))
        """
        values = getattr(self, name)
        inside = np.arange(self.steps.max(initial=0)) < self.steps[:, None]
        array = np.full(inside.shape, np.nan, values.dtype)
        array[inside] = values
        return array

    def at_looks(self, name: str) -> Floats:
        """One of the quantities of each step at the looks, (n, LOOKS); NaN where there is none."""
        start = np.cumsum(self.steps, dtype=np.int64) - self.steps
        there = self.look_step >= 0
        values = getattr(self, name)
        array = np.full(there.shape, np.nan, values.dtype)
        array[there] = values[(start[:, None] + self.look_step)[there]]
        return array

    def take(self, runs: NDArray[np.intp]) -> Geometry:
        """Some of the runs (k,), by their places."""
        ends = np.cumsum(self.steps, dtype=np.int64)
        rows = [np.arange(int(ends[run] - self.steps[run]), int(ends[run])) for run in runs]
        steps = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return replace(self, **{name: array[steps if name in STEPS else runs] for name, array in self.arrays()})

    def arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """All arrays by name."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))


STEPS = (
    "loss", "dot", "distance2", "gradient2", "step_dot", "step2",
    "other_dot", "other_distance2", "random_dot", "random_distance2",
)  # fmt: skip
"""What there is of each step."""


def join(parts: Sequence[Geometry]) -> Geometry:
    """Measurements of several sets of runs, one after the other; one set at least."""
    return Geometry(**{name: np.concatenate([getattr(part, name) for part in parts]) for name, _ in parts[0].arrays()})
