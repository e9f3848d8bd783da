"""Synaptic flow without overflow: maps of a positive linear network as mantissa and logarithmic scale.

With absolute weights, an input of ones, no batch norm and no bias, a ReLU network is linear in
its input and in every kernel. The flow through a kernel, sum |theta * dR/dtheta|, is then the inner
product of what it makes with the cotangent there. Products of hundreds of layers leave any
floating-point range, so that a map is kept as `mantissa * exp(scale)` with a largest mantissa of 1.

Activations other than ReLU are taken as the identity that they are for large inputs, and
squeeze-excite gates as 1.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from predictors.zero_cost.layers import before_norm, product, product_of_own
from search_spaces import Conv, Linear, Operator, Scale

Array = jax.Array
Scaled = tuple[Array, Array]  # mantissa [1, h, w, c] and log scale []
NOTHING = -1e30  # scale of a map of zeros


def forward(op: Operator, kernel: Array | None, bias: None, ins: tuple[Scaled, ...]) -> Scaled:
    """Runs one operator on `mantissa * exp(scale)`."""
    del bias
    top = ins[0][1]
    for _, scale in ins[1:]:
        top = jnp.maximum(top, scale)
    if isinstance(op, Scale):
        top = ins[0][1]
    aligned = tuple(mantissa * jnp.exp(jnp.minimum(scale - top, 0.0)) for mantissa, scale in ins)
    return _scaled(_linear(op, kernel, *aligned), top)


def backward(
    op: Operator, kernel: Array | None, bias: None, ins: tuple[Scaled, ...], cotangent: Scaled
) -> tuple[tuple[Scaled, ...], Array | None]:
    """Cotangents of the inputs, and the logarithm of the flow through the kernel."""
    del bias
    mantissas = tuple(mantissa for mantissa, _ in ins)
    c, scale = cotangent
    pulled = jax.vjp(partial(_linear, op, kernel, by=product_of_own), *mantissas)[1](c)
    flow = None
    if kernel is not None:
        assert isinstance(op, Conv | Linear)
        inner = (product_of_own(op, jnp.abs(kernel), mantissas[0]) * c).sum()
        flow = jnp.where(inner > 0, jnp.log(jnp.where(inner > 0, inner, 1.0)) + ins[0][1] + scale, NOTHING)
    return tuple(_scaled(p, scale) for p in pulled), flow


def add(a: Scaled, b: Scaled) -> Scaled:
    """Sum of two maps."""
    top = jnp.maximum(a[1], b[1])
    return _scaled(a[0] * jnp.exp(a[1] - top) + b[0] * jnp.exp(b[1] - top), top)


def _linear(op: Operator, kernel: Array | None, *xs: Array, by: Callable[..., Array] = product) -> Array:
    if kernel is not None:
        assert isinstance(op, Conv | Linear)
        y = by(op, jnp.abs(kernel), xs[0])
        return y + xs[1] if len(xs) == 2 else y
    if isinstance(op, Scale):
        return xs[0]
    return before_norm(op, xs)


def _scaled(x: Array, scale: Array) -> Scaled:
    top = x.max()
    safe = jnp.where(top > 0, top, 1.0)
    return x / safe, jnp.where(top > 0, jnp.maximum(scale, NOTHING) + jnp.log(safe), NOTHING)
