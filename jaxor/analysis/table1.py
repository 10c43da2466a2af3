"""Table 1 of Wang & Ma (NeurIPS 2022): how far the loss of two-layer ReLU nets falls on images in T(eta) steps.

The printed figures are those of the authors' notebook [NB]: gradient descent on the first 1,000 training images, the
logistic loss of the true logit, kappa = 1e-6, and an initialisation that is not the theorem's, with output weights +-1
instead of 1 / sqrt(m). `Table.others` has what the theorem's own and others give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxor.analysis.assumptions import Cosines, Geometry, cosines, geometry
from jaxor.analysis.bounds import corollary_4_7
from jaxor.analysis.descents import Descents, Watch, descents
from jaxor.analysis.hitting import corollary_4_7_steps
from jaxor.analysis.statements import Setting
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.images import Images, load_images, unit_rows
from jaxor.experiments.images import images as build_images

WIDTHS = 100, 200, 500, 1000
RATES = 0.01, 0.005, 0.002, 0.001
WIDTH, RATE, KAPPA, COUNT = 200, 0.01, 1e-6, 1000

PRINTED: Mapping[str, Mapping[tuple[int, float], tuple[float, ...]]] = {
    "cifar10": {
        (100, 0.01): (0.345,), (200, 0.01): (0.534, 0.489), (500, 0.01): (0.611,), (1000, 0.01): (0.653,),
        (200, 0.005): (0.534,), (200, 0.002): (0.543,), (200, 0.001): (0.537,),
    },
    "mnist": {
        (100, 0.01): (0.389,), (200, 0.01): (0.478,), (500, 0.01): (0.597,), (1000, 0.01): (0.645,),
        (200, 0.005): (0.498,), (200, 0.002): (0.495,), (200, 0.001): (0.492,),
    },
}  # fmt: skip
"""By data set, width and learning rate; two where the paper's two tables print two figures of one cell."""

PAPER, LARGE = {"name": "paper42"}, {"name": "paper42", "large_bias": True}
OTHERS: Sequence[tuple[Mapping[str, Any], str]] = (
    *((init, loss) for init in (PAPER, LARGE) for loss in ("logistic", "exponential", "hinge")),
    ({"name": "pm1_sqrtm"}, "logistic"),
)
"""Initialisations and losses at m = 200, eta = .01 to set beside the table's own."""

OTHER_SEEDS = 4
"""Of each of them: paper42 leaves nearly nothing to chance."""


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes
    ----------
    width : int
        m.
    rate : float
        eta.
    descents : Descents
    printed : tuple of float
        What the paper prints of it.
    """

    width: int
    rate: float
    descents: Descents
    printed: tuple[float, ...]

    @property
    def tolerance(self) -> float:
        """max(3 standard deviations over seeds, .02): the printed figures are one unseeded run each. One seed: .02."""
        return 0.02 if math.isnan(self.descents.sd) else max(3 * self.descents.sd, 0.02)

    @property
    def agrees(self) -> bool | None:
        """Whether every printed figure is within the tolerance of our mean; None where none is printed."""
        if not self.printed:
            return None
        return all(abs(value - self.descents.mean) <= self.tolerance for value in self.printed)

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "width": self.width, "rate": self.rate, "descents": self.descents.to_dict(), "printed": self.printed,
            "tolerance": self.tolerance, "agrees": self.agrees,
        }  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Table 1 on one data set.

    Attributes
    ----------
    source : str
    images : Images
    geometry : Geometry
    cosines : Cosines
    reduce : str
        How the inputs were made narrower, see the task `images`.
    by_width, by_rate : tuple of Cell
    others : tuple of Descents
        Of other initialisations and losses.
    """

    source: str
    images: Images
    geometry: Geometry
    cosines: Cosines
    reduce: str
    by_width: tuple[Cell, ...]
    by_rate: tuple[Cell, ...]
    others: tuple[Descents, ...]

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "study": "table", "source": self.source, "origin": self.images.origin, "sha256": self.images.sha256,
            "images": len(self.images.pixels), "dimension": self.images.pixels.shape[1],
            "cosines": self.cosines._asdict(), "reduce": self.reduce,
            "by_width": [cell.to_dict() for cell in self.by_width],
            "by_rate": [cell.to_dict() for cell in self.by_rate],
            "others": [found.to_dict() for found in self.others],
        }  # fmt: skip


def image_experiment(
    source: str, *, width: int, rate: float, steps: int, init: str | Mapping[str, Any] = "notebook",
    loss: str = "logistic", kappa: float = KAPPA, batch: int | None = None, reduce: str | None = None,
) -> Experiment:  # fmt: skip
    """Model (6) on images, gradient descent or batches with replacement.

    Parameters
    ----------
    source : str
        As of `load_images`; the hash of its first 1,000 images becomes part of the experiment.
    reduce : str, optional
        As of the task `images`; by default `rotation` where there are more inputs than images, else `columns`: both
        leave the law of the losses as it is.

    Examples
    --------
    >>> made = image_experiment("digits", width=50, rate=0.01, steps=34)
    >>> made.task.options["reduce"], made.model.options["inputs"]
    ('columns', 61)
    """
    images = load_images(source, COUNT)
    dimension = images.pixels.shape[1]
    reduce = reduce or ("rotation" if dimension > COUNT else "columns")
    task: dict[str, Any] = {"source": source, "count": COUNT, "reduce": reduce, "sha256": images.sha256}
    inputs = build_images(**task).inputs.shape[1]
    start: dict[str, Any] = {"kappa": kappa} | ({"name": init} if isinstance(init, str) else dict(init))
    if start["name"] != "notebook":
        start["dimension"] = dimension
    return Experiment(
        f"{source}-{start['name']}-{loss}", task={"name": "images", **task}, init=start, loss=loss, max_epochs=steps,
        model={"name": "relu_net", "inputs": inputs, "hidden": width, "classes": 10, "bias": True},
        optimizer={"name": "sgd", "learning_rate": rate},
        batch={} if batch is None else {"mode": "replacement", "size": batch, "steps": 1},
    )  # fmt: skip


def table(
    source: str = "digits",
    seeds: int = 16,
    *,
    widths: Sequence[int] = WIDTHS,
    rates: Sequence[float] = RATES,
    watch: Watch = None,
) -> Table:
    """Table 1 of a data set, by our own simulation.

    Parameters
    ----------
    source : str
        As of `load_images`.
    seeds : int
        Runs of each cell.
    widths, rates
        m of the first part, at eta = .01, and eta of the second, at m = 200.
    watch : callable, optional
        Told what is being simulated.

    Raises
    ------
    ValueError, ExperimentError
        No seeds, impossible widths or rates, or no images.
    """
    images = load_images(source, COUNT)
    of = geometry(unit_rows(images))

    def measured(width: int, rate: float, init: Mapping[str, Any], loss: str, runs: int) -> Descents:
        steps = corollary_4_7_steps(rate)
        if watch is not None:
            watch(f"{source}, {init['name']}, {loss}: m = {width}, eta = {rate:g}, {steps} steps")
        made = image_experiment(source, width=width, rate=rate, steps=steps, init=init, loss=loss)
        setting = Setting(width, KAPPA, rate, loss, scheme=init["name"])
        return descents(made, runs, corollary_4_7(of, setting))

    found: dict[tuple[int, float], Descents] = {}

    def cell(width: int, rate: float) -> Cell:
        if (width, rate) not in found:
            found[width, rate] = measured(width, rate, {"name": "notebook"}, "logistic", seeds)
        return Cell(width, rate, found[width, rate], PRINTED.get(source, {}).get((width, rate), ()))

    by_width = tuple(cell(width, RATE) for width in widths)
    by_rate = tuple(cell(WIDTH, rate) for rate in rates)
    others = tuple(measured(WIDTH, RATE, init, loss, OTHER_SEEDS) for init, loss in OTHERS)
    reduce = by_width[0].descents.experiment.to_dict()["task"]["reduce"]
    return Table(source, images, of, cosines(unit_rows(images)), reduce, by_width, by_rate, others)
