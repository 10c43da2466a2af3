"""How lanes lie in memory: the one place that knows.

Models, rules and steps are written for one seed. A `Layout` turns such a function into one of many lanes.

``wide``
    Lanes first and plain `jax.vmap`: matrix products become batched matrix products. For large models.
``narrow``
    Lanes last. A small array of one seed is taken apart into its elements, each a vector over the lanes, so that XLA
    sees nothing but elementwise work on long vectors: axes of up to `UNROLL` elements are unrolled in Python, longer
    ones stay as leading axes. Data and other constants are folded in, small contractions become sums of products.
    For models of a few dozen parameters this is five to ten times as fast as `vmap` over a leading axis.

Sums over unrolled axes are taken in pairs, ``(a + b) + (c + d)``. Over the four points of centred XOR opposite
terms then cancel exactly, as in real arithmetic; an optimizer such as Adam would blow up what is left otherwise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

UNROLL = 4
"""Longest axis that is unrolled. Longer sums are reduces, whose terms XLA computes once instead of once per use."""

NARROW_PARAMETERS = 256
"""Models with more parameters are laid out wide."""


@dataclass(frozen=True)
class Layout:
    """A layout of lanes; `axis` is where they lie in every array."""

    name: str
    axis: int

    def batch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one seed as a function of many lanes (of pytrees whose arrays have lanes at `axis`)."""
        return _lanes_last(function) if self.axis == -1 else jax.vmap(function)

    def select(self, mask: Array, chosen: Any, other: Any) -> Any:
        """`chosen` in the lanes of the mask and `other` elsewhere, for pytrees."""

        def pick(a: Array, b: Array) -> Array:
            return jnp.where(mask if self.axis == -1 else mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

        return jax.tree.map(pick, chosen, other)


NARROW = Layout("narrow", -1)
WIDE = Layout("wide", 0)


def layout_for(parameters: int) -> Layout:
    """The layout for a model of so many parameters."""
    return NARROW if parameters <= NARROW_PARAMETERS else WIDE


def materialize(values: Array, one: Array) -> Array:
    """The same values, computed once.

    XLA:CPU fuses cheap arithmetic into each of its consumers and so repeats it for each; it never repeats a division.
    `one` is a 1 that the compiler cannot see. (Measured, relu1 with Adam: twice as fast.)
    """
    return values / one


class _Spread:
    """A per-seed array taken apart: the elements along its unrolled axes, in C order.

    A part is an array over the kept axes: ``(*kept, lanes)``, or a NumPy array ``(*kept,)`` that all lanes share.
    """

    __slots__ = ("parts", "shape")

    def __init__(self, shape: Sequence[int], parts: Sequence[Any]) -> None:
        self.shape = tuple(shape)
        self.parts = list(parts)

    @property
    def grid(self) -> np.ndarray[Any, Any]:
        """Numbers of the parts, arranged along the unrolled axes."""
        return np.arange(len(self.parts)).reshape(_lengths(self.shape, _unrolled(self.shape)))

    @property
    def constant(self) -> bool:
        return all(map(_shared, self.parts))


def _unrolled(shape: Sequence[int]) -> list[int]:
    return [axis for axis, length in enumerate(shape) if 0 < length <= UNROLL]


def _kept(shape: Sequence[int]) -> list[int]:
    return [axis for axis, length in enumerate(shape) if not 0 < length <= UNROLL]


def _lengths(shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    return [shape[axis] for axis in axes]


def _shared(part: Any) -> bool:
    return isinstance(part, np.ndarray | np.generic)


def _split(array: Any, shape: Sequence[int]) -> _Spread:
    """An array ``(*shape, lanes)``, or a NumPy array of that shape without lanes, taken apart."""
    unrolled = _unrolled(shape)
    parts = []
    for index in np.ndindex(*_lengths(shape, unrolled)):
        at = dict(zip(unrolled, index, strict=True))
        parts.append(array[tuple(at.get(axis, slice(None)) for axis in range(len(shape)))] if shape else array)
    return _Spread(shape, parts)


def _in_lanes(part: Any, kept: Sequence[int], lanes: int) -> Array:
    """A part as an array over lanes."""
    if _shared(part):
        return jnp.broadcast_to(jnp.asarray(part)[..., None], (*kept, lanes))
    return part


def _join(spread: _Spread, lanes: int) -> Array:
    """The array ``(*shape, lanes)`` put together again."""
    unrolled, kept = _unrolled(spread.shape), _kept(spread.shape)
    parts = [_in_lanes(part, _lengths(spread.shape, kept), lanes) for part in spread.parts]
    if not unrolled:
        return parts[0]
    stacked = jnp.stack(parts).reshape((*_lengths(spread.shape, unrolled), *parts[0].shape))
    return jnp.moveaxis(stacked, range(len(spread.shape)), [*unrolled, *kept])


def _lanes_last(function: Callable[..., Any]) -> Callable[..., Any]:
    def batched(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        lanes = leaves[0].shape[-1]
        shapes = [jax.ShapeDtypeStruct(leaf.shape[:-1], leaf.dtype) for leaf in leaves]
        closed, out = jax.make_jaxpr(lambda *flat: function(*jax.tree.unflatten(tree, flat)), return_shape=True)(
            *shapes
        )
        spreads = [_split(leaf, shape.shape) for leaf, shape in zip(leaves, shapes, strict=True)]
        results = _evaluate(closed, spreads, lanes)
        return jax.tree.unflatten(jax.tree.structure(out), [_join(result, lanes) for result in results])

    return batched


def _constant(value: Any, lanes: int) -> _Spread:
    """A constant of the traced function; one that is itself being traced, or is a key, is repeated over the lanes."""
    if isinstance(value, Tracer) or jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return _split(jnp.broadcast_to(value[..., None], (*value.shape, lanes)), value.shape)
    return _split(np.asarray(value), value.shape)


def _evaluate(closed: ClosedJaxpr, arguments: Sequence[_Spread], lanes: int) -> list[_Spread]:
    jaxpr: Jaxpr = closed.jaxpr
    values: dict[Any, _Spread] = dict(zip(jaxpr.invars, arguments, strict=True))
    values |= {var: _constant(const, lanes) for var, const in zip(jaxpr.constvars, closed.consts, strict=True)}

    def read(atom: Any) -> _Spread:
        if isinstance(atom, Literal):
            literal: Any = atom
            return _split(np.asarray(literal.val, literal.aval.dtype), literal.aval.shape)
        return values[atom]

    for equation in jaxpr.eqns:
        results = _apply(equation, [read(atom) for atom in equation.invars], lanes)
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: JaxprEqn, operands: list[_Spread], lanes: int) -> list[_Spread]:
    name, params = equation.primitive.name, equation.params
    shapes = [_aval(var).shape for var in equation.outvars]
    if name in _CALLS:
        inner = params[_CALLS[name]]
        return _evaluate(inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ()), operands, lanes)
    if all(operand.constant for operand in operands) and not _has_keys(equation):
        return _fold(equation, operands)
    if name in _ELEMENTWISE:
        return [_elementwise(lambda *parts: equation.primitive.bind(*parts, **params), operands, shapes[0], lanes)]
    if name in _RULES:
        result = _RULES[name](operands, params, shapes[0], lanes)
        if result is not None:
            return [result]
    return _by_vmap(equation, operands, shapes, lanes)


_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}

_ELEMENTWISE = frozenset(
    """
    abs add add_any and atan2 cbrt ceil clamp convert_element_type copy cos cosh div eq erf erf_inv erfc
    exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg
    nextafter not or pow rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical
    sign sin sinh sqrt square stop_gradient sub tan tanh xor
    """.split()
)


def _has_keys(equation: JaxprEqn) -> bool:
    return any(jnp.issubdtype(_aval(var).dtype, jax.dtypes.extended) for var in equation.outvars)


def _aval(atom: Any) -> Any:
    """Shape and type of a variable of the traced function."""
    return atom.aval


def _fold(equation: JaxprEqn, operands: list[_Spread]) -> list[_Spread]:
    """An operation on constants, done now."""
    with jax.ensure_compile_time_eval():
        arguments = [jnp.asarray(_assemble(operand)) for operand in operands]
        results = equation.primitive.bind(*arguments, **equation.params)
    results = results if equation.primitive.multiple_results else [results]
    return [_split(np.asarray(result), result.shape) for result in results]


def _assemble(spread: _Spread) -> np.ndarray[Any, Any]:
    kept = _lengths(spread.shape, _kept(spread.shape))
    stacked = np.stack([np.broadcast_to(part, kept) for part in spread.parts])
    stacked = stacked.reshape((*_lengths(spread.shape, _unrolled(spread.shape)), *kept))
    return np.moveaxis(stacked, range(len(spread.shape)), [*_unrolled(spread.shape), *_kept(spread.shape)])


def _by_vmap(equation: JaxprEqn, operands: list[_Spread], shapes: list[Any], lanes: int) -> list[_Spread]:
    """Any other operation, on whole arrays."""
    bind = functools.partial(equation.primitive.bind, **equation.params)
    results = jax.vmap(bind, in_axes=-1, out_axes=-1)(*(_join(operand, lanes) for operand in operands))
    results = results if equation.primitive.multiple_results else [results]
    return [_split(result, shape) for result, shape in zip(results, shapes, strict=True)]


def _elementwise(function: Callable[..., Any], operands: list[_Spread], shape: Sequence[int], lanes: int) -> _Spread:
    kept = _lengths(shape, _kept(shape))
    rows = zip(
        *(_broadcast(operand, shape, range(len(operand.shape)), lanes).parts for operand in operands), strict=True
    )
    return _Spread(shape, [function(*(_in_lanes(part, kept, lanes) for part in row)) for row in rows])


def _broadcast(operand: _Spread, shape: Sequence[int], axes: Sequence[int], lanes: int) -> _Spread:
    """Axis i of the operand becomes axis ``axes[i]``; new axes and axes of length 1 are repeated."""
    if operand.shape == tuple(shape):
        return operand
    source, target = _unrolled(operand.shape), _unrolled(shape)
    places = [_kept(shape).index(axes[axis]) for axis in _kept(operand.shape)]
    lengths, grid, parts = _lengths(shape, _kept(shape)), operand.grid, []
    for index in np.ndindex(*_lengths(shape, target)):
        at = dict(zip(target, index, strict=True))
        number = grid[tuple(0 if operand.shape[axis] == 1 else at[axes[axis]] for axis in source)]
        part = operand.parts[int(number)]
        if _shared(part):
            spread_out = [lengths[i] if i in places else 1 for i in range(len(lengths))]
            parts.append(np.broadcast_to(np.reshape(part, spread_out), lengths))
        else:
            parts.append(lax.broadcast_in_dim(part, (*lengths, lanes), (*places, len(lengths))))
    return _Spread(shape, parts)


def _transpose(operand: _Spread, order: Sequence[int]) -> _Spread:
    unrolled, kept = _unrolled(operand.shape), _kept(operand.shape)
    grid = operand.grid.transpose([unrolled.index(axis) for axis in order if axis in unrolled])
    inner = [kept.index(axis) for axis in order if axis in kept]

    def turn(part: Any) -> Any:
        return part if inner == sorted(inner) else part.transpose(inner if _shared(part) else [*inner, len(inner)])

    return _Spread([operand.shape[axis] for axis in order], [turn(operand.parts[int(i)]) for i in grid.ravel()])


def _reshape(operand: _Spread, shape: Sequence[int]) -> _Spread | None:
    """Relabels the parts where their order allows it."""
    without_ones = [[length for length in s if length != 1] for s in (operand.shape, shape)]
    if without_ones[0] == without_ones[1] or not (_kept(operand.shape) or _kept(shape)):
        return _Spread(shape, operand.parts)
    return None


def _slice(operand: _Spread, params: dict[str, Any], shape: Sequence[int], lanes: int) -> _Spread:
    strides = params["strides"] or (1,) * len(shape)
    cuts = [slice(*cut) for cut in zip(params["start_indices"], params["limit_indices"], strides, strict=True)]
    if _kept(operand.shape) == _kept(shape):
        grid = operand.grid[tuple(cuts[axis] for axis in _unrolled(operand.shape))]
        inner = tuple(cuts[axis] for axis in _kept(operand.shape))
        return _Spread(shape, [operand.parts[int(i)][inner] for i in grid.ravel()])
    return _split(_join(operand, lanes)[tuple(cuts)], shape)


def _concatenate(operands: list[_Spread], axis: int, shape: Sequence[int], lanes: int) -> _Spread:
    return _split(lax.concatenate([_join(operand, lanes) for operand in operands], axis), shape)


def _in_pairs(combine: Callable[[Any, Any], Any], terms: list[Any]) -> Any:
    while len(terms) > 1:
        pairs = [combine(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) // 2 * 2 :]
    return terms[0]


def _reduce(operand: _Spread, axes: Sequence[int], shape: Sequence[int], whole: Any, combine: Any) -> _Spread:
    """A reduction: `whole` over kept axes, `combine` in pairs over unrolled ones."""
    kept = [_kept(operand.shape).index(axis) for axis in axes if axis in _kept(operand.shape)]
    unrolled = _unrolled(operand.shape)
    gone = [unrolled.index(axis) for axis in axes if axis in unrolled]
    parts = [whole(part, tuple(kept)) if kept else part for part in operand.parts]
    grid = np.moveaxis(operand.grid, gone, range(-len(gone), 0))
    groups = grid.reshape(-1, math.prod(_lengths(operand.grid.shape, gone)))
    return _Spread(shape, [_in_pairs(combine, [parts[int(i)] for i in group]) for group in groups])


def _multiply(a: Any, b: Any) -> Any:
    """A product in which factors 1 and -1 of the data cost nothing."""
    for factor, other in ((a, b), (b, a)):
        if _shared(factor) and not _shared(other) and factor.ndim == 0 and abs(factor) == 1:
            return other if factor == 1 else -other
    return a * b


def _dot(operands: list[_Spread], params: dict[str, Any], shape: Sequence[int], lanes: int) -> _Spread:
    """A contraction as a sum of products."""
    left, right = operands
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    left_free = [axis for axis in range(len(left.shape)) if axis not in (*left_sum, *left_batch)]
    right_free = [axis for axis in range(len(right.shape)) if axis not in (*right_sum, *right_batch)]
    left, right = (
        _transpose(left, [*left_batch, *left_free, *left_sum]),
        _transpose(right, [*right_batch, *right_free, *right_sum]),
    )
    free, contracted = len(shape), len(left_sum)
    full = [*shape, *left.shape[len(left.shape) - contracted :]]
    summed = list(range(free, free + contracted))
    batch = list(range(len(left_batch)))
    left_axes = [*batch, *range(len(batch), len(batch) + len(left_free)), *summed]
    right_axes = [*batch, *range(len(batch) + len(left_free), free), *summed]
    a, b = _broadcast(left, full, left_axes, lanes), _broadcast(right, full, right_axes, lanes)
    kept = _lengths(full, _kept(full))
    products = [
        _multiply(x, y) if not kept else _in_lanes(x, kept, lanes) * _in_lanes(y, kept, lanes)
        for x, y in zip(a.parts, b.parts, strict=True)
    ]
    return _reduce(_Spread(full, products), summed, shape, lax.reduce_sum, lambda p, q: p + q)


_Rule = Callable[[list[_Spread], dict[str, Any], Sequence[int], int], _Spread | None]

_RULES: dict[str, _Rule] = {
    "broadcast_in_dim": lambda o, p, s, n: _broadcast(o[0], s, p["broadcast_dimensions"], n),
    "transpose": lambda o, p, s, n: _transpose(o[0], p["permutation"]),
    "reshape": lambda o, p, s, n: _reshape(o[0], s) if p["dimensions"] is None else None,
    "squeeze": lambda o, p, s, n: _reshape(o[0], s),
    "concatenate": lambda o, p, s, n: _concatenate(o, p["dimension"], s, n),
    "slice": lambda o, p, s, n: _slice(o[0], p, s, n),
    "dot_general": _dot,
    "reduce_sum": lambda o, p, s, n: _reduce(o[0], p["axes"], s, lax.reduce_sum, lambda a, b: a + b),
    "reduce_max": lambda o, p, s, n: _reduce(o[0], p["axes"], s, lax.reduce_max, lax.max),
    "reduce_min": lambda o, p, s, n: _reduce(o[0], p["axes"], s, lax.reduce_min, lax.min),
    "reduce_and": lambda o, p, s, n: _reduce(o[0], p["axes"], s, lax.reduce_and, lax.bitwise_and),
    "reduce_or": lambda o, p, s, n: _reduce(o[0], p["axes"], s, lax.reduce_or, lax.bitwise_or),
}
