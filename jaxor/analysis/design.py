"""The columns that models of convergence time may look at: named, in families, built when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.exact import has_exact_minimum, nearest_minimum
from jaxor.analysis.features import ARTICLE, FEW_PARAMETERS, LAYERS, ConvergenceFeatures
from jaxor.analysis.rows import Rows

Numbers = NDArray[np.float64]


class Column(NamedTuple):
    """A feature.

    Attributes
    ----------
    name, family : str
    causal : bool
        Known while the run is under way; otherwise an oracle's, since it takes the final parameters.
    """

    name: str
    family: str
    causal: bool


class Design:
    """Named columns of rows.

    Parameters
    ----------
    rows : Rows
    param_names : sequence of str
    experiment : mapping
        As `Experiment.to_dict` gives it.
    moments : dict of str to (n,) array, optional
        State of the optimizer, see `jaxor.analysis.moments`.
    exact : bool
        Whether the reference of the rows is an exact minimum, which one knows without training.
    """

    def __init__(
        self, rows: Rows, param_names: Sequence[str], experiment: Mapping[str, Any], *,
        moments: Mapping[str, Numbers] | None = None, exact: bool = False,
    ) -> None:  # fmt: skip
        self.rows = rows
        self.few = len(param_names) <= FEW_PARAMETERS
        self._param_names = tuple(param_names)
        features = self._features((*ARTICLE, *LAYERS) if self.few else ("distance", *LAYERS))
        self._moments = dict(moments or {})
        names = features.get_feature_names_out().tolist()
        known = [Column(name, family, exact) for name, family in zip(names, features.families_, strict=True)]
        columns = [*known, *(Column(name, _OTHER[name][0], _OTHER[name][1] or exact) for name in _OTHER)]
        if has_exact_minimum(experiment):
            columns.append(Column("L2 to the minimum", "minimum", True))
        if self.few:
            columns += [Column(f"state({name})", "state", True) for name in param_names]
            columns += [Column(f"update({name})", "update", True) for name in param_names[: rows.update.shape[1]]]
        columns += [Column(name, "moment", True) for name in self._moments]
        self.columns: dict[str, Column] = {column.name: column for column in columns}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def base(self) -> tuple[str, ...]:
        """The columns of the article; for models with many parameters distances of all and of every array."""
        return self.family(*(ARTICLE if self.few else ("distance", *LAYERS)))

    def family(self, *families: str) -> tuple[str, ...]:
        """Names of the columns of some families."""
        return tuple(column.name for column in self.columns.values() if column.family in families)

    def causal(self, names: Sequence[str]) -> bool:
        """Whether all of the columns are known while a run is under way."""
        return all(self.columns[name].causal for name in names)

    def matrix(self, names: Sequence[str], index: Any = slice(None)) -> Numbers:
        """The columns (n, F) float64 of some rows: a slice, numbers or a mask."""
        rows = self.rows.take(index)
        families = tuple(dict.fromkeys(self.columns[name].family for name in names))
        made = {family: self._family(family, rows, index) for family in families}
        return np.column_stack([made[self.columns[name].family][name] for name in names])

    def _features(self, families: tuple[str, ...]) -> ConvergenceFeatures:
        return ConvergenceFeatures(self._param_names, families).fit(self._pairs(self.rows.take(slice(0, 1))))

    def _pairs(self, rows: Rows) -> NDArray[Any]:
        return np.hstack([rows.state, rows.reference])

    def _family(self, family: str, rows: Rows, index: Any) -> Mapping[str, Numbers]:
        """All columns of a family."""
        names = self.family(family)
        if family in (*ARTICLE, *LAYERS):
            features = self._features((family,))
            return dict(zip(names, features.transform(self._pairs(rows)).T, strict=True))
        if family in ("state", "update"):
            return dict(zip(names, getattr(rows, family).T.astype(np.float64), strict=True))
        if family == "moment":
            return {name: self._moments[name][index] for name in names}
        if family == "minimum":
            return {"L2 to the minimum": np.linalg.norm(rows.state - nearest_minimum(rows.state), axis=1)}
        return {name: _OTHER[name][2](rows) for name in names}


_OTHER: Mapping[str, tuple[str, bool, Any]] = {
    "loss": ("loss", True, lambda rows: rows.loss),
    "log loss": ("loss", True, lambda rows: np.log(np.maximum(rows.loss, np.finfo(np.float64).tiny))),
    "decline": ("loss", True, lambda rows: rows.decline),
    "contraction": ("contraction", False, lambda rows: rows.contraction),
}
"""Family, whether it is causal, and the values of columns that do not depend on the parameters' names."""
