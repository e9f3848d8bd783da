"""Stand-alone networks in JAX against the same graph in ONNX Runtime."""

import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from flax import nnx

from latency_tables import onnx_model
from search_spaces import get_space
from supernets import NetworkModule, export_weights

CELLS = [[3, 0, 1, 4, 0, 2], [0, 2, 3, 0, 4, 3], [0] * 6]


@pytest.mark.parametrize("arch", CELLS)
def test_a_cell_is_the_same_in_jax_and_onnx(arch, rng):
    network = get_space("nasbench201", image_size=8).network(arch)
    module = NetworkModule(network, rng=rng)
    state = nnx.to_flat_state(nnx.state(module))
    tensors = {f"{path[1].replace('/', '.')}.{path[2]}": np.asarray(v[...]) for path, v in state}
    tensors |= {name: rng.uniform(0.5, 1.5, v.shape) for name, v in tensors.items() if not name.endswith("kernel")}
    module.assign(tensors)
    x = rng.normal(size=(3, 8, 8, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(onnx_model(network, export_weights(tensors), batch=3).SerializeToString())
    expected = session.run(None, {"image": x.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(module(jnp.asarray(x)), expected, rtol=2e-3, atol=2e-3)
