"""Models: pure functions of one seed, written as ordinary JAX.

How thousands of them are laid out in memory is the engine's business; nothing here knows of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxor.experiments.registry import ExperimentError, Registry, require

Params = dict[str, Array]
State = dict[str, Array]
Aux = dict[str, Array]
Activation = Callable[[Array, Params], Array]


Init = Callable[[Array], tuple[Params, State]]
"""``init(key) -> params, state``: the model's own law of parameters, and its state before training.

The flat order of the parameters, shared by every array of jaxor, is the order in which ``params`` lists them, each
row-major.
"""

Apply = Callable[[Params, ArrayLike, State, Array, bool], tuple[Array, Aux, State]]
"""``apply(params, inputs, state, key, train) -> outputs, aux, state``.

``inputs`` is a batch (n, d); ``aux`` holds what others look at, such as pre-activations; ``state`` is what layers keep
while training; ``key`` is fresh at every step.
"""

Prepare = Callable[[Params, State, Array], tuple[Params, State]]
"""``prepare(params, state, key) -> params, state``, once before the forward pass of every training step."""


class Model(NamedTuple):
    """A model of one seed: `init`, `apply`, and for the few that rewrite their parameters `prepare`.

    Examples
    --------
    A model without state or auxiliary output is best made by `jaxor.experiments.model.plain`:

    >>> line = plain({"slope": (1,), "offset": (1,)}, lambda p, x: x[:, 0] * p["slope"] + p["offset"])
    >>> params, state = line.init(jax.random.key(0))
    >>> {name: value.shape for name, value in params.items()}
    {'slope': (1,), 'offset': (1,)}
    """

    init: Init
    apply: Apply
    prepare: Prepare | None = None


MODELS: Registry[Model] = Registry("model")


def preactivations(aux: Aux, asker: str) -> Array:
    """What a model says of its hidden units, (points, units)."""
    if "preactivation" not in aux:
        raise ExperimentError(f"{asker} needs a model whose aux holds a preactivation, such as relu1 or two_layer")
    return aux["preactivation"]


def first_layer(params: Params, asker: str) -> tuple[Array, Array]:
    """Weights (units, inputs) and biases (units,) of a model's hidden units."""
    if not {"linear1.weight", "linear1.bias"} <= params.keys():
        raise ExperimentError(f"{asker} needs a model with parameters linear1.weight and linear1.bias")
    return params["linear1.weight"], params["linear1.bias"]


def plain(shapes: Mapping[str, tuple[int, ...]], forward: Callable[[Params, Array], Array]) -> Model:
    """A model without state: parameters by name and shape, and outputs as a function of parameters and inputs.

    Its own law: matrices are Kaiming normal (std ``sqrt(2 / columns)``), everything else is 0.
    """

    def apply(params: Params, inputs: ArrayLike, state: State, key: Array, train: bool) -> tuple[Array, Aux, State]:
        return forward(params, jnp.asarray(inputs)), {}, state

    return Model(lambda key: (gaussian(key, _zeros(shapes), kaiming_std), {}), apply)


def _zeros(shapes: Mapping[str, tuple[int, ...]]) -> Params:
    return {name: jnp.zeros(shape, jnp.result_type(float)) for name, shape in shapes.items()}


def is_weight(name: str, value: Array) -> bool:
    """Matrices are weights; biases, slopes and scalars are not."""
    return value.ndim >= 2


def gaussian(key: Array, params: Params, std: Callable[[str, Array], float]) -> Params:
    """Weights drawn from N(0, std^2), biases 0, any other parameter as it is.

    One draw of all weights in flat order, so that the numbers depend on the key and the shapes alone.
    """
    weights = {name: value for name, value in params.items() if is_weight(name, value)}
    noise = jax.random.normal(key, (sum(value.size for value in weights.values()),), jnp.result_type(float))
    drawn, start = {}, 0
    for name, value in params.items():
        if name in weights:
            drawn[name] = std(name, value) * noise[start : start + value.size].reshape(value.shape)
            start += value.size
        else:
            drawn[name] = jnp.zeros_like(value) if name.endswith("bias") else value
    return drawn


def kaiming_std(name: str, weight: Array) -> float:
    """Standard deviation ``sqrt(2 / fan_in)``, as torch's ``kaiming_normal_(nonlinearity="relu")``."""
    return float(np.sqrt(2 / weight.shape[1]))


def xavier_std(name: str, weight: Array) -> float:
    """Standard deviation ``sqrt(2 / (fan_in + fan_out))``, as torch's ``xavier_normal_``."""
    return float(np.sqrt(2 / sum(weight.shape)))


# Activations. At the kink the derivatives are torch's: |z|' = 0, relu' = 0, leaky' and prelu' = the negative slope,
# elu' = 1.

_SLOPE = "activation.weight"


def activation_of(name: str, slope: float) -> tuple[Activation, Mapping[str, float]]:
    """An activation by name, and the parameters that it learns with their initial values."""
    functions: dict[str, Activation] = {
        "abs": lambda z, params: z * jnp.sign(z),  # jnp.abs has the derivative 1 at 0
        "relu": lambda z, params: jax.nn.relu(z),
        "leaky_relu": lambda z, params: jnp.where(z > 0, z, slope * z),
        "elu": lambda z, params: jax.nn.elu(z),
        "prelu": lambda z, params: jnp.where(z > 0, z, params[_SLOPE] * z),
    }
    require(name in functions, "activation", f"one of {', '.join(functions)}", name)
    return functions[name], {_SLOPE: 0.25} if name == "prelu" else {}


def _linear(params: Params, name: str, inputs: Array) -> Array:
    return inputs @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def _pivoted(
    shapes: Mapping[str, tuple[int, ...]], extra: Mapping[str, float], scale: float, probability: float
) -> Any:
    """`init` and `prepare` of models whose first layer is ``W (x - pivot) + b`` with a pivot that jumps at random.

    A jump moves the bias along, ``b += W (new - old)``, so that outputs stay what they were.
    """
    require(scale >= 0, "pivot_scale", "0 or positive", scale)
    require(0 <= probability <= 1, "pivot_probability", "between 0 and 1", probability)

    def init(key: Array) -> tuple[Params, State]:
        params = gaussian(key, _zeros(shapes), kaiming_std)
        params |= {name: jnp.full((1,), value, jnp.result_type(float)) for name, value in extra.items()}
        return params, {"pivot": jnp.zeros(2, jnp.result_type(float))} if scale else {}

    def prepare(params: Params, state: State, key: Array) -> tuple[Params, State]:
        jump, place = jax.random.split(key)
        target = scale * jax.random.normal(place, (2,), state["pivot"].dtype)
        pivot = jnp.where(jax.random.uniform(jump) < probability, target, state["pivot"])
        bias = params["linear1.bias"] + params["linear1.weight"] @ (pivot - state["pivot"])
        return params | {"linear1.bias": bias}, state | {"pivot": pivot}

    return init, prepare if scale else None


@MODELS.register("abs1")
def abs1(*, pivot_scale: float = 0.0, pivot_probability: float = 0.1) -> Model:
    """One neuron, abs(W x + b); 3 parameters."""
    init, prepare = _pivoted(_layer(1), {}, pivot_scale, pivot_probability)

    def apply(params: Params, inputs: ArrayLike, state: State, key: Array, train: bool) -> tuple[Array, Aux, State]:
        z = _linear(params, "linear1", jnp.asarray(inputs) - state.get("pivot", 0))
        return (z * jnp.sign(z))[:, 0], {"preactivation": z}, state  # jnp.abs has the derivative 1 at 0

    return Model(init, apply, prepare)


def _layer(units: int) -> dict[str, tuple[int, ...]]:
    return {"linear1.weight": (units, 2), "linear1.bias": (units,)}


@MODELS.register("relu1")
def relu1(
    *,
    units: int = 2,
    activation: str = "relu",
    slope: float = 0.01,
    pivot_scale: float = 0.0,
    pivot_probability: float = 0.1,
) -> Model:
    """Sum of units act(w_k x + b_k) with a fixed sum; two units have 6 parameters, 7 with PReLU."""
    require(units > 0, "units", "positive", units)
    act, learned = activation_of(activation, slope)
    init, prepare = _pivoted(_layer(units), learned, pivot_scale, pivot_probability)

    def apply(params: Params, inputs: ArrayLike, state: State, key: Array, train: bool) -> tuple[Array, Aux, State]:
        z = _linear(params, "linear1", jnp.asarray(inputs) - state.get("pivot", 0))
        return jnp.sum(act(z, params), -1), {"preactivation": z}, state

    return Model(init, apply, prepare)


@MODELS.register("two_layer")
def two_layer(
    *, hidden: int = 2, activation: str = "relu", slope: float = 0.01, confidence: bool = False, eater: bool = False
) -> Model:
    """Linear(2, m), activation, Linear(m, 2); first layer Kaiming, second Xavier, biases 0.

    `confidence` multiplies the outputs by the square of a learned scalar that starts at 1. `eater` scales what leaves
    the activation and what leaves the second layer by ``1 + (A - 1) / 10`` while training, A being the mean norm that
    came in at the step before (0 before the first).
    """
    require(hidden > 0, "hidden", "positive", hidden)
    act, learned = activation_of(activation, slope)
    shapes = _layer(hidden) | {"linear2.weight": (2, hidden), "linear2.bias": (2,)}
    scalars = dict(learned) | ({"confidence.confidence": 1.0} if confidence else {})

    def std(name: str, weight: Array) -> float:
        return (kaiming_std if name.startswith("linear1") else xavier_std)(name, weight)

    def init(key: Array) -> tuple[Params, State]:
        dtype = jnp.result_type(float)
        params = gaussian(key, _zeros(shapes), std)
        params |= {name: jnp.full((1,), value, dtype) for name, value in scalars.items()}
        return params, {"eater1": jnp.zeros((), dtype), "eater2": jnp.zeros((), dtype)} if eater else {}

    def eat(values: Array, name: str, state: State, train: bool) -> tuple[Array, State]:
        if not (eater and train):
            return values, state
        magnitude = jax.lax.stop_gradient(jnp.mean(jnp.sqrt(jnp.sum(values**2, -1))))
        return values * (1 + 0.1 * (state[name] - 1)), state | {name: magnitude}

    def apply(params: Params, inputs: ArrayLike, state: State, key: Array, train: bool) -> tuple[Array, Aux, State]:
        z = _linear(params, "linear1", jnp.asarray(inputs))
        values, state = eat(act(z, params), "eater1", state, train)
        outputs, state = eat(_linear(params, "linear2", values), "eater2", state, train)
        if confidence:
            outputs = outputs * params["confidence.confidence"] ** 2
        return outputs, {"preactivation": z}, state

    return Model(init, apply)


@MODELS.register("mlp")
def mlp(*, widths: list[int]) -> Model:
    """Fully connected ReLU net; `widths` runs from inputs to outputs. Kaiming weights, zero biases."""
    require(len(widths) >= 2 and min(widths) > 0, "widths", "at least two positive numbers", widths)
    layers = [f"linear{i}" for i in range(1, len(widths))]
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, inward, outward in zip(layers, widths, widths[1:], strict=False):
        shapes |= {f"{layer}.weight": (outward, inward), f"{layer}.bias": (outward,)}

    def forward(params: Params, inputs: Array) -> Array:
        for layer in layers[:-1]:
            inputs = jax.nn.relu(_linear(params, layer, inputs))
        return _linear(params, layers[-1], inputs)

    return plain(shapes, forward)


@MODELS.register("relu_net")
def relu_net(*, inputs: int, hidden: int, classes: int = 0, bias: bool = False, train_output: bool = True) -> Model:
    """Sum of units a_k relu(b_k x + c_k), all trained or the first layer alone; Kaiming first layer, Xavier second.

    Models (4), one output (`classes` 0) and no bias, and (6), an output a class and a bias c, of Wang & Ma (NeurIPS
    2022). At the kink relu' is 0.
    """
    for name, value in (("inputs", inputs), ("hidden", hidden)):
        require(value > 0, name, "positive", value)
    require(classes >= 0, "classes", "0 (one output) or positive", classes)
    shapes = {"linear1.weight": (hidden, inputs)}
    shapes |= {"linear1.bias": (hidden,)} if bias else {}
    shapes |= {"linear2.weight": (max(classes, 1), hidden)}

    def std(name: str, weight: Array) -> float:
        return (kaiming_std if name == "linear1.weight" else xavier_std)(name, weight)

    def apply(params: Params, inputs: ArrayLike, state: State, key: Array, train: bool) -> tuple[Array, Aux, State]:
        z = jnp.asarray(inputs) @ params["linear1.weight"].T + params.get("linear1.bias", 0)
        output = params["linear2.weight"]
        values = jax.nn.relu(z) @ (output if train_output else jax.lax.stop_gradient(output)).T
        return values if classes else values[:, 0], {"preactivation": z}, state

    return Model(lambda key: (gaussian(key, _zeros(shapes), std), {}), apply)
