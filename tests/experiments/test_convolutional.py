"""Convolutional nets against NumPy loops over pixels."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from jaxor.experiments.convolutional import conv_net, encoder_decoder
from jaxor.experiments.model import Model
from jaxor.experiments.registry import ExperimentError

KEY = jax.random.key(0)
Floats = NDArray[np.float64]
Arrays = dict[str, Floats]


def arrays(model: Model) -> Arrays:
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, KEY)[0]
    return {name: generator.normal(size=value.shape) for name, value in shapes.items()}


def outputs(model: Model, params: Arrays, images: Floats) -> Any:
    """In float64."""
    with jax.enable_x64(True):
        apply = jax.jit(lambda params: model.apply(params, images, {}, KEY, True)[0])
        return np.asarray(apply({name: jnp.asarray(value) for name, value in params.items()}))


def convolved(params: Arrays, name: str, image: Floats) -> Floats:
    """One image (side, side, in)."""
    side, inward = image.shape[1:]
    kernel = params[f"{name}.weight"].reshape(-1, 3, 3, inward)
    out = np.zeros((side, side, len(kernel))) + params[f"{name}.bias"]
    for row, column, down, across in product(range(side), range(side), range(3), range(3)):
        if 0 <= row + down - 1 < side and 0 <= column + across - 1 < side:
            out[row, column] += kernel[:, down, across] @ image[row + down - 1, column + across - 1]
    return out


def rectified(params: Arrays, name: str, image: Floats) -> Floats:
    return np.maximum(convolved(params, name, image), 0)


def halved(image: Floats) -> Floats:
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def doubled(image: Floats) -> Floats:
    return image.repeat(2, 0).repeat(2, 1)


def test_conv_net() -> None:
    model = conv_net(side=8, channels=2, classes=3)
    params, images = arrays(model), np.random.default_rng(1).normal(size=(3, 64))
    expected = []
    for image in images.reshape(3, 8, 8, 1):
        values = halved(rectified(params, "conv2", halved(rectified(params, "conv1", image))))
        expected.append(params["linear.weight"] @ values.ravel() + params["linear.bias"])
    assert_allclose(outputs(model, params, images), expected, 1e-12, 1e-12)


@pytest.mark.parametrize("skip", [True, False])
def test_encoder_decoder(skip: bool) -> None:
    model = encoder_decoder(side=8, channels=2, classes=3, skip=skip)
    params, images = arrays(model), np.random.default_rng(1).normal(size=(3, 64))
    expected = []
    for image in images.reshape(3, 8, 8, 1):
        full = rectified(params, "encoder1", image)
        half = rectified(params, "encoder2", halved(full))
        values = doubled(rectified(params, "middle", halved(half)))
        values = doubled(rectified(params, "decoder", np.concatenate([half, values], -1) if skip else values))
        values = np.concatenate([full, values], -1) if skip else values
        expected.append(values @ params["linear.weight"].T + params["linear.bias"])
    assert_allclose(outputs(model, params, images), expected, 1e-12, 1e-12)


def test_only_skips_tell_the_pixels_of_a_square_apart() -> None:
    images = np.random.default_rng(1).normal(size=(2, 64))
    for skip in (True, False):
        model = encoder_decoder(side=8, channels=1, skip=skip)
        out = outputs(model, arrays(model), images)
        assert out.shape == (2, 8, 8, 4)
        assert np.array_equal(out[:, ::2, ::2], out[:, 1::2, 1::2]) is not skip


def test_weights_are_kaiming_and_biases_0() -> None:
    params = jax.jit(conv_net(channels=32).init)(KEY)[0]
    for name, inputs in (("conv2", 9 * 32), ("linear", 64 * 4)):
        weight = np.asarray(params[f"{name}.weight"])
        assert abs(weight.var() * inputs / 2 - 1) < 5 * np.sqrt(2 / weight.size)
        assert not np.asarray(params[f"{name}.bias"]).any()


@pytest.mark.parametrize("builder", [conv_net, encoder_decoder])
@pytest.mark.parametrize(("option", "value"), [("side", 0), ("side", 10), ("channels", 0), ("classes", 0)])
def test_impossible_options(builder: Any, option: str, value: int) -> None:
    with pytest.raises(ExperimentError, match=f"{option} must be"):
        builder(**{option: value})
