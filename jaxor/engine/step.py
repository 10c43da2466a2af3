"""One step of one seed: pure functions that know nothing of lanes, masks' drivers or devices.

Order of a step: batch, forward pass and gradient at the parameters before the step; interventions; step; then the
stop rules on the loss before the step. The step of the stopping epoch is taken and counted, except that a step with
a non-finite loss, gradient or new parameter is not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from jaxor.engine.keys import BATCH, INIT, NOISE, run_key, stream
from jaxor.engine.parameters import FlatOrder, flat_order
from jaxor.engine.status import Status
from jaxor.engine.threshold import at_least
from jaxor.experiments.experiment import Experiment
from jaxor.experiments.initialize import Setting
from jaxor.experiments.intervention import Look
from jaxor.experiments.model import Params
from jaxor.experiments.selection import Selection

RUNNING = -1
"""Status of a run that has not ended."""


class Lane(NamedTuple):
    """What the next step of a run needs.

    `best` is the lowest loss so far and `stale` the steps in a row without improvement (None without patience),
    `loss` the loss before the last step, `key` the run's key data.
    """

    params: Array
    optimizer: Any
    model: Any
    rules: tuple[Any, ...]
    best: Array | None
    stale: Array | None
    step: Array
    loss: Array
    status: Array
    key: Array


class Dynamics:
    """The functions of one seed that make up an experiment."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.law = experiment.build()
        self.order: FlatOrder = flat_order(self.law.model)
        self.steps_per_epoch = experiment.steps_per_epoch
        self.max_steps = experiment.max_epochs * self.steps_per_epoch
        self.optimizer = optax.with_extra_args_support(self.law.optimizer)

    @property
    def points(self) -> int:
        """Number of points that a step looks at."""
        return self.experiment.batch.size or len(self.law.task.inputs)

    @property
    def most_points(self) -> int:
        """Points that the layout is chosen for: those of a step; of a stream also the task's own, which judge."""
        return max(self.points, len(self.law.task.inputs)) if self.experiment.batch.mode == "stream" else self.points

    @property
    def selection(self) -> Selection | None:
        """The initializer, if it chooses among draws."""
        return self.law.init if isinstance(self.law.init, Selection) else None

    def initial_params(self, key_data: Array, draw: Array | None = None) -> Array:
        """First parameters (P,) of a run; of a selection those of the draw that was chosen, NaN if it is below 0."""
        key, setting = stream(key_data, INIT), self.setting(key_data)
        if self.selection is None or draw is None:
            return self.order.flatten(self.law.init(key, setting))
        params = self.order.flatten(self.selection.draw(key, setting, draw)[0])
        return jnp.where(draw < 0, jnp.nan, params)

    def score(self, key_data: Array, draw: Array) -> tuple[Array, Array]:
        """How a selection finds a draw, lower being better, and how many draws of the innermost law it took."""
        assert self.selection is not None  # noqa: S101 (the driver asks only when there is one)
        key, setting = stream(key_data, INIT), self.setting(key_data)
        params, made = self.selection.draw(key, setting, draw)
        return self.selection.score(params, setting), jnp.asarray(made, jnp.int32)

    @property
    def plain_setting(self) -> Setting:
        """What an initializer may look at, whatever the run."""
        return Setting(self.law.model, self.law.task, self.law.loss)

    def setting(self, key_data: Array) -> Setting:
        """What the initializer of a run may look at."""
        if not self.experiment.batch.indexed:
            return self.plain_setting
        return self.plain_setting._replace(first_batch=self.batches(key_data, jnp.zeros((), jnp.int32))[0])

    def evaluate(self, params: Array, state: Any) -> tuple[Array, Array]:
        """Loss and accuracy over the whole task, as in use and not as in training."""
        key = jax.random.key(0)  # in use, models draw nothing
        task = self.law.task
        outputs, _, _ = self.law.model.apply(self.order.unflatten(params), task.inputs, state, key, False)
        return self.law.loss(outputs, task.targets), task.accuracy(outputs, task.targets).astype(params.dtype)

    def start(self, params: Array, key_data: Array) -> Lane:
        """A run before its first step; without parameters (NaN) it has ended."""
        zero = jnp.zeros((), jnp.int32)
        status = jnp.full((), RUNNING if self.max_steps else Status.EPOCH_CAP, jnp.int32)
        patient = self.experiment.stop.patience is not None
        return Lane(
            params=params,
            optimizer=self.optimizer.init(params),
            model=self.law.model.init(stream(key_data, INIT))[1],
            rules=tuple(rule.init(self.order.unflatten(params)) for rule in self.law.interventions),
            best=jnp.full((), jnp.inf, params.dtype) if patient else None,
            stale=zero if patient else None,
            step=zero,
            loss=jnp.full((), jnp.nan, params.dtype),
            status=jnp.where(jnp.any(jnp.isnan(params)), int(Status.UNSTARTED), status),
            key=key_data,
        )

    def batches(self, key_data: Array, step: Array) -> Array:
        """Numbers of the points (steps_per_epoch, size) that the epoch beginning at `step` uses."""
        points, size = len(self.law.task.inputs), self.experiment.batch.size
        assert size is not None  # noqa: S101 (the driver asks only when there are batches)
        if self.experiment.batch.order == "shared":
            key_data = run_key(self.experiment.root_seed, jnp.zeros((), jnp.uint32))
        key = jax.random.fold_in(stream(key_data, BATCH), step // self.steps_per_epoch)
        shape = (self.steps_per_epoch, size)
        if self.experiment.batch.mode == "replacement":
            return jax.random.randint(key, shape, 0, points)
        return jax.random.permutation(key, points)[: shape[0] * shape[1]].reshape(shape)

    def step(self, lane: Lane, batch: Array | None) -> Lane:
        """The run one step later; a run that has ended stays as it is.

        Of a run that diverges in this step only the status is right, see `undo`: no number need wait for all others.

        Parameters
        ----------
        lane : Lane
        batch : (size,) int or None
            Numbers of the points to use; None for all.
        """
        loss, gradient, look, model = self.differentiate(lane, batch)
        before, rules = self._intervene(lane, look)
        updates: Any  # optax types it as any tree of arrays
        updates, optimizer = self.optimizer.update(gradient, lane.optimizer, before, value=loss)
        params = before + updates
        finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(params))
        best, stale, status = self._judge(lane, loss)
        moved = Lane(
            params=params,
            optimizer=optimizer,
            model=model,
            rules=rules,
            best=best,
            stale=stale,
            step=lane.step + 1,
            loss=loss,
            status=status,
            key=lane.key,
        )
        running = lane.status == RUNNING
        kept = jax.tree.map(lambda new, old: jnp.where(running, new, old), moved, lane)
        return kept._replace(status=jnp.where(running & ~finite, int(Status.DIVERGED), kept.status), key=lane.key)

    def undo(self, before: Lane, after: Lane) -> Lane:
        """The run after a step that is not taken if the run diverged in it."""
        diverged = (before.status == RUNNING) & (after.status == int(Status.DIVERGED))
        kept = jax.tree.map(lambda old, new: jnp.where(diverged, old, new), before, after)
        return kept._replace(status=after.status, key=after.key)

    def differentiate(self, lane: Lane, batch: Array | None) -> tuple[Array, Array, Look, Any]:
        """Loss and gradient (P,) before the step, what interventions may look at, and the model's new state."""
        law = self.law
        inputs, targets = self.points_of(lane, batch)
        noise = jax.random.fold_in(stream(lane.key, NOISE), lane.step)
        prepare_key, model_key, rule_key = jax.random.split(noise, 3)
        params, state = self.order.unflatten(lane.params), lane.model
        if law.model.prepare is not None:
            params, state = law.model.prepare(params, state, prepare_key)

        def objective(at: Params) -> tuple[Array, Any]:
            outputs, aux, new_state = law.model.apply(at, inputs, state, model_key, True)
            return law.loss(outputs, targets), (outputs, aux, new_state)

        (loss, (outputs, aux, new_state)), grads = jax.value_and_grad(objective, has_aux=True)(params)
        return loss, self.order.flatten(grads), Look(params, grads, outputs, aux, rule_key), new_state

    def points_of(self, lane: Lane, batch: Array | None) -> tuple[ArrayLike, ArrayLike]:
        """Inputs and targets that a step sees."""
        task = self.law.task
        if self.experiment.batch.mode == "stream" and task.sample is not None:
            return task.sample(jax.random.fold_in(stream(lane.key, BATCH), lane.step), self.points)
        if batch is None:
            return task.inputs, task.targets
        return jnp.asarray(task.inputs)[batch], jnp.asarray(task.targets)[batch]

    def _intervene(self, lane: Lane, look: Look) -> tuple[Array, tuple[Any, ...]]:
        """Parameters (P,) after all interventions, and the interventions' new states: all look, then each acts."""
        looks = [look._replace(key=jax.random.fold_in(look.key, i)) for i in range(len(self.law.interventions))]
        rules = list(zip(self.law.interventions, looks, strict=True))
        checked = [rule.check(state, look) for (rule, look), state in zip(rules, lane.rules, strict=True)]
        params = look.params
        for (rule, look), (_, findings) in zip(rules, checked, strict=True):
            params = rule.fix(findings, params, look)
        return self.order.flatten(params), tuple(state for state, _ in checked)

    def _judge(self, lane: Lane, loss: Array) -> tuple[Array | None, Array | None, Array]:
        """Lowest loss, steps in a row without improvement, and status after a step with finite numbers."""
        stop = self.experiment.stop
        best, stale = lane.best, lane.stale
        status = jnp.where(lane.step + 1 >= self.max_steps, int(Status.EPOCH_CAP), RUNNING)
        if best is not None and stale is not None and stop.patience is not None:
            stale = jnp.where(best - loss > stop.min_improvement, 0, stale + 1)
            best = jnp.minimum(best, loss)
            status = jnp.where(stale > stop.patience, int(Status.STALLED), status)
        if stop.loss is not None:
            status = jnp.where(loss < jnp.asarray(at_least(stop.loss, loss.dtype)), int(Status.CONVERGED), status)
        return best, stale, status
