"""The variables of stored runs and of their counts: the tables that shards, exports and `to_xarray` share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block, Traces
from jaxor.engine.seeds import ranges_of
from jaxor.engine.status import Status, by_status
from jaxor.engine.tally import GROUPS, Histogram, Tally, loss_bin, loss_of

SCHEMA = 2
"""Version of the format of manifests and files. Readers accept their own and older ones."""

CONVENTIONS = "CF-1.11"

STRLEN = "strlen"
"""Dimension of the characters of a parameter's name."""

Attributes = Mapping[str, str | int | float | NDArray[Any]]


@dataclass(frozen=True)
class Variable:
    """One quantity.

    Attributes
    ----------
    dims : tuple of str
        For runs of ``seed``, ``obs`` (the recorded steps of all runs, one run after the other) and ``param``.
    dtype : str or None
        None is the float type of the simulation.
    attributes : mapping
        CF attributes.
    """

    dims: tuple[str, ...]
    dtype: str | None
    attributes: Attributes = field(default_factory=dict)

    def type(self, floats: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of the stored values, given the float type of the simulation."""
        return floats if self.dtype is None else np.dtype(self.dtype)


def _number(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


def _flags(long_name: str, names: Iterable[str]) -> dict[str, Any]:
    names = list(names)
    values = np.arange(len(names), dtype=np.int8)
    return {"long_name": long_name, "flag_values": values, "flag_meanings": " ".join(names)}


_STATUS = _flags("why the run stopped", (status.name.lower() for status in Status))

VARIABLES: Mapping[str, Variable] = {
    "seed": Variable(("seed",), "<i8", {"long_name": "seed of the run"}),
    "status": Variable(("seed",), "i1", _STATUS),
    "steps": Variable(("seed",), "<i4", _number("steps taken")),
    "epochs": Variable(("seed",), "<i4", _number("epochs begun")),
    "initial_loss": Variable(("seed",), None, _number("loss over the whole task before the first step")),
    "final_loss": Variable(("seed",), None, _number("loss over the whole task after the last step")),
    "final_accuracy": Variable(("seed",), None, _number("accuracy over the whole task after the last step")),
    "draws": Variable(("seed",), "<i8", _number("draws of first parameters that were made")),
    "initial_params": Variable(("seed", "param"), None, _number("parameters before the first step")),
    "final_params": Variable(("seed", "param"), None, _number("parameters after the last step")),
    "row_size": Variable(
        ("seed",), "<i4", {"long_name": "number of recorded steps of the run", "sample_dimension": "obs"}
    ),
    "trace_step": Variable(("obs",), "<i4", _number("number of the step, from 0")),
    "trace_loss": Variable(("obs",), None, _number("loss before the step")),
    "trace_params": Variable(("obs", "param"), None, _number("parameters after the step")),
}
"""Every variable of stored runs that holds numbers, in the order of the files."""

PARAM = Variable(("param", STRLEN), "S1", {"long_name": "name of the parameter", "_Encoding": "utf-8"})
"""The coordinate with the names; characters, since that is the one form that every reader turns into strings."""

_BY_GROUP = ("status", "success")
_BINS = "middle of the bin; losses are in one bin if their float32 start with the same 16 bits"

COUNTS: Mapping[str, Variable] = {
    "status": Variable(("status",), "i1", _STATUS),
    "success": Variable(("success",), "i1", _flags("accuracy 1 after the last step", ["no", "yes"])),
    "epochs": Variable(("epochs",), "<i8", _number("epochs begun")),
    "initial_loss": Variable(
        ("initial_loss",), "<f4", _number("loss over the whole task before the first step") | {"comment": _BINS}
    ),
    "final_loss": Variable(
        ("final_loss",), "<f4", _number("loss over the whole task after the last step") | {"comment": _BINS}
    ),
    "seed_ranges": Variable(
        ("range", "bounds"), "<i8", {"long_name": "seeds of the counted runs: the first, and the one after the last"}
    ),
    "runs_by_epochs": Variable(("epochs", *_BY_GROUP), "<i8", _number("runs")),
    "runs_by_initial_loss": Variable(("initial_loss", *_BY_GROUP), "<i8", _number("runs")),
    "runs_by_final_loss": Variable(("final_loss", *_BY_GROUP), "<i8", _number("runs")),
}
"""Every variable of stored counts, in the order of the files: coordinates first."""

_TRACES = {"row_size": "row_size", "trace_step": "step", "trace_loss": "loss", "trace_params": "params"}


def columns(block: Block) -> dict[str, NDArray[Any]]:
    """Name the arrays of a block as the files do, in their order; what is None is left out."""
    arrays: dict[str, Any] = {name: getattr(block.traces, field, None) for name, field in _TRACES.items()}
    arrays |= {name: getattr(block, name) for name in VARIABLES if name not in arrays and name != "seed"}
    arrays["seed"] = block.seeds
    return {name: arrays[name] for name in VARIABLES if arrays[name] is not None}


def block_of(arrays: Mapping[str, NDArray[Any]]) -> Block:
    """Put `columns` together again."""
    traces: dict[str, Any] = {field: arrays.get(name) for name, field in _TRACES.items()}
    runs: dict[str, Any] = {name: arrays.get(name) for name in VARIABLES if name not in _TRACES and name != "seed"}
    return Block(seeds=arrays["seed"], traces=Traces(**traces) if "row_size" in arrays else None, **runs)


def counts(tally: Tally) -> dict[str, NDArray[Any]]:
    """Name the arrays of a tally as the files do, in their order; without a place for unstarted runs if there are none.

    So equal counts are equal arrays in all versions of the format.
    """
    statuses = len(by_status(tally.runs.sum(axis=1).tolist()))
    return {
        "status": np.arange(statuses, dtype=np.int8),
        "success": np.arange(GROUPS[1], dtype=np.int8),
        "epochs": tally.epochs.values,
        "initial_loss": loss_of(tally.initial_loss.values),
        "final_loss": loss_of(tally.final_loss.values),
        "seed_ranges": np.array(tally.seeds, np.int64).reshape(-1, 2),
        "runs_by_epochs": tally.epochs.counts[:, :statuses],
        "runs_by_initial_loss": tally.initial_loss.counts[:, :statuses],
        "runs_by_final_loss": tally.final_loss.counts[:, :statuses],
    }


def tally_of(arrays: Mapping[str, NDArray[Any]]) -> Tally:
    """Put `counts` together again.

    Raises
    ------
    ValueError
        They are not of one set of runs.
    """
    tally = Tally(
        ranges_of(arrays["seed_ranges"]),
        Histogram(arrays["epochs"], _by_group(arrays["runs_by_epochs"])),
        *(
            Histogram(loss_bin(arrays[name]).astype(np.int64), _by_group(arrays[f"runs_by_{name}"]))
            for name in ("initial_loss", "final_loss")
        ),
    )
    by_status = tally.epochs.counts.sum(axis=0)
    for histogram in (tally.epochs, tally.initial_loss, tally.final_loss):
        if np.any(np.diff(histogram.values) < 1):
            raise ValueError("its values do not ascend")
        if histogram.counts.shape[1:] != GROUPS:
            raise ValueError(f"its counts are not by {GROUPS[0]} statuses and {GROUPS[1]} successes")
        # Larger ones might sum up to anything.
        if np.any((histogram.counts < 0) | (histogram.counts > len(tally))) or histogram.counts.sum() != len(tally):
            raise ValueError("its counts are not those of its seeds")
        if np.any(histogram.counts.sum(axis=0) != by_status):
            raise ValueError("its counts by status and success differ from one quantity to the other")
    return tally


def _by_group(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts by status and success, also of unstarted runs: none if they have no place."""
    if counts.shape[1] != GROUPS[0] - 1:
        return counts
    return np.pad(counts, ((0, 0), (0, 1), (0, 0)))


def stored(traces: str, parameters: str, draws: bool = False) -> list[str]:
    """List the variables that a simulation with these options stores, in the order of the files.

    Parameters
    ----------
    traces : str
        ``"none"``, ``"loss"``, or anything else for all.
    parameters : str
        ``"none"``, ``"final"`` or ``"both"``.
    draws : bool
        Whether the initializer chooses among draws.
    """
    left_out: set[str] = set() if draws else {"draws"}
    if traces == "none":
        left_out |= _TRACES.keys()
    if traces == "loss":
        left_out.add("trace_params")
    if parameters != "both":
        left_out.add("initial_params")
    if parameters == "none":
        left_out.add("final_params")
    return [name for name in VARIABLES if name not in left_out]


def characters(names: tuple[str, ...]) -> NDArray[np.bytes_]:
    """Spell names as a (P, strlen) array of characters of their UTF-8 bytes."""
    encoded = np.array([name.encode() for name in names])
    return encoded.view("S1").reshape(len(names), -1)
