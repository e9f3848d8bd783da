"""INT8 tables: the graph that is timed is the graph that ships, and its nodes find their operators."""

import numpy as np
import onnx
import onnxruntime
import pytest

from latency_tables import Device, DeviceError, Quantisation, device_side, onnx_model, quantize
from latency_tables.timed import INT8_FORMATS, require_half, timed_model
from latency_tables.trace import kernel_times
from search_spaces import get_space, reference_network

SPACE = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16,), stem_stride=1)
NETWORK = SPACE.network(SPACE.sample(np.random.default_rng(0), 1)[0])


def kinds(model, path):
    """Operators of the optimised graph, in order."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return sorted(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("precision", INT8_FORMATS)
def test_what_is_timed_is_what_ships(precision, tmp_path, rng):
    onnx.save(onnx_model(NETWORK), tmp_path / "m.onnx")
    images = rng.normal(size=(8, 3, 16, 16)).astype(np.float32)
    shipped = quantize(tmp_path / "m.onnx", images, tmp_path / "q.onnx", Quantisation(INT8_FORMATS[precision]))
    timed = timed_model(NETWORK, Device("x", precision=precision))
    assert kinds(timed, tmp_path / "a.onnx") == kinds(shipped.read_bytes(), tmp_path / "b.onnx")
    assert "QLinearConv" in kinds(timed, tmp_path / "a.onnx")


@pytest.mark.parametrize("precision", ["fp32", *INT8_FORMATS])
def test_every_operator_gets_its_time(precision):
    device = Device("x", precision=precision)
    for network in (NETWORK, reference_network("mobilenet_v3_small")):
        (profile,) = device_side.trace([timed_model(network, device)], device.settings, 1, 3)
        times, _ = kernel_times([network], [profile], rounds=1)
        assert set(times) == set(network.kernels)
        # nothing is lost: the kernels' times are all that the profiler saw
        total = sum(times[key].sum() for key in times)
        assert total == pytest.approx(np.sum(profile["us"]) / 1e3, rel=0.05)


def test_fp16_needs_a_provider_that_has_it():
    with pytest.raises(DeviceError, match="no fp16 convolution|cannot run fp16"):
        require_half("CPUExecutionProvider")


def test_fp16_models_hold_halves():
    model = onnx.ModelProto.FromString(timed_model(NETWORK, Device("x", precision="fp16")))
    assert {c.data_type for c in model.graph.initializer if c.dims} <= {
        *(onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64)
    }
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
