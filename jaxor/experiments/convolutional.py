"""Convolutional nets for square images: a classifier and an encoder-decoder, written as matrix products.

A 3 x 3 convolution is nine shifted copies of its input and one product (im2col). Seeds have weights of their own, so
that over many of them `jax.lax.conv` becomes a convolution in groups, which is slow on CPUs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxor.experiments.model import MODELS, Model, Params, plain
from jaxor.experiments.registry import require

Shapes = dict[str, tuple[int, ...]]


def convolve(params: Params, name: str, images: Array) -> Array:
    """Convolution with windows of 3 x 3, zeros beyond the edges, as torch's ``Conv2d(..., 3, padding=1)``.

    Parameters
    ----------
    params : dict
        ``NAME.weight`` (out, 9 * in), a row being 3 x 3 x in in C order, and ``NAME.bias`` (out,).
    name : str
    images : (n, height, width, in)

    Returns
    -------
    (n, height, width, out)

    Examples
    --------
    >>> ones = {"sum.weight": jnp.ones((1, 9)), "sum.bias": jnp.zeros(1)}
    >>> convolve(ones, "sum", jnp.ones((1, 2, 3, 1)))[0, :, :, 0].tolist()
    [[4.0, 6.0, 4.0], [4.0, 6.0, 4.0]]
    """
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return jnp.concatenate(windows, -1) @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def halve(images: Array) -> Array:
    """Means over squares of 2 x 2 pixels, (n, 2 a, 2 b, channels) to (n, a, b, channels)."""
    n, height, width, channels = images.shape
    return jnp.mean(images.reshape(n, height // 2, 2, width // 2, 2, channels), (2, 4))


def double(images: Array) -> Array:
    """Each pixel as a square of 2 x 2, (n, a, b, channels) to (n, 2 a, 2 b, channels)."""
    n, height, width, channels = images.shape
    wide = jnp.broadcast_to(images[:, :, None, :, None], (n, height, 2, width, 2, channels))
    return wide.reshape(n, 2 * height, 2 * width, channels)


def _convolution(name: str, inward: int, outward: int) -> Shapes:
    return {f"{name}.weight": (outward, 9 * inward), f"{name}.bias": (outward,)}


def _check(side: int, channels: int, classes: int) -> None:
    require(side > 0 and side % 4 == 0, "side", "a positive multiple of 4", side)
    require(channels > 0, "channels", "positive", channels)
    require(classes > 0, "classes", "positive", classes)


@MODELS.register("conv_net")
def conv_net(*, side: int = 8, channels: int = 8, classes: int = 10) -> Model:
    """Images of side x side pixels to classes: twice convolution, ReLU and halving, then linear; Kaiming, biases 0.

    Convolutions of 3 x 3 to `channels` and twice as many; halving takes means of 2 x 2 pixels.
    """
    _check(side, channels, classes)
    shapes = _convolution("conv1", 1, channels) | _convolution("conv2", channels, 2 * channels)
    shapes |= {"linear.weight": (classes, 2 * channels * (side // 4) ** 2), "linear.bias": (classes,)}

    def forward(params: Params, inputs: Array) -> Array:
        values = inputs.reshape(-1, side, side, 1)
        for name in ("conv1", "conv2"):
            values = halve(jax.nn.relu(convolve(params, name, values)))
        return values.reshape(len(values), -1) @ params["linear.weight"].T + params["linear.bias"]

    return plain(shapes, forward)


@MODELS.register("encoder_decoder")
def encoder_decoder(*, side: int = 16, channels: int = 4, classes: int = 4, skip: bool = True) -> Model:
    """Images of side x side pixels to classes of every pixel, through a quarter of the side; Kaiming, biases 0.

    Convolutions of 3 x 3 with ReLU: to `channels` at the full side, twice as many at half and at a quarter (means of
    2 x 2 pixels), back to `channels` at half (pixels repeated); then a linear layer at each pixel. With `skip` the last
    two also see what the encoder had at their side, as in a U-Net.
    """
    _check(side, channels, classes)
    wide = 2 * channels
    shapes = _convolution("encoder1", 1, channels) | _convolution("encoder2", channels, wide)
    shapes |= _convolution("middle", wide, wide) | _convolution("decoder", wide + skip * wide, channels)
    shapes |= {"linear.weight": (classes, channels + skip * channels), "linear.bias": (classes,)}

    def forward(params: Params, inputs: Array) -> Array:
        full = jax.nn.relu(convolve(params, "encoder1", inputs.reshape(-1, side, side, 1)))
        half = jax.nn.relu(convolve(params, "encoder2", halve(full)))
        values = jax.nn.relu(convolve(params, "middle", halve(half)))
        values = jax.nn.relu(convolve(params, "decoder", beside(half, double(values))))
        return beside(full, double(values)) @ params["linear.weight"].T + params["linear.bias"]

    def beside(encoded: Array, values: Array) -> Array:
        return jnp.concatenate([encoded, values], -1) if skip else values

    return plain(shapes, forward)
