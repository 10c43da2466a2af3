"""Studies of optimisation paths: which settings are compared, read from TOML files, some of which come with jaxor."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxor.analysis.measure import minima_of
from jaxor.analysis.path_claims import Thresholds
from jaxor.analysis.ported_rates import check_ported
from jaxor.engine.geometry import Measuring
from jaxor.experiments.catalog import get_experiment
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.registry import nearest

DIFFERENT = ("name", "max_epochs", "optimizer.learning_rate", "optimizer.schedule.steps")
"""Keys that may differ, besides batches, between settings whose batches are compared: rate and length go with size."""


@dataclass(frozen=True)
class Arm:
    """One setting of a study.

    Attributes
    ----------
    label : str
    experiment : Experiment
    measuring : Measuring
        Where its paths are taken to lead.
    """

    label: str
    experiment: Experiment
    measuring: Measuring


@dataclass(frozen=True)
class PathStudy:
    """Settings whose paths are measured over the same seeds, and what is compared.

    Attributes
    ----------
    name, title, factor : str
        The factor is what the paper, too, varies.
    seeds : int
        0 to that less 1, of each arm.
    arms : tuple of Arm
    thresholds : Thresholds
    batches : tuple of tuple of str
        Labels of arms by ascending batch size, for P2.
    optimizers : tuple of tuple of str
        Labels of arms with different optimizers, for P3.
    rates : tuple of str
        Labels of arms whose locally optimal rates are used on fresh seeds, for P8.
    notes : tuple of str
    """

    name: str
    title: str
    factor: str
    seeds: int
    arms: tuple[Arm, ...]
    thresholds: Thresholds = field(default_factory=Thresholds)
    batches: tuple[tuple[str, ...], ...] = ()
    optimizers: tuple[tuple[str, ...], ...] = ()
    rates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def arm(self, label: str) -> Arm:
        """One of the arms."""
        return next(arm for arm in self.arms if arm.label == label)


def list_studies() -> list[str]:
    """Names of the studies that come with jaxor, sorted.

    Examples
    --------
    >>> "batch_size" in list_studies()
    True
    """
    return sorted(file.name.removesuffix(".toml") for file in _home().iterdir() if file.name.endswith(".toml"))


def load_study(study: str | Path) -> PathStudy:
    """A study that comes with jaxor, by name, or one from a TOML file.

    Raises
    ------
    ValueError
        Unknown name, a file that cannot be read, or no sound study in it; in one sentence.

    Examples
    --------
    >>> [arm.label for arm in load_study("batch_size").arms]
    ['B16', 'B64', 'B256', 'full']
    """
    path = Path(study)
    if path.suffix != ".toml":
        if str(study) not in list_studies():
            if path.suffix or path.is_file():
                raise ValueError(f"the name of a study's file must end in .toml, got {study}")
            raise ValueError(f"unknown study {str(study)!r}; {nearest(str(study), list_studies())}")
        return parse_study(str(study), (_home() / f"{study}.toml").read_text("utf-8"))
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ValueError(f"cannot read the study {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8") from error
    with _naming(str(path)):
        return parse_study(path.stem, text)


def parse_study(name: str, text: str) -> PathStudy:
    """A study from TOML text.

    Raises
    ------
    ValueError
        Not TOML, or not a sound study.

    Examples
    --------
    >>> parse_study("mine", '''
    ... title = "Two rates"
    ... factor = "learning rate"
    ... base = "digits_mlp"
    ... seeds = 32
    ... arms = [{label = "slow", changes = {"optimizer.learning_rate" = 0.01}}, {label = "fast"}]
    ... ''').arm("slow").experiment.name
    'mine_slow'
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {error}") from error
    _only(table, "", {"title", "factor", "base", "seeds", "arms"}, _OPTIONAL)
    seeds = table["seeds"]
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds must be a whole number above 0, got {seeds!r:.60}")
    rows = table["arms"]
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"arms must be a list of tables, one at least, got {rows!r:.60}")
    arms = tuple(_arm(name, table, row, f"arms[{place}]") for place, row in enumerate(rows))
    for names in ([arm.label for arm in arms], [arm.experiment.name for arm in arms]):
        if len(set(names)) < len(names):
            double = next(one for one in names if names.count(one) > 1)
            raise ValueError(f"labels must differ by more than signs, got {double} twice")
    study = PathStudy(
        name, _text(table, "title"), _text(table, "factor"), seeds, arms,
        Thresholds.from_dict(table.get("thresholds", {})), _groups(table, "batches", arms),
        _groups(table, "optimizers", arms), _labels(table.get("rates", []), "rates", arms),
        tuple(_strings(table.get("notes", []), "notes")),
    )  # fmt: skip
    for group in study.batches:
        _check_batches([study.arm(label) for label in group])
    for label in study.rates:
        with _naming(f"rates ({label})"):
            check_ported(study.arm(label).experiment)
    return study


_OPTIONAL = {"reference", "extra", "thresholds", "batches", "optimizers", "rates", "notes"}


def _home() -> Any:
    return files("jaxor") / "studies"


def _only(table: Any, where: str, needed: set[str], optional: set[str]) -> None:
    """Refuse what is no table, lacks a key or has an unknown one."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table, got {table!r:.60}")
    dot = f"{where}." if where else ""
    for key in table:
        if key not in needed | optional:
            raise ValueError(f"{dot}{key!s:.60} is not a key of a study; {nearest(key, needed | optional)}")
    for key in sorted(needed - table.keys()):
        raise ValueError(f"{dot}{key} is missing")


def _text(table: Mapping[str, Any], key: str, where: str = "") -> str:
    value = table[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}{key} must be a text, got {value!r:.60}")
    return value


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{where} must be a list of texts, got {value!r:.60}")
    return value


def _arm(study: str, table: Mapping[str, Any], row: Any, where: str) -> Arm:
    _only(row, where, {"label"}, {"base", "changes", "reference", "extra"})
    label, both = _text(row, "label", f"{where}."), {**table, **row}
    changes = row.get("changes", {})
    if not isinstance(changes, Mapping):
        raise ValueError(f"{where}.changes must be a table of an experiment's keys, got {changes!r:.60}")
    name = f"{study}_{re.sub('[^A-Za-z0-9.-]+', '_', label).strip('_')}"
    with _naming(f"{where} ({label})"):
        experiment = get_experiment(_text(both, "base")).replace(**{"name": name, **changes})
        measuring = Measuring(both.get("reference", "final"), both.get("extra", 0))
        if measuring.reference == "exact":
            minima_of(experiment)  # before anything is trained
    return Arm(label, experiment, measuring)


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    """Say in front of what is wrong where it stands."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _groups(table: Mapping[str, Any], key: str, arms: Sequence[Arm]) -> tuple[tuple[str, ...], ...]:
    """Lists of labels of arms, of two at least."""
    groups = table.get(key, [])
    if not isinstance(groups, list):
        raise ValueError(f"{key} must be a list of lists of labels, got {groups!r:.60}")
    for place, group in enumerate(groups):
        _labels(group, f"{key}[{place}]", arms)
        if len(set(group)) < max(len(group), 2):
            raise ValueError(f"{key}[{place}] must name two arms or more, each once, got {group!r:.60}")
    return tuple(tuple(group) for group in groups)


def _labels(group: Any, where: str, arms: Sequence[Arm]) -> tuple[str, ...]:
    """Labels of arms that there are."""
    known = [arm.label for arm in arms]
    for label in _strings(group, where):
        if label not in known:
            raise ValueError(f"{where} names the unknown arm {label!r}; {nearest(label, known)}")
    return tuple(group)


def _check_batches(arms: Sequence[Arm]) -> None:
    """That batches grow, and that nothing else differs than has to."""
    sizes = [arm.experiment.batch.size or float("inf") for arm in arms]
    words = ", ".join(f"{arm.label} ({size:g})" for arm, size in zip(arms, sizes, strict=True))
    if any(first >= second for first, second in zip(sizes, sizes[1:], strict=False)):
        raise ValueError(f"batches must be listed by ascending size, got {words}")
    first, *others = (_flat(arm.experiment.to_dict()) | {"reference": str(arm.measuring)} for arm in arms)
    for arm, other in zip(arms[1:], others, strict=True):
        keys = (key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
        differ = [key for key in keys if key not in DIFFERENT and not key.startswith("batch.")]
        if differ:
            raise ValueError(
                f"{arms[0].label} and {arm.label} are compared by batch size, but differ in {', '.join(sorted(differ))}"
            )


def _flat(table: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """Nested tables as one with dotted keys.

    Examples
    --------
    >>> _flat({"a": 1, "b": {"c": 2}})
    {'a': 1, 'b.c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{head}{key}.") if isinstance(value, Mapping) else {f"{head}{key}": value}
    return flat
