"""A scalar program applied to every lane: the loop over lanes that everything narrow runs in.

On CPUs it is a reduction of several arrays over windows of one lane. XLA compiles it to one loop whose body is the
whole program in registers, however many results it has, and LLVM turns that into vector instructions; any other way of
saying it in JAX becomes a dozen loops that load and store their vectors and compute again what several of them need.
On other devices, where XLA fuses well by itself, the program is applied to whole vectors.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun


def lane_loop(program: Callable[..., list[Any]], vectors: Sequence[Array]) -> list[Array]:
    """A scalar program applied to every lane, in one loop or, if it has too many numbers, in several."""
    closed = jax.make_jaxpr(program)(*(jax.ShapeDtypeStruct((), vector.dtype) for vector in vectors))
    have: dict[Any, Array] = dict(zip(closed.jaxpr.invars, vectors, strict=True))
    for equations, sources, targets in _pieces(closed.jaxpr):
        piece = closed.jaxpr.replace(eqns=equations, invars=sources, outvars=targets)
        made = _windows(ClosedJaxpr(piece, closed.consts), [have[var] for var in sources])
        have.update(zip(targets, made, strict=True))
    lanes = len(vectors[0])
    return [
        jnp.full(lanes, np.asarray(var.val, aval.dtype)) if isinstance(var, Literal) else have[var]
        for var, aval in zip(closed.jaxpr.outvars, closed.out_avals, strict=True)
    ]


_MOST_NUMBERS = 120
"""Numbers that go in or out of one loop: LLVM does not vectorize loops with more than 250 pointers."""


def _pieces(jaxpr: Jaxpr) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
    """The program cut up, each piece as long as can be: its operations, arguments and results."""
    equations, begin = _depth_first(jaxpr), 0
    last = {var: place for place, equation in enumerate(equations) for var in _variables(equation.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(equations))
    while begin < len(equations):
        arguments: dict[Any, None] = {}
        alive: dict[Any, None] = {}
        piece = None
        for place in range(begin, len(equations)):
            used = _variables(equations[place].invars)
            arguments |= dict.fromkeys(var for var in used if var not in alive and var in last)
            alive |= dict.fromkeys(var for var in equations[place].outvars if var in last)
            for var in used:
                if last[var] == place:
                    alive.pop(var, None)
            if piece is None or len(_slots(list(arguments), list(alive))) <= _MOST_NUMBERS:
                piece = place + 1, list(arguments), list(alive)
        assert piece is not None  # noqa: S101 (there is at least one operation)
        if piece[2]:
            yield equations[begin : piece[0]], piece[1], piece[2]
        begin = piece[0]


_SHORT = 8
"""Operations from the arguments to a number that may wait until the number is needed."""


def _depth_first(jaxpr: Jaxpr) -> list[Any]:
    """The operations in another order, so that few numbers are kept at any time.

    What can be done with a new number is done at once. What is soon computed from arguments waits until it is needed.
    """
    source = {var: equation for equation in jaxpr.eqns for var in equation.outvars}
    needs = {
        id(equation): list(
            {id(source[var]): source[var] for var in _variables(equation.invars) if var in source}.values()
        )
        for equation in jaxpr.eqns
    }
    users: defaultdict[int, list[Any]] = defaultdict(list)
    waits: dict[int, int] = {}  # operations behind each one that may wait
    for equation in jaxpr.eqns:
        behind = 1 + sum(waits.get(id(needed), _SHORT) for needed in needs[id(equation)])
        if behind <= _SHORT:
            waits[id(equation)] = behind
        for needed in needs[id(equation)]:
            users[id(needed)].append(equation)
    ordered: dict[int, Any] = {}

    def put(equation: Any) -> None:
        if id(equation) not in ordered:
            for needed in needs[id(equation)]:
                put(needed)
            ordered[id(equation)] = equation

    def ready(equation: Any) -> bool:
        return all(id(needed) in ordered or id(needed) in waits for needed in needs[id(equation)])

    stack = [equation for equation in reversed(jaxpr.eqns) if id(equation) not in waits and ready(equation)]
    while stack:
        equation = stack.pop()
        if id(equation) not in ordered:
            put(equation)
            stack += [user for user in reversed(users[id(equation)]) if id(user) not in waits and ready(user)]
    for equation in jaxpr.eqns:  # results that are near their arguments
        put(equation)
    return list(ordered.values())


def _variables(atoms: Iterable[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _slots(sources: Sequence[Any], targets: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """Arguments and results paired, as places in their lists, so that each pair has one type."""
    types: dict[Any, tuple[list[int], list[int]]] = {}
    for which, variables in enumerate((sources, targets)):
        for place, var in enumerate(variables):
            types.setdefault(var.aval.dtype, ([], []))[which].append(place)
    return [pair for both in types.values() for pair in itertools.zip_longest(*both)]


def _windows(piece: ClosedJaxpr, vectors: Sequence[Array]) -> list[Array]:
    """The loop itself: on CPUs a reduction over windows of one lane, elsewhere the program on whole vectors.

    A reduction gives as many arrays as it takes, of the same types. So where results outnumber arguments, zeros are
    passed, and where arguments outnumber results, they are passed on.
    """
    program, sources, targets = jaxpr_as_fun(piece), piece.jaxpr.invars, piece.jaxpr.outvars
    slots = _slots(sources, targets)

    def advance(_: Any, lane: Any) -> Any:
        given = {source: number for (source, _), number in zip(slots, lane, strict=True)}
        results = program(*(given[place] for place in range(len(sources))))
        return tuple(n if target is None else results[target] for (_, target), n in zip(slots, lane, strict=True))

    def on_cpu(*vectors: Array) -> list[Array]:
        operands = tuple(
            jnp.zeros(len(vectors[0]), targets[t].aval.dtype) if s is None else vectors[s]  # type: ignore[index]
            for s, t in slots
        )
        zeros = tuple(np.zeros((), operand.dtype) for operand in operands)
        reduced = lax.reduce_window(operands, zeros, advance, (1,), (1,), "VALID")
        made = {target: vector for (_, target), vector in zip(slots, reduced, strict=True)}
        return [made[place] for place in range(len(targets))]

    return on_cpu(*vectors) if platform() == "cpu" else jax.vmap(program)(*vectors)


def platform() -> str:
    """Kind of device that programs traced now are for; `lax.platform_dependent` would trace them for all kinds."""
    device: Any = jax.config.jax_default_device  # type: ignore[attr-defined]
    return device if isinstance(device, str) else (device or jax.devices()[0]).platform
