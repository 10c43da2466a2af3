"""Seeds in, finished runs out: one block at a time, on one device."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxor.engine.block import Block, Floats, concatenate
from jaxor.engine.choice import Chosen, choose
from jaxor.engine.program import Carry, Finished, First, Program, Record
from jaxor.engine.recording import Recorder, Recording
from jaxor.engine.status import Status
from jaxor.experiments.experiment import Experiment

TOGETHER = 0.75
"""Share of lane-epochs that live runs must use without refills, for the next block to do without them."""

MANY_WIDTHS = 16
"""A block of so many lane widths decides how the next one is done; after smaller ones compiling it costs more."""

DRAWS_AT_ONCE = 32
"""Lane widths of draws that a selection looks at in one call."""

OPTIONS: Any = {
    "xla_cpu_prefer_vector_width": 512,
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_gpu_autotune_level": 0,
}
"""On CPUs XLA's own choice is vectors of 256 bits even where there are some of 512.

Products of a matrix that lanes share with one of each are one large product there. YNNPACK, where XLA takes it, cuts
that into pieces and sums up in another order in the last one (seen on an AMD EPYC with jaxlib 0.10.2): bits would
depend on a lane's place. Eigen, which is taken in its stead, does not, and is no slower.

On GPUs XLA would try several ways to multiply matrices and take the fastest: in another process another, of other bits.
"""


def precision(x64: bool) -> contextlib.AbstractContextManager[Any]:
    """Scope in which traced programs use float64 (or float32); global configuration is left alone.

    Matrix products have that precision too; on GPUs JAX would round their factors to 10 bits. JAX's own stops at NaN
    and infinity are off: here they end a run as `DIVERGED`, and nothing else.
    """
    scope = contextlib.ExitStack()
    scope.enter_context(jax.enable_x64(x64))
    scope.enter_context(jax.default_matmul_precision("highest"))
    scope.enter_context(jax.debug_nans(False))
    scope.enter_context(jax.debug_infs(False))
    return scope


@dataclass
class Worker:
    """Compiled programs of one simulation on one device.

    Attributes
    ----------
    compile_seconds : float
        What compiling has taken so far.
    lane_steps : int
        Steps of all lanes, idle ones too, in blocks whose lanes are refilled and that are not recorded.

    Raises
    ------
    ValueError
        JAX is configured for random numbers that depend on how many are drawn at once.
    """

    experiment: Experiment
    lane_width: int
    x64: bool = False
    compile_seconds: float = 0.0
    lane_steps: int = 0
    _compiled: dict[Any, Any] = field(default_factory=dict)
    _capacities: set[int] = field(default_factory=set)
    _together: bool = False
    _limit: float | None = None

    def __post_init__(self) -> None:
        if not jax.config.values["jax_threefry_partitionable"]:
            raise ValueError(
                "JAX is configured with jax_threefry_partitionable=False, whose random numbers differ from those "
                "of every other run; remove that setting"
            )
        with precision(self.x64):
            self.program = Program(self.experiment, self.lane_width)

    def run(
        self, seeds: NDArray[np.int64], recording: Recording, given: Floats | None = None, parameters: str = "both"
    ) -> Block:
        """All runs of some seeds.

        Parameters
        ----------
        seeds : (n,) int64
        recording : Recording
        given : (n, P) float, optional
            First parameters, in place of those that the initializer draws.
        parameters : {"both", "final", "none"}
            Which of each run's parameters to fetch from the device.

        Raises
        ------
        NoAcceptableDraw
            The initializer chooses among draws, and hardly any run would find an acceptable one.
        """
        with precision(self.x64):
            first, draws = self._first(seeds, given)
            return replace(self._trained(seeds, recording, first, parameters), draws=draws)

    def follow(
        self, seeds: NDArray[np.int64], careful: bool, given: Floats | None = None
    ) -> Iterator[tuple[Carry, Record]]:
        """Every step of at most a lane width of runs; the lanes are the seeds in their order.

        To be called, and gone through, within `precision`.

        Yields
        ------
        carry : Carry
            After some steps; lost at the next.
        rows : Record
            Those steps, with parameters (T, lane_width, P); of runs that diverge only with `careful`.
        """
        arguments = self._arguments(seeds, self._first(seeds, given)[0])
        begin, advance = self._recording(arguments, "all", careful)[:2]
        carry = begin(*arguments)
        while bool(self.program.unfinished(carry)):
            carry, rows = advance(carry)
            yield carry, rows

    def _first(self, seeds: NDArray[np.int64], given: Floats | None) -> tuple[First, NDArray[np.int64] | None]:
        """What runs begin with, and how many draws were made for each, if the initializer chooses."""
        chosen = None if given is not None else self._choose(seeds)
        if chosen is None:
            return First(given), None
        return First(None, np.where(chosen.found, chosen.draw, -1)), chosen.draws

    def _choose(self, seeds: NDArray[np.int64]) -> Chosen | None:
        """The draws that a selection takes; None if the initializer is none."""
        selection = self.program.dynamics.selection
        if selection is None:
            return None
        if self._limit is None:
            self._limit = selection.limit(self.program.dynamics.plain_setting)
        at_once = DRAWS_AT_ONCE * self.lane_width
        return choose(
            functools.partial(self._scores, at_once),
            seeds,
            self._limit,
            selection.most,
            selection.lowest,
            at_once,
            self.experiment.name,
        )

    def _scores(
        self, at_once: int, seeds: NDArray[np.int64], draws: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scores of draws (m,) of runs (m,), any number of them."""
        parts = []
        for start in range(0, len(seeds), at_once):
            padded = np.zeros((2, at_once), np.uint32)
            count = min(at_once, len(seeds) - start)
            padded[0, :count], padded[1, :count] = seeds[start : start + count], draws[start : start + count]
            arguments = padded[0], padded[1].astype(np.int32), np.int32(count)
            (scores,) = self._compile(arguments, scores=self.program.scores)
            parts.append([np.asarray(array)[:count] for array in scores(*arguments)])
        scored, made = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return scored, made

    def _trained(self, seeds: NDArray[np.int64], recording: Recording, first: First, parameters: str) -> Block:
        """All runs of some seeds; those that diverge once more and carefully."""
        if recording.kind == "none":
            block = self._quickly(seeds, first, parameters)
        else:
            block = self._recorded(seeds, recording, first, parameters, careful=False)
        diverged = block.status == Status.DIVERGED
        if not diverged.any():
            return block
        part = First(*(None if array is None else array[diverged] for array in first))
        again = self._recorded(seeds[diverged], recording, part, parameters, careful=True)
        fine = block.take(np.flatnonzero(~diverged))
        return concatenate([fine, again]).take(np.argsort(np.argsort(diverged, kind="stable")))

    def _quickly(self, seeds: NDArray[np.int64], first: First, parameters: str) -> Block:
        """All runs of some seeds, unrecorded; of those that diverge only the status is right."""
        arguments = self._arguments(seeds, first)
        if self._together:
            (together,) = self._compile(arguments, together=self.program.together)
            finished = together(*arguments)
        else:
            begin, drain, finish = self._compile(
                arguments, begin=self.program.begin, drain=self.program.drain, finish=self.program.finish
            )
            carry = drain(begin(*arguments))
            self.lane_steps += int(carry.steps) * self.lane_width
            finished = finish(carry)
        block = self._block(seeds, finished, None, parameters)
        if len(seeds) >= MANY_WIDTHS * self.lane_width:
            self._together = block.lanes_used_together(self.lane_width, self.program.look) > TOGETHER
        return block

    def _recorded(
        self, seeds: NDArray[np.int64], recording: Recording, first: First, parameters: str, careful: bool
    ) -> Block:
        """All runs of some seeds by `advance`, with traces if there is something to record."""
        recorder = None if recording.kind == "none" else Recorder(recording)
        arguments = self._arguments(seeds, first)
        begin, advance, finish = self._recording(arguments, recording.kind, careful)
        carry = begin(*arguments)
        slot, idle = np.array(carry.slot), len(carry.results.step)
        while (slot < idle).any():
            carry, rows = advance(carry)
            if recorder is not None:
                recorder.add(slot, *(None if array is None else np.asarray(array) for array in rows[:-1]))
            slot = np.array(carry.slot)
        return self._block(seeds, finish(carry), recorder, parameters)

    def _recording(self, arguments: tuple[Any, ...], kind: str, careful: bool) -> list[Callable[..., Any]]:
        """The programs `begin`, `advance` and `finish` of runs that are recorded."""
        how = f"advance {kind}" + " carefully" * careful
        step = functools.partial(self.program.advance, record=kind, careful=careful)
        return self._compile(arguments, **{"begin": self.program.begin, how: step, "finish": self.program.finish})

    def _arguments(self, seeds: NDArray[np.int64], first: First) -> tuple[Any, ...]:
        """Seeds and what they begin with, padded to a power of two of lane widths; rather too far than to another."""
        count = len(seeds)
        capacity = self.lane_width << (-(-count // self.lane_width) - 1).bit_length()
        capacity = min((size for size in self._capacities if capacity <= size <= 8 * capacity), default=capacity)
        self._capacities.add(capacity)
        padded = np.zeros(capacity, np.uint32)
        padded[:count] = seeds
        params = draw = None
        if first.params is not None:
            params = np.zeros((capacity, first.params.shape[1]), np.float64 if self.x64 else np.float32)
            params[:count] = first.params
        if first.draw is not None:
            draw = np.zeros(capacity, np.int32)
            draw[:count] = first.draw
        return padded, np.int32(count), First(params, draw)

    def _block(self, seeds: NDArray[np.int64], finished: Finished, recorder: Recorder | None, parameters: str) -> Block:
        if parameters != "both":
            finished = finished._replace(initial_params=None)
        if parameters == "none":
            finished = finished._replace(final_params=None)
        runs: Finished = jax.tree.map(lambda array: array[: len(seeds)], jax.device_get(finished))
        unstarted = runs.status == Status.UNSTARTED
        if unstarted.any():
            runs = jax.tree.map(lambda a: _nan_where(unstarted, a) if a.dtype.kind == "f" else a, runs)
        per_epoch = self.program.dynamics.steps_per_epoch
        return Block(
            seeds=np.asarray(seeds, np.int64),
            status=runs.status.astype(np.int8),
            steps=runs.step,
            epochs=runs.step if per_epoch == 1 else -(-runs.step // per_epoch),
            initial_loss=runs.initial_loss,
            final_loss=runs.final_loss,
            final_accuracy=runs.accuracy,
            initial_params=runs.initial_params,
            final_params=runs.final_params,
            traces=None if recorder is None else recorder.traces(runs.step),
        )

    def _compile(self, arguments: tuple[Any, ...], **programs: Callable[..., Any]) -> list[Callable[..., Any]]:
        """Programs, each compiled at its first call for these shapes, and at the same time as its neighbours.

        The first takes the arguments, each other one the `Carry` that the first gives.
        """
        started, known = time.perf_counter(), len(self._compiled)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arguments))
        made = []
        with ThreadPoolExecutor(len(programs)) as threads:
            for name, function in programs.items():
                if (name, shapes) not in self._compiled:
                    again = name.startswith("advance")  # so the carry may stay where it is
                    lowered = jax.jit(function, donate_argnums=0 if again else ()).lower(*arguments)
                    self._compiled[name, shapes] = threads.submit(lowered.compile, OPTIONS), lowered.out_info
                program, results = self._compiled[name, shapes]
                made.append(program)
                if name == "begin":
                    arguments = (jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), results),)
        if len(self._compiled) > known:
            self.compile_seconds += time.perf_counter() - started
        try:
            return [program.result() for program in made]
        except BaseException:
            self._compiled.clear()  # it may go better the next time
            raise


def _nan_where(unstarted: NDArray[np.bool_], array: NDArray[Any]) -> NDArray[Any]:
    """What was computed of runs that had nothing to begin with means nothing."""
    array = array.copy()
    array[unstarted] = np.nan
    return array
