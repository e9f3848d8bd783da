"""Hutchinson's traces against exact ones: of a quadratic form, and of a tiny network by `jax.hessian`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search_spaces import NetworkBuilder
from supernets.hessian import block_traces


def test_a_diagonal_form_needs_one_probe(rng):
    """v' H v of a diagonal H is its trace for any signs, so two probes agree."""
    weights = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
    curvature = {name: jnp.asarray(rng.random(x.shape) + 0.5) for name, x in weights.items()}

    def loss(point):
        return sum(0.5 * (curvature[name] * x**2).sum() for name, x in point.items())

    point = {name: jnp.asarray(x, jnp.float32) for name, x in weights.items()}
    found = block_traces(loss, point, {"one": {"a": 1.0}, "both": {"a": 2.0, "b": 1.0}}, probes=(2, 9))
    a, b = (float(curvature[name].sum()) for name in "ab")
    assert found["one"].mean == pytest.approx(a, rel=1e-5) and found["one"].probes == 2
    assert found["both"].mean == pytest.approx(4 * a + b, rel=1e-5) and found["both"].error < 1e-4 * a
    with pytest.raises(ValueError, match="'c'"):
        block_traces(loss, point, {"x": {"c": 1.0}})


def tiny():
    b = NetworkBuilder("tiny", in_channels=2, size=5)
    x = b.conv("stem", b.image, 3, kernel=3, activation="hswish")
    y = b.conv("depthwise", x, 3, kernel=3, groups=3, activation="relu")
    x = b.conv("project", y, 3, residual=x, activation="none")
    b.linear("classifier", b.global_pool("pool", x), 3)
    return b.build()


def test_a_network_against_its_whole_hessian(rng):
    """Every block's trace is within four standard errors of that of `jax.hessian`, and mostly within two."""
    from latency_tables import onnx_model
    from latency_tables.rounding_errors import constants
    from nas.precision.differentiable import divergence_of_file

    network = tiny()
    images = rng.normal(size=(4, 2, 5, 5)).astype(np.float32)
    loss, point, _ = divergence_of_file(network, constants(onnx_model(network)), images)
    gradient = jax.grad(loss)(point)
    assert max(float(jnp.abs(g).max()) for g in gradient.values()) < 1e-5  # at the file itself
    names = ["stem.kernel", "depthwise.kernel", "project.kernel", "classifier.kernel", "image", "depthwise"]
    blocks = {name: {name: 1.0} for name in names}
    found = block_traces(loss, point, blocks, probes=(400, 400))
    far = []
    for name in names:
        part = jax.hessian(lambda x, name=name: loss(point | {name: x}))(point[name])
        n = point[name].size
        exact = float(jnp.trace(part.reshape(n, n)))
        assert exact > 0
        far.append(abs(found[name].mean - exact) / found[name].error)
    assert max(far) < 4 and np.median(far) < 2
