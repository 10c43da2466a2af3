"""What a run directory says about itself: one small JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.store.errors import StoreError
from jaxor.store.schema import CONVENTIONS, SCHEMA, VARIABLES, Variable, stored

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Manifest:
    """Everything that a reader, a resume or a replay needs to know about a simulation.

    Attributes
    ----------
    experiment : dict
        As `Experiment.to_dict` gives it.
    seeds : tuple of (start, stop)
        Seeds asked for: ascending ranges that neither overlap nor touch.
    lane_width : int
    x64 : bool
    traces : str
        ``"all"``, ``"loss"``, ``"none"`` or ``"every=K"``.
    parameters : str
        Which of the runs' parameters are stored: ``"none"``, ``"final"`` or ``"both"``.
    layout : str
        How the engine lays out the model.
    prng : str
        Implementation of the random numbers.
    versions : dict
        Versions of jaxor and of what its bits depend on.
    platform : dict
        The machine, as far as bits depend on it.
    param_names : tuple of str
        Names of the parameters in their flat order.
    initial_params_hash : str or None
        Of the initial parameters that were given instead of drawn.
    kind : str
        ``"runs"`` or ``"statistics"``.
    schema : int
        Version of the format.
    extra : dict
        Keys that this version does not know; kept as they were.
    """

    experiment: dict[str, Any]
    seeds: Ranges
    lane_width: int
    x64: bool
    traces: str
    parameters: str
    layout: str
    prng: str
    versions: dict[str, str]
    platform: dict[str, Any]
    param_names: tuple[str, ...]
    initial_params_hash: str | None = None
    kind: str = "runs"
    schema: int = SCHEMA
    extra: dict[str, Any] = field(default_factory=dict)

    def attributes(self) -> dict[str, str | int]:
        """Give what every file with runs of the simulation says about itself."""
        return {
            "Conventions": CONVENTIONS,
            "jaxor_schema": self.schema,
            "title": f"{self.experiment['name']}: training runs by seed",
            "source": ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items())),
            "experiment": json.dumps(self.experiment, sort_keys=True),
            "identity": self.identity,
            "lane_width": self.lane_width,
            "x64": int(self.x64),
            "prng": self.prng,
            "traces": self.traces,
        }

    @property
    def variables(self) -> dict[str, Variable]:
        """What is stored of every run, in the order of the files."""
        return {name: VARIABLES[name] for name in stored(self.traces, self.parameters)}

    @property
    def floats(self) -> np.dtype[Any]:
        """Type of losses and parameters."""
        return np.dtype(np.float64 if self.x64 else np.float32)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of what fixes every bit of a run, given its seed; the seeds asked for are not in it."""
        names = ("experiment", "lane_width", "x64", "prng", "initial_params_hash")
        fixed = json.dumps({name: getattr(self, name) for name in names}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(fixed.encode()).hexdigest()

    def with_seeds(self, more: Ranges) -> Manifest:
        """Return the same simulation, asked for these seeds too."""
        return replace(self, seeds=union(self.seeds, more))

    def to_json(self) -> str:
        """Return it as text, the same for equal manifests."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        return json.dumps({**self.extra, **values, "identity": self.identity}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote.

        Raises
        ------
        StoreError
            If it is damaged, incomplete, edited, or of a newer format.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"the manifest is not JSON: {error}") from error
        if not isinstance(values, dict) or not isinstance(values.get("schema"), int):
            raise StoreError("the manifest is not one of jaxor: it has no number 'schema'")
        if values["schema"] > SCHEMA:
            raise StoreError(
                f"the manifest was written by a newer jaxor (format {values['schema']}, this one reads {SCHEMA}); "
                "upgrade jaxor"
            )
        return cls._checked(values)

    @classmethod
    def _checked(cls, values: dict[str, Any]) -> Manifest:
        if missing := sorted(_VALID.keys() - values.keys()):
            raise StoreError(f"the manifest lacks {', '.join(missing)}; restore what the simulation wrote")
        for name, valid in _VALID.items():
            if not valid(values[name]):
                raise StoreError(f"the manifest has {name} = {values[name]!r:.80}; restore what the simulation wrote")
        known = {name: values[name] for name in _VALID if name != "identity"}
        known["seeds"] = tuple((start, stop) for start, stop in values["seeds"])
        known["param_names"] = tuple(values["param_names"])
        manifest = cls(**known, extra={name: value for name, value in values.items() if name not in _VALID})
        if manifest.identity != values["identity"]:
            raise StoreError("the manifest was edited: its identity is not that of its contents; undo the change")
        return manifest


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and [type(end) for end in value] == [int, int] and 0 <= value[0] < value[1]


_VALID: dict[str, Callable[[Any], bool]] = {
    "experiment": lambda value: isinstance(value, dict) and isinstance(value.get("name"), str),
    "identity": _is(str),
    "seeds": lambda value: isinstance(value, list) and all(map(_is_range, value)),
    "lane_width": _is(int),
    "x64": _is(bool),
    "traces": _is(str),
    "parameters": _is(str),
    "layout": _is(str),
    "prng": _is(str),
    "versions": _is(dict),
    "platform": _is(dict),
    "param_names": lambda value: isinstance(value, list) and all(map(_is(str), value)),
    "initial_params_hash": _is(str, NoneType),
    "kind": _is(str),
    "schema": _is(int),
}
"""Every key that `to_json` writes, with what a reader can use."""


MAX_SEED = 2**32 - 1
"""Keys are made of seeds as 32-bit numbers."""


def check_seeds(seeds: range | ArrayLike) -> NDArray[np.int64]:
    """Seeds as the user lists them, in that order.

    Raises
    ------
    ValueError
        Not a list of different whole numbers from 0 to 2^32 - 1.
    """
    if isinstance(seeds, range) and seeds:
        ends = min(seeds[0], seeds[-1]), max(seeds[0], seeds[-1])
    else:
        array = np.asarray(seeds)
        if array.shape == (0,):
            return np.empty(0, np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"seeds must be a number or a list of whole numbers, got {seeds!r:.60}")
        ends = int(array.min()), int(array.max())
    if ends[0] < 0 or ends[1] > MAX_SEED:
        raise ValueError(f"seeds must be between 0 and 2^32 - 1, got {ends[0]} to {ends[1]}")
    if isinstance(seeds, range):
        return np.arange(seeds.start, seeds.stop, seeds.step, dtype=np.int64)
    ordered = np.sort(ids := np.asarray(seeds).astype(np.int64))
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(f"seeds must differ, but {twice[0]} is given more than once")
    return ids


def compress(seeds: NDArray[np.integer[Any]]) -> Ranges:
    """Turn seeds, in any order, into ascending ranges.

    Examples
    --------
    >>> compress(np.array([7, 0, 1, 2, 8]))
    ((0, 3), (7, 9))
    """
    ordered = np.sort(seeds)  # np.unique takes 8 s for 10 million
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 2) > 1)
    last = np.append(first[1:], len(ordered))[: len(first)] - 1
    return tuple(zip(ordered[first].tolist(), (ordered[last] + 1).tolist(), strict=True))


def expand(ranges: Ranges) -> NDArray[np.int64]:
    """List the seeds in the ranges, ascending.

    Examples
    --------
    >>> expand(((0, 3), (7, 9)))
    array([0, 1, 2, 7, 8])
    """
    return np.concatenate([np.empty(0, np.int64), *(np.arange(start, stop) for start, stop in ranges)])


def union(*ranges: Ranges) -> Ranges:
    """Merge several sets of ranges.

    Examples
    --------
    >>> union(((0, 3), (7, 9)), ((3, 5), (8, 10)))
    ((0, 5), (7, 10))
    """
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(chain(*ranges)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)
