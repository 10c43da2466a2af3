"""What a peer must know of an experiment, in plain numbers and arrays."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from jaxor.engine.parameters import flat_order
from jaxor.experiments.catalog import get_experiment

NAMES = (
    "abs1_convergence",
    "abs1_normal",
    "abs1_large",
    "relu1_normal",
    "relu1_prelu",
    "relu2_two_mse_sgd",
    "relu2_eight_mse_norm",
    "digits_mlp",
)

# Opposite corners side by side. In whatever order a library sums them, the terms of a bias that no force acts on then
# cancel exactly, as in jaxor; Adam would blow up what is left otherwise. Only abs1 has such a bias.
SIDE_BY_SIDE = [0, 3, 1, 2]


@dataclass(frozen=True, eq=False)
class Case:
    """An experiment of plain layers.

    Attributes
    ----------
    shapes : dict
        Parameters by name in flat order: layers ``linear1``, ``linear2``, ... and the slope of a PReLU.
    activation : str
        ``abs``, ``relu`` or ``prelu``.
    summed : bool
        The output is the sum of the hidden units, without a second layer.
    loss : str
        ``mse`` or ``cross_entropy``.
    adam : bool
        Otherwise gradient descent.
    stop_loss : float
        0 where there is no such rule.
    patience : int or None
    inputs, targets : (points, ...) float32
    batch : int or None
        Points in a batch; None for all.
    """

    shapes: dict[str, tuple[int, ...]]
    activation: str
    summed: bool
    loss: str
    adam: bool
    learning_rate: float
    b1: float
    b2: float
    eps: float
    stop_loss: float
    patience: int | None
    min_improvement: float
    max_epochs: int
    inputs: NDArray[Any]
    targets: NDArray[Any]
    batch: int | None
    root_seed: int

    @property
    def layers(self) -> list[str]:
        """Names of the linear layers."""
        return [name.removesuffix(".weight") for name in self.shapes if name.startswith("linear") and "weight" in name]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def units(self) -> int:
        """Width of the first hidden layer."""
        return self.shapes["linear1.bias"][0]

    @property
    def outputs(self) -> int:
        """Outputs of the second layer, 0 if there is none."""
        return 0 if self.summed else self.shapes["linear2.bias"][0]

    def split(self, flat: Any) -> dict[str, Any]:
        """An array (..., P) as parameters by name, (..., *shape)."""
        ends = itertools.accumulate(math.prod(shape) for shape in self.shapes.values())
        starts = [0, *ends]
        return {
            name: flat[..., start:end].reshape(*flat.shape[:-1], *shape)
            for (name, shape), (start, end) in zip(self.shapes.items(), itertools.pairwise(starts), strict=True)
        }


def case_of(name: str) -> Case:
    """An experiment of the catalogue."""
    experiment = get_experiment(name)
    law, model, optimizer, stop = experiment.build(), experiment.model, experiment.optimizer.options, experiment.stop
    order = SIDE_BY_SIDE if model.name == "abs1" else slice(None)
    return Case(
        shapes=dict(flat_order(law.model).shapes),
        activation="abs" if model.name == "abs1" else model.options.get("activation", "relu"),
        summed=model.name in ("abs1", "relu1"),
        loss=experiment.loss.name,
        adam=experiment.optimizer.name == "adam",
        learning_rate=optimizer["learning_rate"],
        b1=optimizer.get("b1", 0.0),
        b2=optimizer.get("b2", 0.0),
        eps=optimizer.get("eps", 0.0),
        stop_loss=stop.loss or 0.0,
        patience=stop.patience,
        min_improvement=stop.min_improvement,
        max_epochs=experiment.max_epochs,
        inputs=law.task.inputs[order],
        targets=law.task.targets[order],
        batch=experiment.batch.size,
        root_seed=experiment.root_seed,
    )


def xor_case(name: str) -> Case | None:
    """A case of the four corners, for peers whose gradients are written by hand; None for any other."""
    return case_of(name) if get_experiment(name).task.name.startswith("xor") else None
