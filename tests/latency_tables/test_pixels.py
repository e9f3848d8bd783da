"""Preprocessing inside the graph computes what training computed outside, at every size."""

import numpy as np
import onnxruntime
import pytest

from latency_tables import onnx_model
from latency_tables.pixels import with_preprocessing
from search_spaces import get_space


@pytest.mark.parametrize("size", [24, 32, 48])
def test_pixels_in_is_what_prepare_computes(rng, size):
    from supernets.images import nchw, prepare

    space = get_space("ofa_mbv3", width=0.1, resolutions=size, num_classes=4)
    model = onnx_model(space.network(space.sample(rng, 1)[0]), batch=2)
    mean, std = np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.3, 0.25], np.float32)
    pixels = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    def run(proto, **inputs):
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, inputs)[0]

    plain = run(model, image=nchw(prepare(pixels, mean, std, size=size)))
    inside = run(with_preprocessing(model, mean, std, 32), pixels=pixels)
    assert np.abs(inside - plain).max() <= 1e-4 * max(1.0, np.abs(plain).max())
