"""Which random numbers a run gets: from the root seed and its own seed, and from nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.typing import ArrayLike
from numpy.testing import assert_allclose, assert_array_equal

import jaxor
from jaxor import Experiment, Model, Task, get_experiment
from jaxor.engine.keys import BATCH, INIT, NOISE, run_key, stream
from jaxor.engine.recording import Recording
from jaxor.engine.seeds import MAX_SEED
from jaxor.engine.simulate import Worker
from jaxor.experiments.model import Aux, Params, State

# Initial weights of abs1_normal. They are part of what a seed means, so they may never change: neither by a change in
# jaxor nor by one in JAX's generator.
GOLDEN = {
    0: (-0.287390, 0.399918),
    1: (0.099454, -0.385089),
    2: (-0.742202, -0.430232),
    999: (0.111975, -1.007735),
    2**31 - 1: (1.132976, -0.256098),
    2**32 - 1: (0.929902, -0.508222),
}


def first_weights(root_seed: int, seed: int) -> np.ndarray:
    """The documented chain: root, run, stream 0 for initialisation, then all weights in one draw of N(0, .5^2)."""
    run = jax.random.fold_in(jax.random.key(root_seed, impl="threefry2x32"), np.uint32(seed))
    init = jax.random.fold_in(run, 0)
    return 0.5 * np.asarray(jax.random.normal(init, (2,), jnp.float32))


@pytest.fixture(scope="module")
def golden_run() -> jaxor.Run:
    return jaxor.simulate("abs1_normal", seeds=np.array([*GOLDEN]))


def test_golden_initial_parameters(golden_run: jaxor.Run) -> None:
    assert_allclose(golden_run.initial_params[:, :2], [*GOLDEN.values()], 0, 6e-7)
    assert_array_equal(golden_run.initial_params[:, 2], np.zeros(len(GOLDEN)))


def test_initial_parameters_by_the_documented_chain(golden_run: jaxor.Run) -> None:
    for seed, params in zip(GOLDEN, golden_run.initial_params, strict=True):
        assert_allclose(params[:2], first_weights(0, seed), 2e-7)


def test_root_seeds_give_other_runs() -> None:
    run = jaxor.simulate(get_experiment("abs1_normal").replace(root_seed=7), seeds=np.array([*GOLDEN]))
    for seed, params in zip(GOLDEN, run.initial_params, strict=True):
        assert_allclose(params[:2], first_weights(7, seed), 2e-7)
    assert not np.isin(np.round(run.initial_params[:, :2], 6), np.array([*GOLDEN.values()])).any()


def test_run_k_is_the_same_run_in_any_set_of_seeds(golden_run: jaxor.Run) -> None:
    for seeds in ([999], [2, 999, 5], range(990, 1010), [MAX_SEED, 999, 0]):
        run = jaxor.simulate("abs1_normal", seeds=np.array(seeds))
        row, golden = [*seeds].index(999), [*GOLDEN].index(999)
        assert_array_equal(run.initial_params[row], golden_run.initial_params[golden])
        assert_array_equal(run.final_params[row], golden_run.final_params[golden])
        assert_array_equal(run.trace(999).params, golden_run.trace(999).params)


def test_keys_of_runs_and_streams_are_all_different() -> None:
    seeds = jnp.arange(1000, dtype=jnp.uint32)
    runs = jax.vmap(lambda seed: run_key(3, seed))(seeds)
    streams = [
        jax.vmap(lambda data, number=number: jax.random.key_data(stream(data, number)))(runs)
        for number in (INIT, BATCH, NOISE)
    ]
    keys = np.concatenate([np.asarray(runs), *map(np.asarray, streams)])
    assert len(np.unique(keys, axis=0)) == 4 * 1000


def test_noise_is_new_at_every_step_of_every_run() -> None:
    """A model that gives back its noise as loss: stream 2, then the step, then the second of the parts of that key."""

    def apply(params: Params, inputs: ArrayLike, state: State, key: Array, train: bool) -> tuple[Array, Aux, State]:
        return params["x"] * 0 + (jax.random.normal(key) if train else 0), {}, state

    experiment = Experiment(
        "noise",
        task=Task(np.zeros((1, 1), np.float32), np.zeros(1, np.float32), lambda outputs, targets: jnp.ones(())),
        model=Model(lambda key: ({"x": jnp.zeros(1)}, {}), apply),
        loss=lambda outputs, targets: outputs[0],
        optimizer="none",
        max_epochs=40,
        root_seed=11,
    )
    run = jaxor.simulate(experiment, range(5, 12), lane_width=16)
    losses = np.array([run.trace(seed).loss for seed in run.seeds])
    assert len(np.unique(losses)) == losses.size == 7 * 40

    def noise(seed: Array, step: Array) -> Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(jax.random.key(11), seed), 2), step)
        return jax.random.normal(jax.random.split(key)[1])

    by_step = jax.vmap(jax.vmap(noise, (None, 0)), (0, None))
    assert_allclose(losses, by_step(jnp.asarray(run.seeds, jnp.uint32), jnp.arange(40)), 1e-6)
    assert_array_equal(run.initial_loss, np.zeros(7))


def test_numbers_that_depend_on_how_many_are_drawn_are_refused() -> None:
    with jax.threefry_partitionable(False), pytest.raises(ValueError, match="jax_threefry_partitionable=False"):
        Worker(get_experiment("abs1_normal"), 8)


def test_the_configured_generator_does_not_matter() -> None:
    """Pivots, batches and initial parameters come from threefry whatever JAX's default is."""
    batch = {"mode": "shuffle", "size": 2}
    experiment = get_experiment("relu1_mse_pivot").replace(batch=batch, max_epochs=20)
    expected = Worker(experiment, 4).run(np.arange(4), Recording("none"))
    with jax.default_prng_impl("rbg"):
        again = Worker(experiment, 4).run(np.arange(4), Recording("none"))
    assert_array_equal(again.initial_params, expected.initial_params)
    assert_array_equal(again.final_params, expected.final_params)
    assert expected.final_params is not None and len(np.unique(expected.final_params)) > 4
