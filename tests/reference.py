"""A second, independent implementation of training on XOR, to check jaxor against.

It is written from the definition of the experiments alone, in plain NumPy, with gradients by hand and without JAX or
jaxor. Its order of operations is part of what it defines: every sum is spelled out, so float32 results do not depend
on a linear algebra library. `tests/test_reference.py` checks it in turn against results of PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

CONVERGED, STALLED, EPOCH_CAP, DIVERGED = range(4)  # the values of jaxor.Status

POINTS = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
XOR = np.array([0, 1, 1, 0])


@dataclass(frozen=True)
class Spec:
    """One experiment: what is trained, and how.

    Parameters lie in a row: hidden weights (unit by unit), hidden biases, then of a two-layer net the output weights
    (output by output) and output biases, and last the slope of a PReLU.
    """

    model: str = "one_layer"  # output is the sum of the hidden units; "two_layer": two outputs, one for each class
    activation: str = "relu"  # or abs, leaky, elu, prelu
    slope: float = 0.0  # of leaky
    hidden: int = 2
    loss: str = "mse"  # or bce, on logits
    optimizer: str = "adam"  # or sgd, which takes momentum
    learning_rate: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    momentum: float = 0.0
    weight_decay: float = 0.0  # added to the gradient (L2)
    stop_loss: float | None = 1e-7
    patience: int | None = 10  # the run stalls when more epochs than these in a row did not improve; None: never
    min_improvement: float = 1e-24
    max_epochs: int = 800
    interventions: bool = False  # wake up points on which no unit is active, and reset biases of units too far out


@dataclass(frozen=True, eq=False)
class Result:
    """What became of n runs; losses are those before a step, parameters those after it."""

    epochs: NDArray[np.int64]
    status: NDArray[np.int64]
    final_params: Floats
    final_loss: Floats
    final_accuracy: Floats
    loss_trace: list[Floats]
    param_trace: list[Floats]
    n_fixes: NDArray[np.int64]


class Evaluation(NamedTuple):
    """Loss (n,), gradient (n, P), outputs (n, outputs, points) and pre-activations (n, units, points)."""

    loss: Floats
    gradient: Floats
    output: Floats
    pre: Floats


def over_points(a: Floats) -> Floats:
    """Sum over the four points, in pairs.

    The points come as p, q, -q, -p. What is odd in the point then cancels exactly, as in real arithmetic, and a bias
    that no force acts on stays where it is; any other order leaves rounding noise, which Adam turns into full steps.
    """
    return (a[..., 0] + a[..., 1]) + (a[..., 2] + a[..., 3])


def total(a: Floats, axis: int) -> Floats:
    """Sum over a short axis, from left to right."""
    return reduce(np.add, np.moveaxis(a, axis, 0))


def activate(spec: Spec, z: Floats, slope: Floats | float) -> tuple[Floats, Floats]:
    """Activation and its derivative; at a kink that of PyTorch."""
    positive = z > 0
    if spec.activation == "abs":
        return np.abs(z), np.sign(z)
    if spec.activation == "relu":
        return np.maximum(z, 0), positive.astype(z.dtype)
    if spec.activation == "elu":
        below = np.minimum(z, 0)
        return np.where(positive, z, np.expm1(below)), np.exp(below)
    return np.where(positive, z, slope * z), np.where(positive, 1, slope).astype(z.dtype)  # leaky, prelu


def evaluate(spec: Spec, params: Floats) -> Evaluation:
    """Forward and backward pass over the four points, in the float type of `params`."""
    n, m, dtype = len(params), spec.hidden, params.dtype
    x, y = POINTS.astype(dtype), np.broadcast_to(XOR, (n, 1, 4)).astype(dtype)
    w, b, rest = params[:, : 2 * m].reshape(n, m, 2), params[:, 2 * m : 3 * m], params[:, 3 * m :]
    if spec.model == "two_layer":
        v, c, y = rest[:, : 2 * m].reshape(n, 2, m), rest[:, 2 * m : 2 * m + 2], np.concatenate([1 - y, y], 1)
    else:  # a readout that is fixed: 1 * h + 0 is h exactly
        v, c = np.ones((n, 1, m), dtype), np.zeros((n, 1), dtype)
    slope = rest[:, -1, None, None] if spec.activation == "prelu" else spec.slope

    z = total(w[..., None] * x.T, 2) + b[..., None]
    h, dh = activate(spec, z, slope)
    out = total(v[..., None] * h[:, None], 2) + c[..., None]

    count = y[0].size
    if spec.loss == "mse":
        residual = out - y
        terms, dout = residual * residual, residual * (2 / count)
    else:
        # PyTorch's formula. Towards the end of a run a large output and its loss differ in size by more than float32
        # holds, so that other formulas, equal in real arithmetic, stop up to 200 of 3,100 epochs earlier or later.
        terms = (1 - y) * out - (np.minimum(out, 0) - np.log1p(np.exp(-np.abs(out))))
        dout = (1 / (1 + np.exp(-out)) - y) / count
    loss = total(over_points(terms), 1) / count

    dz = total(v[..., None] * dout[:, :, None], 1)
    parts = [over_points((dz * dh)[:, :, None] * x.T), over_points(dz * dh)]
    if spec.model == "two_layer":
        parts += [over_points(dout[:, :, None] * h[:, None]), over_points(dout)]
    if spec.activation == "prelu":
        parts += [total(over_points(dz * np.minimum(z, 0)), 1)]
    return Evaluation(loss, np.concatenate([part.reshape(n, -1) for part in parts], axis=1), out, z)


def accuracy(output: Floats) -> Floats:
    """Share of the points put into their class; the first class wins a tie of two outputs."""
    predicted = output[:, 1] > output[:, 0] if output.shape[1] == 2 else output[:, 0] >= 0.5
    return np.mean(predicted == XOR, axis=1)


def optimizer(spec: Spec) -> Callable[[Floats, Floats], Floats]:
    """A function of parameters and gradients that takes one step after the other.

    Scalars are computed in Python's doubles and rounded once, as PyTorch does.
    """
    step, first, second = 0, 0.0, 0.0
    b1, b2 = spec.betas

    def update(params: Floats, gradient: Floats) -> Floats:
        nonlocal step, first, second
        step += 1
        if spec.weight_decay:
            gradient = gradient + spec.weight_decay * params
        if spec.optimizer == "sgd":
            first = spec.momentum * first + gradient
            return params - spec.learning_rate * first
        first = first + (1 - b1) * (gradient - first)
        second = b2 * second + (1 - b2) * gradient * gradient
        spread = np.sqrt(second) / (1 - b2**step) ** 0.5 + 1e-8
        return params - spec.learning_rate / (1 - b1**step) * first / spread

    return update


def length(w: Floats) -> Floats:
    """Euclidean length of each unit's weights, never 0."""
    return np.sqrt(total(w * w, 2)) + 1e-12


class Interventions:
    """Two repairs of one-layer nets, made between gradient and step; the gradient is not computed again.

    A point that is misclassified while no unit is active on it, for the sixth epoch in a row, gets the unit nearest to
    it moved until it lies just inside. A unit whose boundary runs further than 1.4 from the origin, for the fourth
    epoch in a row, loses its bias.
    """

    def __init__(self, spec: Spec, runs: int) -> None:
        self.units = spec.hidden
        self.dead, self.far = np.zeros((runs, 4), int), np.zeros((runs, spec.hidden), int)

    def __call__(self, params: Floats, state: Evaluation) -> tuple[Floats, NDArray[np.bool_]]:
        """Repaired parameters, and the runs in which something was repaired."""
        params, output, x = params.copy(), state.output[:, 0], POINTS.astype(params.dtype)
        m = self.units
        w, b = params[:, : 2 * m].reshape(-1, m, 2), params[:, 2 * m : 3 * m]  # views: changes go to params
        inactive = (state.pre <= 0).all(axis=1)
        self.dead = np.where(inactive & ((output > 0.5) != XOR), self.dead + 1, 0)
        self.far = np.where(np.abs(b) / length(w) > 1.4, self.far + 1, 0)
        wake, reset = self.dead > 5, self.far > 3

        for i, point in enumerate(x):  # one after the other: the next point sees the unit already moved
            rows = np.flatnonzero(wake[:, i])
            z = total(w[rows] * point, 2) + b[rows]
            nearest = np.argmin(np.abs(z) / length(w[rows]), axis=1)
            push = np.maximum(0, 1e-4 - z[np.arange(len(rows)), nearest]) / (point @ point + 1e-12)
            w[rows, nearest] += push[:, None] * point
        b[reset] = 0
        self.dead[wake], self.far[reset] = 0, 0
        return params, np.logical_or.reduce(np.concatenate([wake, reset], axis=1), axis=1)


@np.errstate(all="ignore")  # runs that diverge do so silently
def simulate(spec: Spec, init_params: Floats) -> Result:
    """Train one run from each row of `init_params`, in their float type."""
    params, n = init_params.copy(), len(init_params)
    step, intervene = optimizer(spec), Interventions(spec, n)
    live, status, epochs = np.ones(n, bool), np.full(n, EPOCH_CAP), np.zeros(n, int)
    best, stale, n_fixes = np.full(n, np.inf), np.zeros(n, int), np.zeros(n, int)
    stop_loss = -np.inf if spec.stop_loss is None else spec.stop_loss
    patience = np.inf if spec.patience is None else spec.patience
    losses, path = [], []

    for _ in range(spec.max_epochs):
        state = evaluate(spec, params)
        loss = state.loss.astype(float)
        before, fixed = intervene(params, state) if spec.interventions else (params, np.zeros(n, bool))
        after = step(before, state.gradient)

        finite = np.isfinite(loss) & np.isfinite(state.gradient).all(axis=1) & np.isfinite(after).all(axis=1)
        status[live & ~finite] = DIVERGED  # this step is not taken
        live = live & finite
        params = np.where(live[:, None], after, params)
        epochs += live
        n_fixes += live & fixed
        losses.append(state.loss)
        path.append(params)

        stale = np.where(best - loss > spec.min_improvement, 0, stale + 1)
        best = np.minimum(best, loss)
        for reason, met in ((CONVERGED, loss < stop_loss), (STALLED, stale > patience)):
            status[live & met] = reason
            live = live & ~met
        if not live.any():
            break

    final = evaluate(spec, params)
    losses = np.array(losses, params.dtype).reshape(-1, n)
    path = np.array(path, params.dtype).reshape(-1, *params.shape)
    return Result(
        *(epochs, status, params, final.loss, accuracy(final.output)),
        loss_trace=[losses[:taken, run] for run, taken in enumerate(epochs)],
        param_trace=[path[:taken, run] for run, taken in enumerate(epochs)],
        n_fixes=n_fixes,
    )


_ABS1 = Spec(activation="abs", hidden=1, patience=None, max_epochs=1000)
_RELU1 = Spec()
_TWO_LAYER = Spec(model="two_layer", max_epochs=5000)

# The experiments whose original results lie in data/oracles. Some differ by their initial parameters alone.
EXPERIMENTS = {
    "abs1_convergence": replace(_ABS1, optimizer="sgd", learning_rate=0.1),
    "abs1_kaiming_mse": replace(_ABS1, optimizer="sgd", learning_rate=0.5),
    **dict.fromkeys(["abs1_normal", "abs1_tiny"], _ABS1),
    "abs2_single_mse": replace(_TWO_LAYER, activation="abs", hidden=1),
    **dict.fromkeys(
        ["relu1_biased", "relu1_mirror", "relu1_normal", "relu1_reinit_0th", "relu1_reinit_50th_bad"], _RELU1
    ),
    "relu1_elu": replace(_RELU1, activation="elu", max_epochs=5000),
    "relu1_init_dist": replace(_RELU1, max_epochs=0),
    "relu1_leaky_1e-1": replace(_RELU1, activation="leaky", slope=0.1),
    "relu1_monitor": replace(_RELU1, patience=None, interventions=True),
    "relu2_init_dist": replace(_TWO_LAYER, max_epochs=0),
    "relu2_two_bce": replace(_TWO_LAYER, loss="bce"),
    "relu2_two_mse_sgd": replace(_TWO_LAYER, optimizer="sgd", learning_rate=0.1, patience=None, max_epochs=600),
}
