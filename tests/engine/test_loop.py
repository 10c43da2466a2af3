"""The loop over lanes: the same numbers as `jax.vmap`, whatever goes in and out, in one piece or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpy.testing import assert_allclose, assert_array_equal

from jaxor.engine import loop
from jaxor.engine.loop import lane_loop

LANES = 48


def vectors(count: int, dtype: Any = np.float32) -> list[Array]:
    random = np.random.default_rng(count)
    return [jnp.asarray(random.normal(size=LANES).astype(dtype)) for _ in range(count)]


def optimizer(*numbers: Array) -> list[Array]:
    """Like Adam: every result needs the sum of all arguments and two arguments of its own."""
    params, moments = numbers[::2], numbers[1::2]
    total = sum(a * a for a in params)
    new = [0.9 * m + 0.1 * p * total for p, m in zip(params, moments, strict=True)]
    return [*(p - m / jnp.sqrt(m * m + 1) for p, m in zip(params, new, strict=True)), *new]


@pytest.mark.parametrize("count", [2, 120, pytest.param(180, marks=pytest.mark.full)])
def test_many_numbers(count: int) -> None:
    arguments = vectors(count)
    ours = jax.jit(lambda *a: lane_loop(optimizer, a))(*arguments)
    theirs = jax.jit(jax.vmap(optimizer))(*arguments)
    for one, other in zip(ours, theirs, strict=True):
        assert_allclose(one, other, 2e-6, 2e-6)


@pytest.mark.parametrize(("count", "loops"), [(120, 1), (122, None), (180, None)])
def test_no_loop_has_more_numbers_than_llvm_can_vectorize(count: int, loops: int | None) -> None:
    closed = jax.make_jaxpr(optimizer)(*(jax.ShapeDtypeStruct((), np.float32) for _ in range(count)))
    pieces = list(loop._pieces(closed.jaxpr))
    assert len(pieces) == loops if loops else len(pieces) > 1
    assert all(len(loop._slots(sources, targets)) <= loop._MOST_NUMBERS for _, sources, targets in pieces)
    done = [id(equation) for equations, _, _ in pieces for equation in equations]
    assert sorted(done) == sorted(map(id, closed.jaxpr.eqns))


PROGRAMS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "more results than arguments": (lambda a: [a + 1, a * 2, a > 0, a - 3], [np.float32]),
    "more arguments than results": (lambda a, b, c: [a + b * c], [np.float32] * 3),
    "several types": (lambda a, i, u: [a * i, i + 1, u >> jnp.uint32(3), i > 2], [np.float32, np.int32, np.uint32]),
    "arguments as results": (lambda a, b: [b, a, a + b, b], [np.float32] * 2),
    "constants as results": (lambda a: [jnp.float32(2), a + 1, jnp.int32(7)], [np.float32]),
    "nothing to do": (lambda a, b: [b, a], [np.float32] * 2),
    "an argument that is not needed": (lambda a, b: [a + 1], [np.float32] * 2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_whatever_goes_in_and_out(name: str) -> None:
    program, dtypes = PROGRAMS[name]
    arguments = [jnp.asarray((np.arange(LANES) * 3 % 7).astype(dtype)) for dtype in dtypes]
    ours = jax.jit(lambda *a: lane_loop(program, a))(*arguments)
    theirs = jax.vmap(lambda *a: [jnp.asarray(result) for result in program(*a)])(*arguments)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert_array_equal(one, other)


def test_the_order_of_operations_is_always_the_same() -> None:
    """XLA and LLVM choose what to contract by the order, so bits depend on it."""
    avals = [jax.ShapeDtypeStruct((), np.float32)] * 40
    orders = []
    for _ in range(2):
        closed = jax.make_jaxpr(lambda *a: optimizer(*a))(*avals)
        places = {id(equation): place for place, equation in enumerate(closed.jaxpr.eqns)}
        orders.append([places[id(equation)] for equation in loop._depth_first(closed.jaxpr)])
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(len(orders[0])))
