"""Depthwise convolution, chosen by platform, with an elastic kernel size.

On a CPU, XLA's grouped convolution is 10-40 times slower than a sum of shifted products, one per
tap of the filter. Its gradients are written out here: that of the input is the same sum with the
flipped filter; that of the filter is one product and one column sum per tap, where the column sum
is a product with a row of ones, which XLA hands to the matrix library (5 times faster than its
own fused reduction). Maps of a few pixels are faster still as one small matrix product a channel,
and compile in half the time. On a GPU these are kernels of our own (`depthwise_kernels.py`), elsewhere
XLA's grouped convolution.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array


def depthwise(x: Array, filters: Sequence[Array], choice: Array, stride: int) -> Array:
    """Depthwise convolution with one of several filters, padding k // 2.

    Only the chosen filter's taps are computed, forward and backward.

    Args:
        x: Images `[n, h, w, c]`.
        filters: Filters `[k, k, c]`, k odd, one per kernel choice.
        choice: Which filter, an int32 scalar; may be traced.
        stride: 1 or 2.

    Returns:
        `[n, ceil(h / stride), ceil(w / stride), c]`.
    """
    return _convolve(x, tuple(filters), choice, stride)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _convolve(x: Array, filters: tuple[Array, ...], choice: Array, stride: int) -> Array:
    # one branch a filter; the residuals of all branches would be the union of theirs, so the
    # gradient is defined here and keeps only the inputs
    return _chosen(x, filters, choice, stride)


def _chosen(x: Array, filters: tuple[Array, ...], choice: Array, stride: int) -> Array:
    forward = _FORWARD[_platform()]
    return _switch(choice, [partial(forward, w=w, stride=stride) for w in filters], x).astype(x.dtype)


def _convolve_forward(x: Array, filters: tuple[Array, ...], choice: Array, stride: int) -> tuple[Array, tuple]:
    # not by `_convolve`, through which nobody could differentiate a gradient forward (second derivatives)
    return _chosen(x, filters, choice, stride), (x, filters, choice)


def _convolve_backward(stride: int, residuals: tuple, g: Array) -> tuple[Array, tuple[Array, ...], None]:
    x, filters, choice = residuals
    backward = _BACKWARD[_platform()]

    def branch(i: int) -> Callable[[Array, Array], tuple[Array, tuple[Array, ...]]]:
        def run(x: Array, g: Array) -> tuple[Array, tuple[Array, ...]]:
            dx, dw = backward(x, filters[i], g, stride)
            dx, dw = dx.astype(x.dtype), dw.astype(filters[i].dtype)
            return dx, tuple(dw if i == j else jnp.zeros_like(w) for j, w in enumerate(filters))

        return run

    dx, dw = _switch(choice, [branch(i) for i in range(len(filters))], x, g)
    return dx, dw, None


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _switch(choice: Array, branches: list[Callable], *operands: Array):  # type: ignore[no-untyped-def]
    return branches[0](*operands) if len(branches) == 1 else lax.switch(choice, branches, *operands)


def _platform() -> str:
    backend = jax.default_backend()
    return backend if backend in _FORWARD else "other"


# -- grouped convolution -----------------------------------------------------------------------


def _grouped(x: Array, w: Array, stride: int) -> Array:
    p = w.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        w[:, :, None, :],
        window_strides=(stride, stride),
        padding=((p, p), (p, p)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _grouped_backward(x: Array, w: Array, g: Array, stride: int) -> tuple[Array, Array]:
    return jax.vjp(partial(_grouped, stride=stride), x, w)[1](g)


# -- one matrix a channel ----------------------------------------------------------------------


SMALL = 7  # pixels; up to here the matrices win on batches of 64 (supernets/README.md)


def kernel_costs_nothing(size: int) -> bool:
    """Whether all filters take the same time on a map of this size, so that one program may serve them all."""
    return _platform() == "cpu" and size <= SMALL


@lru_cache(maxsize=64)
def _taps(size: int, kernel: int, stride: int) -> np.ndarray:
    """0/1 `[kernel^2, size^2, out^2]`: whether an output pixel reads an input pixel through a tap."""
    out, p = -(-size // stride), kernel // 2
    i, j, y, x = np.ogrid[:kernel, :kernel, :out, :out]
    row, column = np.broadcast_arrays(y * stride + i - p, x * stride + j - p)
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    found = np.zeros((kernel, kernel, size, size, out, out), np.float32)
    i, j, y, x = np.nonzero(inside)
    found[i, j, row[inside], column[inside], y, x] = 1
    return found.reshape(kernel**2, size**2, out**2)


def _matrices(w: Array, size: int, stride: int) -> Array:
    """The convolution as a matrix a channel, `[c, size^2, out^2]`."""
    taps = _taps(size, w.shape[0], stride)
    return (w.reshape(-1, w.shape[-1]).T @ taps.reshape(len(taps), -1)).reshape(-1, *taps.shape[1:])


def _product(x: Array, w: Array, stride: int) -> Array:
    n, size, _, c = x.shape
    y = jnp.einsum("nqc,cqp->cnp", x.reshape(n, -1, c), _matrices(w, size, stride))
    out = -(-size // stride)
    return y.transpose(1, 2, 0).reshape(n, out, out, c)


def _product_backward(x: Array, w: Array, g: Array, stride: int) -> tuple[Array, Array]:
    n, size, _, c = x.shape
    x, g = x.reshape(n, -1, c), g.reshape(n, -1, c)
    dx = jnp.einsum("npc,cqp->cnq", g, _matrices(w, size, stride)).transpose(1, 2, 0)
    taps = _taps(size, w.shape[0], stride).reshape(w.shape[0] ** 2, -1)
    dw = jnp.asarray(taps) @ jnp.einsum("nqc,npc->qpc", x, g).reshape(-1, c)
    return dx.reshape(n, size, size, c), dw.reshape(w.shape)


def _small_or_shifted(x: Array, w: Array, stride: int) -> Array:
    return (_product if x.shape[1] <= SMALL else _shifted)(x, w, stride)


def _small_or_shifted_backward(x: Array, w: Array, g: Array, stride: int) -> tuple[Array, Array]:
    return (_product_backward if x.shape[1] <= SMALL else _shifted_backward)(x, w, g, stride)


# -- shifted products --------------------------------------------------------------------------


def _reach(size: int, kernel: int) -> int:
    """Taps further from the centre than this only ever see padding."""
    return min(kernel // 2, size - 1)


def _crop(w: Array, reach: int) -> Array:
    p = w.shape[0] // 2
    return w[p - reach : p + reach + 1, p - reach : p + reach + 1]


def _shifted(x: Array, w: Array, stride: int) -> Array:
    n, h, _, c = x.shape
    r = _reach(h, w.shape[0])
    w = _crop(w, r)
    last = stride * (-(-h // stride) - 1) + 1
    padded = jnp.pad(x, ((0, 0), (r, r), (r, r), (0, 0)))
    taps = (
        lax.slice(padded, (0, i, j, 0), (n, i + last, j + last, c), (1, stride, stride, 1)) * w[i, j]
        for i in range(2 * r + 1)
        for j in range(2 * r + 1)
    )
    total = next(taps)
    for tap in taps:
        total = total + tap
    return total


def _shifted_backward(x: Array, w: Array, g: Array, stride: int) -> tuple[Array, Array]:
    h, out = x.shape[1], g.shape[1]
    spread = g
    if stride > 1:
        tail = h - (stride * (out - 1) + 1)
        spread = lax.pad(
            g, jnp.zeros((), g.dtype), ((0, 0, 0), (0, tail, stride - 1), (0, tail, stride - 1), (0, 0, 0))
        )
    return _shifted(spread, w[::-1, ::-1], 1), _filter_gradient(x, w, g, stride)


def _filter_gradient(x: Array, w: Array, g: Array, stride: int) -> Array:
    n, h, _, c = x.shape
    out = g.shape[1]
    r = _reach(h, w.shape[0])
    side = 2 * r + 1
    # rows and columns of one parity together, so that a tap's window is contiguous: [stride^2, n, ...]
    length = -(-(h + 2 * r) // stride) * stride
    padded = jnp.pad(x, ((0, 0), (r, length - h - r), (r, length - h - r), (0, 0)))
    phases = jnp.stack([padded[:, a::stride, b::stride] for a in range(stride) for b in range(stride)])
    i, j = np.divmod(np.arange(side**2), side)
    starts = np.stack([(i % stride) * stride + j % stride, np.zeros_like(i), i // stride, j // stride], axis=1)
    ones = jnp.ones((1, n * out * out), g.dtype)

    def tap(start: Array) -> Array:
        window = lax.dynamic_slice(phases, (start[0], start[1], start[2], start[3], 0), (1, n, out, out, c))[0]
        return (ones @ (window * g).reshape(-1, c))[0]

    gradient = lax.map(tap, jnp.asarray(starts, jnp.int32)).reshape(side, side, c)
    margin = w.shape[0] // 2 - r
    return jnp.pad(gradient, ((margin, margin), (margin, margin), (0, 0)))


# -- kernels -----------------------------------------------------------------------------------

_MOST = 2**31 - 1  # elements that the kernels number


def _kernel(x: Array, w: Array, stride: int) -> Array:
    if x.size > _MOST:
        return _grouped(x, w, stride)
    from supernets.depthwise_gpu import convolve  # Pallas takes a second to import

    return convolve(x, w, stride)


def _kernel_backward(x: Array, w: Array, g: Array, stride: int) -> tuple[Array, Array]:
    if x.size > _MOST:
        return _grouped_backward(x, w, g, stride)
    from supernets.depthwise_gpu import gradients

    return gradients(x, w, g, stride)


_FORWARD: dict[str, Callable[..., Array]] = {"cpu": _small_or_shifted, "gpu": _kernel, "other": _grouped}
_BACKWARD: dict[str, Callable[..., tuple[Array, Array]]] = {
    "cpu": _small_or_shifted_backward,
    "gpu": _kernel_backward,
    "other": _grouped_backward,
}
