"""Layers shared by the supernet and by stand-alone networks; NHWC, batch norm without hidden state."""

from collections.abc import Callable
from functools import partial

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


def pointwise(x: Array, kernel: Array, groups: int = 1) -> Array:
    """1 x 1 convolution of `[..., c]` with `[c / groups, o]`, as one matrix product.

    Groups are blocks of a matrix that is 0 elsewhere: a few multiplications for nothing, but a grouped convolution
    takes 5-20 times as long (supernets/README.md).
    """
    if groups > 1:
        inputs, outputs = (jnp.arange(n) // (n // groups) for n in (x.shape[-1], kernel.shape[-1]))
        kernel = jnp.where(inputs[:, None] == outputs, jnp.tile(kernel, (groups, 1)), 0)
    rows = x.reshape(-1, x.shape[-1])
    pieces = _pieces(len(rows)) if jax.default_backend() == "gpu" else 1
    y = rows @ kernel if pieces == 1 else split_product(rows, kernel, pieces)
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


def _pieces(rows: int) -> int:
    """A power of two that divides the rows, at most 128, so that a piece has a thousand of them or more."""
    most = 1 << min(7, max(0, (rows >> 10).bit_length() - 1))
    return min(rows & -rows, most)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def split_product(x: Array, kernel: Array, pieces: int) -> Array:
    """Product of `[n, c]` with `[c, o]`; the kernel's gradient is added up from that of every n / pieces rows.

    It is a product of few rows and columns over a million pixels, of which the matrix library makes as many tasks as
    it has tiles, a handful; as a batch of products it keeps the whole GPU busy (supernets/README.md).
    """
    del pieces
    return x @ kernel


def _split_forward(x: Array, kernel: Array, pieces: int) -> tuple[Array, tuple[Array, Array]]:
    del pieces
    return x @ kernel, (x, kernel)


def _split_backward(pieces: int, kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = kept
    left, right = (a.reshape(pieces, -1, a.shape[-1]) for a in (x, g))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    parts = jnp.einsum("pnc,pno->pco", left, right, preferred_element_type=wide)
    return g @ kernel.T, parts.sum(axis=0).astype(kernel.dtype)


split_product.defvjp(_split_forward, _split_backward)


def convolution(x: Array, kernel: Array, *, stride: int = 1, groups: int = 1) -> Array:
    """Convolution of `[n, h, w, c]` with `[k, k, c / groups, o]`, padding k // 2."""
    if groups == 1 and jax.default_backend() == "gpu":
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


def patches_product(x: Array, kernel: Array, stride: int) -> Array:
    """The same convolution as one matrix product of all patches.

    XLA has fast convolutions for a GPU only after it has tried several, seconds a program; without, they run at a
    hundredth of this one's speed (supernets/README.md).
    """
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
