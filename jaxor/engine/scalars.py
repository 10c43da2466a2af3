"""Functions of one seed as scalar programs that run lane by lane.

`in_lanes` traces a function for one seed, takes its arrays apart into numbers, unrolls everything and hands the long
scalar program that comes out to `jaxor.engine.loop`. Operations for which that is impossible (sorting, loops, lookups)
stay operations on whole arrays, between two such programs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.extend.random import threefry_prng_impl

from jaxor.engine.keys import IMPLEMENTATION
from jaxor.engine.loop import lane_loop
from jaxor.engine.operations import RULES, Numbers, objects, on_constants, threefry


@jax.tree_util.register_pytree_node_class
class Split:
    """An array ``(lanes, *shape)`` taken apart: one vector over the lanes for each of a lane's numbers, in C order."""

    __slots__ = ("parts", "shape")

    def __init__(self, shape: Sequence[int], parts: Iterable[Any]) -> None:
        self.shape = tuple(shape)
        self.parts = tuple(parts)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """Vectors and shape, for JAX."""
        return self.parts, self.shape

    @classmethod
    def tree_unflatten(cls, shape: tuple[int, ...], parts: Iterable[Any]) -> Split:
        """The same put together again, for JAX."""
        return cls(shape, parts)


def split(array: Array) -> Split | Array:
    """An array ``(lanes, *shape)`` taken apart; a vector is left alone, and so is an array without elements."""
    if array.ndim == 1 or not array.size:
        return array
    return Split(array.shape[1:], (array[:, *index] for index in np.ndindex(*array.shape[1:])))


def _vectors(node: Any) -> Numbers:
    """An array of one seed's shape, of vectors over the lanes, from a `Split` or any array ``(lanes, ...)``."""
    node = node if isinstance(node, Split) else split(node)
    if isinstance(node, Split):
        return objects(node.shape, node.parts)
    return objects(node.shape[1:], [node] * (node.ndim == 1))


def join(node: Any) -> Array:
    """The array ``(lanes, *shape)`` put together again; arrays are left alone."""
    if not isinstance(node, Split):
        return node
    return jnp.stack(node.parts, axis=-1).reshape(-1, *node.shape)


def in_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one seed as a function of many lanes.

    Arguments are pytrees of `Split` or of arrays ``(lanes, ...)``; in the results every array of a seed is a `Split`,
    and every number a vector. Random keys go in and out as key data.
    """

    def batched(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments, is_leaf=lambda node: isinstance(node, Split))
        leaves = [leaf if isinstance(leaf, Split) else jnp.asarray(leaf) for leaf in leaves]
        avals = [
            jax.ShapeDtypeStruct(leaf.shape, leaf.parts[0].dtype)
            if isinstance(leaf, Split)
            else jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
            for leaf in leaves
        ]
        closed, out = jax.make_jaxpr(lambda *flat: function(*jax.tree.unflatten(tree, flat)), return_shape=True)(*avals)
        values = [_Value(numbers=_vectors(leaf)) for leaf in leaves]
        lanes = len(leaves[0].parts[0] if isinstance(leaves[0], Split) else leaves[0])
        return jax.tree.unflatten(jax.tree.structure(out), _run(closed, values, lanes))

    return batched


# What is computed: a flat list of operations


class _Name:
    """A value of the program that differs from lane to lane."""


_Atom = _Name | Numbers


_FEW_HASHES = 8
"""More hashes of a lane go through a loop over all of them: written out, each would have to be compiled."""


@dataclass(frozen=True, eq=False)
class _Operation:
    """One operation of the program, with its results' shapes and types."""

    equation: Any
    inputs: list[_Atom]
    outputs: list[_Name]
    avals: list[jax.ShapeDtypeStruct]

    @property
    def whole(self) -> bool:
        """Whether it must be done on whole arrays."""
        return self.name not in RULES or (self.hashes and math.prod(self.avals[0].shape) > _FEW_HASHES)

    @property
    def name(self) -> str:
        """Name of the JAX primitive."""
        return self.equation.primitive.name

    @property
    def hashes(self) -> bool:
        """Whether it makes random bits."""
        return self.name == "threefry2x32"


def _list(jaxpr: Jaxpr, consts: Sequence[_Atom], inputs: Sequence[_Atom], into: list[_Operation]) -> list[_Atom]:
    """Append a traced function's operations, calls inlined and those on constants done; its results."""
    known: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))

    def read(atom: Any) -> _Atom:
        return np.asarray(atom.val, _raw(atom).dtype) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        atoms = [read(atom) for atom in equation.invars]
        inner = _inner(equation)
        if inner is not None:
            results = _list(inner.jaxpr, [_plain(const) for const in inner.consts], atoms, into)
        elif any(isinstance(atom, _Name) for atom in atoms):
            results = [_Name() for _ in equation.outvars]
            into.append(_Operation(equation, atoms, results, [_raw(var) for var in equation.outvars]))
        else:
            constants = [atom for atom in atoms if not isinstance(atom, _Name)]
            results = on_constants(equation, constants, list(map(_raw, equation.outvars)))
            if results is None:
                with jax.ensure_compile_time_eval():
                    results = [np.asarray(result) for result in _bind(equation, list(map(jnp.asarray, constants)))]
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}

_RANDOM: dict[str, Callable[[dict[str, Any]], Callable[..., Any]]] = {
    "random_seed": lambda params: threefry_prng_impl.seed,
    "random_wrap": lambda params: lambda data: data,
    "random_unwrap": lambda params: lambda data: data,
    "random_fold_in": lambda params: threefry_prng_impl.fold_in,
    "random_split": lambda params: lambda data: threefry_prng_impl.split(data, params["shape"]),
    "random_bits": lambda params: (
        lambda data: threefry_prng_impl.random_bits(data, params["bit_width"], params["shape"])
    ),
}


def _inner(equation: Any) -> ClosedJaxpr | None:
    """The program behind a call, or behind an operation on random keys, which are their data here."""
    name = equation.primitive.name
    if name in _CALLS:
        inner = equation.params[_CALLS[name]]
        return inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
    if name in _RANDOM:
        return jax.make_jaxpr(_RANDOM[name](equation.params))(*map(_raw, equation.invars))
    return None


def _plain(const: Any) -> Numbers:
    """A constant; of a key its data."""
    with jax.ensure_compile_time_eval():
        return np.asarray(jax.random.key_data(const) if jnp.issubdtype(const.dtype, jax.dtypes.prng_key) else const)


def _is_key(atom: Any) -> bool:
    return jnp.issubdtype(atom.aval.dtype, jax.dtypes.prng_key)


def _raw(atom: Any) -> jax.ShapeDtypeStruct:
    """Shape and type of a value of a jaxpr; of a key's data if it is a key."""
    if _is_key(atom):
        return jax.ShapeDtypeStruct((*atom.aval.shape, 2), np.uint32)
    return jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)


def _bind(equation: Any, arrays: Sequence[Any]) -> list[Array]:
    """The operation itself, on whole arrays of one seed, from and to key data."""
    arguments = [
        jax.random.wrap_key_data(array, impl=IMPLEMENTATION) if _is_key(atom) else array
        for array, atom in zip(arrays, equation.invars, strict=True)
    ]
    results = equation.primitive.bind(*arguments, **equation.params)
    results = results if equation.primitive.multiple_results else [results]
    return [
        jax.random.key_data(result) if _is_key(var) else result
        for result, var in zip(results, equation.outvars, strict=True)
    ]


def _needed(operations: Sequence[_Operation], results: Sequence[_Atom]) -> list[_Operation]:
    """The operations that have a part in the results."""
    wanted, kept = set(map(id, results)), []
    for operation in reversed(operations):
        if any(id(name) in wanted for name in operation.outputs):
            wanted.update(map(id, operation.inputs))
            kept.append(operation)
    return kept[::-1]


# How it is computed: whole arrays and loops over lanes in turn


class _Value:
    """What a name stands for: an array over the lanes, or an array of vectors; each made from the other when asked."""

    def __init__(self, array: Array | None = None, numbers: Numbers | None = None) -> None:
        self._array = array
        self._numbers = numbers

    @property
    def array(self) -> Array:
        """The array ``(lanes, *shape)``."""
        if self._array is None:
            assert self._numbers is not None  # noqa: S101 (one of the two is there)
            self._array = jnp.stack([*self._numbers.flat], axis=-1).reshape(-1, *self._numbers.shape)
        return self._array

    @property
    def numbers(self) -> Numbers:
        """An array of the seed's shape whose elements are vectors over the lanes."""
        if self._numbers is None:
            assert self._array is not None  # noqa: S101 (one of the two is there)
            self._numbers = _vectors(self._array)
        return self._numbers


def _run(closed: ClosedJaxpr, inputs: Sequence[_Value], lanes: int) -> list[Any]:
    """A traced function of one seed, in all lanes."""
    traced = [const for const in closed.consts if isinstance(const, Tracer)]
    repeated = [_Value(jnp.broadcast_to(const, (lanes, *const.shape))) for const in traced]
    names = {id(const): _Name() for const in traced}
    values = dict(zip([*(own := [_Name() for _ in inputs]), *names.values()], [*inputs, *repeated], strict=True))
    operations: list[_Operation] = []
    consts = [names[id(const)] if isinstance(const, Tracer) else _plain(const) for const in closed.consts]
    results = _list(closed.jaxpr, consts, own, operations)
    operations = _needed(operations, results)
    for group in _groups(operations):
        if group[0].whole:
            for operation in group:
                values.update(zip(operation.outputs, _on_arrays(operation, values), strict=True))
        else:
            wanted = {id(atom) for other in operations if other not in group for atom in other.inputs}
            wanted |= set(map(id, results))
            values.update(_on_numbers(group, [n for o in group for n in o.outputs if id(n) in wanted], values))
    return [_apart(result, aval, values, lanes) for result, aval in zip(results, closed.out_avals, strict=True)]


def _apart(result: _Atom, aval: Any, values: dict[_Name, _Value], lanes: int) -> Split | Array:
    """A result as `in_lanes` gives it."""
    if not math.prod(aval.shape):
        return jnp.zeros((lanes, *aval.shape), aval.dtype)
    if isinstance(result, _Name):
        numbers = values[result].numbers
    else:
        numbers = objects(result.shape, (jnp.full(lanes, number) for number in result.flat))
    return Split(numbers.shape, numbers.flat) if numbers.shape else numbers.item()


def _groups(operations: Sequence[_Operation]) -> list[list[_Operation]]:
    """Operations that can be done together, in their order: as early as possible, even rounds for whole arrays."""
    rounds: defaultdict[int, list[_Operation]] = defaultdict(list)
    done: dict[int, int] = {}
    for operation in operations:
        number = max((done.get(id(atom), 0) for atom in operation.inputs), default=0)
        number += number % 2 == operation.whole
        rounds[number].append(operation)
        done.update((id(name), number) for name in operation.outputs)
    return [rounds[number] for number in sorted(rounds)]


def _on_arrays(operation: _Operation, values: dict[_Name, _Value]) -> list[_Value]:
    """An operation on whole arrays, by `jax.vmap`."""
    atoms = operation.inputs
    arrays = [values[atom].array if isinstance(atom, _Name) else jnp.asarray(atom) for atom in atoms]
    axes = [0 if isinstance(atom, _Name) else None for atom in atoms]
    if operation.hashes:
        full = jax.vmap(lambda *own: jnp.broadcast_arrays(*own), in_axes=axes)(*arrays)
        return [
            _Value(array.reshape(full[0].shape)) for array in lane_loop(threefry, [array.ravel() for array in full])
        ]
    results = jax.vmap(lambda *own: _bind(operation.equation, own), in_axes=axes)(*arrays)
    return [_Value(result) for result in results]


def _on_numbers(
    group: Sequence[_Operation], outputs: Sequence[_Name], values: dict[_Name, _Value]
) -> dict[_Name, _Value]:
    """Several operations as one loop over the lanes."""
    made = {id(name) for operation in group for name in operation.outputs}
    inputs = {id(atom): atom for operation in group for atom in operation.inputs if isinstance(atom, _Name)}
    taken = [name for key, name in inputs.items() if key not in made]

    def scalar_program(*scalars: Any) -> list[Any]:
        numbers, rest = {}, iter(scalars)
        for name in taken:
            shape = values[name].numbers.shape
            numbers[name] = objects(shape, (next(rest) for _ in range(math.prod(shape))))
        for operation in group:
            operands = [numbers[a] if isinstance(a, _Name) else objects(a.shape, a.flat) for a in operation.inputs]
            found = RULES[operation.name](operation.equation, operands, operation.avals)
            numbers.update(zip(operation.outputs, found, strict=True))
        return [number for name in outputs for number in numbers[name].flat]

    vectors = iter(lane_loop(scalar_program, [vector for name in taken for vector in values[name].numbers.flat]))
    shapes = {name: aval.shape for o in group for name, aval in zip(o.outputs, o.avals, strict=True)}
    return {
        name: _Value(numbers=objects(shapes[name], (next(vectors) for _ in range(math.prod(shapes[name])))))
        for name in outputs
    }
