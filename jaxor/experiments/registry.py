"""Parts of an experiment chosen by name: what a name may be, which options it takes, how it is built."""

from __future__ import annotations

import difflib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")

Base = Annotated[Any, None]
"""Annotation of an option that is itself a part of the same kind, such as the law that a redraw starts from.

``Annotated[Any, registry]`` is one of another kind. The builder gets such a part ready built.
"""


class ExperimentError(ValueError):
    """An experiment that cannot be: the message names the key, what was found there and what is possible."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Close matches of a mistyped name, as words for an error message; all names if none is close."""
    names = sorted(names)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"


@dataclass(frozen=True)
class Component:
    """A part of an experiment: its name and all its options, defaults filled in.

    Examples
    --------
    >>> Component("normal", {"std": 0.5}).to_plain()
    {'name': 'normal', 'std': 0.5}
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __repr__(self) -> str:
        return f"Component({self.name!r}, {dict(self.options)!r})"

    def __reduce__(self) -> tuple[Any, ...]:  # a proxy cannot be pickled
        return Component, (self.name, dict(self.options))

    def to_plain(self) -> dict[str, Any]:
        """As a table of name and options, for TOML and JSON."""
        return {"name": self.name} | {key: _plain(value) for key, value in self.options.items()}

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_plain(), sort_keys=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.to_plain()
    return list(value) if isinstance(value, tuple) else value


class Registry(Generic[T]):
    """Named builders of one kind of part; their keyword-only arguments are the options.

    A builder that is given an impossible value calls `require` with the option's name; `build` says where it stands.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._builders: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Make a builder known under a name (decorator)."""

        def add(builder: Callable[..., T]) -> Callable[..., T]:
            self._builders[name] = builder
            return builder

        return add

    def names(self) -> list[str]:
        """All known names."""
        return sorted(self._builders)

    def own(self, component: Component) -> bool:
        """Whether jaxor itself has the builder of a component and of all parts of it."""
        if not self._builders[component.name].__module__.startswith("jaxor."):
            return False
        parts = ((self.registry_of(component.name, option), part) for option, part in component.options.items())
        return all(registry is None or registry.own(part) for registry, part in parts)

    def options(self, name: str) -> list[str]:
        """Names of the options that a part takes."""
        return list(self._options(name))

    def describe(self, name: str) -> str:
        """First line of the builder's documentation."""
        return (inspect.getdoc(self._builders[name]) or "").split("\n")[0]

    def resolve(self, value: str | Mapping[str, Any] | Component, key: str) -> Component:
        """Check a name or a table of name and options, and fill in the defaults.

        Parameters
        ----------
        value
            A name, or a table with ``name`` and options.
        key
            Where it stands in the experiment, for messages.

        Raises
        ------
        ExperimentError
            Unknown name or option, missing option, or an option of a wrong type.
        """
        table = self._table(value, key)
        name = table.pop("name", None)
        if not isinstance(name, str):
            raise ExperimentError(f"{key} needs a name, got {name!r:.60}; known: {', '.join(self.names())}")
        if name not in self._builders:
            raise ExperimentError(f"{key} names the unknown {self.kind} {name!r:.60}; {nearest(name, self._builders)}")
        parameters = self._options(name)
        for option in table:
            if option not in parameters:
                raise ExperimentError(
                    f"{key}.{option!s:.60} is not an option of the {self.kind} {name!r}; "
                    + (nearest(option, parameters) if parameters else "it takes none")
                )
        options = {}
        for option, (annotation, default) in parameters.items():
            if option not in table and default is inspect.Parameter.empty:
                raise ExperimentError(f"{key}.{option} is missing: the {self.kind} {name!r} needs it")
            given = table.get(option, default)
            registry, path = self._of_kind(annotation), f"{key}.{option}"
            options[option] = registry.resolve(given, path) if registry else check(given, annotation, path)
        return Component(name, options)

    def build(self, component: Component, key: str, *context: Any) -> T:
        """Build a resolved component that stands at `key`; `context` is handed to the builder before its options.

        Raises
        ------
        ExperimentError
            An option whose value is impossible (the builders raise it).
        """
        options = {}
        for option, (annotation, _) in self._options(component.name).items():
            registry, value = self._of_kind(annotation), component.options[option]
            options[option] = registry.build(value, f"{key}.{option}", *context) if registry else value
        try:
            return self._builders[component.name](*context, **options)
        except ExperimentError as error:
            raise ExperimentError(f"{key}.{error}") from None

    def registry_of(self, name: str, option: str) -> Registry[Any] | None:
        """The registry of the parts that an option can be; None if it is a plain value or unknown."""
        known = self._options(name) if name in self.names() else {}
        return self._of_kind(known[option][0]) if option in known else None

    def _table(self, value: str | Mapping[str, Any] | Component, key: str) -> dict[str, Any]:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Component):
            return {"name": value.name, **value.options}
        if isinstance(value, Mapping):
            return dict(value)
        raise ExperimentError(f"{key} must be a name or a table with a name, got {value!r:.60}")

    def _of_kind(self, annotation: Any) -> Registry[Any] | None:
        if typing.get_origin(annotation) is not Annotated:
            return None
        return annotation.__metadata__[0] or self

    def _options(self, name: str) -> dict[str, tuple[Any, Any]]:
        builder = self._builders[name]
        hints = typing.get_type_hints(builder, include_extras=True)
        return {
            parameter.name: (hints[parameter.name], parameter.default)
            for parameter in inspect.signature(builder).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }


_LARGEST = float(np.finfo(np.float32).max)
_WORDS = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    list[int]: "a list of whole numbers",
    list[float]: "a list of numbers",
}


def check(value: Any, annotation: Any, key: str, below: int = 2**31) -> Any:
    """A value of the wanted type, or an `ExperimentError` that names the key.

    Whole numbers stay below a limit, so that arrays of int32 hold them.

    Examples
    --------
    >>> check(1, float, "optimizer.learning_rate")
    1.0
    """
    if isinstance(value, np.generic):
        value = value.item()
    optional = type(None) in typing.get_args(annotation)
    if optional:
        if value is None:
            return None
        annotation = next(arm for arm in typing.get_args(annotation) if arm is not type(None))
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= _LARGEST:
            raise ExperimentError(f"{key} must be a finite number that float32 can hold, got {value!r:.60}")
        return float(value)
    if annotation is int and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= below:
            raise ExperimentError(f"{key} must be below {below}, got {value!r:.60}")
        return value
    if annotation in (bool, str) and isinstance(value, annotation):
        return value
    if annotation in (list[int], list[float]) and isinstance(value, list | tuple):
        (kind,) = typing.get_args(annotation)
        return tuple(check(item, kind, f"{key}[{place}]") for place, item in enumerate(value))
    raise ExperimentError(f"{key} must be {_WORDS[annotation]}{' or left out' if optional else ''}, got {value!r:.60}")


def require(condition: bool, option: str, wanted: str, value: Any) -> None:
    """Raise an `ExperimentError` unless an option's value is possible."""
    if not condition:
        raise ExperimentError(f"{option} must be {wanted}, got {value!r:.100}")
