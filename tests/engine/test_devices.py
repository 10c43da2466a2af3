"""What other devices than processors need, as far as it can be seen on a processor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Jaxpr, jaxprs_in_params
from numpy.testing import assert_array_equal

from jaxor import get_experiment
from jaxor.engine.plan import plan
from jaxor.engine.recording import Recording
from jaxor.engine.simulate import Worker, precision
from tests.engine.test_program import START, quartic


def products(jaxpr: Jaxpr) -> Iterator[Any]:
    """Every matrix product and convolution of a program, and of those in it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


@pytest.mark.parametrize("name", ["digits_mlp", "digits_conv"])
def test_matrix_products_have_all_bits(name: str) -> None:
    """A GPU would round their factors to 10 bits, whatever the caller's own setting is."""
    worker = Worker(get_experiment(name), 16)
    with jax.default_matmul_precision("bfloat16"), precision(False):
        lanes = jax.eval_shape(
            worker.program.begin, *worker._arguments(np.arange(16), worker._first(np.arange(16), None)[0])
        )
        traced = jax.make_jaxpr(lambda carry: worker.program.advance(carry, "none", careful=False))(lanes)
    found = [equation.params["precision"] for equation in products(traced.jaxpr)]
    assert len(found) > 6
    assert set(found) == {(lax.Precision.HIGHEST, lax.Precision.HIGHEST)}


@pytest.mark.parametrize(("lane_width", "widths"), [(None, 64), (2**13, 16), (2**14, 16), (2**20, 1)])
def test_a_block_fills_many_lanes_several_times(lane_width: int | None, widths: int) -> None:
    """As far as a block's memory and work allow: lanes that are not refilled wait for the last run of all."""
    made = plan(get_experiment("abs1_convergence"), lane_width, "none")
    assert made.block_seeds == widths * made.lane_width


@pytest.mark.parametrize("kept", ["both", "final", "none"])
def test_parameters_that_are_not_wanted_stay_on_the_device(kept: str) -> None:
    """Also those of runs that diverge and are run again."""
    worker, seeds = Worker(quartic(), 64), np.arange(100)
    whole = worker.run(seeds, Recording("none"), START)
    some = worker.run(seeds, Recording("none"), START, kept)
    assert (some.initial_params is None, some.final_params is None) == (kept != "both", kept == "none")
    for name in ("status", "steps", "final_loss", "initial_params", "final_params"):
        if getattr(some, name) is not None:
            assert_array_equal(getattr(some, name), getattr(whole, name))
