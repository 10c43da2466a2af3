"""Operations on one seed's arrays, taken apart into their numbers.

An array of one seed is a NumPy array of objects, each of which is a number of the lane or one that all lanes share.
Moving numbers about is then NumPy's own business and costs nothing; arithmetic is done number by number.

Sums are taken in pairs, ``(a + b) + (c + d)``. Over the four points of centred XOR opposite terms then cancel exactly,
as in real arithmetic; an optimizer such as Adam would blow up what is left otherwise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

Numbers = np.ndarray[Any, Any]
"""An array of one seed: of objects, or of plain numbers that all lanes share."""


def objects(shape: Sequence[int], items: Iterable[Any]) -> Numbers:
    """An array of objects; NumPy's own constructors would look into the objects."""
    array = np.empty(math.prod(shape), object)
    for place, item in enumerate(items):
        array[place] = item
    return array.reshape(shape)


_Rule = Callable[[Any, list[Numbers], list[jax.ShapeDtypeStruct]], list[Numbers]]


def _elementwise(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
    bind = functools.partial(equation.primitive.bind, **equation.params)
    wide = [np.broadcast_to(operand, avals[0].shape) for operand in operands]
    return [objects(avals[0].shape, (bind(*row) for row in zip(*(array.flat for array in wide), strict=True)))]


def _mul(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
    a, b = (np.broadcast_to(operand, avals[0].shape) for operand in operands)
    return [objects(avals[0].shape, map(_times, a.flat, b.flat))]


def _times(a: Any, b: Any) -> Any:
    """A product in which factors 1 and -1 of the data cost nothing."""
    for factor, other in ((a, b), (b, a)):
        if isinstance(factor, np.generic) and not isinstance(other, np.generic) and abs(factor) == 1:  # type: ignore[arg-type]
            return other if factor == 1 else -other
    return lax.mul(a, b)


def _in_pairs(combine: Callable[[Any, Any], Any], terms: list[Any]) -> Any:
    while len(terms) > 1:
        pairs = [combine(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) // 2 * 2 :]
    return terms[0]


def _reduce(combine: Callable[[Any, Any], Any], identity: Callable[[Any], Any]) -> _Rule:
    def rule(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
        axes = equation.params["axes"]
        last = np.moveaxis(operands[0], axes, range(-len(axes), 0)) if axes else operands[0][..., None]
        rows = last.reshape(*avals[0].shape, -1)
        if rows.shape[-1] == 0:
            return [objects(avals[0].shape, [identity(avals[0].dtype)] * math.prod(avals[0].shape))]
        return [objects(avals[0].shape, (_in_pairs(combine, list(rows[i])) for i in np.ndindex(*avals[0].shape)))]

    return rule


def _dot(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
    """A contraction as sums of products."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.params["dimension_numbers"]

    def arranged(array: Numbers, batch: Sequence[int], summed: Sequence[int]) -> Numbers:
        free = [axis for axis in range(array.ndim) if axis not in (*batch, *summed)]
        sizes = [math.prod(array.shape[axis] for axis in axes) for axes in (batch, free, summed)]
        return array.transpose(*batch, *free, *summed).reshape(sizes)

    # Operands may be of two types, such as data in float32 and parameters in float64.
    wide = np.promote_types(*(atom.aval.dtype for atom in equation.invars))
    operands = [objects(operand.shape, (_as_type(number, wide) for number in operand.flat)) for operand in operands]
    left, right = arranged(operands[0], left_batch, left_sum), arranged(operands[1], right_batch, right_sum)
    dtype = avals[0].dtype
    sums = (
        _in_pairs(lax.add, [_times(a, b) for a, b in zip(left[i, j], right[i, k], strict=True)])
        if left.shape[-1] else dtype.type(0)
        for i in range(left.shape[0]) for j in range(left.shape[1]) for k in range(right.shape[1])
    )  # fmt: skip
    return [objects(avals[0].shape, (lax.convert_element_type(number, dtype) for number in sums))]


def _as_type(number: Any, dtype: np.dtype[Any]) -> Any:
    """A number of that type; plain ones stay plain."""
    return dtype.type(number) if isinstance(number, np.generic) else lax.convert_element_type(number, dtype)


def _broadcast(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
    operand, shape = operands[0], avals[0].shape
    axes = list(equation.params["broadcast_dimensions"])
    axes += range(len(shape) - (operand.ndim - len(axes)), len(shape))  # key data has one axis more
    lengths = [1] * len(shape)
    for axis, length in zip(axes, operand.shape, strict=True):
        lengths[axis] = length
    return [np.broadcast_to(operand.reshape(lengths), shape)]


def _slice(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
    starts, ends = equation.params["start_indices"], equation.params["limit_indices"]
    strides = equation.params["strides"] or (1,) * len(starts)
    return [operands[0][tuple(map(slice, starts, ends, strides))]]


def _pad(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
    array, value = operands
    padded = objects(avals[0].shape, [value[()]] * math.prod(avals[0].shape))
    config = equation.params["padding_config"]
    places = tuple(
        slice(low, low + (n - 1) * (step + 1) + 1 if n else low, step + 1)
        for (low, _, step), n in zip(config, array.shape, strict=True)
    )
    padded[places] = array
    return [padded]


def _threefry(equation: Any, operands: list[Numbers], avals: list[Any]) -> list[Numbers]:
    rows = zip(*(np.broadcast_to(operand, avals[0].shape).flat for operand in operands), strict=True)
    hashed = [threefry(*(lax.convert_element_type(number, np.uint32) for number in row)) for row in rows]
    return [objects(avals[0].shape, (pair[i] for pair in hashed)) for i in (0, 1)]


@jax.jit  # a call is traced and lowered once however often a program hashes; XLA puts it in line
def threefry(key0: Any, key1: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The threefry-2x32 hash with 20 rounds (Salmon et al., SC 2011) of two numbers under two keys, all uint32."""
    keys = (key0, key1, key0 ^ key1 ^ np.uint32(0x1BD11BDA))
    a, b = a + keys[0], b + keys[1]
    for turn in range(5):
        for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[turn % 2]:
            a = a + b
            b = a ^ ((b << np.uint32(distance)) | (b >> np.uint32(32 - distance)))
        a, b = a + keys[(turn + 1) % 3], b + keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return a, b


RULES: dict[str, _Rule] = dict.fromkeys(
    """
    abs add add_any and atan2 bitcast_convert_type cbrt ceil clamp convert_element_type copy cos cosh div eq erf
    erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min ne neg nextafter
    not or pow rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt
    square stop_gradient sub tan tanh xor
    """.split(),
    _elementwise,
) | {
    "mul": _mul,
    "dot_general": _dot,
    "threefry2x32": _threefry,
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "transpose": lambda e, o, s: [o[0].transpose(e.params["permutation"])],
    "reshape": lambda e, o, s: [o[0].reshape(s[0].shape)],
    "squeeze": lambda e, o, s: [np.squeeze(o[0], e.params["dimensions"])],
    "expand_dims": lambda e, o, s: [np.expand_dims(o[0], e.params["dimensions"])],
    "rev": lambda e, o, s: [np.flip(o[0], e.params["dimensions"])],
    "concatenate": lambda e, o, s: [np.concatenate(o, e.params["dimension"])],
    "stack": lambda e, o, s: [np.stack(o, e.params["axis"])],
    "split": lambda e, o, s: np.split(o[0], np.cumsum(e.params["sizes"])[:-1], e.params["axis"]),
    "reduce_sum": _reduce(lax.add, lambda dtype: dtype.type(0)),
    "reduce_prod": _reduce(lax.mul, lambda dtype: dtype.type(1)),
    "reduce_max": _reduce(lax.max, lambda dtype: dtype.type(-np.inf)),
    "reduce_min": _reduce(lax.min, lambda dtype: dtype.type(np.inf)),
    "reduce_and": _reduce(lax.bitwise_and, lambda dtype: dtype.type(True)),
    "reduce_or": _reduce(lax.bitwise_or, lambda dtype: dtype.type(False)),
}  # fmt: skip


# Operations on constants: JAX would compile a program for each one

_MOVING = "broadcast_in_dim slice reshape squeeze expand_dims rev concatenate stack split".split()
_EXACT: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shift_right_logical": lambda a, places: a.view(f"u{a.itemsize}") >> places.view(f"u{places.itemsize}"),
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
"""Operations with one right result: that of real numbers, rounded once."""


def on_constants(equation: Any, operands: list[Numbers], avals: list[jax.ShapeDtypeStruct]) -> list[Numbers] | None:
    """The results of an operation on plain numbers; None where NumPy's might differ from XLA's.

    They differ for numbers below the smallest normal one, too, but those are 0 to XLA:CPU wherever it meets them.
    """
    name, shape, dtype = equation.primitive.name, avals[0].shape, avals[0].dtype
    kinds = {operand.dtype.kind for operand in operands}
    if name in _MOVING:
        return RULES[name](equation, operands, avals)
    if name == "iota_2x32_shape":  # the counters that threefry hashes
        return [np.zeros(shape, np.uint32), np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)]
    if name == "argmax":
        return [operands[0].argmax(equation.params["axes"][0]).astype(dtype)]
    with np.errstate(all="ignore"):
        if name == "convert_element_type" and kinds <= set("biuf") and (dtype.kind == "f" or "f" not in kinds):
            return [operands[0].astype(dtype)]
        if name in _EXACT and kinds <= set("biuf") and (name != "div" or kinds == {"f"}):
            return [np.asarray(_EXACT[name](*operands), dtype)]
    return None
