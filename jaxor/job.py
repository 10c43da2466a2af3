"""What is asked for, checked: a `Job` can be run."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxor.engine.block import Floats
from jaxor.engine.keys import IMPLEMENTATION
from jaxor.engine.plan import Plan, plan
from jaxor.engine.seeds import MAX_SEED, Ranges, check_extent, check_seeds, compress, number
from jaxor.experiments.catalog import get_experiment
from jaxor.experiments.experiment import Experiment
from jaxor.store.manifest import Manifest
from jaxor.until import Rule

Seeds = int | range | ArrayLike

PARAMETERS_UP_TO = 10**6
"""Models with more parameters keep none by default."""


@dataclass(frozen=True)
class Job:
    """A simulation that has been checked and can be run.

    Attributes
    ----------
    experiment : Experiment
    manifest : Manifest
    plan : Plan
    wanted : Ranges
        Seeds to run; with a rule at most these.
    seeds : (n,) int64 or None
        The same as the user ordered them; None for statistics, where that could be too many to list.
    given : (n, P) float or None
        First parameters in that order, if they are not to be drawn.
    rule : Rule or None
    """

    experiment: Experiment
    manifest: Manifest
    plan: Plan
    wanted: Ranges
    seeds: NDArray[np.int64] | None = None
    given: Floats | None = None
    rule: Rule | None = None

    @property
    def total(self) -> int | None:
        """How many runs it takes; None if a rule decides."""
        return number(self.wanted) if self.rule is None else None

    @property
    def default_out(self) -> Path:
        """Where the command line puts it: ``outputs/<experiment>-<first 8 of identity>``, and ``-statistics``."""
        kind = "-statistics" if self.manifest.kind == "statistics" else ""
        return Path("outputs") / f"{self.experiment.name}-{self.manifest.identity[:8]}{kind}"


def prepare(
    experiment: str | Experiment,
    seeds: Seeds | None = None,
    *,
    initial_params: ArrayLike | None = None,
    traces: bool | str | None = None,
    lane_width: int | None = None,
    x64: bool = False,
    parameters: str | None = None,
    keep: str = "runs",
    until: str | None = None,
) -> Job:
    """Check a simulation without running it; see `jaxor.simulate` for the parameters.

    Raises
    ------
    ValueError
        As `jaxor.simulate`.
    """
    if isinstance(experiment, str):
        experiment = get_experiment(experiment)
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"experiment must be a name of the catalogue or an Experiment, got {experiment!r:.60}; "
            "a file is read with jaxor.load_experiment"
        )
    if not isinstance(x64, bool | np.bool_):
        raise ValueError(f"x64 must be True or False, got {x64!r}")
    if keep not in ("runs", "statistics"):
        raise ValueError(f"keep must be runs or statistics, got {keep!r}")
    if until is not None and keep != "statistics":
        raise ValueError("until goes with statistics only; add --keep statistics (keep='statistics')")
    if keep == "statistics":
        _check_nothing_single(traces, parameters, initial_params)
        traces, parameters = "none", "none"
    how = plan(experiment, lane_width, traces)
    parameters = _check_parameters(parameters, how)
    manifest = Manifest(
        experiment=experiment.to_dict(),
        seeds=(),
        lane_width=how.lane_width,
        x64=bool(x64),
        traces=str(how.recording),
        parameters=parameters,
        layout=how.layout,
        prng=IMPLEMENTATION,
        versions=versions(),
        platform=machine(),
        param_names=how.param_names,
        kind=keep,
        draws=how.draws and initial_params is None and keep == "runs",
    )
    if keep == "statistics":
        return _for_statistics(Job(experiment, manifest, how, ()), seeds, until)
    given = None if initial_params is None else _check_params(initial_params, how.param_names, manifest.floats)
    ids = _check_seeds(seeds, given)
    manifest = replace(
        manifest, seeds=compress(ids), initial_params_hash=None if given is None else _hash_params(ids, given)
    )
    return Job(experiment, manifest, how, manifest.seeds, ids, given)


def _check_nothing_single(traces: Any, parameters: str | None, initial_params: Any) -> None:
    """Refuse what is about single runs."""
    for name, asked in (("traces", traces), ("parameters", parameters)):
        if asked not in (None, False, "none"):
            raise ValueError(f"statistics keep no {name}; leave out --{name} ({name}=) or --keep statistics")
    if initial_params is not None:
        raise ValueError("statistics are of drawn first parameters; leave out initial_params or keep runs")


def _for_statistics(job: Job, seeds: Seeds | None, until: str | None) -> Job:
    wanted = _check_ranges(seeds) if seeds is not None or until is None else ((0, MAX_SEED + 1),)
    if until is None:
        return replace(job, wanted=wanted, manifest=replace(job.manifest, seeds=wanted))
    rule = Rule.parse(until)
    if wanted != ((0, wanted[-1][1]),):
        raise ValueError("with until, seeds is the largest number of seeds, and they start at 0; give a number")
    return replace(job, wanted=wanted, manifest=replace(job.manifest, until=str(rule)), rule=rule)


def _check_ranges(seeds: Seeds | None) -> Ranges:
    """Seeds as ranges; those that the user gave as a range are never listed."""
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool) and seeds >= 1:
        seeds = range(int(seeds))
    if isinstance(seeds, range) and seeds and seeds.step == 1:
        check_extent(seeds)
        return ((seeds.start, seeds.stop),)
    return compress(_check_seeds(seeds, None))


def _check_seeds(seeds: Seeds | None, given: Floats | None) -> NDArray[np.int64]:
    if seeds is None:
        if given is None:
            raise ValueError("seeds are missing: give a number, a range or an array of seeds, or initial_params")
        seeds = len(given)
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ValueError(f"the number of seeds must be at least 1, got {seeds}")
        seeds = range(int(seeds))
    ids = check_seeds(seeds)
    if len(ids) == 0:
        raise ValueError("seeds must not be empty; give a number, a range or an array of seeds")
    if given is not None and len(given) != len(ids):
        raise ValueError(f"initial_params has {len(given)} rows for {len(ids)} seeds; give one row a seed")
    return ids


def _check_parameters(parameters: str | None, how: Plan) -> str:
    if parameters is None:
        return "both" if len(how.param_names) <= PARAMETERS_UP_TO else "none"
    if parameters not in ("both", "final", "none"):
        raise ValueError(f"parameters must be both, final or none, got {parameters!r}")
    return parameters


def _check_params(params: ArrayLike, names: tuple[str, ...], floats: Any) -> Floats:
    try:
        array = np.asarray(params)
    except ValueError as error:
        raise ValueError(f"initial_params must be an array of numbers (n, {len(names)}): {error}") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"initial_params must be an array of numbers (n, {len(names)}), got type {array.dtype}")
    if array.ndim != 2 or array.shape[1] != len(names) or len(array) == 0:
        raise ValueError(
            f"initial_params must have shape (n, {len(names)}) for the parameters {', '.join(names[:8])}"
            f"{', ...' if len(names) > 8 else ''}; got {array.shape}"
        )
    bad = np.flatnonzero(~(np.abs(array) <= np.finfo(floats).max).all(axis=1))
    if len(bad):
        raise ValueError(f"initial_params must be finite in {np.dtype(floats)}, but row {bad[0]} is {array[bad[0]]}")
    return array.astype(floats)


def versions() -> dict[str, str]:
    """Of jaxor and of what its bits depend on, in this process."""
    return {name: importlib.metadata.version(name) for name in ("jaxor", "jax", "jaxlib", "optax")}


def machine() -> dict[str, str]:
    """The machine of this process, as far as XLA's bits depend on it."""
    found = {"system": platform.system(), "machine": platform.machine(), "backend": jax.default_backend()}
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text().split()
        found["simd"] = next((name for name in ("avx512f", "avx2", "avx", "asimd") if name in flags), "")
    return found


def _hash_params(seeds: NDArray[np.int64], given: Floats) -> str:
    """SHA-256 of first parameters with the seeds that they belong to, whatever their order."""
    order = np.argsort(seeds)
    return hashlib.sha256(seeds[order].tobytes() + np.ascontiguousarray(given[order]).tobytes()).hexdigest()
