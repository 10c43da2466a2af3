"""Studies of early-stage convergence with figures made up, to see what is said and drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.analysis.assumptions import Cosines, Geometry, geometry
from jaxor.analysis.bounds import corollary_4_3, corollary_4_7
from jaxor.analysis.convergence import convergence_constant, theorem_5_2, theorem_5_3
from jaxor.analysis.corollaries import ManyClasses, TwoClasses
from jaxor.analysis.descents import Descents
from jaxor.analysis.first_step import FirstStep
from jaxor.analysis.lemmas import STATEMENTS, Check, Lemmas, Violations
from jaxor.analysis.rates import LOSSES, Contraction, Curvature, Decay, Rates
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.analysis.statements import Setting
from jaxor.analysis.table1 import OTHERS, PRINTED, Cell, Table, image_experiment
from jaxor.estimates import Share
from jaxor.experiments.images import load_images, unit_rows

Floats = NDArray[np.float64]

STEPS = {0.01: 34, 0.005: 69, 0.002: 173, 0.001: 346}
NETS = SeparatedNets(points=8, given_dimension=10)
NARROW = replace(NETS, given_width=60)
"""Not as wide as the theorems ask."""


@cache
def digits() -> Geometry:
    return geometry(unit_rows(load_images("digits", 1000)))


def image_descents(values: ArrayLike, width: int, rate: float, init: str | dict = "notebook", **parts) -> Descents:
    made = image_experiment("digits", width=width, rate=rate, steps=STEPS[rate], init=init, **parts)
    batch = {"batch": parts["batch"]} if "batch" in parts else {}
    setting = Setting(width, 1e-6, rate, parts.get("loss", "logistic"), scheme=made.to_dict()["init"]["name"], **batch)
    return Descents(made, np.asarray(values, float), corollary_4_7(digits(), setting))


def table(
    printed: str = "digits",
    by_width: Sequence[tuple[int, float, ArrayLike]] = ((200, 0.01, (0.51, 0.52, 0.53)),),
    by_rate: Sequence[tuple[int, float, ArrayLike]] = (
        (200, 0.01, (0.51, 0.52, 0.53)), (200, 0.002, (0.511, 0.521, 0.531)),
    ),
    others: Sequence[float] = (0.1250, 0.3675, 0.5793, 0.1256, 0.3689, 0.5829, 0.0081),
    reduce: str = "columns",
) -> Table:  # fmt: skip
    """Of `printed` the source and the figures that the paper prints; the images are digits."""

    def cells(rows: Sequence[tuple[int, float, ArrayLike]]) -> tuple[Cell, ...]:
        return tuple(
            Cell(m, eta, image_descents(values, m, eta), PRINTED.get(printed, {}).get((m, eta), ()))
            for m, eta, values in rows
        )

    starts = zip(OTHERS, others, strict=False)
    rest = tuple(image_descents([mean] * 2, 200, 0.01, dict(init), loss=loss) for (init, loss), mean in starts)
    images = load_images("digits", 1000)
    return Table(printed, images, digits(), Cosines(0.2766, 0.6932), reduce, cells(by_width), cells(by_rate), rest)


def two_classes(
    values: ArrayLike = (0.02, 0.03, 0.07, 0.08), nets: SeparatedNets = NETS, streams: bool = True
) -> TwoClasses:
    made = nets.descent(44)
    found = Descents(made, np.asarray(values), corollary_4_3(nets.separation, nets.setting("quadratic")))
    population = [(20, Descents(made, np.array([0.06, 0.0625]))), (200, Descents(made, np.array([0.061, 0.0615])))]
    return TwoClasses(nets, found, tuple(population) if streams else ())


def many_classes(batches: Sequence[int] = (16, 64), losses: Sequence[str] = ("exponential", "logistic")) -> ManyClasses:
    means = {"exponential": 0.36, "logistic": 0.12}
    found = [
        (batch, image_descents(means[loss] + np.arange(3) / 1000, 200, 0.01, "paper42", loss=loss, batch=batch))
        for loss in losses
        for batch in batches
    ]
    return ManyClasses("digits", load_images("digits", 1000), digits(), tuple(found))


def lemmas(hitting: Sequence[int] = (4, 3), sweep: float = 97.0) -> Lemmas:
    """Two seeds, six steps."""
    steps, later = 6, np.arange(6) > 0
    first = np.array([[0.24, 0.26, 0.26, 0.24], [0.25, 0.25, 0.25, 0.25]])
    fractions = np.where(later[None, :, None], [0.5, 0.0, 0.0, 0.5], first[:, None])
    t = np.arange(6.0)
    figures = {
        "fractions": fractions,
        "loss": np.array([0.5 - t / 100, 0.5 - t / 50]),
        "hessian_norm": np.array([0.4 + t / 10, 0.4 + t / 20]),
        "balance": np.array([1 + t / 1000, 1 - t / 500]),
        "gradient_square": np.array([0.17 - t / 100, 0.18 - t / 100]),
        "gradient_margin": np.full((2, 6), 0.01),
    }
    none = {name: np.zeros(2, int) for name in STATEMENTS}
    some = none | {"S3": np.array([0, 2 * sweep]), "S5": np.array([2 * sweep, 4 * sweep])}
    checks = (
        Check("6.2 S1", "pairs (i, k) that break it in a step", Share.of(2, 2), 0.0),
        Check("6.5", "|grad L|^2 less its lower bound, t >= 1", Share.of(1, 2), -0.25),
    )
    violations = Violations(NETS.kappa, none), Violations(0.01, some)
    return Lemmas(NETS, steps, figures, np.array(hitting), checks, violations)


def decay(loss: str, power: float, slope: float, *, capped: bool | None = None, diverged: bool = False) -> Decay:
    """Two seeds whose losses fall exactly as t^slope."""
    optimizer = {"name": "power_law", "power": power, "learning_rate": 0.01}
    if capped is not None:
        optimizer |= {"name": "power_law_literal", "v": 0.02, "capped": capped}
    t = np.maximum(np.arange(1500.0), 1)
    losses = np.array([0.9, 0.8])[:, None] * t**slope
    if diverged:
        losses[:, 110:] = np.nan
    bound = theorem_5_2(
        NETS.separation, NETS.setting(loss, adaptive=True), eta=0.01, first_loss=float(losses[:, 1].mean()), r=power
    )
    return Decay(NETS.experiment(loss, optimizer, 1500), power, bound, losses, 2 * diverged)


def rates(slopes: Sequence[float] = (-1.0, -2.0, -3.0), capped_slope: float = -90.0, ratio: float = 0.85) -> Rates:
    v = convergence_constant(NETS.separation, NETS.width, NETS.delta)
    contractions = []
    for loss in LOSSES:
        losses = np.array([[1.0], [0.9]]) * np.array([[ratio], [0.84]]) ** np.arange(
            11.0
        )  # the last is after the last step
        bound = theorem_5_3(NETS.separation, NETS.setting(loss, adaptive=True))
        contractions.append(
            Contraction(
                loss,
                bound,
                losses[:, :-1],
                losses[:, 2:] / losses[:, 1:-1],
                np.full((2, 9), 0.41),
                0.136,
                np.array([0, 3]),
            )
        )
    decays = tuple(decay(loss, r, slope) for loss in LOSSES for r, slope in zip((1, 2, 3), slopes, strict=True))
    literal = (
        decay("exponential", 1, -1, capped=False, diverged=True),
        decay("exponential", 1, capped_slope, capped=True),
    )
    curvatures = (Curvature("exponential", 4, 300, 0.4779, 0),)
    return Rates(NETS, v, tuple(contractions), curvatures, decays, literal)


def first_step() -> FirstStep:
    """The figure of the paper, rounded by hand: neurons 1 and 2 as drawn there, 3 and 4 changed places."""
    return FirstStep(
        seed=1, inputs=np.array([[0.7, 0.7], [-1.0, -0.2]]), output=np.array([0.5, -0.5, 0.5, -0.5]),
        before=np.array([[0.18, -0.13], [-0.57, 0.32], [-0.28, 0.18], [-0.15, 0.36]]),
        after=np.array([[2.0, 1.0], [-2.0, -1.0], [2.0, 1.0], [-2.0, -1.0]]),
        states=(
            (("true-living", "false-dead", "true-dead", "false-living"),
             ("false-dead", "true-living", "false-living", "true-living")),
            (("true-living", "false-dead", "true-living", "false-dead"),
             ("false-dead", "true-living", "false-dead", "true-living")),
        ),
    )  # fmt: skip
