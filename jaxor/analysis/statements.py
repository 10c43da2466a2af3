"""What the theorems of early-stage and global convergence are asked of, and what they answer.

A premise is True, False, or None where it cannot be decided: constants behind O, Omega and Theta are not given. No
statement raises because a premise fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from jaxor.analysis.assumptions import LOSSES, LossConstants, Separation
from jaxor.analysis.hitting import checked_eta

Premises = Mapping[str, bool | None]

HIDDEN = "Premises with O, Omega or Theta cannot be decided: their constants are not given."


@dataclass(frozen=True)
class Setting:
    """What is trained, as far as the theorems ask.

    Attributes
    ----------
    width : int
        m.
    kappa : float
        Scale of the first layer at the start.
    eta : float
        Learning rate; where it changes, that of the first step.
    loss : str
        One of `jaxor.analysis.assumptions.LOSSES`.
    delta : float
        Part of the probability of failure that may be chosen.
    scheme : str or None
        Initialisation: ``paper5`` is (5), ``paper42`` that of model (6); None if not known.
    batch : int or None
        Points of a step, B; None for all.
    replacement : bool
        Whether batches are drawn with replacement, as in (3).

    Raises
    ------
    ValueError
        Not numbers that a run could have.
    """

    width: int
    kappa: float
    eta: float
    loss: str
    delta: float = 0.1
    scheme: str | None = None
    batch: int | None = None
    replacement: bool = True

    def __post_init__(self) -> None:
        checked_eta(self.eta)
        if not self.width >= 1 or not (self.batch is None or self.batch >= 1):  # NaN is neither
            raise ValueError(f"width and batch must be at least 1, got {self.width} and {self.batch}")
        if not 0 < self.kappa < math.inf:
            raise ValueError(f"kappa must be a positive number, got {self.kappa}")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, got {self.delta}")
        if self.loss not in LOSSES:
            raise ValueError(f"the loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")

    @property
    def constants(self) -> LossConstants:
        """Those of the loss."""
        return LOSSES[self.loss]

    def initialised(self, scheme: str) -> bool | None:
        """Whether it starts by this scheme; None if not known."""
        return None if self.scheme is None else self.scheme == scheme

    def two_classes(self, data: Separation) -> dict[str, bool | None]:
        """Premises that Theorems 4.2, 5.2 and 5.3 share [TXT]."""
        full = self.batch is None or (self.batch == data.samples and not self.replacement)
        return data.premises() | {
            "(5): initialised as paper5": self.initialised("paper5"),
            "(2): gradient descent on all points": full,
        }

    def two_class_probability(self, data: Separation) -> float:
        """``1 - delta - 2 m e^-2d`` of the same theorems, at least 0 [TXT]."""
        return max(0.0, 1 - self.delta - 2 * self.width * math.exp(-2 * data.dimension))


@dataclass(frozen=True)
class Bound:
    """What a statement says, and of what it says it.

    Attributes
    ----------
    statement : str
    quantity : str
        What `bound` bounds, from which side.
    bound : float or None
        None where a constant is not given; a note says so.
    steps : int or None
        T, the steps within which; None where it is not given or there is no such time.
    learning_rate : str
        What the statement asks of it.
    probability : float or None
        With which it holds at least, 0 where the formula is not above; None where it has constants that are not given.
    premises : mapping of str to bool or None
        None: cannot be decided.
    provenance : mapping of str to str
        Tag by field.
    notes : tuple of str
    """

    statement: str
    quantity: str
    bound: float | None
    steps: int | None
    learning_rate: str
    probability: float | None
    premises: Premises
    provenance: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether all premises are known to be true."""
        return all(value is True for value in self.premises.values())

    @property
    def silent(self) -> bool:
        """Whether a premise is known to be false, so that nothing is said of this run."""
        return any(value is False for value in self.premises.values())

    @property
    def vacuous(self) -> bool:
        """Whether the stated probability is 0, so that nothing is said."""
        return self.probability == 0
