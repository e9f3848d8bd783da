"""A small space, its weights, and images for the supernet's tests."""

from dataclasses import replace

import numpy as np
import pytest

from search_spaces import MBConvSpace, get_space


@pytest.fixture(scope="session")
def space():
    """Two stages of the family, one with squeeze-excite: everything elastic, and quick to compile."""
    full = get_space("ofa_mbv3", width=0.25, num_classes=4, resolutions=(8, 12), stem_stride=1, in_channels=1)
    stages = tuple(replace(stage, depths=(1, 2)) for stage in full.spec.stages[:2])
    return MBConvSpace("two_stages", replace(full.spec, stages=stages), {"classes": 4})


@pytest.fixture(scope="session")
def params(space):
    """Weights away from their initial symmetry: transformations and norms perturbed, projections not zero."""
    import jax.numpy as jnp

    from supernets import init_params

    rng = np.random.default_rng(1)
    noise = {"gamma": 0.3, "beta": 0.3, "bias": 0.3, "to3": 0.1, "to5": 0.1}
    found = {}
    for name, value in init_params(space, 0).items():
        scale = noise.get(name.rpartition(".")[2], 0.0)
        found[name] = value + jnp.asarray(scale * rng.normal(size=value.shape), jnp.float32)
    return found


@pytest.fixture(scope="session")
def pictures():
    """Labelled images that a small network can tell apart: a bright quarter."""
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 4
    images = rng.integers(0, 60, size=(96, 12, 12, 1))
    for i, label in enumerate(labels):
        y, x = divmod(label, 2)
        images[i, 6 * y : 6 * y + 6, 6 * x : 6 * x + 6] += 150
    return images.astype(np.uint8), labels.astype(np.int32)
