"""A supernet that rounds: its subnets in ONNX Runtime's integer kernels, its gradients, its steps by width and size."""

import base64
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from latency_tables import WeightsError, device_side, get_device, onnx_model
from latency_tables.int8_report import float_kernels
from search_spaces import Conv, MBConvSpace, NetworkBuilder, Pool, get_space
from search_spaces.rounding import places
from supernets import TrainConfig, train
from supernets.calibrate import Calibrator
from supernets.chain import forward, gradient, moments
from supernets.errors import TrainingError
from supernets.extraction import export_weights, inherited, slice_weights
from supernets.first_steps import with_steps
from supernets.folding import folded
from supernets.losses import cross_entropy
from supernets.quantised import is_quantised, steps
from supernets.shared import init_networks

_FULL = get_space("ofa_mbv3", width=0.25, num_classes=4, resolutions=12, stem_stride=2, in_channels=1).spec
_STAGES = tuple(replace(stage, depths=(1, 2), kernels=(3, 5), expands=(3, 4)) for stage in _FULL.stages[:2])
SPACE = MBConvSpace("two_stages", replace(_FULL, stages=_STAGES), {"classes": 4})


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).normal(size=(48, 12, 12, 1)), jnp.float32)


@pytest.fixture(scope="module")
def quantised(images):
    from supernets.params import init_params

    rng = np.random.default_rng(1)
    noisy = {
        name: value
        + jnp.asarray(0.3 * rng.normal(size=value.shape) * name.endswith(("gamma", "beta", "bias")), jnp.float32)
        for name, value in init_params(SPACE, 0).items()
    }
    return with_steps(noisy, SPACE, {12: images})


def runtime(model, images):
    from nas.onnx_eval import logits

    return logits(model.SerializeToString(), np.asarray(images).transpose(0, 3, 1, 2))


def test_a_subnet_trained_alone_begins_with_all_its_steps(quantised, images):
    """Those of depthwise filters too, whose names have the filter's size."""
    for x in SPACE.sample(np.random.default_rng(3), 2):
        network = SPACE.network(x)
        own = inherited(quantised, network)
        np.testing.assert_allclose(forward(own, network, images), forward(quantised, network, images), atol=1e-4)
        wanted = slice_weights(quantised, network)
        assert slice_weights(own, network).keys() == wanted.keys()
        assert sum(name.endswith(".kernel_scale") for name in wanted) == sum(
            name.endswith(".kernel") for name in wanted
        )


def test_files_compute_what_jax_computes(quantised, images):
    """Integer kernels against fake quantisation with the same biases: equal but for roundings at ties."""
    for x in SPACE.sample(np.random.default_rng(3), 3):
        network = SPACE.network(x)
        tensors = slice_weights(quantised, network, moments(quantised, network, images))
        params, plain = folded(tensors, network)
        expected = np.asarray(forward(params, plain, images, {}))
        found = runtime(onnx_model(network, export_weights(tensors), batch="N"), images)
        assert np.abs(found - expected).mean() < 1e-3 * np.abs(expected).mean()


def test_only_activations_without_integer_kernels_run_in_float(quantised, images, tmp_path):
    network = SPACE.network(SPACE.cardinality - 1)
    tensors = slice_weights(quantised, network, moments(quantised, network, images))
    onnx.save(onnx_model(network, export_weights(tensors)), tmp_path / "q.onnx")
    (profile,) = device_side.trace([str(tmp_path / "q.onnx")], get_device("local-cpu-1t").settings, 1, 3)
    floats = float_kernels(base64.b64decode(profile["graph"]), network)
    gated = {op.name for op in network if getattr(op, "activation", "") in ("hswish", "hsigmoid")}
    assert set(floats) == gated and {k for kinds in floats.values() for k in kinds} <= {"HardSigmoid", "Mul"}


def test_steps_are_sliced_with_their_channels(quantised):
    network = SPACE.network([0] * len(SPACE.genes))
    tensors = slice_weights(quantised, network, None)
    for op in network:
        if isinstance(op, Conv):
            size = str(op.kernel) if op.depthwise else ""
            assert np.array_equal(
                tensors[f"{op.name}.kernel_scale"], quantised[f"{op.name}.kernel_scale{size}"][: op.out_channels]
            )
            integers = tensors[f"{op.name}.kernel"] / tensors[f"{op.name}.kernel_scale"]
            assert np.abs(integers - integers.round()).max() < 1e-3 and np.abs(integers).max() < 64.01
    assert not steps(quantised, network.operators[-1])  # logits stay as they are


def test_gradients_reach_every_step_of_a_subnet(quantised, images):
    network = SPACE.network(SPACE.cardinality - 1)
    zeros = {name: jnp.zeros_like(value) for name, value in quantised.items()}
    target, dropout = jnp.full((48, 4), 0.25).at[:, 0].add(0.1), jnp.ones((48, _FULL.feature_channels))
    found = gradient(quantised, zeros, network, images, target, dropout, cross_entropy)
    sizes = {op.name: op.kernel for op in network if isinstance(op, Conv) and op.depthwise}
    for name, value in found.total.items():
        operator, _, field = name.rpartition(".")
        unused = operator in sizes and field[-1].isdigit() and field != f"kernel_scale{sizes[operator]}"
        if "_scale" in field and not unused:
            assert np.abs(value).max() > 0, name


def test_every_place_of_a_residual_network(rng):
    """ReLU6, a maximum pool, a residual before a ReLU, a grouped convolution, a matrix product with an activation."""
    b = NetworkBuilder("mixed", in_channels=3, size=12)
    x = b.conv("stem", b.image, 8, kernel=3, activation="relu6")
    x = b.pool("pool", x, kernel=3, stride=2)
    y = b.conv("block1.a", x, 8, kernel=3, groups=2, activation="sigmoid")
    x = b.conv("block1.b", y, 8, residual=x, activation="relu")
    x = b.linear("hidden", b.global_pool("mean", x), 8, activation="relu")
    b.linear("classifier", x, 4)
    network = b.build()
    assert [places(op) for op in network] == [("out",), (), ("linear", "out"), ("conv", "out")] + 3 * [("out",)]
    assert isinstance(network.operators[1], Pool)

    class One(MBConvSpace):
        def __init__(self):
            self.name, self.genes, self.options = "one", SPACE.genes[:1], {}

        def network(self, arch):
            return network

    images = jnp.asarray(rng.normal(size=(32, 12, 12, 3)) * 3, jnp.float32)
    params = with_steps(init_networks([network], 0), One(), {12: images})
    tensors = slice_weights(params, network, moments(params, network, images))
    plain = folded(tensors, network)
    expected = np.asarray(forward(*plain, images, {}))
    found = runtime(onnx_model(network, export_weights(tensors), batch="N"), images)
    assert np.abs(found - expected).mean() < 1e-3 * np.abs(expected).mean()
    with pytest.raises(WeightsError, match="no fp16 form"):
        onnx_model(network, export_weights(tensors), half=True)


@pytest.mark.slow
def test_fine_tuning_learns_and_calibrates(pictures, tmp_path):
    images, labels = pictures
    moments_ = {"mean": np.array([0.3], np.float32), "std": np.array([0.3], np.float32)}
    config = TrainConfig(epochs=20, warm_epochs=0, batch_size=32, random_subnets=1, peak_lr=0.05, shift=1, flip=False)
    params = train(SPACE, images, labels, config=config, folder=tmp_path / "float", **moments_)
    x = jnp.asarray((images / 255 - 0.3) / 0.3, jnp.float32)
    start = with_steps(params, SPACE, {12: x})
    tuning = replace(config, method="qfa", epochs=5, peak_lr=0.005)
    tuned = train(SPACE, images, labels, config=tuning, folder=tmp_path / "int8", start=start, **moments_)
    assert is_quantised(tuned) and any(not np.array_equal(tuned[k], start[k]) for k in start if k.endswith("out_scale"))
    row = SPACE.cardinality - 1
    stats = Calibrator(SPACE, tuned, batch_size=48)(tuple(row.tolist()), x)
    y = forward(tuned, SPACE.network(row), x, stats)
    assert (np.asarray(y).argmax(axis=1) == labels).mean() > 0.8


def test_mistakes_are_told():
    with pytest.raises(TrainingError, match="warm_epochs"):
        TrainConfig(method="qfa")
    with pytest.raises(TrainingError, match="precision"):
        TrainConfig(method="qfa", warm_epochs=0, precision="bf16")
