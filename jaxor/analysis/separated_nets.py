"""Model (4) of Wang & Ma (NeurIPS 2022) on separated data, as Corollary 4.3 and Theorems 5.2 and 5.3 have it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxor.analysis.assumptions import Separation, separation
from jaxor.analysis.statements import Setting
from jaxor.experiments.adaptive import FIRST_RATE
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.task import TASKS, Task

RATE = 0.01
DATA = "antipodal", "one_pair", "equal_cosines", "image_pair"


@dataclass(frozen=True)
class SeparatedNets:
    """Data of Assumption 4.1, and a width and scale of the start that Corollary 4.3 asks for.

    Attributes
    ----------
    data : str
        ``antipodal``, ``one_pair``, ``equal_cosines`` or ``image_pair``.
    points : int
        n.
    given_dimension : int, optional
        d; by default 50, and of images what they have.
    delta : float
        Part of the probability of failure that may be chosen.
    given_width : int, optional
        m; by default the least that Corollary 4.3 allows, ``144 ln(2 n^2 / delta)``.
    given_kappa : float, optional
        By default the largest that it allows, ``min(eta / 2000, eta mu_0 / (3 n))``.

    Raises
    ------
    ExperimentError
        Unknown data.
    ValueError
        Impossible numbers.

    Examples
    --------
    >>> nets = SeparatedNets()
    >>> nets.width, nets.kappa, nets.separation.mu0
    (1295, 5e-06, 1.0)
    """

    data: str = "antipodal"
    points: int = 20
    given_dimension: int | None = None
    delta: float = 0.1
    given_width: int | None = None
    given_kappa: float | None = None

    def __post_init__(self) -> None:
        if self.data not in DATA:
            raise ExperimentError(f"the data must be one of {', '.join(DATA)}, got {self.data!r:.60}")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, got {self.delta}")
        if self.given_width is not None and self.given_width < 1:
            raise ValueError(f"width must be at least 1, got {self.given_width}")
        if self.given_kappa is not None and not 0 < self.given_kappa < math.inf:
            raise ValueError(f"kappa must be a positive number, got {self.given_kappa:g}")

    @property
    def task(self) -> Mapping[str, Any]:
        """The task as a table."""
        d = {} if self.given_dimension is None else {"d": self.given_dimension}
        return {"name": self.data, "n": self.points} | d

    @cached_property
    def built(self) -> Task:
        """The task itself."""
        return TASKS.build(TASKS.resolve(self.task, "task"), "task")

    @cached_property
    def separation(self) -> Separation:
        """What Assumption 4.1 says of the data."""
        return separation(self.built.inputs, self.built.targets)

    @property
    def dimension(self) -> int:
        """Inputs, d."""
        return self.built.inputs.shape[1]

    @property
    def width(self) -> int:
        """Neurons, m."""
        least = max(math.ceil(144 * math.log(2 * self.points**2 / self.delta)), 4)
        return least if self.given_width is None else self.given_width

    @property
    def kappa(self) -> float:
        """Scale of the start."""
        if self.given_kappa is not None:
            return self.given_kappa
        mu0 = self.separation.mu0_range[0]
        return min(RATE / 2000, RATE * mu0 / (3 * self.points)) if mu0 > 0 else RATE / 2000

    def experiment(
        self, loss: str, optimizer: Mapping[str, Any], steps: int, *, train_output: bool = True, **parts: Any
    ) -> Experiment:
        """An experiment on these data; `parts` are further keys of it."""
        model = {"name": "relu_net", "inputs": self.dimension, "hidden": self.width, "train_output": train_output}
        return Experiment(
            f"{self.data}-{loss}", task=self.task, model=model, init={"name": "paper5", "kappa": self.kappa}, loss=loss,
            optimizer=optimizer, max_epochs=steps, **parts,
        )  # fmt: skip

    def descent(self, steps: int, **parts: Any) -> Experiment:
        """Gradient descent of Corollary 4.3: quadratic loss, eta = .01."""
        return self.experiment("quadratic", {"name": "sgd", "learning_rate": RATE}, steps, **parts)

    def setting(self, loss: str, *, adaptive: bool = False) -> Setting:
        """The same as the theorems ask for it; `adaptive` is for those of section 5."""
        return Setting(self.width, self.kappa, FIRST_RATE if adaptive else RATE, loss, self.delta, "paper5")

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        found = self.separation
        known = ("balanced", "gamma", "across", "lam", "gamma1", "gamma2", "mu0", "certificate")
        return {"task": dict(self.task), "width": self.width, "kappa": self.kappa, "delta": self.delta} | {
            name: value if not isinstance(value := getattr(found, name), float) or math.isfinite(value) else None
            for name in known
        }
