"""The shifted-product depthwise convolution against XLA's own, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.depthwise import depthwise
from supernets.layers import convolution


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("choice", [0, 1, 2])
def test_equals_xla(rng, size, stride, choice):
    x = jnp.asarray(rng.normal(size=(3, size, size, 5)), jnp.float32)
    filters = [jnp.asarray(rng.normal(size=(k, k, 5)), jnp.float32) for k in (3, 5, 7)]
    out = -(-size // stride)
    g = jnp.asarray(rng.normal(size=(3, out, out, 5)), jnp.float32)

    def ours(x, filters):
        return (depthwise(x, filters, jnp.int32(choice), stride) * g).sum()

    def theirs(x, w):
        return (convolution(x, w[:, :, None, :], stride=stride, groups=5) * g).sum()

    value, (dx, dw) = jax.jit(jax.value_and_grad(ours, argnums=(0, 1)))(x, filters)
    expected, (ex, ew) = jax.value_and_grad(theirs, argnums=(0, 1))(x, filters[choice])
    np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dx, ex, atol=1e-4)
    for i, gradient in enumerate(dw):
        np.testing.assert_allclose(gradient, ew if i == choice else jnp.zeros_like(gradient), atol=2e-3)
