"""Runs as a diagnosis looks at them: layers before and after training, the points of the task and their classes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxor.analysis.diagnostics import Flags, Floats, Layer, hidden_layer
from jaxor.engine.status import Status
from jaxor.experiments.registry import ExperimentError
from jaxor.store.errors import StoreError
from jaxor.store.run import Run

CHECKED = 1_000
"""Runs whose final loss is computed again from their parameters."""


class NotKnown(Exception):
    """Why a part of a diagnosis cannot be given."""


class Subject:
    """What the parts of a diagnosis look at, of runs that were started; each is made when first asked for.

    Attributes
    ----------
    run : Run
    place : (n,) int
        Which of its runs.
    accuracy, success, epochs : (n,) arrays
    final_params : (n, P) float
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.place = np.flatnonzero(run.status != Status.UNSTARTED)
        if not len(self.place):
            raise StoreError(f"{run.path or 'this'} holds no runs that were started, so there is nothing to look at")
        self.accuracy, self.epochs = run.final_accuracy[self.place], run.epochs[self.place]
        self.success: Flags = self.accuracy == 1
        self.final_params = run.final_params[self.place]

    @cached_property
    def initial(self) -> Layer:
        """First layer before training."""
        if self.run.manifest.parameters != "both":
            raise NotKnown("initial parameters were not stored; simulate with --parameters both")
        return _layer(self.run.initial_params[self.place], self.run)

    @cached_property
    def final(self) -> Layer:
        """First layer after training."""
        return _layer(self.final_params, self.run)

    @property
    def knows_task(self) -> bool:
        """Whether the experiment can be built again, as one with parts made in Python cannot without its file."""
        try:
            _ = self.task
        except NotKnown:
            return False
        return True

    @cached_property
    def task(self) -> Any:
        """The task that was learned."""
        try:
            return self.run.experiment.build().task
        except ExperimentError as error:
            raise NotKnown(f"the task is not known: {error}") from error

    def inputs_before(self) -> NDArray[Any]:
        """Points (points, inputs) that the first layer looks at before training."""
        return self._inputs(self.initial)

    def inputs_after(self) -> NDArray[Any]:
        """Those that it looks at after training."""
        if not self.explained:
            raise NotKnown(
                "the final loss cannot be computed again from the final parameters: the model has a state that is not "
                "stored, so hyperplanes are elsewhere than parameters say"
            )
        return self._inputs(self.final)

    def _inputs(self, layer: Layer) -> NDArray[Any]:
        shape = np.shape(self.task.inputs)
        if len(shape) != 2 or shape[1] != layer.weight.shape[2]:
            raise NotKnown(f"linear1 takes {layer.weight.shape[2]} numbers, and the task's inputs have shape {shape}")
        return self.task.inputs

    @cached_property
    def positive(self) -> Flags:
        """Points (points,) of class 1; a task has two classes if its targets are 0 and 1, or one-hot pairs."""
        targets = np.asarray(self.task.targets)
        if targets.ndim == 2 and targets.shape[1] == 2:
            targets = targets[:, 1]
        if targets.ndim != 1 or set(np.unique(targets).tolist()) != {0, 1}:
            raise NotKnown("the task has not just two classes")
        return targets == 1

    @cached_property
    def explained(self) -> bool:
        """Whether final parameters say what a net answers, as they do not where a model has a state of its own."""
        from jaxor.analysis.answers import answers  # brings JAX with it, as `task` does

        _ = self.task  # without it there are no answers
        loss, some = self.run.final_loss[self.place], slice(CHECKED)
        again = answers(self.run.experiment, self.final_params[some], self.run.x64).loss
        return bool(np.mean(np.isclose(again, loss[some], 1e-3, 1e-6, equal_nan=True)) > 0.99)


def _layer(params: Floats, run: Run) -> Layer:
    try:
        return hidden_layer(params, run.param_names)
    except ValueError as error:
        raise NotKnown(str(error)) from error
