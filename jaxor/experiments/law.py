"""The built parts of an experiment, and whether they fit together."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxor.experiments.initialize import Initializer, Setting
from jaxor.experiments.intervention import Intervention, Look
from jaxor.experiments.loss import Loss
from jaxor.experiments.model import Model, Params
from jaxor.experiments.registry import ExperimentError, require
from jaxor.experiments.selection import Selection
from jaxor.experiments.task import Task


class Law(NamedTuple):
    """The built parts of an experiment."""

    task: Task
    model: Model
    init: Initializer
    loss: Loss
    optimizer: optax.GradientTransformation
    interventions: tuple[Intervention, ...]


def check_fit(law: Law, batch: int | None = None) -> None:
    """Trace each part once, without computing.

    Parameters
    ----------
    law : Law
    batch : int or None
        Points of a minibatch.

    Raises
    ------
    ExperimentError
        Parts that do not fit together, such as a model of other inputs than the task has.
    """

    def once(key: Array) -> Any:
        params, state = law.model.init(key)
        drawn = _drawn(law, key, batch)
        outputs, aux, _ = law.model.apply(params, law.task.inputs, state, key, True)
        look = Look(params, params, outputs, aux, key)
        fixed = [rule.fix(rule.check(rule.init(params), look)[1], params, look) for rule in law.interventions]
        return params, drawn, fixed, law.loss(outputs, law.task.targets), law.task.accuracy(outputs, law.task.targets)

    try:
        params, drawn, fixed, loss, accuracy = jax.eval_shape(once, jax.eval_shape(jax.random.key, 0))
    except ExperimentError as error:
        raise ExperimentError(*error.args) from None  # without the note that JAX adds to what passes through it
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise ExperimentError(f"the parts do not fit together: {type(error).__name__}: {reason}") from error
    shapes = _shapes(params)
    for key, given in (("init", drawn), *(("interventions", changed) for changed in fixed)):
        require(_shapes(given) == shapes, key, f"such that it gives the model's parameters {shapes}", _shapes(given))
    for key, value in (("loss", loss), ("task.accuracy", accuracy)):
        require(value.shape == (), key, "a function whose result is one number", value.shape)


def _drawn(law: Law, key: Array, batch: int | None) -> Params:
    """First parameters; the limits of a selection may take long to find, and are not asked for."""
    setting = Setting(law.model, law.task, law.loss, None if batch is None else jnp.zeros(batch, jnp.int32))
    if not isinstance(law.init, Selection):
        return law.init(key, setting)
    params, _ = law.init.draw(key, setting, 0)
    score = law.init.score(params, setting)
    require(score.shape == (), "init", "a selection by one number", score.shape)
    return params


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in params.items()}
