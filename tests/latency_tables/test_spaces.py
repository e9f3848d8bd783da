"""Networks of every space: ONNX Runtime computes what Flax computes."""

import jax
import numpy as np
import onnxruntime
import pytest
from flax import nnx

from latency_tables import onnx_model
from search_spaces import get_space
from supernets import NetworkModule, export_weights

SMALL = {
    "ofa_resnet50": {"resolutions": 36, "stem_stride": 1},
    "proxyless": {"image_size": 16, "width": 0.25},
    "fbnet": {"image_size": 16, "width": 0.5},
    "mnasnet": {"image_size": 18, "width": 0.25},
    "spaceevo": {"resolutions": 36, "width": 0.25, "blocks": "012345", "windows": "000000"},
}


@pytest.mark.parametrize("name", SMALL)
def test_onnx_runtime_equals_flax(name):
    space = get_space(name, num_classes=4, **SMALL[name])
    x = space.sample(np.random.default_rng(1), 1)[0]
    if name == "ofa_resnet50":
        x = np.zeros_like(x)  # the smallest: odd maps are halved in it as well
    network = space.network(x)
    module = NetworkModule(network, rng=np.random.default_rng(0))
    graph, state = nnx.split(module)
    images = np.random.default_rng(0).normal(size=(2, network.size, network.size, 3)).astype(np.float32)
    expected = np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images))
    tensors = {}
    for op in network:
        weights = module.weights.get(op.name.replace(".", "/"))
        for field in ("kernel", "gamma", "beta", "mean", "var", "bias"):
            if weights is not None and hasattr(weights, field):
                tensors[f"{op.name}.{field}"] = np.asarray(getattr(weights, field)[...])
    model = onnx_model(network, export_weights(tensors), batch=2)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: images.transpose(0, 3, 1, 2).copy()})[0].reshape(2, -1)
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))
