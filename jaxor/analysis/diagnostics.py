"""What hidden units look like before and after training, for thousands of runs at once.

Every function is pure and takes arrays with the run as first axis. Definitions are those by which the reports on the
XOR experiments were made (alanoursland/tr_xor at 5357290, ``geometry.py`` and ``analyze.py``), so that their figures
come out again; where a definition has a threshold, it is theirs and an argument here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

OPTIMA = ((0.54, -0.54), (-0.54, 0.54))
"""Directions that the reports compare initial weights with; the exact ones are those of (.5, -.5) and (-.5, .5)."""


class Layer(NamedTuple):
    """Hidden units of n runs: weights (n, units, inputs) and biases (n, units)."""

    weight: Floats
    bias: Floats


def hidden_layer(params: ArrayLike, names: Sequence[str]) -> Layer:
    """The first layer of flat parameters.

    Parameters
    ----------
    params : (n, P) array_like of float
    names : sequence of str
        As those of `jaxor.Run.param_names`.

    Raises
    ------
    ValueError
        There is no ``linear1.weight`` and ``linear1.bias``.

    Examples
    --------
    >>> names = ("linear1.weight[0,0]", "linear1.weight[0,1]", "linear1.bias[0]")
    >>> layer = hidden_layer([[1.0, -1.0, 0.5]], names)
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[[1.0, -1.0]]], [[0.5]])
    """
    params = np.asarray(params)
    weights = [i for i, name in enumerate(names) if name.startswith("linear1.weight[")]
    biases = [i for i, name in enumerate(names) if name.startswith("linear1.bias[")]
    if not weights or not biases:
        raise ValueError(
            "these runs have no hidden layer linear1.weight, linear1.bias, so there are no units to look at"
        )
    return Layer(params[:, weights].reshape(len(params), len(biases), -1), params[:, biases])


def preactivations(layer: Layer, inputs: ArrayLike) -> Floats:
    """What units make of points, ``w . x + b``: (n, points, units)."""
    return np.einsum("nud,pd->npu", layer.weight, np.asarray(inputs)) + layer.bias[:, None, :]


def dead_points(layer: Layer, inputs: ArrayLike, margin: float = 0.0) -> Flags:
    """Points (n, points) at which no unit's pre-activation is above the margin; no gradient of a ReLU reaches them.

    Examples
    --------
    >>> layer = Layer(np.array([[[1.0, -1.0], [1.0, 1.0]]]), np.zeros((1, 2)))
    >>> dead_points(layer, [[-1, -1], [1, -1], [-1, 1], [1, 1]]).tolist()
    [[True, False, True, False]]
    """
    return np.logical_not((preactivations(layer, inputs) > margin).any(axis=2))


def dead_units(layer: Layer, inputs: ArrayLike) -> Flags:
    """Units (n, units) whose pre-activation is above 0 at no point."""
    return np.logical_not((preactivations(layer, inputs) > 0).any(axis=1))


class Mirror(NamedTuple):
    """Whether a run has a mirror pair (n,), the cosine (n,) of its first, NaN without, and whether it is perfect."""

    found: Flags
    cosine: Floats
    perfect: Flags


def mirror_pairs(weight: ArrayLike, below: float = -0.95, exact: float = 1e-3) -> Mirror:
    """Pairs of units with opposite weights, as in ``|x| = relu(x) + relu(-x)``; biases do not count.

    Parameters
    ----------
    weight : (n, units, inputs) array_like
    below : float
        Two units are a pair if the cosine of their weights is below this.
    exact : float
        It is perfect if the cosine is no farther than this from -1.

    Examples
    --------
    >>> mirror_pairs([[[1.0, -1.0], [-2.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]]).perfect.tolist()
    [True, False]
    """
    weight = np.asarray(weight, np.float64)
    norm = np.linalg.norm(weight, axis=2, keepdims=True)
    unit = np.divide(weight, norm, out=np.zeros_like(weight), where=norm > 0)
    first, second = np.triu_indices(weight.shape[1], 1)
    if not len(first):
        none = np.zeros(len(weight), bool)
        return Mirror(none, np.full(len(weight), np.nan), none)
    cosine = np.sum(unit[:, first] * unit[:, second], axis=2)
    paired = cosine < below
    found = paired.any(axis=1)
    chosen = np.where(found, cosine[np.arange(len(cosine)), paired.argmax(axis=1)], np.nan)
    return Mirror(found, chosen, found & (np.abs(chosen + 1) < exact))


def hyperplane_distances(layer: Layer, inputs: ArrayLike, positive: ArrayLike) -> Floats:
    """Mean distance ``|w . x + b| / |w|`` of points to each unit's hyperplane, for each of two classes: (n, units, 2).

    The later reports look at them, of successful runs, and so true and predicted classes are the same.

    Parameters
    ----------
    layer : Layer
    inputs : (points, inputs) array_like
    positive : (n, points) or (points,) array_like of bool
        Points of class 1.

    Returns
    -------
    (n, units, 2) array
        NaN for units with weights shorter than 1e-8 and for classes without points.

    Examples
    --------
    >>> layer = Layer(np.array([[[0.5, -0.5]]]), np.zeros((1, 1)))
    >>> corners = [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    >>> hyperplane_distances(layer, corners, [False, True, True, False]).round(4).tolist()
    [[[0.0, 1.4142]]]
    """
    distance = _distances(layer, inputs)
    one = np.broadcast_to(np.asarray(positive, bool), distance.shape[:2])[:, :, None]
    with np.errstate(invalid="ignore"):
        means = [np.where(part, distance, 0).sum(axis=1) / part.sum(axis=1) for part in (~one, one)]
    return np.stack(means, axis=-1)


def nearest_hyperplanes(layer: Layer, inputs: ArrayLike) -> Floats:
    """Distance (n, points) of each point to the nearest unit's hyperplane; NaN if all weights are shorter than 1e-8.

    The earlier reports look at them, for all runs, and give mean and standard deviation over the points of each class.

    Examples
    --------
    >>> layer = Layer(np.array([[[0.5, -0.5], [1.0, 0.0]]]), np.array([[0.0, 3.0]]))
    >>> nearest_hyperplanes(layer, [[-1, -1], [1, -1], [-1, 1], [1, 1]]).round(4).tolist()
    [[0.0, 1.4142, 1.4142, 0.0]]
    """
    distance = _distances(layer, inputs)
    nearest = np.where(np.isnan(distance), np.inf, distance).min(axis=2)
    return np.where(np.isinf(nearest), np.nan, nearest)


def _distances(layer: Layer, inputs: ArrayLike) -> Floats:
    """Of points to hyperplanes (n, points, units), NaN for weights shorter than 1e-8."""
    norm = np.linalg.norm(np.asarray(layer.weight, np.float64), axis=2)
    return np.abs(preactivations(layer, inputs)) / np.where(norm < 1e-8, np.nan, norm)[:, None, :]


class Clusters(NamedTuple):
    """Clusters: which each row belongs to (n,), -1 if to none; and centre, spread and size of each."""

    label: NDArray[np.int64]
    centre: Floats
    spread: Floats
    size: NDArray[np.int64]

    @property
    def noise(self) -> int:
        """Rows that belong to none."""
        return int(np.count_nonzero(self.label < 0))


def clusters(rows: ArrayLike, radius: float = 0.1, neighbours: int = 2) -> Clusters:
    """Clusters by DBSCAN (scikit-learn), largest first; rows that are not finite belong to none.

    Parameters
    ----------
    rows : (n, d) array_like
    radius, neighbours : float, int
        DBSCAN's ``eps`` and ``min_samples``.

    Examples
    --------
    >>> found = clusters([[0.0], [0.01], [0.02], [5.0], [5.01], [9.0]])
    >>> found.size.tolist(), found.noise, found.centre.round(3).tolist()
    ([3, 2], 1, [[0.01], [5.005]])
    """
    from sklearn.cluster import DBSCAN  # scikit-learn takes a second to import

    rows = np.asarray(rows)
    fine, label = np.isfinite(rows).all(axis=1), np.full(len(rows), -1, np.int64)
    if fine.any():
        label[fine] = DBSCAN(eps=radius, min_samples=neighbours).fit(rows[fine]).labels_
    sizes = np.bincount(label[label >= 0])
    order = np.argsort(-sizes, kind="stable")
    rank = np.append(np.argsort(order), -1)  # the last one is that of -1
    groups = [rows[label == number] for number in order]
    empty = np.empty((0, rows.shape[1]))
    centre = np.array([group.mean(axis=0) for group in groups]) if groups else empty
    spread = np.array([group.std(axis=0) for group in groups]) if groups else empty
    return Clusters(rank[label], centre, spread, sizes[order])


def angles_to(weight: ArrayLike, directions: ArrayLike = OPTIMA) -> Floats:
    """Smallest angle (n, units) in degrees from each unit's weights to some directions; NaN for weights of length 0.

    The reports call those of initial weights failure angles: near 90 degrees a mirrored pair starts along the
    diagonal of the other class.

    Examples
    --------
    >>> angles_to([[[1.0, -1.0], [1.0, 0.0], [1.0, 1.0]]]).round(4).tolist()
    [[0.0, 45.0, 90.0]]
    """
    weight, target = np.asarray(weight, np.float64), np.asarray(directions, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = weight / np.linalg.norm(weight, axis=2, keepdims=True)
    cosine = unit @ (target / np.linalg.norm(target, axis=1, keepdims=True)).T
    return np.degrees(np.arccos(np.clip(cosine, -1, 1))).min(axis=2)


class Displacement(NamedTuple):
    """How units moved: the angle (n, units) in degrees between weights before and after, and the ratio of lengths."""

    angle: Floats
    ratio: Floats


def displacement(initial: ArrayLike, final: ArrayLike) -> Displacement:
    """How the weights (n, units, inputs) of units moved.

    The ratio is that of the initial length to the final one, above 1 if weights shrank.

    Examples
    --------
    >>> found = displacement([[[2.0, 0.0]]], [[[0.0, 1.0]]])
    >>> found.angle.round(4).tolist(), found.ratio.round(4).tolist()
    ([[90.0]], [[2.0]])
    """
    first, last = np.asarray(initial, np.float64), np.asarray(final, np.float64)
    lengths = [np.linalg.norm(weight, axis=2) for weight in (first, last)]
    cosine = np.sum(first * last, axis=2) / ((lengths[0] + 1e-8) * (lengths[1] + 1e-8))
    return Displacement(np.degrees(np.arccos(np.clip(cosine, -1, 1))), lengths[0] / (lengths[1] + 1e-8))


PERCENTILES = (0, 10, 25, 50, 75, 90, 100)


class Bin(NamedTuple):
    """So many rows between two values of something, and the mean of their epochs; None without rows."""

    low: float
    high: float
    rows: int
    mean: float | None


def by_percentile(metric: ArrayLike, epochs: ArrayLike) -> tuple[Bin, ...]:
    """Mean epochs of rows between percentiles 0, 10, 25, 50, 75, 90 and 100 of a metric (each bin without its end).

    Parameters
    ----------
    metric, epochs : (n,) array_like
        Values that are not finite are left out.

    Examples
    --------
    >>> [bin.rows for bin in by_percentile(np.arange(100.0), np.arange(100))]
    [10, 15, 25, 25, 15, 10]
    """
    metric, epochs = np.asarray(metric, np.float64), np.asarray(epochs, np.float64)
    fine = np.isfinite(metric)
    metric, epochs = metric[fine], epochs[fine]
    if not len(metric):
        return ()
    edges = np.percentile(metric, PERCENTILES)
    place = np.clip(np.searchsorted(edges, metric, side="right") - 1, 0, len(edges) - 2)
    parts = [epochs[place == number] for number in range(len(edges) - 1)]
    return tuple(
        Bin(float(low), float(high), len(part), float(part.mean()) if len(part) else None)
        for low, high, part in zip(edges, edges[1:], parts, strict=False)
    )
