"""Products of layers, against the plain ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.layers import _pieces, convolution, pointwise, split_product


@pytest.mark.parametrize("pieces", [2, 8])
def test_a_split_product_has_the_gradients_of_a_plain_one(pieces):
    x, kernel, g = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(96, 12), (12, 20), (96, 20)]))
    y, back = jax.vjp(lambda x, kernel: split_product(x, kernel, pieces), x, kernel)
    plain, plain_back = jax.vjp(jnp.matmul, x, kernel)
    np.testing.assert_array_equal(y, plain)
    for ours, theirs in zip(back(g), plain_back(g), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_split_product_in_bfloat16_adds_up_in_single_precision():
    x, kernel = jnp.ones((4096, 1), jnp.bfloat16), jnp.ones((1, 1), jnp.bfloat16)
    g = jnp.ones((4096, 1), jnp.bfloat16)
    _, gradient = jax.vjp(lambda x, k: split_product(x, k, 16), x, kernel)[1](g)
    assert gradient.dtype == jnp.bfloat16
    assert float(gradient[0, 0]) == 4096  # a sum in bfloat16 would stop at 256


@pytest.mark.parametrize("rows", [1, 1000, 1024, 3584, 4096, 12288, 65536, 100352, 1 << 20, 3 << 20])
def test_pieces_divide_the_rows_and_are_not_small(rows):
    pieces = _pieces(rows)
    assert rows % pieces == 0
    assert pieces & (pieces - 1) == 0
    assert pieces == 1 or (rows // pieces >= 1024 and pieces <= 128)


def test_grouped_pointwise_is_the_grouped_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 12))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 4, 6))

    def square(convolve, x, kernel):
        return (convolve(x, kernel) ** 2).sum()

    ways = (lambda x, k: convolution(x, k, groups=3), lambda x, k: pointwise(x, k[0, 0], 3))
    expected, found = (jax.value_and_grad(partial(square, way), argnums=(0, 1))(x, kernel) for way in ways)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
