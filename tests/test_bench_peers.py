"""Peers of the bench train as jaxor does: otherwise their speeds say nothing."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np
import pytest

import jaxor
from bench.peers import MODULES, Train
from bench.peers.agree import compare

RUNS = 300
LOOP_RUNS = 12

# Share of runs that must end at jaxor's very epoch. Most runs of relu1 end when the loss stops falling, and in what
# order a library sums four numbers decides over the last bit.
EQUAL_EPOCHS = {"abs1_convergence": 0.99, "relu1_normal": 0.98}


@cache
def trained(name: str) -> jaxor.Run:
    return jaxor.simulate(name, seeds=RUNS, traces=False)


def peer_of(module: str) -> ModuleType:
    return pytest.importorskip(f"bench.peers.{module}", exc_type=ModuleNotFoundError)


def trainer_of(peer: ModuleType, name: str, cores: int = 1) -> Train:
    train = peer.trainer(name, cores)
    if train is None:
        pytest.skip(peer.WHY)
    return train


@pytest.mark.parametrize("name", EQUAL_EPOCHS)
@pytest.mark.parametrize("module", MODULES)
def test_peers_train_as_jaxor_does(module: str, name: str) -> None:
    peer, run = peer_of(module), trained(name)
    runs = LOOP_RUNS if module == "torch_loop" else RUNS
    outcome = trainer_of(peer, name)(run.initial_params[:runs])
    found = compare(run, outcome)
    assert found.epochs >= EQUAL_EPOCHS[name]
    assert found.success >= 0.99
    same = outcome.epochs == run.epochs[:runs]
    np.testing.assert_allclose(outcome.params[same], run.final_params[:runs][same], atol=1e-3)


@pytest.mark.parametrize("module", ["torch_func", "numpy_loop", "plain_jax", "c_kernel"])
def test_a_bias_without_force_stays_zero(module: str) -> None:
    """Adam makes whole steps of any rounding noise."""
    start = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    start[:, 2] = 0
    outcome = trainer_of(peer_of(module), "abs1_normal")(start)
    assert (outcome.params[:, 2] == 0).all()


@pytest.mark.parametrize("module", ["numpy_loop", "c_kernel"])
def test_outcomes_do_not_depend_on_the_number_of_cores(module: str) -> None:
    peer, run = peer_of(module), trained("relu1_normal")
    one, two = (trainer_of(peer, "relu1_normal", cores)(run.initial_params) for cores in (1, 2))
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("module", ["numpy_loop", "numba_loop", "c_kernel"])
def test_gradients_by_hand_cover_xor_only(module: str) -> None:
    assert peer_of(module).trainer("digits_mlp", 1) is None
