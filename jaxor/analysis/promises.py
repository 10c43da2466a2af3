"""What is promised of nets on separated data before anything is trained, each number with its premises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxor.analysis.assumptions import Geometry
from jaxor.analysis.bounds import corollary_4_3
from jaxor.analysis.convergence import convergence_constant, theorem_5_2, theorem_5_3
from jaxor.analysis.descents import bound_table
from jaxor.analysis.rates import CONSTANT_STEPS, LOSSES
from jaxor.analysis.separated_nets import RATE, SeparatedNets
from jaxor.analysis.statements import Bound, Premises


@dataclass(frozen=True)
class Promises:
    """Assumptions 4.1 and 4.5 on one data set, and what Corollary 4.3 and Theorems 5.2 and 5.3 say of nets on it.

    Attributes
    ----------
    nets : SeparatedNets

    Examples
    --------
    >>> found = Promises(SeparatedNets())
    >>> [(bound.statement, loss) for loss, bound in found.bounds][:2]
    [('Corollary 4.3', 'quadratic'), ('Theorem 5.2', 'exponential')]
    """

    nets: SeparatedNets

    @property
    def premises(self) -> Premises:
        """Of both assumptions, one by one."""
        found = self.nets.separation
        return found.premises() | Geometry.premises(found)

    @property
    def v(self) -> float:
        """V of eq. (7)."""
        return convergence_constant(self.nets.separation, self.nets.width, self.nets.delta)

    @cached_property
    def bounds(self) -> tuple[tuple[str, Bound], ...]:
        """What is promised, by loss; the pace of Theorem 5.2 is that at L(1) = 1."""
        data = self.nets.separation
        found = [("quadratic", corollary_4_3(data, self.nets.setting("quadratic")))]
        for loss in LOSSES:
            setting = self.nets.setting(loss, adaptive=True)
            found.append((loss, theorem_5_2(data, setting, eta=RATE, first_loss=1.0, t0=CONSTANT_STEPS)))
            found.append((loss, theorem_5_3(data, setting)))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "study": "data", "nets": self.nets.to_dict(), "v": self.v, "premises": dict(self.premises),
            "bounds": [{"loss": loss, **bound_table(bound)} for loss, bound in self.bounds],
        }  # fmt: skip
