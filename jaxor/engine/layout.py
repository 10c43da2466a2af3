"""How lanes lie in memory: the one place that knows.

Models, rules and steps are written for one seed. A `Layout` turns such a function into one of many lanes; in both
layouts the lanes are the first axis of every array.

``wide``
    Plain `jax.vmap`: matrix products become batched matrix products. For large models.
``narrow``
    Every array of a seed is taken apart into its numbers, each a vector over the lanes (`Split`), and a function runs
    as a loop over lanes whose body is one long scalar program, see `jaxor.engine.scalars`. For models of a few dozen
    parameters this is ten to thirty times as fast as `jax.vmap`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from jaxor.engine.scalars import Split, in_lanes, join, split

NARROW_NUMBERS = 1024
"""Models with more parameters times points in a batch are laid out wide: their scalar programs would be too long."""


@dataclass(frozen=True)
class Layout:
    """A layout of lanes."""

    name: str

    def batch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one seed as a function of many lanes, from and to pytrees in this layout's form."""
        return in_lanes(function) if self is NARROW else jax.vmap(function)

    def split(self, tree: Any) -> Any:
        """Arrays ``(lanes, ...)`` in this layout's form."""
        return jax.tree.map(split, tree) if self is NARROW else tree

    def join(self, tree: Any) -> Any:
        """Arrays ``(lanes, ...)`` from this layout's form."""
        return jax.tree.map(join, tree, is_leaf=lambda node: isinstance(node, Split))

    def take(self, tree: Any, lanes: Array) -> Any:
        """Some of the lanes, as arrays ``(len(lanes), ...)``; those that do not exist hold anything."""
        return jax.tree.map(lambda array: array.at[lanes].get(mode="clip"), self.join(tree))


NARROW = Layout("narrow")
WIDE = Layout("wide")


def layout_for(parameters: int, points: int) -> Layout:
    """The layout for a model of so many parameters that is trained on so many points at a time."""
    return NARROW if parameters * points <= NARROW_NUMBERS else WIDE
