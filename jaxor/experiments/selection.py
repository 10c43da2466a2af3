"""Initializers that choose among draws of another law, most of them by the loss that training would begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import Array

from jaxor.experiments.initialize import INITIALIZERS, Initializer, Setting
from jaxor.experiments.model import Aux, Params, preactivations
from jaxor.experiments.registry import Base, ExperimentError, require

Score = Callable[[Params, Setting], Array]
"""``score(params, setting) -> scalar``, better if lower; NaN is never good enough."""


@dataclass(frozen=True)
class Selection:
    """An initializer that takes one of another law's draws: the first with a score that is low enough, or the lowest.

    Draw number j uses the run's key folded with j, so that what is taken depends on the run alone.

    Attributes
    ----------
    base : Initializer
        The law that is drawn from.
    score : Score
    below : callable
        ``below(setting) -> float``; the first draw whose score is below it is taken. None if there is no such limit.
    most : int
        Draws at most.
    lowest : bool
        Whether the lowest score is taken if none was low enough; otherwise there are no parameters.
    """

    base: Initializer
    score: Score
    below: Callable[[Setting], float] | None
    most: int
    lowest: bool = False

    def draw(self, key: Array, setting: Setting, number: Array | int) -> tuple[Params, Array | int]:
        """Draw number `number`, and how many draws of the innermost law were made for it."""
        key = jax.random.fold_in(key, number)
        return self.base.search(key, setting) if isinstance(self.base, Selection) else (self.base(key, setting), 1)

    def limit(self, setting: Setting) -> float:
        """The limit, minus infinity if there is none; the same for all runs."""
        return -float("inf") if self.below is None else self.below(setting._replace(first_batch=None))

    def search(self, key: Array, setting: Setting) -> tuple[Params, Array]:
        """The parameters that are taken, all NaN if there are none, and how many draws were made."""
        below, zero = self.limit(setting), jnp.zeros((), jnp.int32)

        def attempt(carry: tuple[Array, ...]) -> tuple[Array, ...]:
            number, best, chosen, draws = carry
            params, made = self.draw(key, setting, number)
            score = self.score(params, setting)
            better = score < best
            return number + 1, jnp.where(better, score, best), jnp.where(better, number, chosen), draws + made

        _, best, chosen, draws = jax.lax.while_loop(
            lambda carry: ~(carry[1] < below) & (carry[0] < self.most),
            attempt,
            (zero, jnp.full((), jnp.inf, jnp.result_type(float)), zero, zero),
        )
        params, _ = self.draw(key, setting, chosen)
        taken = jnp.isfinite(best) if self.lowest else best < below
        return {name: jnp.where(taken, value, jnp.nan) for name, value in params.items()}, draws

    def __call__(self, key: Array, setting: Setting) -> Params:
        """As every initializer."""
        return self.search(key, setting)[0]


def evaluate(params: Params, setting: Setting) -> tuple[Array, Aux]:
    """Loss and auxiliary output on the whole task, as in use and not as in training."""
    key = jax.random.key(0)  # models draw nothing when they do not train
    outputs, aux, _ = setting.model.apply(params, setting.task.inputs, setting.model.init(key)[1], key, False)
    return setting.loss(outputs, setting.task.targets), aux


def _loss(params: Params, setting: Setting) -> Array:
    return evaluate(params, setting)[0]


def _redraw(base: Initializer, score: Score, below: Callable[[Setting], float], max_draws: int) -> Selection:
    require(max_draws > 0, "max_draws", "positive", max_draws)
    return Selection(base, score, below, max_draws)


def _lowest(base: Initializer, score: Score, draws: int) -> Selection:
    require(draws > 0, "draws", "positive", draws)
    return Selection(base, score, None, draws, lowest=True)


@INITIALIZERS.register("alive")
def alive(*, base: Base = "normal", margin: float = 0.0, max_draws: int = 10_000) -> Initializer:
    """Redraw another law until every point has a unit whose pre-activation is above the margin."""

    def deadest(params: Params, setting: Setting) -> Array:
        return -jnp.min(jnp.max(preactivations(evaluate(params, setting)[1], "init alive"), -1))

    return _redraw(base, deadest, lambda setting: -margin, max_draws)


@INITIALIZERS.register("loss_below")
def loss_below(*, threshold: float, base: Base = "normal", max_draws: int = 1_000_000) -> Initializer:
    """Redraw another law until the initial loss is below the threshold."""
    return _redraw(base, _loss, lambda setting: threshold, max_draws)


@INITIALIZERS.register("loss_above")
def loss_above(*, threshold: float, base: Base = "normal", max_draws: int = 1_000_000) -> Initializer:
    """Redraw another law until the initial loss is above the threshold."""
    return _redraw(base, lambda params, setting: -_loss(params, setting), lambda setting: -threshold, max_draws)


@INITIALIZERS.register("loss_percentile")
def loss_percentile(
    *, percentile: float, base: Base = "normal", sample: int = 10_000, max_draws: int = 1_000_000
) -> Initializer:
    """Redraw another law until the initial loss is below a percentile of it, estimated from a sample of that law."""
    require(0 < percentile < 100, "percentile", "above 0 and below 100", percentile)
    require(sample > 0, "sample", "positive", sample)

    def below(setting: Setting) -> float:
        with jax.ensure_compile_time_eval():
            return float(jnp.nanpercentile(initial_losses(base, setting, sample), percentile))

    return _redraw(base, _loss, below, max_draws)


def initial_losses(base: Initializer, setting: Setting, sample: int) -> Array:
    """Initial losses (sample,) of draws that belong to no run: the same for every root seed."""
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), sample)
    return jax.jit(lambda keys: jax.lax.map(lambda key: _loss(base(key, setting), setting), keys, batch_size=256))(keys)


@INITIALIZERS.register("best_of")
def best_of(*, draws: int, base: Base = "normal") -> Initializer:
    """The draw of another law with the lowest initial loss, of so many."""
    return _lowest(base, _loss, draws)


@INITIALIZERS.register("first_batch")
def first_batch(*, draws: int, base: Base = "normal") -> Initializer:
    """The draw of another law with the lowest loss on the run's first batch, of so many (Fort and Scherlis 2019)."""

    def score(params: Params, setting: Setting) -> Array:
        if setting.first_batch is None:
            raise ExperimentError(
                "init first_batch needs the minibatches of a run; with batch.mode full, or within loss_percentile, "
                "take best_of"
            )
        task, points = setting.task, setting.first_batch
        inputs, targets = jnp.asarray(task.inputs)[points], jnp.asarray(task.targets)[points]
        return _loss(params, setting._replace(task=replace(task, inputs=inputs, targets=targets)))

    return _lowest(base, score, draws)
