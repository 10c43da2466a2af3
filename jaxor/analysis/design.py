"""The columns that models of convergence time may look at: named, in families, built when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.exact import has_exact_minimum, nearest_minimum
from jaxor.analysis.features import ARTICLE, FEW_PARAMETERS, LAYERS, ConvergenceFeatures
from jaxor.analysis.rows import Rows

Numbers = NDArray[np.float64]

KEPT_BYTES = 300_000_000
"""Of columns that are made once; beyond, families are made again for the rows that are asked for."""


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
        names = features.get_feature_names_out().tolist()
        known = [Column(name, family, exact) for name, family in zip(names, features.families_, strict=True)]
        columns = [*known, *(Column(name, family, causal) for name, (family, causal, _) in _OTHER.items())]
        if has_exact_minimum(experiment):
            columns.append(Column("L2 to the minimum", "minimum", True))
        if self.few:
            columns += [Column(f"state({name})", "state", True) for name in param_names]
            columns += [Column(f"update({name})", "update", True) for name in param_names[: rows.update.shape[1]]]
        columns += [Column(name, "moment", True) for name in moments or ()]
        self.columns: dict[str, Column] = {column.name: column for column in columns}
        families = dict.fromkeys(column.family for column in columns)
        self._place = {name: place for family in families for place, name in enumerate(self.family(family))}
        self._made: dict[str, Numbers | None] = {}
        if moments:
            self._made["moment"] = np.column_stack([*moments.values()])
        self._lock = Lock()

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
        parts, rows = {}, None
        for family in dict.fromkeys(self.columns[name].family for name in names):
            kept = self._kept(family)
            if kept is None:
                rows = self.rows.take(index) if rows is None else rows
                parts[family] = self._family(family, rows)
            else:
                parts[family] = kept[index]
        columns = [parts[self.columns[name].family][:, self._place[name]] for name in names]
        return np.column_stack(columns)

    def _kept(self, family: str) -> Numbers | None:
        """All rows of a family, made once, as long as all that is kept stays below `KEPT_BYTES`; else None."""
        with self._lock:
            if family not in self._made:
                size = 8 * len(self.rows) * len(self.family(family))
                fits = size + sum(made.nbytes for made in self._made.values() if made is not None) <= KEPT_BYTES
                self._made[family] = self._family(family, self.rows) if fits else None
            return self._made[family]

    def _features(self, families: tuple[str, ...]) -> ConvergenceFeatures:
        return ConvergenceFeatures(self._param_names, families).fit(self._pairs(self.rows.take(slice(0, 1))))

    def _pairs(self, rows: Rows) -> NDArray[Any]:
        return np.hstack([rows.state, rows.reference])

    def _family(self, family: str, rows: Rows) -> Numbers:
        """All columns (n, k) of a family."""
        if family in (*ARTICLE, *LAYERS):
            return self._features((family,)).transform(self._pairs(rows))
        if family in ("state", "update"):
            return getattr(rows, family).astype(np.float64)
        if family == "minimum":
            return np.linalg.norm(rows.state - nearest_minimum(rows.state), axis=1)[:, None]
        return np.column_stack([_OTHER[name][2](rows) for name in self.family(family)])


_OTHER: Mapping[str, tuple[str, bool, Any]] = {
    "loss": ("loss", True, lambda rows: rows.loss),
    "log loss": ("loss", True, lambda rows: np.log(np.maximum(rows.loss, np.finfo(np.float64).tiny))),
    "decline": ("loss", True, lambda rows: rows.decline),
    "contraction": ("contraction", False, lambda rows: rows.contraction),
}
"""Family, whether it is causal, and the values of columns that do not depend on the parameters' names."""
