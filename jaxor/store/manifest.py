"""What a run directory says about itself: one small JSON file."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from types import NoneType
from typing import Any

import numpy as np

from jaxor.engine.recording import Recording
from jaxor.engine.seeds import MAX_SEED, Ranges, union
from jaxor.store.errors import StoreError
from jaxor.store.schema import CONVENTIONS, COUNTS, SCHEMA, VARIABLES, Variable, stored


@dataclass(frozen=True)
class Manifest:
    """Everything that a reader, a resume or a replay needs to know about a simulation.

    Attributes
    ----------
    experiment : dict
        As `Experiment.to_dict` gives it.
    seeds : Ranges
        Seeds asked for. With an `until` rule those that it has led to so far.
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
    until : str or None
        Rule by which it ends, in place of seeds asked for; the last one, if there were several.
    draws : bool
        Whether the initializer chooses among draws, so that their number is stored.
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
    until: str | None = None
    draws: bool = False
    schema: int = SCHEMA
    extra: dict[str, Any] = field(default_factory=dict)

    def attributes(self) -> dict[str, str | int]:
        """Give what every file with runs of the simulation says about itself."""
        return {
            "Conventions": CONVENTIONS,
            "jaxor_schema": self.schema,
            "title": f"{self.experiment['name']}: {_TITLES[self.kind]}",
            "source": pairs(self.versions),
            "platform": pairs(self.platform),
            "experiment": json.dumps(self.experiment, sort_keys=True),
            "identity": self.identity,
            "lane_width": self.lane_width,
            "x64": int(self.x64),
            "prng": self.prng,
            "traces": self.traces,
        }

    @property
    def variables(self) -> dict[str, Variable]:
        """What is stored, in the order of the files."""
        if self.kind == "statistics":
            return dict(COUNTS)
        return {name: VARIABLES[name] for name in stored(self.traces, self.parameters, self.draws)}

    @property
    def row_bytes(self) -> dict[str, int]:
        """Bytes of all floats together for one more seed and for one more record of a trace."""
        sizes = {"seed": 0, "obs": 0}
        for variable in self.variables.values() if self.kind == "runs" else ():
            if variable.dtype is None:
                sizes[variable.dims[0]] += self.floats.itemsize * len(self.param_names) ** (len(variable.dims) - 1)
        return sizes

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

    def with_seeds(self, seeds: Ranges, until: str | None = None) -> Manifest:
        """Return the same simulation, asked for these seeds too, or to go on until a rule holds."""
        return replace(self, seeds=union(self.seeds, seeds), until=until or self.until)

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
                f"the manifest was written by a newer jaxor (format {values['schema']!s:.20}, this one reads "
                f"{SCHEMA}); upgrade jaxor"
            )
        return cls._checked(values)

    @classmethod
    def _checked(cls, values: dict[str, Any]) -> Manifest:
        values = {"until": None, "draws": False} | values  # older manifests have none
        if missing := sorted(_VALID.keys() - values.keys()):
            raise StoreError(f"the manifest lacks {', '.join(missing)}; restore what the simulation wrote")
        for name, valid in _VALID.items():
            if not valid(values[name]):
                seen = reprlib.repr(values[name])  # a short one, however large and deep the value
                raise StoreError(f"the manifest has {name} = {seen}; restore what the simulation wrote")
        if any(not text.isprintable() for text in _texts({**values, "seeds": None})):  # a terminal might obey it
            raise StoreError("the manifest has control characters in it; restore what the simulation wrote")
        known = {name: values[name] for name in _VALID if name != "identity"}
        known["seeds"] = tuple((start, stop) for start, stop in values["seeds"])
        known["param_names"] = tuple(values["param_names"])
        manifest = cls(**known, extra={name: value for name, value in values.items() if name not in _VALID})
        if manifest.identity != values["identity"]:
            raise StoreError("the manifest was edited: its identity is not that of its contents; undo the change")
        return manifest


_DEEPEST = 100
_TITLES = {"runs": "training runs by seed", "statistics": "counts of training runs"}


def pairs(table: Mapping[str, Any]) -> str:
    """Names and values on a line.

    Examples
    --------
    >>> pairs({"jaxlib": "0.10", "jax": "0.11"})
    'jax 0.11, jaxlib 0.10'
    """
    return ", ".join(f"{name} {value}" for name, value in sorted(table.items()))


def _texts(value: Any) -> Iterator[str]:
    """All strings inside, keys too; what else is done with the values would fail if they were nested deeply."""
    waiting = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise StoreError(f"the manifest is nested more than {_DEEPEST} deep; restore what the simulation wrote")
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += ((inside, depth + 1) for inside in (*value, *value.values()))
        elif isinstance(value, list):
            waiting += ((inside, depth + 1) for inside in value)


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_range(value: Any) -> bool:
    whole = isinstance(value, list) and [type(end) for end in value] == [int, int]
    return whole and 0 <= value[0] < value[1] <= MAX_SEED + 1


def _ascend(ranges: list[list[int]]) -> bool:
    return all(one[1] < other[0] for one, other in pairwise(ranges))


def _is_experiment(value: Any) -> bool:
    """Whether it has what the store itself looks at; the experiment is made of it only when it is asked for."""
    if not isinstance(value, dict) or not all(isinstance(value.get(part, {}), dict) for part in ("stop", "batch")):
        return False
    numbers = (value.get("max_epochs"), value.get("stop", {}).get("loss"))
    return isinstance(value.get("name"), str) and all(number is None or _is_number(number) for number in numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def _is_traces(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(Recording.parse(value))
    except ValueError:
        return False


def _are_names(value: Any) -> bool:
    """Whether they are texts of about the same length; in files each takes as much room as the longest."""
    if not isinstance(value, list) or not all(map(_is(str), value)):
        return False
    lengths = [len(name) for name in value]
    return len(value) * max(lengths, default=0) <= 2**20 + 8 * sum(lengths)


_VALID: dict[str, Callable[[Any], bool]] = {
    "experiment": _is_experiment,
    "identity": _is(str),
    "seeds": lambda value: isinstance(value, list) and all(map(_is_range, value)) and _ascend(value),
    "lane_width": lambda value: type(value) is int and 0 < value < 2**31,
    "x64": _is(bool),
    "traces": _is_traces,
    "parameters": lambda value: value in ("none", "final", "both"),
    "layout": _is(str),
    "prng": _is(str),
    "versions": _is(dict),
    "platform": _is(dict),
    "param_names": _are_names,
    "initial_params_hash": _is(str, NoneType),
    "kind": lambda value: isinstance(value, str) and value in _TITLES,
    "until": _is(str, NoneType),
    "draws": _is(bool),
    "schema": _is(int),
}
"""Every key that `to_json` writes, with what a reader can use."""
