"""Global minima on centred XOR in closed form, and how far parameters are from the nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.diagnostics import Layer, hidden_layer
from jaxor.analysis.exact import MINIMUM

Floats = NDArray[np.float64]


def solution_distance(params: ArrayLike, names: Sequence[str], experiment: Mapping[str, Any]) -> Floats | None:
    """Distance (n,) to the nearest parameters with loss 0, or None where no closed form is known.

    Known for |w x + b|, whose minima are two points, and for the sum of two ReLU units, see `relu_distance`, both with
    the mean squared error on scalar targets.

    Parameters
    ----------
    params : (n, P) array_like
    names : sequence of str
    experiment : mapping
        As `Experiment.to_dict` gives it.
    """
    model = experiment["model"]
    if experiment["task"] != {"name": "xor"} or experiment["loss"].get("name") != "mse":
        return None
    if model.get("name") == "abs1":
        flat = np.asarray(params, np.float64)
        ends = np.array([MINIMUM, np.negative(MINIMUM)])
        return np.linalg.norm(flat[:, None, :] - ends, axis=2).min(axis=1)
    if model.get("name") == "relu1" and model.get("units") == 2 and model.get("activation") == "relu":
        return relu_distance(hidden_layer(params, names))
    return None


def relu_distance(layer: Layer) -> Floats:
    """Distance (n,) of two ReLU units whose sum is the output to the nearest exact solution of centred XOR.

    No unit of a solution is active at a point of class 0, and none at both of class 1 (there its outputs sum to 2b,
    at the other two points to 2b too). So each is 1 at one of them and active nowhere else: with d = w1 - w2 and
    s = w1 + w2 that is ``b = 1 - d, |s| <= d - 1`` for the unit at (1, -1), and the same mirrored for the other.
    The nearest point of each such set is a projection in two dimensions, and the two units may change places.

    Parameters
    ----------
    layer : Layer
        Two units, two inputs.

    Examples
    --------
    >>> exact = Layer(np.array([[[0.5, -0.5], [-0.5, 0.5]]]), np.zeros((1, 2)))
    >>> relu_distance(exact).tolist()
    [0.0]
    >>> relu_distance(Layer(np.zeros((1, 2, 2)), np.zeros((1, 2)))).round(4).tolist()
    [1.0]
    """
    weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    squares = np.array([[_to_unit(side * weight[:, unit], bias[:, unit]) for unit in (0, 1)] for side in (1.0, -1.0)])
    return np.sqrt(np.minimum(squares[0, 0] + squares[1, 1], squares[0, 1] + squares[1, 0]))


def _to_unit(weight: Floats, bias: Floats) -> Floats:
    """Squared distance (n,) of a unit to those that are 1 at (1, -1) and active nowhere else."""
    d0, s0 = weight[:, 0] - weight[:, 1], weight[:, 0] + weight[:, 1]
    sign = np.where(s0 < 0, -1.0, 1.0)
    inside = (d0 + 2 - 2 * bias) / 3  # nearest without the inequality: s stays
    edge = 1 + np.maximum((sign * s0 + d0 - 1 - 2 * bias) / 4, 0)  # nearest with |s| = d - 1
    free = np.abs(s0) <= inside - 1
    d, s = np.where(free, inside, edge), np.where(free, s0, sign * (edge - 1))
    return (s - s0) ** 2 / 2 + (d - d0) ** 2 / 2 + (1 - d - bias) ** 2


def dead_probability(units: int) -> tuple[float, float]:
    """Probability that some class-1 point, and that any point, of centred XOR is dead at the start.

    For hidden units with zero biases and independent weights whose law is the same in all directions: a point is dead
    with probability 2^-units, two opposite points never both (but for weights exactly across), and the two classes lie
    along perpendicular directions, so they are independent.

    Examples
    --------
    >>> dead_probability(2)
    (0.5, 0.75)
    """
    one_class = 2.0 ** (1 - units)
    return one_class, 1 - (1 - one_class) ** 2
