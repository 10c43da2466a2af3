"""The narrow layout against `jax.vmap`: whatever a function does, both give the same numbers for every lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array, lax
from numpy.testing import assert_allclose, assert_array_equal

from jaxor.engine.layout import NARROW, WIDE
from jaxor.engine.operations import on_constants

LANES = 5  # the length of some axes, so that a mix-up of axes is noticed

Function = Callable[..., Any]
Shape = tuple[int, ...]


def samples(shapes: list[Shape], dtype: Any = np.float32, lanes: int = LANES) -> list[Array]:
    random = np.random.default_rng(sum(map(sum, shapes)) + len(shapes))
    return [jnp.asarray(random.normal(size=(lanes, *shape)).astype(dtype)) for shape in shapes]


def compiled(function: Function) -> Function:
    """Quickly compiled: how XLA optimizes is not what is tested here."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def joined(function: Function) -> Function:
    """The narrow layout's version of a function, from and to plain arrays."""
    return lambda *arrays: NARROW.join(NARROW.batch(function)(*NARROW.split(arrays)))


def narrow(function: Function) -> Function:
    return compiled(joined(function))


def check(function: Function, *arrays: Any, exact: bool = False) -> None:
    batched, reference = joined(function), jax.vmap(function)
    ours, theirs = compiled(lambda *arrays: (batched(*arrays), reference(*arrays)))(*arrays)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        if exact or not jnp.issubdtype(one.dtype, jnp.floating):
            assert_array_equal(one, other)
        else:
            tolerance = 1e-13 if one.dtype == np.float64 else 3e-6
            assert_allclose(one, other, tolerance, tolerance)


TABLE = np.array([0.5, -2.0, 3.0, 1.25, -0.75], np.float32)
DATA = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)

MOVES: dict[str, tuple[Function, list[Shape]]] = {
    "transpose": (lambda a: a.T, [(3, 2)]),
    "transpose, one long axis": (lambda a: a.transpose(2, 0, 1), [(3, 5, 2)]),
    "transpose, long axes turn": (lambda a: a.transpose(2, 1, 0), [(5, 3, 6)]),
    "reshape of short axes": (lambda a: a.reshape(4, 3), [(3, 4)]),
    "reshape to a long axis": (lambda a: a.reshape(-1), [(3, 4)]),
    "reshape from a long axis": (lambda a: a.reshape(2, 5), [(10,)]),
    "reshape of long axes": (lambda a: a.reshape(6, 10), [(5, 12)]),
    "reshape to and fro": (lambda a: a.reshape(3, 1, 5, 1).reshape(1, 15), [(3, 5)]),
    "squeeze": (lambda a: jnp.squeeze(a, (0, 2)), [(1, 5, 1, 2)]),
    "expand_dims": (lambda a: a[:, None, :, None], [(5, 2)]),
    "slice": (lambda a: a[1:3, :2], [(4, 3)]),
    "slice of a long axis": (lambda a: a[:, 1:7], [(2, 8)]),
    "slice makes an axis short": (lambda a: a[2:4], [(6,)]),
    "slice makes an axis short, beside a long one": (lambda a: a[2:4], [(6, 5)]),
    "strided slice": (lambda a: a[::2, 1::3], [(4, 8)]),
    "negative stride": (lambda a: a[::-1], [(3, 5)]),
    "index": (lambda a: (a[1], a[-1, 0]), [(3, 5)]),
    "concatenate": (lambda a, b: jnp.concatenate([a, b]), [(2, 3), (1, 3)]),
    "concatenate to a long axis": (lambda a, b: jnp.concatenate([a, b], 1), [(2, 3), (2, 4)]),
    "concatenate long axes": (lambda a, b: jnp.concatenate([a, b]), [(5, 2), (6, 2)]),
    "concatenate with a constant": (lambda a: jnp.concatenate([a, np.ones((2, 3), np.float32)]), [(5, 3)]),
    "stack and split": (lambda a, b: jnp.split(jnp.stack([a, b, a]), [1]), [(5,), (5,)]),
    "broadcast": (lambda a: jnp.broadcast_to(a, (3, 5, 2)), [(5, 1)]),
    "tile": (lambda a: jnp.tile(a, (2, 3)), [(2, 3)]),
    "pad": (lambda a: jnp.pad(a, ((1, 0), (0, 2))), [(3, 4)]),
    "roll": (lambda a: jnp.roll(a, 2, 0), [(5, 2)]),
    "diagonal": (lambda a: jnp.diagonal(a), [(4, 4)]),
    "repeat": (lambda a: jnp.repeat(a, 2, axis=0), [(3, 2)]),
    "scalars": (lambda a, b: (jnp.stack([a, b]), a[None]), [(), ()]),
    "the arguments themselves": (lambda a, b: {"a": a, "rest": (b, [a])}, [(3, 5), ()]),
    "constants": (lambda a: (jnp.arange(6.0), jnp.ones((2, 5)), np.float32(3), a), [(2,)]),
    "scatter": (lambda a, b: a.at[1::2].set(b), [(4, 2), (2, 2)]),
    "where": (lambda a, b: jnp.where(a > b, a, b), [(3, 5), (5,)]),
    "where with a scalar condition": (lambda a, b: jnp.where(b > 0, a, -a), [(3, 5), ()]),
    "select_n with one condition for all": (lambda a, b: lax.select_n(b > 0, a, -a), [(3, 5), ()]),
    "no elements": (
        lambda a: (a[:0], a[:0].sum(0), jnp.concatenate([a[:0], a]), a[:, :0] * 2, (a[:0] > 0).all()),
        [(3, 5)],
    ),
    "sort": (lambda a: jnp.sort(a, 0), [(6, 2)]),
    "argmax": (lambda a: (jnp.argmax(a, -1), jnp.argmax(a), jnp.argmin(a, 0)), [(4, 5)]),
    "argmax, the first of equal ones": (lambda a: jnp.argmax(jnp.round(a), -1), [(3, 7)]),
    "gather": (lambda a, b: a[jnp.argmax(b)], [(3, 5), (3,)]),
    "gather from a constant": (lambda a: jnp.asarray(TABLE)[jnp.argmax(a)], [(5,)]),
    "dynamic slice": (lambda a, b: lax.dynamic_slice(a, (jnp.argmax(b),), (2,)), [(6,), (4,)]),
    "one hot": (lambda a: jax.nn.one_hot(jnp.argmax(a), 4), [(4,)]),
    "maximum": (lambda a: (a.max(), a.max(0), a.min(1), a.max((0, 2)), a.min(-1, keepdims=True)), [(3, 5, 2)]),
    "all and any": (lambda a: ((a > 0).all(0), (a > 0).any(), (a > -1).all((1, 2)), (a > 1).any(1)), [(3, 5, 2)]),
    "bit operations on truth": (lambda a: (~(a > 0) & (a < 1)) | ((a > 2) ^ (a > 1)), [(3, 5)]),
    "comparisons": (lambda a, b: (a == b, a != b, a >= b, a <= b, jnp.isfinite(a), jnp.isnan(a / 0)), [(3,), (3,)]),
}

ARITHMETIC: dict[str, tuple[Function, list[Shape]]] = {
    "elementwise": (lambda a: (jnp.exp(a), jnp.log1p(a * a), jnp.tanh(a), jnp.sqrt(abs(a)), a**3, a / 3), [(3, 5)]),
    "of two": (lambda a, b: (a * b + a / b, jnp.maximum(a, b), jnp.abs(a) ** b, jnp.arctan2(a, b)), [(2, 5), (2, 5)]),
    "broadcasting": (lambda a, b: a[:, None] * b[0] + b.T[:3] + a[0], [(3,), (5, 5)]),
    "broadcasting ones": (lambda a, b: a + b, [(1, 5, 1), (3, 1, 2)]),
    "clip": (lambda a: (jnp.clip(a, -0.5, 0.5), lax.clamp(a.min(), a, a.max())), [(3, 5)]),
    "sigmoid and softmax": (lambda a: (jax.nn.sigmoid(a), jax.nn.softmax(a), jax.nn.logsumexp(a, 0)), [(3, 5)]),
    "sums": (lambda a: (a.sum(), a.sum(0), a.sum(1), a.sum((0, 2)), a.sum(-1, keepdims=True)), [(3, 5, 2)]),
    "sums over long axes": (lambda a: (a.sum(), a.sum(0), a.sum((0, 2)), a.mean(1)), [(6, 2, 5)]),
    "products": (lambda a: (a.prod(), a.prod(0), a.prod(1)), [(3, 5)]),
    "moments": (lambda a: (a.mean(), a.var(0), a.std(), jnp.linalg.norm(a), jnp.linalg.norm(a, axis=1)), [(3, 5)]),
    "cumulative": (lambda a: (jnp.cumsum(a, 0), jnp.cumsum(a, 1), jnp.cumprod(a)), [(3, 5)]),
    "relu": (lambda a: (jax.nn.relu(a), jax.nn.elu(a), jax.nn.leaky_relu(a), jax.nn.gelu(a)), [(3, 5)]),
    "gradient of relu and elu": (jax.grad(lambda a: jnp.sum(jax.nn.relu(a) * jax.nn.elu(a))), [(3, 5)]),
    "einsum": (lambda a, b, c: jnp.einsum("ij,jkl,l->ik", a, b, c), [(3, 5), (5, 2, 6), (6,)]),
    "outer": (lambda a, b: (jnp.outer(a, b), jnp.vdot(a, a), jnp.tensordot(b, b, 1)), [(3,), (6,)]),
    "matrix power": (lambda a: a @ a @ a, [(2, 2)]),
    "inverse": (lambda a: jnp.linalg.inv(a + 3 * jnp.eye(3)), [(3, 3)]),
    "data on the left": (lambda w, b: jnp.asarray(DATA) @ w.T + b, [(2, 2), (2,)]),
    "data on the right": (lambda w: w @ jnp.asarray(DATA).T, [(5, 2)]),
    "a zero and a one among the data": (lambda w: jnp.array([[0.0, 1.0, -1.0, 2.0]]) @ w, [(4, 5)]),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_moves_and_choices(name: str) -> None:
    function, shapes = MOVES[name]
    check(function, *samples(shapes), exact=True)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name: str) -> None:
    function, shapes = ARITHMETIC[name]
    check(function, *samples(shapes))


IN_FLOAT64 = ["maximum", "broadcasting", "sums"]
LONG_TO_COMPILE = ["transpose, long axes turn", "einsum", "moments"]


@pytest.mark.parametrize(
    "name", [*IN_FLOAT64, *(pytest.param(name, marks=pytest.mark.full) for name in LONG_TO_COMPILE)]
)
def test_float64(name: str) -> None:
    function, shapes = (MOVES | ARITHMETIC)[name]
    with jax.enable_x64(True):
        arrays = samples(shapes, np.float64)
        assert jax.tree.leaves(narrow(function)(*arrays))[0].dtype == np.float64
        check(function, *arrays)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int8, np.bool_, np.float16, jnp.bfloat16])
def test_other_types(dtype: Any) -> None:
    a, b = (jnp.asarray(np.arange(15 * i, 15 * i + 30).reshape(LANES, 2, 3) % 7).astype(dtype) for i in (0, 1))

    def function(a: Array, b: Array) -> Any:
        return a | b if a.dtype == bool else a * b + a, a.max(0), a.astype(jnp.float32) @ b.T.astype(jnp.float32)

    check(function, a, b, exact=True)
    if jnp.issubdtype(dtype, jnp.integer):
        check(lambda a, b: (a @ b.T, a // (b + 1), a % (b + 1), a.sum(), a << 1, a >> 1, a & b), a, b)


# Short axes have up to four places; larger sizes take longer to compile.
PRODUCTS = [(1, 1), (1, 7), (4, 4), (5, 1), (5, 4)]
MORE_PRODUCTS = [(1, 4), (4, 1), (4, 7), (5, 7)]


@pytest.mark.parametrize(
    ("rows", "middle"), [*PRODUCTS, *(pytest.param(*sizes, marks=pytest.mark.full) for sizes in MORE_PRODUCTS)]
)
def test_matrix_products(rows: int, middle: int) -> None:
    def function(a: Array, b: Array, c: Array, d: Array) -> Any:
        return a @ b, a @ c, c @ b, jnp.vdot(c, c), d @ b

    check(function, *samples([(rows, middle), (middle, 3), (middle,), (2, rows, middle)]))


@pytest.mark.parametrize("batch", [1, 4, 5, *(pytest.param(size, marks=pytest.mark.full) for size in (2, 7))])
def test_batched_matrix_products(batch: int) -> None:
    shapes = [(batch, 2, 5), (batch, 5, 3), (batch, 5), (5, batch)]
    check(lambda a, b, c, d: (a @ b, jnp.einsum("bij,bj->bi", a, c), jnp.einsum("bij,jb->ib", a, d)), *samples(shapes))


def dimensions(draw: st.DrawFn, dims: int) -> Shape:
    return tuple(draw(st.lists(st.integers(1, 6), min_size=dims, max_size=dims)))


@st.composite
def contractions(draw: st.DrawFn) -> tuple[str, list[Shape]]:
    """Any contraction of two arrays without a repeated letter in one of them."""
    sizes = dict(zip("abcde", dimensions(draw, 5), strict=True))
    subsets = st.lists(st.sampled_from("abcde"), max_size=3, unique=True)
    left, right = draw(subsets), draw(subsets)
    out = draw(st.lists(st.sampled_from(sorted({*left, *right})), unique=True) if left or right else st.just([]))
    spec = f"{''.join(left)},{''.join(right)}->{''.join(out)}"
    return spec, [tuple(sizes[letter] for letter in letters) for letters in (left, right)]


@settings(max_examples=5, deadline=None)
@given(contractions(), st.integers(1, 6))
def test_any_contraction(contraction: tuple[str, list[Shape]], lanes: int) -> None:
    spec, shapes = contraction
    check(lambda a, b: jnp.einsum(spec, a, b), *samples(shapes, lanes=lanes))


@st.composite
def rearrangements(draw: st.DrawFn) -> tuple[Shape, tuple[int, ...], Shape, tuple[slice, ...]]:
    shape = dimensions(draw, 3)
    order = tuple(draw(st.permutations(range(3))))
    turned = [shape[axis] for axis in order]
    target = draw(st.sampled_from([(-1,), (turned[0], -1), (-1, turned[2]), (1, *turned), (turned[0], 1, -1)]))
    cuts = tuple(slice(draw(st.integers(0, n - 1)), None, draw(st.integers(1, 3))) for n in shape)
    return shape, order, target, cuts


@settings(max_examples=5, deadline=None)
@given(rearrangements())
def test_any_rearrangement(case: tuple[Shape, tuple[int, ...], Shape, tuple[slice, ...]]) -> None:
    shape, order, target, cuts = case
    check(
        lambda a: (a.transpose(order).reshape(target), a[cuts].sum(0), a[cuts]), *samples([shape]), exact=shape[0] == 1
    )


@pytest.mark.parametrize("hidden", [2, 8])
@pytest.mark.parametrize("x64", [False, True])
def test_gradient_of_a_net(hidden: int, x64: bool) -> None:
    targets = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)

    def loss(params: dict[str, Array]) -> Array:
        h = jax.nn.relu(jnp.asarray(DATA) @ params["w"].T + params["b"])
        return jnp.mean((h @ params["v"].T + params["c"] - targets) ** 2)

    with jax.enable_x64(x64):
        shapes = {"w": (hidden, 2), "b": (hidden,), "v": (2, hidden), "c": (2,)}
        arrays = samples(list(shapes.values()), np.float64 if x64 else np.float32)
        check(jax.value_and_grad(loss), dict(zip(shapes, arrays, strict=True)))


def test_a_small_net_needs_nothing_but_elementwise_work() -> None:
    def loss(w: Array, b: Array) -> Array:
        return jnp.mean((jax.nn.relu(jnp.asarray(DATA) @ w.T + b).sum(-1) - np.array([0, 1, 1, 0])) ** 2)

    gradient = jax.grad(loss, (0, 1))
    shapes = samples([(2, 2), (2,)])
    versions = joined(gradient), jax.vmap(gradient)
    names = [{equation.primitive.name for equation in jax.make_jaxpr(f)(*shapes).eqns} for f in versions]
    costly = {"dot_general", "reduce_sum", "transpose", "gather", "jit", "pjit"}
    assert not names[0] & costly
    assert names[1] & costly


def test_loops_and_branches() -> None:
    def function(a: Array, b: Array) -> Any:
        doubled = lax.while_loop(lambda c: jnp.sum(c[1]) < 40, lambda c: (c[0] + 1, 2 * c[1]), (0, jnp.abs(a)))
        branch = lax.cond(a[0, 0] > b[0], lambda x: x + 1, lambda x: x * 2, b)
        total, path = lax.scan(lambda c, x: (c + x @ x, c), b[0], a)
        folded = lax.fori_loop(0, 4, lambda i, c: c.at[i].add(b[0]), jnp.zeros(6))
        chosen = lax.switch(jnp.argmax(b), [lambda: 1.0, lambda: 2.0, lambda: 4.0])
        return doubled, branch, total, path, folded, chosen

    check(function, *samples([(2, 5), (3,)]))


def test_calls_inside() -> None:
    @jax.custom_jvp
    def cube(x: Array) -> Array:
        return x * x * x

    cube.defjvp(lambda primals, tangents: (cube(primals[0]), 7 * tangents[0]))

    @jax.custom_vjp
    def square(x: Array) -> Array:
        return x * x

    square.defvjp(lambda x: (square(x), None), lambda _, g: (11 * g,))

    def function(a: Array) -> Any:
        slopes = jax.grad(lambda x: jnp.sum(cube(x) + square(x)))(a)
        return (
            cube(a),
            square(a),
            slopes,
            jax.jit(lambda x: x @ x.T)(a),
            jax.checkpoint(jnp.sin)(a),
            jax.vmap(jnp.dot)(a, a),
        )

    arrays = samples([(2, 5)])
    check(function, *arrays)
    assert_array_equal(narrow(function)(*arrays)[2], np.full((LANES, 2, 5), 18))


def test_random_keys() -> None:
    """Each lane has its own key; a key that a function makes itself is the same in all."""
    data = jax.vmap(lambda seed: jax.random.key_data(jax.random.key(seed)))(jnp.arange(LANES))

    def function(data: Array, step: Array) -> Any:
        key = jax.random.fold_in(jax.random.wrap_key_data(data), step)
        one, other = jax.random.split(key)
        return (
            jax.random.key_data(key), jax.random.key_data(other), jax.random.normal(one, (2, 5)),
            jax.random.uniform(jax.random.key(3), (6,)),
        )  # fmt: skip

    check(function, data, jnp.arange(LANES), exact=True)


def test_keys_in_loops_are_of_their_own_generator_whatever_the_default() -> None:
    """A loop stays an operation on whole arrays, which takes keys and not their data."""
    data = jax.random.key_data(jax.random.split(jax.random.key(11, impl="threefry2x32"), LANES))

    def draws(data: Array) -> Array:
        key = jax.random.wrap_key_data(data, impl="threefry2x32")
        return lax.fori_loop(0, 3, lambda i, total: total + jax.random.uniform(jax.random.fold_in(key, i)), 0.0)

    expected = jax.vmap(draws)(data)
    with jax.default_prng_impl("rbg"):
        assert_array_equal(compiled(joined(draws))(data), expected)


def test_closures() -> None:
    constant = jnp.asarray(TABLE)
    key = jax.random.key(5)

    def function(a: Array) -> Any:
        return a * constant + TABLE, a @ np.eye(5, dtype=np.float32), a + jax.random.normal(key, (5,)), constant

    check(function, *samples([(3, 5)]))


@pytest.mark.parametrize("shape", [(), (3,), (5,), (2, 6)])
def test_closed_over_values_of_an_outer_trace(shape: Shape) -> None:
    outer = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)
    a = samples([(3,)])[0]

    def inner(scale: Array) -> Function:
        return lambda x: (jnp.sum(x) * scale, scale)

    ours = jax.jit(lambda a, c: joined(inner(c))(a))(a, outer)
    theirs = jax.jit(lambda a, c: jax.vmap(inner(c))(a))(a, outer)
    for one, other in zip(ours, theirs, strict=True):
        assert_allclose(one, other, 3e-6)


def test_many_and_few_lanes() -> None:
    for lanes in (1, 2, 4, 1000):
        check(lambda a, b: (a @ b, a.sum(), jnp.arange(3.0)), *samples([(3, 5), (5, 2)], lanes=lanes))


def test_lanes_do_not_see_each_other() -> None:
    a = samples([(3, 5)])[0].at[2].set(jnp.nan)
    result = np.asarray(narrow(lambda a: (a @ a.T).sum() + a.max())(a))
    assert np.isnan(result).tolist() == [lane == 2 for lane in range(LANES)]


def test_sums_over_short_axes_are_taken_in_pairs() -> None:
    """What lies symmetrically cancels exactly; from left to right it would not."""
    a, b = samples([(), ()], lanes=1000)
    from_left = ((np.asarray(a) + np.asarray(b)) - np.asarray(b)) - np.asarray(a)
    assert np.count_nonzero(from_left) > 100

    def function(a: Array, b: Array) -> Any:
        terms = jnp.stack([a, b, -b, -a])
        grid = jnp.stack([terms, -2 * terms])
        return terms.sum(), jnp.mean(terms), jnp.ones(4) @ terms, terms @ jnp.full(4, 0.7), grid.sum(1), grid.sum()

    for total in jax.tree.leaves(narrow(function)(a, b)):
        assert_array_equal(total, np.zeros(total.shape))


def test_a_sum_of_three_is_the_first_two_and_the_third() -> None:
    a = samples([(3,)], lanes=1000)[0] * jnp.array([1, 1e-4, 1e4])
    x = np.asarray(a).T
    assert np.any(x[0] + (x[1] + x[2]) != (x[0] + x[1]) + x[2])
    assert_array_equal(narrow(jnp.sum)(a), (x[0] + x[1]) + x[2])


@pytest.mark.parametrize("layout", [NARROW, WIDE], ids=lambda layout: layout.name)
def test_take_chooses_lanes(layout: Any) -> None:
    a, b = samples([(3, 2), ()])
    taken = layout.take(layout.split({"a": a, "b": b}), jnp.array([4, 0, 0]))
    assert_array_equal(taken["a"], a[jnp.array([4, 0, 0])])
    assert_array_equal(taken["b"], b[jnp.array([4, 0, 0])])


def test_the_wide_layout_is_vmap() -> None:
    a = samples([(3, 5)])[0]
    for one, other in zip(
        WIDE.batch(lambda a: (a @ a.T, a.sum()))(a), jax.vmap(lambda a: (a @ a.T, a.sum()))(a), strict=True
    ):
        assert_array_equal(one, other)


# What is done to constants while a program is made


def constant(dtype: Any) -> Any:
    """Numbers at the ends of a type, and what is no number."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.array([0, 1, 2, 31, 32, info.max, info.min, info.max - 1], dtype)
    return np.array([0, -0.0, 1, -1.5, np.inf, -np.inf, np.nan, 1e37], dtype)


ANY = [lax.add, lax.sub, lax.mul, lax.eq, lax.ne, lax.lt, lax.le, lax.gt, lax.ge]
BITS = [lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor, lax.shift_right_logical]
ON_CONSTANTS = [
    *((operation, dtype) for operation in [*ANY, lax.div] for dtype in (np.float32, np.float64)),
    *((operation, dtype) for operation in [*ANY, *BITS] for dtype in (np.int32, np.uint32)),
]


@pytest.mark.parametrize(("operation", "dtype"), ON_CONSTANTS, ids=lambda value: value.__name__)
def test_constants_are_what_jax_makes_of_them(operation: Function, dtype: Any) -> None:
    with jax.enable_x64(dtype is np.float64):
        left, right = (grid.ravel() for grid in np.meshgrid(constant(dtype), constant(dtype)))
        closed = jax.make_jaxpr(operation)(left, right)
        found = on_constants(closed.eqns[0], [left, right], closed.out_avals)
        assert found is not None
        assert found[0].dtype == closed.out_avals[0].dtype
        assert_array_equal(found[0], operation(jnp.asarray(left), jnp.asarray(right)))


@pytest.mark.parametrize(
    ("operation", "operand"),
    [
        (lambda a: lax.argmax(a, 0, np.int32), constant(np.float32)),
        (lambda a: lax.convert_element_type(a, np.float32), constant(np.int32)),
        (lambda a: lax.convert_element_type(a, np.int32), np.array([True, False])),
        (lambda a: lax.broadcast_in_dim(a, (3, 8), (1,)), constant(np.float32)),
        (lambda a: lax.slice(a, (1,), (7,), (2,)), constant(np.int32)),
    ],
)
def test_other_operations_on_constants(operation: Function, operand: Any) -> None:
    closed = jax.make_jaxpr(operation)(operand)
    found = on_constants(closed.eqns[0], [operand], closed.out_avals)
    assert found is not None
    assert_array_equal(found[0], operation(operand))


def test_what_numpy_does_otherwise_is_left_to_jax() -> None:
    for function in (jnp.exp, lambda a: lax.convert_element_type(a, np.int32)):
        operand = constant(np.float32)
        closed = jax.make_jaxpr(function)(operand)
        assert on_constants(closed.eqns[0], [operand], closed.out_avals) is None


@pytest.mark.parametrize("count", [3, 8, 9, 50])
def test_random_numbers_are_those_of_jax(count: int) -> None:
    keys = jax.random.key_data(jax.random.split(jax.random.key(7), 32))

    def draw(data: Array) -> Array:
        return jax.random.bits(jax.random.wrap_key_data(data), (count,))

    check(draw, keys, exact=True)
