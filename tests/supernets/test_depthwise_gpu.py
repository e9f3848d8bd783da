"""The GPU's kernels, interpreted on the CPU, against XLA's grouped convolution: values and both gradients."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.depthwise_gpu import convolve, gradients
from supernets.layers import convolution, patches_product

CASES = [  # images, height, width, channels, kernel, stride
    (3, 8, 8, 5, 3, 1),
    (2, 7, 9, 24, 5, 2),
    (3, 4, 4, 40, 5, 1),
    (2, 5, 5, 6, 7, 2),
    (5, 2, 2, 72, 7, 1),
    (3, 1, 1, 8, 3, 2),
    (1, 18, 20, 4, 3, 2),
]


@pytest.mark.parametrize(
    ("case", "dtype"), [*((case, jnp.float32) for case in CASES), (CASES[1], jnp.bfloat16)], ids=str
)
def test_equals_xla(rng, case, dtype):
    n, h, w, c, k, stride = case
    x = jnp.asarray(rng.normal(size=(n, h, w, c)), dtype)
    filters = jnp.asarray(rng.normal(size=(k, k, c)), dtype)
    exact = (x.astype(jnp.float32), filters.astype(jnp.float32))
    y, pullback = jax.vjp(lambda x, f: convolution(x, f[:, :, None, :], stride=stride, groups=c), *exact)
    g = jnp.asarray(rng.normal(size=y.shape), dtype)
    found = (convolve(x, filters, stride), *gradients(x, filters, g, stride))
    for ours, theirs in zip(found, (y, *pullback(g.astype(jnp.float32))), strict=True):
        scale = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(
            ours.astype(jnp.float32), theirs, atol=(1e-5 if dtype == jnp.float32 else 1e-2) * scale
        )


DIVIDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from supernets.depthwise_gpu import convolve, gradients
mesh, rng = Mesh(np.array(jax.devices()), ("batch",)), np.random.default_rng(0)
x, w, g = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((4, 5, 5, 6), (3, 3, 6), (4, 3, 3, 6)))
run = jax.jit(lambda x, w, g: (convolve(x, w, 2), *gradients(x, w, g, 2)))
places = [NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), (), ("batch",))]
parts = [jax.device_put(array, place) for array, place in zip((x, w, g), places)]
for one, two, divided in zip(run(x, w, g), run(*parts), (True, True, False)):
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert len(two.sharding.device_set) == 2 and two.sharding.is_fully_replicated != divided, two.sharding
"""


def test_batches_are_divided_over_devices(root):
    virtual = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PJRT_NPROC": "16", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", DIVIDED], cwd=root, env=os.environ | virtual, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
def test_product_of_patches_is_the_convolution(rng, size, stride):
    x = jnp.asarray(rng.normal(size=(2, size, size, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 5)), jnp.float32)
    np.testing.assert_allclose(patches_product(x, kernel, stride), convolution(x, kernel, stride=stride), atol=1e-5)
