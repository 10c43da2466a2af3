"""Initializers that choose among draws: against all of the draws, one after the other."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor.engine.keys import INIT, run_key, stream
from jaxor.engine.parameters import flat_order
from jaxor.engine.status import Status
from jaxor.experiments.initialize import Setting
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.selection import Selection
from jaxor.store.run import Run
from tests import reference
from tests.experiments.test_initialize import drawn, experiment, flat

Params = NDArray[np.float32]
ALIVE: dict[str, Any] = {"name": "alive"}
WIDE = {"name": "mlp", "widths": [2, 200, 2]}
QUICKLY: Any = {"xla_backend_optimization_level": 0}
"""How to compile what runs are compared with: how XLA optimizes it is not what is tested."""


def simulated(init: Any, seeds: Any = 300, model: Any = "relu1", **changes: Any) -> Run:
    return jaxor.simulate(experiment(init, model, **changes), seeds, traces=False, devices=1)


def of_the_law(init: Any, seeds: int = 300, model: Any = "relu1") -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Parameters and draws by the law's own search, a loop over the draws of each run on the device."""
    law = experiment(init, model).build()
    selection, setting, order = law.init, Setting(law.model, law.task, law.loss), flat_order(law.model)
    assert isinstance(selection, Selection)

    def one(seed: Any) -> tuple[Any, Any]:
        params, draws = selection.search(stream(run_key(0, seed), INIT), setting)
        return order.flatten(params), draws

    params, draws = jax.jit(jax.vmap(one), compiler_options=QUICKLY)(jnp.arange(seeds))
    return np.asarray(params), np.asarray(draws)


def draws_of(init: Any, keys: Any, count: int) -> Params:
    """The draws (n, count, P) of a law that a selection over it looks at, for the keys of n runs."""
    law = experiment(init).build()
    setting, order = Setting(law.model, law.task, law.loss), flat_order(law.model)

    def draw(key: Any, number: Any) -> Any:
        return order.flatten(law.init(jax.random.fold_in(key, number), setting))

    every = jax.jit(jax.vmap(jax.vmap(draw, (None, 0)), (0, None)), compiler_options=QUICKLY)
    return np.asarray(every(keys, jnp.arange(count)))


def keys_of(seeds: Any) -> Any:
    return jax.vmap(lambda seed: stream(run_key(0, seed), INIT))(jnp.arange(seeds))


def losses_of(params: Params) -> NDArray[np.float32]:
    """Losses (...) of relu1 with parameters (..., P), by NumPy."""
    return reference.evaluate(reference.Spec(), params.reshape(-1, params.shape[-1])).loss.reshape(params.shape[:-1])


@pytest.mark.parametrize(
    ("init", "model"),
    [
        pytest.param({"name": "loss_below", "threshold": 0.2}, "relu1", marks=pytest.mark.full),  # below in float64
        pytest.param({"name": "loss_above", "threshold": 0.9, "base": "mirror"}, "relu1", marks=pytest.mark.full),
        ({"name": "alive", "margin": 0.3, "base": "hypersphere", "max_draws": 5}, "relu1"),
        # Below against all of the draws, or as a base of each other.
        pytest.param({"name": "best_of", "draws": 12}, "relu1", marks=pytest.mark.full),
        pytest.param({"name": "loss_below", "threshold": 0.4, "base": ALIVE}, "relu1", marks=pytest.mark.full),
        pytest.param(
            {"name": "best_of", "draws": 4, "base": {"name": "loss_percentile", "percentile": 50.0, "sample": 400}},
            "relu1",
            marks=pytest.mark.full,
        ),
        pytest.param({"name": "loss_below", "threshold": 0.5, "base": "model"}, "two_layer", marks=pytest.mark.full),
        ({"name": "best_of", "draws": 5, "base": "model"}, WIDE),
    ],
)
def test_the_draws_taken_are_those_of_the_law(init: Any, model: Any) -> None:
    run = simulated(init, model=model)
    params, draws = of_the_law(init, model=model)
    assert_array_equal(run.draws, draws)
    assert_allclose(run.initial_params, params, 2e-6, 1e-7)  # NaN where there is none
    assert_array_equal(run.status == Status.UNSTARTED, np.isnan(params).all(axis=1))


def test_in_float64_too() -> None:
    init = {"name": "loss_below", "threshold": 0.2}
    run = jaxor.simulate(experiment(init), 50, x64=True, traces=False)
    with jax.enable_x64(True):
        params, draws = of_the_law(init, 50)
    assert run.initial_params.dtype == params.dtype == np.float64
    assert_array_equal(run.draws, draws)
    assert_allclose(run.initial_params, params, 1e-12)


def test_best_of_is_the_lowest_of_exactly_so_many() -> None:
    run, draws = simulated({"name": "best_of", "draws": 12}), draws_of("normal", keys_of(300), 13)
    losses = losses_of(draws)
    best = losses[:, :12].argmin(axis=1)
    assert_allclose(run.initial_params, draws[np.arange(300), best], 1e-6)
    assert (run.draws == 12).all() and set(best.tolist()) == set(range(12))
    assert (losses[:, 12] < losses[:, :12].min(axis=1)).any()  # a thirteenth would have been better for some


def test_draws_of_a_selection_over_a_selection_are_those_of_the_innermost_law() -> None:
    threshold, outer, inner, runs = 0.4, 40, 60, 50
    run = simulated({"name": "loss_below", "threshold": threshold, "base": ALIVE}, runs)
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys_of(runs), jnp.arange(outer))
    all_draws = draws_of("normal", keys.reshape(-1, *keys.shape[2:]), inner).reshape(runs, outer, inner, 6)
    for seed, draws in enumerate(all_draws):
        pre = reference.evaluate(reference.Spec(), draws.reshape(-1, 6)).pre.reshape(outer, inner, 2, 4)
        first = (pre.max(axis=2) > 0).all(axis=2).argmax(axis=1)
        alive = draws[np.arange(outer), first]
        taken = int((losses_of(alive) < threshold).argmax())
        assert run.draws[seed] == (first[: taken + 1] + 1).sum()
        assert_allclose(run.initial_params[seed], alive[taken], 1e-6)


def test_first_batch_is_the_lowest_on_the_runs_own_first_batch() -> None:
    """Losses of the draws on that batch are what runs that begin with them record before their first step."""
    runs, count = 10, 4
    batch = {"mode": "shuffle", "size": 2}
    made = jaxor.get_experiment("relu1_normal").replace(max_epochs=1, batch=batch, init="model")
    run = jaxor.simulate(made.replace(init={"name": "first_batch", "draws": count, "base": "model"}), runs)
    law = made.build()
    order = flat_order(law.model)
    keys = keys_of(runs)
    losses, draws = [], []
    for number in range(count):
        each = jax.vmap(lambda key, j=number: order.flatten(law.model.init(jax.random.fold_in(key, j))[0]))(keys)
        draws.append(np.asarray(each))
        given = jaxor.simulate(made, initial_params=draws[-1])
        losses.append([given.trace(seed).loss[0] for seed in range(runs)])
    best = np.argmin(losses, axis=0)
    assert_allclose(run.initial_params, np.array(draws)[best, np.arange(runs)], 1e-6)
    assert_allclose([run.trace(seed).loss[0] for seed in range(runs)], np.min(losses, axis=0), 1e-6)
    assert len(set(best.tolist())) > 2 and (run.draws == count).all()


@pytest.mark.parametrize("mode", [{}, {"mode": "shuffle", "size": 64}])
def test_first_batch_needs_a_batch_of_a_run(mode: dict[str, Any]) -> None:
    init: dict[str, Any] = {"name": "first_batch", "draws": 2, "base": "model"}
    if mode:
        init = {"name": "loss_percentile", "percentile": 5.0, "base": init}
    with pytest.raises(ExperimentError, match="init first_batch needs the minibatches of a run.* take best_of"):
        jaxor.simulate(jaxor.get_experiment("digits_mlp").replace(init=init, batch=mode, max_epochs=0), 3)


def limit_of(init: Any, **look: Any) -> float:
    law = experiment(init).build()
    assert isinstance(law.init, Selection)
    return law.init.limit(Setting(law.model, law.task, law.loss, **look))


def test_the_limit_of_loss_percentile() -> None:
    """Near the percentile of draws that it has not seen, and the same for every run, whatever the root seed."""
    losses, sample = losses_of(flat("normal", n=40_000)), 10_000
    share, init = 0.02, {"name": "loss_percentile", "percentile": 2.0}
    limit = limit_of(init)
    assert abs((losses < limit).mean() - share) < 5 * np.sqrt(share * (1 - share) * (1 / sample + 1 / len(losses)))
    assert limit_of(init, first_batch=jnp.zeros(2, jnp.int32)) == limit
    below = simulated(init, 2000, root_seed=1).initial_loss
    assert 0.98 * limit < below.max() < limit * (1 + 1e-6)


def test_percentiles_of_a_law_that_may_have_no_draw() -> None:
    """They are of the draws that there are."""
    limit = limit_of({"name": "loss_percentile", "percentile": 50.0, "base": {"name": "alive", "max_draws": 1}})
    alive = losses_of(flat(ALIVE, n=20_000))
    assert abs((alive < limit).mean() - 0.5) < 5 * np.sqrt(0.25 * (4 / 10_000 + 1 / 20_000))  # one draw in four is


@pytest.mark.parametrize("factor", [0.0, 0.5, 3.0])
def test_scaled(factor: float) -> None:
    model = {"name": "two_layer", "confidence": True}
    base, params = (
        drawn("biased", model, 500),
        drawn({"name": "scaled", "factor": factor, "base": "biased"}, model, 500),
    )
    for name, value in params.items():
        expected = base[name] if name.startswith("confidence") else np.float32(factor) * base[name]
        assert_array_equal(value, expected)


@pytest.mark.parametrize(
    ("init", "sentence"),
    [
        ({"name": "best_of", "draws": 0}, "init.draws must be positive, got 0"),
        ({"name": "loss_below", "threshold": 1.0, "max_draws": 0}, "init.max_draws must be positive"),
        ({"name": "loss_percentile", "percentile": 100.0}, "init.percentile must be above 0 and below 100"),
        ({"name": "loss_percentile", "percentile": 5.0, "sample": 0}, "init.sample must be positive"),
        ({"name": "scaled", "factor": -1.0}, "init.factor must be 0 or positive"),
    ],
)
def test_impossible_options(init: Any, sentence: str) -> None:
    with pytest.raises(ExperimentError, match=sentence):
        experiment(init).build()


# Runs without an acceptable draw


def test_the_share_of_unstarted_runs() -> None:
    """Of two opposite points a unit sees one: two see both with probability 1/2, and both pairs with 1/4."""
    n, most = 20_000, 4
    run = simulated({"name": "alive", "max_draws": most}, n)
    unstarted, expected = run.status == Status.UNSTARTED, 0.75**most
    assert abs(unstarted.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / n)
    assert (run.draws[unstarted] == most).all()
    counts = np.bincount(run.draws[~unstarted], minlength=most + 1)[1:]
    law = 0.25 * 0.75 ** np.arange(most)
    assert (np.abs(counts - n * law) < 5 * np.sqrt(n * law)).all()


def test_unstarted_runs_hold_nothing() -> None:
    start = jaxor.get_experiment("relu1_reinit_25th").replace(**{"init.max_draws": 2})
    run = jaxor.simulate(start, 100)
    unstarted = run.status == Status.UNSTARTED
    assert 20 < unstarted.sum() < 80
    for name in ("initial_loss", "final_loss", "final_accuracy", "initial_params", "final_params"):
        array = getattr(run, name).reshape(100, -1)
        assert np.isnan(array[unstarted]).all() and np.isfinite(array[~unstarted]).all(), name
    assert not run.steps[unstarted].any() and not run.epochs[unstarted].any() and not run.row_size[unstarted].any()
    assert (run.steps[~unstarted] > 0).all()
    seed = int(np.argmax(unstarted))
    assert run.trace(seed).loss.shape == (0,) and run.trace(seed).params.shape == (0, 6)


def test_a_law_over_a_selection_may_have_no_draw_either() -> None:
    run = simulated({"name": "biased", "base": {"name": "alive", "max_draws": 1}}, 2000)
    unstarted = run.status == Status.UNSTARTED
    assert abs(unstarted.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 2000)
    assert_array_equal(unstarted, np.isnan(run.initial_params).all(axis=1))
    assert (run.draws == 1).all()


def test_an_initializer_in_python_may_have_no_draw() -> None:
    def init(key: Any, setting: Setting) -> Any:
        params = setting.model.init(key)[0]
        return params | {"linear1.bias": jnp.where(jax.random.bernoulli(key), jnp.nan, params["linear1.bias"])}

    run = jaxor.simulate(jaxor.get_experiment("relu1_normal").replace(init=init), 200)
    unstarted = run.status == Status.UNSTARTED
    assert 60 < unstarted.sum() < 140 and not run.steps[unstarted].any()
    assert np.isnan(run.initial_params[unstarted]).all() and np.isfinite(run.final_params[~unstarted]).all()


def test_given_parameters_are_not_chosen() -> None:
    start = jaxor.get_experiment("relu1_reinit_0th").replace(max_epochs=2)
    given = drawn("normal", n=50)
    flat = np.concatenate([given[name].reshape(50, -1) for name in ("linear1.weight", "linear1.bias")], axis=1)
    run = jaxor.simulate(start, initial_params=flat)
    assert_array_equal(run.initial_params, flat)
    assert not run.manifest.draws and (run.draws == 1).all()


# Bits


def test_bits_depend_on_root_seed_and_seed_alone() -> None:
    """Not on the order of seeds, nor on the block that they are in, nor on the process that works on it."""
    init, n = {"name": "loss_below", "threshold": 0.2, "max_draws": 30}, 1700
    # Blocks are small, since it may train for long; but it ends at once.
    start = experiment(init).replace(max_epochs=10**6, stop={"loss": 1e9})
    assert 2 < n / jaxor.simulation.prepare(start, n, lane_width=16, traces=False).plan.block_seeds < 4
    run = jaxor.simulate(start, n, traces=False, lane_width=16, devices=1)
    shuffled = np.random.default_rng(0).permutation(n)
    parts = {
        "order": jaxor.simulate(start, shuffled, traces=False, lane_width=16, devices=1),
        "few": jaxor.simulate(start, shuffled[:7], traces=False, lane_width=16, devices=1),
        "processes": jaxor.simulate(start, n, traces=False, lane_width=16, devices=2),
    }
    for part in parts.values():
        for name in ("status", "draws", "initial_params", "initial_loss", "final_params"):
            assert_array_equal(getattr(part, name), getattr(run, name)[part.seeds])
    wide = jaxor.simulate(start, n, traces=False, devices=1)
    assert_array_equal(wide.draws, run.draws)
    assert_allclose(wide.initial_params, run.initial_params, 1e-6)
