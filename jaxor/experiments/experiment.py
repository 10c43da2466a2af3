"""An experiment: everything that fixes the law of a run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import optax
import tomli_w

from jaxor.experiments import (  # noqa: F401 (their parts are known by name)
    adaptive,
    convolutional,
    images,
    language,
    separated,
    shapes,
    small,
    surface,
    transformer,
)
from jaxor.experiments.initialize import INITIALIZERS
from jaxor.experiments.intervention import INTERVENTIONS, Intervention
from jaxor.experiments.law import Law, check_fit
from jaxor.experiments.loss import LOSSES
from jaxor.experiments.model import MODELS, Model
from jaxor.experiments.optimizer import OPTIMIZERS
from jaxor.experiments.registry import Component, ExperimentError, Registry, check, nearest, require
from jaxor.experiments.task import TASKS, Task

Part = Any
"""A part as the user may give it: a name, a table of name and options, or a Python object of the right kind."""


@dataclass(frozen=True)
class Batch:
    """Which points a step sees.

    ``full``: all. ``shuffle``: batches of `size` from a fresh permutation each epoch, the short last one dropped.
    ``replacement``: `size` independent draws a step, `steps` an epoch, or else as many as with ``shuffle``.
    ``stream``: `size` fresh points a step from the population of a task that has one; an epoch is one step.
    `order` ``shared`` gives every seed the batches of seed 0; otherwise each has its own.
    """

    mode: str = "full"
    size: int | None = None
    steps: int | None = None
    order: str | None = None

    def __post_init__(self) -> None:
        _check_fields(self, "batch", mode=str, size=int | None, steps=int | None, order=str | None)
        modes = "full", "shuffle", "replacement", "stream"
        require(self.mode in modes, "batch.mode", f"one of {', '.join(modes)}", self.mode)
        if self.mode == "full":
            require(self.size is None, "batch.size", "left out when batch.mode is full", self.size)
        else:
            require(self.size is not None and self.size > 0, "batch.size", "a positive whole number", self.size)
        if self.mode == "replacement":
            require(self.steps is None or self.steps > 0, "batch.steps", "a positive whole number", self.steps)
        else:
            require(self.steps is None, "batch.steps", "left out unless batch.mode is replacement", self.steps)

        require(self.order in (None, "shared"), "batch.order", "shared or left out", self.order)
        require(
            self.order is None or self.indexed, "batch.order", f"left out when batch.mode is {self.mode}", self.order
        )

    @property
    def indexed(self) -> bool:
        """Whether a step sees some of the task's points, by their numbers."""
        return self.mode in ("shuffle", "replacement")


@dataclass(frozen=True)
class Stop:
    """When a run ends before the epoch cap; None switches a rule off.

    `loss`: the loss before a step is strictly below it. `patience`: so many steps in a row without an improvement
    by more than `min_improvement` are borne, one more ends the run.
    """

    loss: float | None = None
    patience: int | None = None
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        _check_fields(self, "stop", loss=float | None, patience=int | None, min_improvement=float)
        require(self.loss is None or self.loss > 0, "stop.loss", "positive", self.loss)
        require(self.patience is None or self.patience > 0, "stop.patience", "positive", self.patience)
        require(self.min_improvement >= 0, "stop.min_improvement", "0 or positive", self.min_improvement)


@dataclass(frozen=True)
class Source:
    """The Python file that an experiment was read from, by name and SHA-256."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        _check_fields(self, "source", file=str, sha256=str)


def _check_fields(table: Batch | Stop | Source, key: str, **types: Any) -> None:
    for option, kind in types.items():
        object.__setattr__(table, option, check(getattr(table, option), kind, f"{key}.{option}"))


@dataclass(frozen=True)
class Experiment:
    """What is trained and until when; frozen, checked at construction.

    Parameters
    ----------
    name : str
        Letters, digits and ``_ - .``; names the output directory.
    task, model, init, loss, optimizer
        A name, a table of name and options, or a Python object: `Task`, `Model`, an initializer
        ``(key, setting) -> params``, a loss ``(outputs, targets) -> scalar``, an `optax.GradientTransformation`.
    batch : Batch or table
    stop : Stop or table
    max_epochs : int
        Epoch cap, 0 or more.
    interventions
        Sequence of names, tables or `jaxor.experiments.intervention.Intervention`; full batch only.
    root_seed : int
        With a seed it fixes a run completely; 0 to 2^32 - 1.

    Raises
    ------
    ExperimentError
        A ValueError whose message names the key.

    Examples
    --------
    >>> mine = Experiment(
    ...     "mine", task="xor", model={"name": "relu1", "activation": "elu"}, init="kaiming", loss="mse",
    ...     optimizer={"name": "sgd", "learning_rate": 0.1}, stop={"loss": 1e-7}, max_epochs=100,
    ... )
    >>> mine.replace(**{"optimizer.learning_rate": 0.2}).optimizer.options["learning_rate"]
    0.2
    >>> Experiment.from_toml(mine.to_toml()) == mine
    True
    """

    name: str
    task: Part
    model: Part
    optimizer: Part
    max_epochs: int
    init: Part = "model"
    loss: Part = "mse"
    batch: Any = field(default_factory=Batch)
    stop: Any = field(default_factory=Stop)
    interventions: Any = ()
    root_seed: int = 0
    source: Source | None = None

    def __post_init__(self) -> None:
        name = check(self.name, str, "name")
        require(
            name != "" and name[0].isalnum() and all(c.isascii() and (c.isalnum() or c in "_-.") for c in name),
            "name", "made of letters, digits and _ - . and start with a letter or digit", name,
        )  # fmt: skip
        for key, registry in _REGISTRIES.items():
            self._set(key, _resolve(registry, getattr(self, key), key))
        for key, cls in _TABLES.items():
            self._set(key, _table(cls, getattr(self, key), key))
        if not isinstance(self.interventions, list | tuple) or isinstance(self.interventions, Intervention):
            raise ExperimentError(f"interventions must be a list, got {self.interventions!r:.60}")
        rules = enumerate(self.interventions)
        resolved = tuple(_resolve(INTERVENTIONS, rule, f"interventions[{place}]") for place, rule in rules)
        self._set("interventions", resolved)
        self._set("max_epochs", check(self.max_epochs, int, "max_epochs"))
        require(self.max_epochs >= 0, "max_epochs", "0 or positive", self.max_epochs)
        self._set("root_seed", check(self.root_seed, int, "root_seed", below=2**32))
        require(self.root_seed >= 0, "root_seed", "between 0 and 2^32 - 1", self.root_seed)
        if resolved and self.batch.mode != "full":
            raise ExperimentError("interventions need batch.mode full, got " + self.batch.mode)
        self._build_taskless()
        self._build_rules()

    def __hash__(self) -> int:  # parts made in Python need not have one
        return hash((self.name, self.max_epochs, self.root_seed))

    def _set(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)

    def build(self) -> Law:
        """The parts as Python objects.

        Raises
        ------
        ExperimentError
            Parts that do not fit together, or more steps than can be counted.
        """
        model, init, loss, optimizer = self._build_taskless()
        law = Law(self._build_task(), model, init, loss, optimizer, self._build_rules())
        points = len(law.task.inputs)
        if self.batch.indexed:
            require(self.batch.size <= points, "batch.size", f"at most the task's {points} points", self.batch.size)
        if self.batch.mode == "stream" and law.task.sample is None:
            raise ExperimentError("batch.mode stream needs a task with a population, such as antipodal")
        steps = self.max_epochs * self.steps_per_epoch
        require(steps < 2**31, "max_epochs", "such that there are less than 2^31 steps", self.max_epochs)
        check_fit(law, self.batch.size if self.batch.indexed else None)
        return law

    def _build_task(self) -> Task:
        return TASKS.build(self.task, "task") if isinstance(self.task, Component) else self.task

    def _build_taskless(self) -> list[Any]:
        """Model, initializer, loss and optimizer; construction checks these and leaves data sets unread."""
        parts = {key: getattr(self, key) for key in _REGISTRIES if key != "task"}
        return [_REGISTRIES[key].build(p, key) if isinstance(p, Component) else p for key, p in parts.items()]

    def _build_rules(self) -> tuple[Intervention, ...]:
        return tuple(
            INTERVENTIONS.build(rule, f"interventions[{place}]", self._build_task())
            if isinstance(rule, Component)
            else rule
            for place, rule in enumerate(self.interventions)
        )

    @property
    def portable(self) -> bool:
        """Whether jaxor alone can make it again: no part is a Python object or registered by the user's code."""
        kinds = [*_REGISTRIES.values(), *(INTERVENTIONS for _ in self.interventions)]
        parts = zip(kinds, self._parts(), strict=True)
        return all(isinstance(part, Component) and registry.own(part) for registry, part in parts)

    @property
    def named(self) -> bool:
        """Whether every part is known by name, so that the experiment can be written down."""
        return all(isinstance(part, Component) for part in self._parts())

    @property
    def steps_per_epoch(self) -> int:
        """1 for full batch and streams; else what ``batch.steps`` says, or the full batches that fit into the task."""
        if not self.batch.indexed:
            return 1
        return self.batch.steps or len(self._build_task().inputs) // self.batch.size

    def _parts(self) -> tuple[Part, ...]:
        return (*(getattr(self, key) for key in _REGISTRIES), *self.interventions)

    def replace(self, /, **changes: Any) -> Experiment:
        """A copy with keys changed; dotted keys reach into tables.

        Raises
        ------
        ExperimentError
            Unknown key or impossible value.

        Examples
        --------
        >>> from jaxor.experiments.catalog import get_experiment
        >>> get_experiment("abs1_normal").replace(max_epochs=50, **{"init.std": 0.1}).max_epochs
        50
        """
        given: dict[str, Any] = {}
        for key, value in changes.items():
            head, *path = key.split(".")
            _known(head)
            part = given.get(head, getattr(self, head))
            given[head] = _edited(part, head, path, value, _REGISTRIES.get(head)) if path else value
        return replace(self, **given)

    def to_dict(self) -> dict[str, Any]:
        """Canonical form: plain tables with every option spelled out; rules that are off are left out."""
        plain: dict[str, Any] = {"name": self.name}
        plain |= {key: _plain(getattr(self, key)) for key in _REGISTRIES}
        plain |= {key: _plain_table(getattr(self, key)) for key in ("batch", "stop")}
        plain |= {"max_epochs": self.max_epochs, "root_seed": self.root_seed}
        if self.interventions:
            plain["interventions"] = [_plain(rule) for rule in self.interventions]
        if self.source is not None:
            plain["source"] = {"file": self.source.file, "sha256": self.source.sha256}
        return plain

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Experiment:
        """From a table as TOML or JSON give it.

        Raises
        ------
        ExperimentError
            Unknown or missing key, wrong type, impossible value.
        """
        if not isinstance(table, Mapping):
            raise ExperimentError(f"an experiment must be a table of its keys, got {table!r:.60}")
        for key in table:
            _known(key)
        missing = [f for f in ("name", "task", "model", "optimizer", "max_epochs") if f not in table]
        if missing:
            raise ExperimentError(
                f"{missing[0]} is missing: an experiment needs name, task, model, optimizer, max_epochs"
            )
        rules = table.get("interventions")
        parts = [*table.values(), *(rules if isinstance(rules, list) else ())]
        if any(isinstance(part, Mapping) and "python" in part for part in parts):
            source = table.get("source")
            file = source.get("file") if isinstance(source, Mapping) else "of its author"
            raise ExperimentError(
                f"{table['name']!s:.60} has parts made in Python; load it from its file {file} and hand it in"
            )
        return cls(**table)

    def to_toml(self) -> str:
        """As TOML; `from_toml` gives an equal experiment back.

        Raises
        ------
        ExperimentError
            A part is a Python object.
        """
        if not self.named:
            raise ExperimentError(f"{self.name} has parts made in Python, which TOML cannot hold; keep its Python file")
        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_toml(cls, text: str) -> Experiment:
        """From TOML text.

        Raises
        ------
        ExperimentError
            Not TOML, or not an experiment.
        """
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits, hundreds of brackets
            raise ExperimentError(f"not valid TOML: {error}") from error
        return cls.from_dict(table)

    @property
    def identity(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


_REGISTRIES: dict[str, Registry[Any]] = {
    "task": TASKS, "model": MODELS, "init": INITIALIZERS, "loss": LOSSES, "optimizer": OPTIMIZERS,
}  # fmt: skip
_TABLES: dict[str, type[Any]] = {"batch": Batch, "stop": Stop, "source": Source}


def _known(key: str) -> None:
    keys = [f.name for f in fields(Experiment)]
    if key not in keys:
        raise ExperimentError(f"{key!s:.60} is not a key of an experiment; {nearest(key, keys)}")


def _resolve(registry: Registry[Any], part: Part, key: str) -> Part:
    """A component, or the Python object as it is."""
    if isinstance(part, str | Component | Mapping):
        return registry.resolve(part, key)
    kinds = {"task": Task, "model": Model, "optimizer": optax.GradientTransformation, "intervention": Intervention}
    fits = isinstance(part, kinds[registry.kind]) if registry.kind in kinds else callable(part)
    if not fits:
        raise ExperimentError(
            f"{key} must be a name, a table with a name, or a Python object made for it, got {part!r:.60}"
        )
    return part


def _table(cls: type[Any], value: Any, key: str) -> Any:
    """A `Batch`, `Stop` or `Source` from a table."""
    if isinstance(value, cls) or (value is None and cls is Source):
        return value
    if not isinstance(value, Mapping):
        raise ExperimentError(f"{key} must be a table, got {value!r:.60}")
    names = [f.name for f in fields(cls)]
    for option in value:
        if option not in names:
            raise ExperimentError(f"{key}.{option!s:.60} is not a key of an experiment; {nearest(option, names)}")
    if cls is Source and len(value) < len(names):
        raise ExperimentError(f"source needs {' and '.join(names)}, got {', '.join(value) or 'neither'}")
    return cls(**value)


def _edited(part: Part, head: str, path: list[str], value: Any, registry: Registry[Any] | None) -> dict[str, Any]:
    """A part as a table with the option at `path` changed; a new name keeps the options that it takes too."""
    option, *rest = path
    if isinstance(part, Component):
        table = part.to_plain()
    elif isinstance(part, Batch | Stop | Source):
        table = _plain_table(part)
    elif isinstance(part, str | Mapping):
        table = {"name": part} if isinstance(part, str) else dict(part)
    else:
        raise ExperimentError(f"{head}.{'.'.join(path)} cannot be set: {head} has no such options")
    if rest:
        inner = registry.registry_of(table.get("name", ""), option) if registry else None
        value = _edited(table.get(option, {}), f"{head}.{option}", rest, value, inner)
    elif option == "name" and registry and value in registry.names():
        table = {kept: table[kept] for kept in registry.options(value) if kept in table}
    return table | {option: value}


def _plain_table(value: Any) -> dict[str, Any]:
    return {f.name: got for f in fields(value) if (got := getattr(value, f.name)) is not None}


def _plain(part: Part) -> Any:
    """A component as a table; a Python object by the name of its code, which only informs."""
    if isinstance(part, Component):
        return part.to_plain()
    code = next((item for item in part if callable(item)), part) if isinstance(part, tuple) else part
    return {"python": getattr(code, "__qualname__", type(code).__name__)}
