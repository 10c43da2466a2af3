"""Features of a state on the way of a run: the article's, and those of every array of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

Numbers = NDArray[np.float64]

TINY = 1e-8
"""What the article adds to denominators and before logarithms."""

ARTICLE = ("difference", "distance", "absolute", "ratio", "log", "interaction")
"""The article's families, in the order of its columns: 3 + 4 P + P (P - 1) / 2 features of P parameters."""

LAYERS = ("layer", "log_layer")
"""Distances of each array of parameters on its own, and their logarithms."""

FEW_PARAMETERS = 64
"""Models with more parameters have no features of single parameters and pairs of them."""


class _Pair(NamedTuple):
    """States and references, (n, P) each, with the arrays of parameters by name."""

    state: Numbers
    reference: Numbers
    names: tuple[str, ...]
    layers: Mapping[str, NDArray[np.intp]]

    @property
    def difference(self) -> Numbers:
        return self.state - self.reference


def _distances(a: Numbers, b: Numbers) -> list[Numbers]:
    """L1, L2 and cosine distance of each row."""
    gap = a - b
    lengths = np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), TINY)
    return [np.abs(gap).sum(axis=1), np.linalg.norm(gap, axis=1), 1 - np.einsum("ij,ij->i", a, b) / lengths]


def _distance(pair: _Pair) -> dict[str, Numbers]:
    return dict(zip(("L1", "L2", "cosine"), _distances(pair.state, pair.reference), strict=True))


def _each(label: str, values: Callable[[_Pair], Numbers]) -> Callable[[_Pair], dict[str, Numbers]]:
    """A feature of each parameter."""
    return lambda pair: {f"{label}({name})": column for name, column in zip(pair.names, values(pair).T, strict=True)}


def _interaction(pair: _Pair) -> dict[str, Numbers]:
    gap = pair.difference
    return {
        f"difference({pair.names[i]})*difference({pair.names[j]})": gap[:, i] * gap[:, j]
        for i, j in combinations(range(len(pair.names)), 2)
    }


def _layer(pair: _Pair) -> dict[str, Numbers]:
    columns = {}
    for name, places in pair.layers.items():
        distances = _distances(pair.state[:, places], pair.reference[:, places])
        columns |= {f"{label}({name})": values for label, values in zip(("L1", "L2", "cosine"), distances, strict=True)}
    return columns


def _log_layer(pair: _Pair) -> dict[str, Numbers]:
    gap = pair.difference
    return {
        f"log L2({name})": np.log(np.linalg.norm(gap[:, places], axis=1) + TINY) for name, places in pair.layers.items()
    }


_FAMILIES: Mapping[str, Callable[[_Pair], dict[str, Numbers]]] = {
    "difference": _each("difference", lambda pair: pair.difference),
    "distance": _distance,
    "absolute": _each("absolute", lambda pair: np.abs(pair.difference)),
    "ratio": _each("ratio", lambda pair: pair.state / (pair.reference + TINY)),
    "log": _each("log", lambda pair: np.log(np.abs(pair.difference) + TINY)),
    "interaction": _interaction,
    "layer": _layer,
    "log_layer": _log_layer,
}


class ConvergenceFeatures(TransformerMixin, BaseEstimator):
    """Features of pairs of parameter vectors: a state, and the reference that it is on its way to.

    Source: convergence-time article, "Feature Engineering", in the order of the columns of its code.

    Parameters
    ----------
    param_names : sequence of str
        Of the P parameters, in their flat order. What comes before a bracket is the name of the array.
    families : sequence of str
        Of ``difference``, ``distance`` (L1, L2, cosine), ``absolute``, ``ratio``, ``log``, ``interaction`` (the
        article's), ``layer`` and ``log_layer`` (the same distances of every array of parameters).

    Attributes
    ----------
    families_ : tuple of str
        The family of each column.

    Examples
    --------
    >>> features = ConvergenceFeatures(("weight[0]", "weight[1]"), families=("distance", "log")).fit([[3, 4, 0, 0]])
    >>> features.transform([[3, 4, 0, 0]]).round(3)
    array([[7.   , 5.   , 1.   , 1.099, 1.386]])
    >>> features.get_feature_names_out()
    array(['L1', 'L2', 'cosine', 'log(weight[0])', 'log(weight[1])'], dtype=object)
    """

    def __init__(self, param_names: Sequence[str], families: Sequence[str] = ARTICLE) -> None:
        self.param_names = param_names
        self.families = families

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Check the shape; nothing is learned.

        Parameters
        ----------
        X : (n, 2 P) array_like
            States and references side by side.
        y : ignored

        Raises
        ------
        ValueError
            An unknown family, or another number of columns than twice that of the parameters.
        """
        unknown = [family for family in self.families if family not in _FAMILIES]
        if unknown:
            raise ValueError(f"unknown family of features {unknown[0]!r}; there are {', '.join(_FAMILIES)}")
        one = self._pair(X)
        named = {
            family: list(_FAMILIES[family](one._replace(state=one.state[:1], reference=one.reference[:1])))
            for family in self.families
        }
        self.families_ = tuple(family for family, names in named.items() for _ in names)
        self._names = [name for names in named.values() for name in names]
        self.n_features_in_ = 2 * len(self.param_names)
        return self

    def transform(self, X: ArrayLike) -> Numbers:
        """Features (n, F) float64 of states and references side by side (n, 2 P)."""
        pair = self._pair(X)
        return np.column_stack([column for family in self.families for column in _FAMILIES[family](pair).values()])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the F columns."""
        return np.array(self._names, object)

    def _pair(self, X: ArrayLike) -> _Pair:
        both, size = np.asarray(X, np.float64), len(self.param_names)
        if both.ndim != 2 or both.shape[1] != 2 * size:
            raise ValueError(
                f"X must have {2 * size} columns, states and references of {size} parameters, got shape {both.shape}"
            )
        return _Pair(both[:, :size], both[:, size:], tuple(self.param_names), arrays_of(self.param_names))


def arrays_of(param_names: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Places in the flat order of each array of parameters.

    Examples
    --------
    >>> arrays_of(["weight[0,0]", "weight[0,1]", "bias[0]"])
    {'weight': array([0, 1]), 'bias': array([2])}
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(param_names):
        places.setdefault(name.partition("[")[0], []).append(place)
    return {name: np.array(found, np.intp) for name, found in places.items()}
