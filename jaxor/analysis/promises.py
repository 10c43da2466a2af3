"""What is promised of nets on separated data before anything is trained, each number with its premises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jaxor.analysis.assumptions import LOSSES as CONSTANTS
from jaxor.analysis.assumptions import Cosines, Geometry, cosines, geometry
from jaxor.analysis.bounds import corollary_4_3, corollary_4_7, theorem_4_6
from jaxor.analysis.convergence import convergence_constant, theorem_5_2, theorem_5_3
from jaxor.analysis.descents import bound_table
from jaxor.analysis.halfspaces import mu0
from jaxor.analysis.rates import CONSTANT_STEPS, LOSSES
from jaxor.analysis.separated_nets import RATE, SeparatedNets
from jaxor.analysis.statements import Bound, Premises, Setting
from jaxor.analysis.table1 import COUNT, KAPPA, WIDTH
from jaxor.experiments.images import Images, load_images, unit_rows

BATCH = 256

PAIRED = -1 + 1e-9
"""Unit vectors with at most this inner product are antipodes."""


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

    @cached_property
    def mu0_without_pairs(self) -> float | None:
        """mu_0 of the points without those that are antipodes of each other; None if none or all of them are."""
        data = self.nets.built
        single = np.asarray(data.inputs @ data.inputs.T).min(axis=1) > PAIRED
        return mu0(data.inputs[single], data.targets[single]) if single.any() and not single.all() else None

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
            "without_pairs": _finite(self.mu0_without_pairs),
            "bounds": [{"loss": loss, **bound_table(bound)} for loss, bound in self.bounds],
        }  # fmt: skip


def _finite(value: float | None) -> float | str | None:
    """As JSON has it, which knows no infinity."""
    return "-inf" if value == -math.inf else value


@dataclass(frozen=True)
class ImagePromises:
    """Assumptions 4.4 and 4.5 on images, and what Theorem 4.6 and Corollary 4.7 say of nets on them.

    Attributes
    ----------
    source : str
        As of `load_images`.

    Examples
    --------
    >>> found = ImagePromises("digits")
    >>> [bound.statement for loss, bound in found.bounds if loss == "exponential"]
    ['Theorem 4.6', 'Corollary 4.7']
    """

    source: str

    @cached_property
    def images(self) -> Images:
        """Of which norms are 1."""
        return load_images(self.source, COUNT)

    @cached_property
    def geometry(self) -> Geometry:
        """What Assumption 4.5 says of them."""
        return geometry(unit_rows(self.images))

    @property
    def cosines(self) -> Cosines:
        """Over all pairs, each image with itself included."""
        return cosines(unit_rows(self.images))

    @property
    def premises(self) -> Premises:
        """Of Assumption 4.5, and by loss of Assumptions 4.4 and 5.1."""
        losses = {f"4.4: {name} loss": one.z0 is not None and one.smooth for name, one in CONSTANTS.items()}
        return (
            self.geometry.premises()
            | losses
            | {f"5.1: {name} loss": one.g_a is not None for name, one in CONSTANTS.items()}
        )

    @cached_property
    def bounds(self) -> tuple[tuple[str, Bound], ...]:
        """What is promised of m = 200, eta = .01, batches of 256 with replacement, by loss."""
        settings = {name: Setting(WIDTH, KAPPA, RATE, name, scheme="paper42", batch=BATCH) for name in CONSTANTS}
        return tuple(
            (name, says(self.geometry, setting))
            for name, setting in settings.items()
            for says in (theorem_4_6, corollary_4_7)
        )

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "study": "data", "source": self.source, "origin": self.images.origin, "sha256": self.images.sha256,
            "cosines": self.cosines._asdict(), "premises": dict(self.premises),
            "bounds": [{"loss": loss, **bound_table(bound)} for loss, bound in self.bounds],
        }  # fmt: skip
