"""Minima that are known exactly, and the one model whose convergence time is: |w x + b| on centred XOR."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MINIMUM = (0.5, -0.5, 0.0)
"""One of the two global minima; the other is its negative."""


@dataclass(frozen=True)
class ExactLaw:
    """Gradient descent on the mean squared error of |w x + b| on centred XOR, on its way to a global minimum.

    Within the region |w1 - w2| > |b| the loss is the squared distance to the minimum c, so for rates up to 1/2 each
    step multiplies the distance by 1 - 2 eta and the path is a straight line (reference: derivation in
    docs/convergence.md).

    Attributes
    ----------
    learning_rate : float
        Above 0, at most 1/2.
    tolerance : float
        A run ends with the step before which the loss is below it.

    Examples
    --------
    >>> law = ExactLaw(learning_rate=0.1, tolerance=1e-7)
    >>> round(law.slope, 4), law.remaining([0.7, 1e-3, 1e-4])
    (4.4814, array([36.,  7.,  1.]))
    """

    learning_rate: float
    tolerance: float

    @property
    def slope(self) -> float:
        """Epochs for each e-fold of distance, 1 / ln(1 / (1 - 2 eta)); 0 if one step is enough."""
        return -1 / math.log(1 - 2 * self.learning_rate) if self.learning_rate < 0.5 else 0.0

    def remaining(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Epochs until the run ends, the last one, whose step is taken too, included.

        Parameters
        ----------
        distance : (n,) array_like
            To the nearest global minimum, in real arithmetic.
        """
        distance = np.asarray(distance, np.float64)
        with np.errstate(divide="ignore"):
            folds = np.log(distance) - np.log(self.tolerance) / 2
        steps = np.ceil(folds * self.slope) if self.slope else np.heaviside(folds, 1.0)
        return np.maximum(steps, 0) + 1


def exact_law(experiment: Mapping[str, Any]) -> ExactLaw | None:
    """The law of an experiment, or None if it has none.

    Parameters
    ----------
    experiment : mapping
        As `Experiment.to_dict` gives it.
    """
    optimizer, stop = experiment["optimizer"], experiment["stop"]
    if not has_exact_minimum(experiment) or optimizer["name"] != "sgd" or stop.get("loss") is None:
        return None
    plain = not optimizer["weight_decay"] and optimizer["schedule"] == {"name": "constant"}
    if not plain or experiment["batch"]["mode"] != "full" or not 0 < optimizer["learning_rate"] <= 0.5:
        return None
    return ExactLaw(optimizer["learning_rate"], stop["loss"])


def has_exact_minimum(experiment: Mapping[str, Any]) -> bool:
    """Whether the global minima of an experiment's loss are known in closed form."""
    model = experiment["model"]
    return (
        (experiment["task"], experiment["loss"]) == ({"name": "xor"}, {"name": "mse"})
        and model.get("name") == "abs1"
        and not model["pivot_scale"]
        and not experiment.get("interventions")
    )


def nearest_minimum(params: ArrayLike) -> NDArray[np.float64]:
    """The global minimum of |w x + b| on centred XOR that is nearest to each of (n, 3) parameters.

    Examples
    --------
    >>> nearest_minimum([[0.1, 0.3, 0.0]])
    array([[-0.5,  0.5, -0. ]])
    """
    params = np.asarray(params, np.float64)
    side = np.where(params[:, 0] >= params[:, 1], 1.0, -1.0)
    return side[:, None] * np.array(MINIMUM)


def exact_reference(experiment: Mapping[str, Any]) -> Callable[[ArrayLike], NDArray[np.float64]] | None:
    """The exact point that belongs to parameters of an experiment, as a function of (n, P), or None if none is known.

    The nearest global minimum of |w x + b| on centred XOR; of the functions of a point the minimum, but of `saddle`,
    which has none, the stationary point 0. Weight decay, which gradients along paths contain, moves the minimum: that
    is allowed for, but not known of `rosenbrock`.

    Parameters
    ----------
    experiment : mapping
        As `Experiment.to_dict` gives it.

    Examples
    --------
    >>> from jaxor.experiments.catalog import get_experiment
    >>> valley = exact_reference(get_experiment("rosenbrock_valley").to_dict())
    >>> valley([[0.2, -0.4]])
    array([[1., 1.]])
    """
    decay = experiment["optimizer"].get("weight_decay", 0.0)
    if has_exact_minimum(experiment):
        # Of ||w - c||^2 + decay / 2 ||w||^2, which the loss is within a region.
        return lambda params: 2 / (2 + decay) * nearest_minimum(params)
    place = _PLACES.get(experiment["model"].get("name"))
    if place is None or experiment["loss"] != {"name": "value"} or experiment.get("interventions"):
        return None
    if decay and place:
        return None
    return lambda params: np.full_like(params, place, np.float64)


_PLACES = {"quadratic": 0.0, "rosenbrock": 1.0, "saddle": 0.0}
"""Minimum of each function of a point, or its stationary point, all of whose coordinates are equal."""
