"""Post-training quantisation gives a file that runs and stays close to fp32."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from latency_tables import WeightsError, onnx_model, quantize
from search_spaces import get_space

SPACE = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16,), stem_stride=1, in_channels=3)


def outputs(path: Path, images: np.ndarray, level: str = "ORT_ENABLE_ALL") -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


@pytest.mark.parametrize("batch", [1, "N"])
def test_quantised_model_is_close(tmp_path, batch, rng):
    images = rng.normal(size=(20, 3, 16, 16)).astype(np.float32)
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    errors = []
    for genotype in SPACE.sample(rng, 4):
        onnx.save(onnx_model(SPACE.network(genotype), batch=batch), source)
        assert quantize(source, images, target) == target
        exact, close, plain = (
            outputs(source, images),
            outputs(target, images),
            outputs(target, images, "ORT_DISABLE_ALL"),
        )
        errors.append(np.abs(close - exact).mean() / np.abs(exact).mean())
        # Integer kernels that saturate, as x86 without VNNI does with weights of 8 bits, are off by half.
        assert np.abs(close - plain).mean() < 0.03 * np.abs(plain).mean()
    assert np.mean(errors) < 0.2
    kinds = {node.op_type for node in onnx.load(target).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


def test_images_of_another_size_are_refused(tmp_path, rng):
    onnx.save(onnx_model(SPACE.network(SPACE.sample(rng, 1)[0])), tmp_path / "m.onnx")
    with pytest.raises(WeightsError, match=r"\(20, 3, 8, 8\), the model takes \(n, \(3, 16, 16\)\)"):
        quantize(tmp_path / "m.onnx", np.zeros((20, 3, 8, 8), np.float32), tmp_path / "q.onnx")


SMALL = {
    "ofa_mbv3": {"width": 0.1, "resolutions": (16,), "stem_stride": 1},
    "ofa_resnet50": {"resolutions": (32,)},
    "proxyless": {"width": 0.25, "image_size": 16, "stem_stride": 1},
    "fbnet": {"image_size": 16},
    "mnasnet": {"image_size": 16},
    "spaceevo": {"width": 0.25, "resolutions": (32,)},
    "nasbench201": {},
    "nasbench_macro": {"image_size": 16},
}


@pytest.mark.parametrize("name", SMALL)
def test_no_provider_falls_back_with_a_warning(tmp_path, rng, capfd, name):
    """ONNX Runtime says on stderr what a provider cannot run or what of a file it has to mend."""
    space = get_space(name, **SMALL[name])
    network = space.network(space.sample(rng, 1)[0])
    images = rng.normal(size=(4, 3, network.size, network.size)).astype(np.float32)
    onnx.save(onnx_model(network), tmp_path / "m.onnx")
    quantize(tmp_path / "m.onnx", images, tmp_path / "q.onnx")
    capfd.readouterr()
    for provider in set(onnxruntime.get_available_providers()) - {"AzureExecutionProvider"}:  # it runs nothing itself
        session = onnxruntime.InferenceSession(tmp_path / "q.onnx", providers=[provider])
        assert session.get_providers()[0] == provider
        assert np.isfinite(session.run(None, {"image": images[:1]})[0]).all()
    assert capfd.readouterr().err == ""
