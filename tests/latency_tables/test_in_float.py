"""Operators of a quantised file back in float: which kernels run, and that the file still computes the network."""

import numpy as np
import onnx
import onnxruntime
import pytest

from latency_tables import QuantisationError, onnx_model, quantize
from latency_tables.in_float import in_float
from latency_tables.int8_report import float_kernels
from search_spaces import get_space

# ReLU in stem and stage 0, residuals, ReLU6 and no activation in MobileNetV2's blocks; HardSwish in fused ones
SPACES = {
    name: get_space("spaceevo", blocks=blocks, windows="000000", width=0.25, num_classes=10, resolutions=32, **options)
    for name, blocks, options in (
        ("mbv2", "111111", {"activation": "relu", "features": 0}),
        ("mixed", "514230", {}),
    )
}


def optimised(model, folder):
    """What ONNX Runtime makes of a model, as bytes."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return (folder / "optimised.onnx").read_bytes()


def outputs(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


@pytest.fixture(scope="module", params=SPACES)
def files(request, tmp_path_factory):
    """A network, its fp32 and its quantised file, and images that it was calibrated on."""
    folder, space, rng = tmp_path_factory.mktemp(request.param), SPACES[request.param], np.random.default_rng(0)
    images = rng.normal(size=(16, 3, 32, 32)).astype(np.float32)
    network = space.network(space.sample(rng, 1)[0])
    onnx.save(onnx_model(network), folder / "fp32.onnx")
    quantize(folder / "fp32.onnx", images, folder / "int8.onnx")
    return network, onnx.load(folder / "fp32.onnx"), onnx.load(folder / "int8.onnx"), images


def test_the_operators_run_in_float_and_the_others_as_before(files, tmp_path):
    """No activation is lost: the fewer operators round, the closer the file is to fp32."""
    network, fp32, int8, images = files
    names = [op.name for op in network]
    first = [name for name in names if name.startswith(("stem", "stage0"))]
    exact, before = outputs(fp32, images), float_kernels(optimised(int8, tmp_path), network)
    error = []
    for operators in ([], first, names):
        made = in_float(int8, operators)
        floats = float_kernels(optimised(made, tmp_path), network)
        assert set(operators) <= set(floats) | {n for n in names if n.endswith((".add", "pool"))}
        if operators is not names:
            assert set(floats) - set(operators) == set(before) - set(operators)
        error.append(float(np.abs(outputs(made, images) - exact).mean() / np.abs(exact).mean()))
    assert error[2] < error[0] and error[1] < 1.2 * error[0]
    assert sum(node.op_type == "QuantizeLinear" for node in made.graph.node) <= 1  # of the logits
    # what is left are the weights, rounded to 7 bits
    assert error[2] < 0.1


def test_nothing_changes_without_operators(files):
    _, _, int8, images = files
    assert np.array_equal(outputs(in_float(int8, ()), images), outputs(int8, images))


def test_mistakes_are_told(files):
    _, fp32, int8, _ = files
    with pytest.raises(QuantisationError, match="no operator 'stern'"):
        in_float(int8, ["stern"])
    with pytest.raises(QuantisationError, match="not in QDQ form"):
        in_float(fp32, ["stem"])
