"""Post-training quantisation gives a file that runs and stays close to fp32."""

import numpy as np
import onnx
import onnxruntime
import pytest

from latency_tables import WeightsError, onnx_model, quantize
from search_spaces import get_space


@pytest.mark.parametrize("batch", [1, "N"])
def test_quantised_model_is_close(tmp_path, batch, rng):
    space = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16,), stem_stride=1, in_channels=3)
    network = space.network(space.sample(rng, 1)[0])
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    onnx.save(onnx_model(network, batch=batch), source)
    images = rng.normal(size=(20, 3, 16, 16)).astype(np.float32)
    assert quantize(source, images, target) == target
    kinds = {node.op_type for node in onnx.load(target).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    sessions = [onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"]) for p in (source, target)]
    exact, close = (np.concatenate([s.run(None, {"image": x[None]})[0] for x in images]) for s in sessions)
    assert np.abs(close - exact).mean() < 0.2 * np.abs(exact).mean()
    with pytest.raises(WeightsError, match=r"\(3, 8, 8\), the model takes \(3, 16, 16\)"):
        quantize(source, images[:, :, :8, :8], target)
