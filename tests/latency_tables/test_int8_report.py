"""What quantisation cost every operator, against sums worked out by hand; calibration methods against each other."""

import numpy as np
import onnx
import pytest

from latency_tables import Quantisation, QuantisationError, get_device, onnx_model, quantize
from latency_tables.int8 import calibrated, recorded_network
from latency_tables.int8_report import operator_reports, sqnr_by_operator, sqnr_db
from search_spaces import NetworkBuilder


def small(activation="relu"):
    """A convolution with an activation, a pool and a matrix product."""
    b = NetworkBuilder("small", in_channels=3, size=8)
    x = b.conv("stem", b.image, 8, kernel=3, activation=activation)
    b.linear("classifier", b.global_pool("pool", x), 4)
    return b.build()


@pytest.fixture
def files(tmp_path, rng):
    def make(how=None, activation="relu", images=None):
        images = rng.normal(size=(96, 3, 8, 8)).astype(np.float32) if images is None else images
        source = tmp_path / "m.onnx"
        onnx.save(onnx_model(small(activation)), source)
        return source, quantize(source, images, tmp_path / "q.onnx", how or Quantisation()), images

    return make


def constants(path):
    return {c.name: onnx.numpy_helper.to_array(c) for c in onnx.load(path).graph.initializer}


def test_noise_of_uniform_rounding_is_the_textbooks(files):
    """Rounding of a gaussian image to steps s leaves noise of power s^2 / 12, which the report must find."""
    source, quantised, images = files()
    step = float(constants(quantised)["image_scale"])
    model = onnx.load(quantised)
    b = NetworkBuilder("image", in_channels=3, size=8)
    b.conv("image", b.image, 3)  # so that the image counts as an operator's output
    (noise,) = sqnr_by_operator(model, model, b.build(), images).values()
    assert noise == np.inf  # the same model twice
    rounded = np.clip(np.round(images / step) * step, images.min(), images.max())
    expected = 10 * np.log10(images.var() / (step**2 / 12))
    assert sqnr_db(float((images**2).sum()), float(((images - rounded) ** 2).sum())) == pytest.approx(expected, abs=0.2)


def test_report_names_what_stays_in_float(files):
    device = get_device("local-cpu-1t")
    source, quantised, images = files()
    rows = operator_reports(source, quantised, images, device)
    assert [row.name for row in rows] == ["stem", "pool", "classifier"]
    assert all(row.float_kernels == () and row.fp32_ms > 0 and row.int8_ms > 0 for row in rows)
    assert all(15 < row.sqnr_db < 60 for row in rows)
    rows = operator_reports(*files(activation="hswish")[:2], images, device)
    assert rows[0].float_kernels == ("HardSigmoid",) and rows[1].float_kernels == ()


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_methods_differ_as_they_should(files, rng, method):
    """Images with one far outlier: extremes follow it, percentiles and entropy do not."""
    images = rng.normal(size=(96, 3, 8, 8)).astype(np.float32)
    images[5, 1, 2, 3] = 40
    step = float(constants(files(Quantisation(method=method, percentile=99.9), images=images)[1])["image_scale"])
    if method == "minmax":
        assert step == pytest.approx((40 - images.min()) / 255, rel=1e-5)
    elif method == "percentile":
        low, high = np.quantile(images, (0.0005, 0.9995))
        assert step == pytest.approx((high - low) / 255, rel=0.05)
    else:
        assert step < 0.8 * (40 - images.min()) / 255


def test_a_relu_keeps_its_whole_range_by_percentile(files):
    """ONNX Runtime's percentile is symmetric by default, which would leave half of the 8 bits unused."""
    constant = constants(files(Quantisation(method="percentile"))[1])
    assert constant["stem_zero_point"] == 0


def test_bits_and_granularity_of_weights(files):
    for bits, largest in ((7, 64), (8, 127)):
        constant = constants(files(Quantisation(weight_bits=bits))[1])
        assert np.abs(constant["stem.weight_quantized"].astype(int)).max() == largest
        assert constant["stem.weight_scale"].shape == (8,)
    assert constants(files(Quantisation(per_channel=False))[1])["stem.weight_scale"].shape == ()


def test_single_operators_are_quantised_alone(files, tmp_path):
    source, _, images = files()
    with calibrated(source, images) as write:
        made = onnx.load(write(tmp_path / "a.onnx", ["classifier"]))
        weights = {node.input[0] for node in made.graph.node if node.op_type == "DequantizeLinear"}
        assert "classifier.weight_quantized" in weights and "stem.weight_quantized" not in weights
        with pytest.raises(QuantisationError, match="no operator 'nothing'"):
            write(tmp_path / "a.onnx", ["nothing"])


def test_mistakes_are_told(tmp_path, files):
    for wrong in ({"method": "best"}, {"form": "INT4"}, {"weight_bits": 4}, {"percentile": 10.0}):
        with pytest.raises(QuantisationError, match=next(iter(wrong))):
            Quantisation(**wrong)
    with pytest.raises(QuantisationError, match="does not say which network"):
        recorded_network(onnx.ModelProto())
