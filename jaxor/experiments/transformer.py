"""A small transformer that reads characters and says at each which comes next."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxor.experiments.model import MODELS, Aux, Model, Params, State, gaussian
from jaxor.experiments.registry import require


def normalise(params: Params, name: str, values: Array) -> Array:
    """Layer normalisation over the last axis, as torch's ``LayerNorm``."""
    centred = values - jnp.mean(values, -1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)
    return centred * scale * params[f"{name}.weight"] + params[f"{name}.bias"]


def attend(params: Params, name: str, values: Array, heads: int) -> Array:
    """Self-attention of each position to itself and those before it.

    Parameters
    ----------
    params : dict
        ``NAME.inward.weight`` (3 * width, width), queries, keys and values of all heads one after the other,
        ``NAME.outward.weight`` (width, width), and both biases.
    name : str
    values : (n, window, width)
    heads : int

    Returns
    -------
    (n, window, width)
    """
    n, window, width = values.shape
    inward = linear(params, f"{name}.inward", values).reshape(n, window, 3, heads, width // heads)
    queries, keys, contents = (inward[:, :, place] for place in range(3))
    scores = jnp.einsum("nqhd,nkhd->nhqk", queries, keys) / math.sqrt(width // heads)
    past = np.tri(window, dtype=bool)  # the query's position is the row
    weights = jax.nn.softmax(jnp.where(past, scores, -jnp.inf), -1)
    return linear(params, f"{name}.outward", jnp.einsum("nhqk,nkhd->nqhd", weights, contents).reshape(values.shape))


def linear(params: Params, name: str, values: Array) -> Array:
    """Linear layer over the last axis."""
    return values @ params[f"{name}.weight"].T + params[f"{name}.bias"]


@MODELS.register("transformer")
def transformer(*, vocabulary: int = 35, window: int = 32, width: int = 32, heads: int = 4, layers: int = 1) -> Model:
    """Characters, as whole numbers, to scores of the next at each position; weights N(0, 1 / inputs), biases 0.

    A causal decoder: layers of self-attention and of 4 width ReLU units, each after a layer normalisation (Xiong et
    al., 2020), learned positions, no dropout. Embeddings and positions are N(0, 1 / width). Inputs are (n, window),
    outputs (n, window, vocabulary).
    """
    for name, value in (("vocabulary", vocabulary), ("window", window), ("heads", heads), ("layers", layers)):
        require(value > 0, name, "positive", value)
    require(width > 0 and width % heads == 0, "width", f"a positive multiple of heads, {heads}", width)
    names = [f"layer{place}" for place in range(1, layers + 1)]
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocabulary, width), "position.weight": (window, width)}
    for name in names:
        shapes |= _norm(f"{name}.norm1", width)
        shapes |= _linear(f"{name}.attention.inward", width, 3 * width)
        shapes |= _linear(f"{name}.attention.outward", width, width)
        shapes |= _norm(f"{name}.norm2", width)
        shapes |= _linear(f"{name}.linear1", width, 4 * width) | _linear(f"{name}.linear2", 4 * width, width)
    shapes |= _norm("norm", width) | _linear("output", width, vocabulary)

    def init(key: Array) -> tuple[Params, State]:
        dtype = jnp.result_type(float)
        ones = {name for name in shapes if "norm" in name and name.endswith("weight")}
        params = {name: jnp.full(shape, float(name in ones), dtype) for name, shape in shapes.items()}
        return gaussian(key, params, lambda name, weight: 1 / math.sqrt(weight.shape[1])), {}

    def apply(params: Params, inputs: ArrayLike, state: State, key: Array, train: bool) -> tuple[Array, Aux, State]:
        characters = jax.nn.one_hot(inputs, vocabulary, dtype=params["embedding.weight"].dtype)
        values = characters @ params["embedding.weight"] + params["position.weight"]
        for name in names:
            values += attend(params, f"{name}.attention", normalise(params, f"{name}.norm1", values), heads)
            hidden = jax.nn.relu(linear(params, f"{name}.linear1", normalise(params, f"{name}.norm2", values)))
            values += linear(params, f"{name}.linear2", hidden)
        return linear(params, "output", normalise(params, "norm", values)), {}, state

    return Model(init, apply)


def _linear(name: str, inward: int, outward: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outward, inward), f"{name}.bias": (outward,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
