"""Corollaries 4.3 and 4.7 of Wang & Ma (NeurIPS 2022) on many seeds: how often the promised descent is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxor.analysis.assumptions import Geometry, geometry
from jaxor.analysis.bounds import corollary_4_3, corollary_4_7
from jaxor.analysis.descents import Descents, Watch, descents
from jaxor.analysis.hitting import corollary_4_3_steps, corollary_4_7_steps
from jaxor.analysis.separated_nets import RATE, SeparatedNets
from jaxor.analysis.statements import Setting
from jaxor.analysis.table1 import COUNT, WIDTH, image_experiment
from jaxor.experiments.images import Images, load_images, unit_rows
from jaxor.experiments.registry import require

BATCHES = 16, 64, 256


@dataclass(frozen=True)
class TwoClasses:
    """Corollary 4.3 on one data set.

    Attributes
    ----------
    nets : SeparatedNets
    descents : Descents
        Of the loss on the n points.
    population : tuple of (int, Descents)
        For a stream of fresh points, by points a step: descents of the loss on `HELD_OUT` other points, which stand
        for the population's. Appendix E, which bounds it, was not at hand.
    """

    nets: SeparatedNets
    descents: Descents
    population: tuple[tuple[int, Descents], ...]

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "study": "descent", "nets": self.nets.to_dict(), "descents": self.descents.to_dict(),
            "population": [{"batch": batch, "descents": found.to_dict()} for batch, found in self.population],
        }  # fmt: skip


HELD_OUT = 1000
STREAMS = 20, 200


def two_classes(nets: SeparatedNets, seeds: int = 1000, *, stream_seeds: int = 32, watch: Watch = None) -> TwoClasses:
    """Descents within T = 44 steps of eta = .01 in float64, beside Corollary 4.3.

    Parameters
    ----------
    nets : SeparatedNets
    seeds : int
    stream_seeds : int
        Runs on streams of fresh points at most, for data that have a population; not more than `seeds`.

    Raises
    ------
    ValueError
        No seeds.
    """
    steps = corollary_4_3_steps(RATE)
    if watch is not None:
        watch(f"{nets.data}: {steps} steps of {seeds:,} seeds")
    bound = corollary_4_3(nets.separation, nets.setting("quadratic"))
    found = descents(nets.descent(steps), seeds, bound, x64=True)
    if nets.built.sample is None:
        return TwoClasses(nets, found, ())
    population = []
    for batch in STREAMS:
        if watch is not None:
            watch(f"{nets.data}: a stream, {batch} points a step")
        made = nets.descent(steps, batch={"mode": "stream", "size": batch}).replace(**{"task.n": HELD_OUT})
        population.append((batch, descents(made, min(seeds, stream_seeds))))
    return TwoClasses(nets, found, tuple(population))


@dataclass(frozen=True)
class ManyClasses:
    """Theorem 4.6's scheme, SGD with replacement, on images, with the loss that Corollary 4.7's constants are of.

    Attributes
    ----------
    source : str
    images : Images
    geometry : Geometry
    by_batch : tuple of (int, Descents)
    """

    source: str
    images: Images
    geometry: Geometry
    by_batch: tuple[tuple[int, Descents], ...]

    def to_dict(self) -> dict[str, Any]:
        """As a table for JSON."""
        return {
            "study": "sgd", "source": self.source, "origin": self.images.origin, "sha256": self.images.sha256,
            "by_batch": [{"batch": batch, "descents": found.to_dict()} for batch, found in self.by_batch],
        }  # fmt: skip


def many_classes(
    source: str = "digits",
    seeds: int = 100,
    *,
    batches: Sequence[int] = BATCHES,
    losses: Sequence[str] = ("exponential", "logistic"),
    watch: Watch = None,
) -> ManyClasses:
    """Descents within T = 34 steps of eta = .01, beside Corollary 4.7, by batch size and loss.

    Initialised as the theorem has it (`paper42`), with the largest kappa that the corollary allows.

    Raises
    ------
    ValueError, ExperimentError
        No seeds, impossible batches, or no images.
    """
    images, steps = load_images(source, COUNT), corollary_4_7_steps(RATE)
    of, found = geometry(unit_rows(images)), []
    for loss in losses:
        for batch in batches:
            if watch is not None:
                watch(f"{source}, {loss}: batches of {batch}")
            require(batch > 0, "batches", "positive", batch)
            kappa = min(RATE / 10, RATE / (3 * batch))
            made = image_experiment(
                source, width=WIDTH, rate=RATE, steps=steps, init="paper42", loss=loss, kappa=kappa, batch=batch
            )
            bound = corollary_4_7(of, Setting(WIDTH, kappa, RATE, loss, scheme="paper42", batch=batch))
            found.append((batch, descents(made, seeds, bound)))
    return ManyClasses(source, images, of, tuple(found))
