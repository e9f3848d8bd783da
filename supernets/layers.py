"""Layers shared by the supernet and by stand-alone networks; NHWC, batch norm without hidden state."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

Array = jax.Array
Moments = tuple[Array, Array]  # mean and biased variance of every channel, [c] each

BN_EPSILON = 1e-5
COSTLY = ("product", "moments", "pooled")  # values that are dear to compute again, by the names given to them


def hard_sigmoid(x: Array) -> Array:
    """relu6(x + 3) / 6."""
    return jnp.clip(x + 3.0, 0.0, 6.0) * (1 / 6)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": lambda x: jnp.maximum(x, 0.0),
    "relu6": lambda x: jnp.clip(x, 0.0, 6.0),
    "hswish": lambda x: x * hard_sigmoid(x),
    "hsigmoid": hard_sigmoid,
    "sigmoid": jax.nn.sigmoid,
}


def moments(x: Array) -> Moments:
    """Mean and biased variance of every channel over a batch `[n, h, w, c]`, in single precision at least."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean, square = (checkpoint_name(m.mean(axis=(0, 1, 2)), "moments") for m in (x, x * x))
    return mean, jnp.maximum(square - mean * mean, 0.0)


def normalise(x: Array, gamma: Array, beta: Array, given: Moments | None) -> tuple[Array, Moments]:
    """Batch norm with the moments given, or those of the batch; returns them too."""
    mean, variance = moments(x) if given is None else given
    scale = gamma * lax.rsqrt(variance + BN_EPSILON)
    return (x * scale + (beta - mean * scale)).astype(x.dtype), (mean, variance)


def pointwise(x: Array, kernel: Array) -> Array:
    """1 x 1 convolution of `[..., c]` with `[c, o]`, as one matrix product."""
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def convolution(x: Array, kernel: Array, *, stride: int = 1, groups: int = 1) -> Array:
    """Convolution of `[n, h, w, c]` with `[k, k, c / groups, o]`, padding k // 2."""
    if groups == 1 and x.shape[-1] <= FEW and jax.default_backend() == "gpu":
        return patches_product(x, kernel, stride)
    p = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((p, p), (p, p)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


FEW = 4  # channels of an image: too few for cuDNN's fast algorithms, and nothing else needs cuDNN in a MobileNet


def patches_product(x: Array, kernel: Array, stride: int) -> Array:
    """The same convolution as one matrix product of all patches."""
    k, (n, h, w, c) = kernel.shape[0], x.shape
    p, out = k // 2, (-(-h // stride), -(-w // stride))
    padded = jnp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    last = [stride * (size - 1) + 1 for size in out]
    shifts = [
        lax.slice(padded, (0, i, j, 0), (n, i + last[0], j + last[1], c), (1, stride, stride, 1))
        for i in range(k)
        for j in range(k)
    ]
    return pointwise(jnp.concatenate(shifts, axis=-1), kernel.reshape(k * k * c, -1))
