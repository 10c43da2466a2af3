"""Toy segmentation: pictures of a few shapes, and of each pixel what it shows."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.experiments.registry import require
from jaxor.experiments.task import TASKS, Task, argmax_accuracy

CLASSES = ("background", "disc", "square", "triangle")
MOST = 3
"""Shapes in a picture, at most."""

NOISE = 0.1
"""Standard deviation of the noise on every pixel."""


@TASKS.register("shapes")
def shapes(*, points: int = 512, side: int = 16, data_seed: int = 0) -> Task:
    """Pictures of side x side pixels with one to three discs, squares or triangles; one-hot classes of every pixel.

    Classes are background, disc, square and triangle; inputs (points, side^2), targets (points, side, side, 4). The
    background is 0, a shape's brightness uniform between .5 and 1, each pixel's noise N(0, .1^2). A shape has the area
    of a disc whose radius is uniform between side / 6 and side / 3. It stands upright, its middle anywhere in the
    picture, and later ones lie on top.
    """
    require(points > 0, "points", "positive", points)
    require(side >= 8, "side", "8 or more", side)
    require(data_seed >= 0, "data_seed", "0 or positive", data_seed)
    return _shapes(points, side, data_seed)


@cache
def _shapes(points: int, side: int, data_seed: int) -> Task:
    rng = np.random.default_rng(data_seed)
    pictures, labels = np.zeros((points, side, side)), np.zeros((points, side, side), np.int64)
    count = rng.integers(1, MOST + 1, points)
    for place in range(MOST):
        kind = rng.integers(1, len(CLASSES), points)
        inside = _inside(kind, rng.uniform(0, side, (2, points)), rng.uniform(side / 6, side / 3, points), side)
        inside &= (place < count)[:, None, None]
        labels = np.where(inside, kind[:, None, None], labels)
        pictures = np.where(inside, rng.uniform(0.5, 1, points)[:, None, None], pictures)
    pictures += NOISE * rng.standard_normal(pictures.shape)
    targets = np.eye(len(CLASSES), dtype=np.float32)[labels]
    return Task(pictures.reshape(points, -1).astype(np.float32), targets, argmax_accuracy)


def _inside(kind: NDArray[np.int64], middle: NDArray[Any], radius: NDArray[Any], side: int) -> NDArray[np.bool_]:
    """Which pixels (points, side, side) a shape covers, one in each picture."""
    centres = np.arange(side) + 0.5
    down = centres[:, None] - middle[0][:, None, None]
    across = centres - middle[1][:, None, None]
    r = radius[:, None, None]
    half = r * math.sqrt(math.pi / 2)  # of the triangle's height and base
    covers = [
        down**2 + across**2 <= r**2,
        np.maximum(np.abs(down), np.abs(across)) <= r * math.sqrt(math.pi) / 2,
        (np.abs(down) <= half) & (2 * np.abs(across) <= down + half),
    ]
    return np.choose(kind[:, None, None] - 1, covers)
