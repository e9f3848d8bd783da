"""The emitted ONNX graphs compute what the operators mean, in ONNX Runtime, against plain numpy."""

import numpy as np
import onnxruntime
import pytest

from latency_tables import WeightsError, onnx_model, operators_model
from search_spaces import (
    REFERENCE_NETWORKS,
    Conv,
    GlobalPool,
    Linear,
    Network,
    NetworkBuilder,
    Operator,
    Pool,
    Scale,
    Shuffle,
    Sum,
    Zero,
    get_space,
    reference_network,
)

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def run(model, **feed):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {k: v.astype(np.float32) for k, v in feed.items()})[0]


def windows(x, kernel, stride, fill):
    """`[n, c, out, out, k, k]`: the patches under a sliding filter, one Python step each."""
    pad = (kernel - 1) // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    out = -(-(x.shape[2] - 2 * pad) // stride)
    patches = np.empty((*x.shape[:2], out, out, kernel, kernel))
    for i in range(out):
        for j in range(out):
            patches[:, :, i, j] = x[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
    return patches


def convolution(x, weight, stride, groups):
    patches = windows(x, weight.shape[2], stride, 0.0)
    outputs = [
        np.einsum("ncijkl,ockl->noij", p, w)
        for p, w in zip(np.split(patches, groups, 1), np.split(weight, groups, 0), strict=True)
    ]
    return np.concatenate(outputs, axis=1)


def random_weights(op: Operator, rng):
    if isinstance(op, Linear):
        shapes = {"weight": (op.out_channels, op.in_channels)} | ({"bias": (op.out_channels,)} if op.bias else {})
    else:
        assert isinstance(op, Conv)
        shapes = {"weight": (op.out_channels, op.in_channels // op.groups, op.kernel, op.kernel)}
        names = (["gamma", "beta", "mean", "var"] if op.norm else []) + (["bias"] if op.bias else [])
        shapes |= {name: (op.out_channels,) for name in names}
    return {
        f"{op.name}.{name}": rng.uniform(0.5, 2, shape) if name == "var" else rng.normal(size=shape)
        for name, shape in shapes.items()
    }


CONVS = {
    "pointwise": dict(in_channels=5, out_channels=7, size=6),
    "depthwise stride 2 on an odd map": dict(in_channels=6, out_channels=6, size=7, kernel=5, stride=2, groups=6),
    "grouped": dict(in_channels=8, out_channels=4, size=5, kernel=3, groups=2),
    "seven": dict(in_channels=3, out_channels=16, size=9, kernel=7, stride=2),
    "bias without norm": dict(in_channels=4, out_channels=3, size=4, norm=False, bias=True),
    "bias and norm": dict(in_channels=4, out_channels=3, size=4, kernel=3, bias=True),
    "bare": dict(in_channels=4, out_channels=16, size=4, norm=False),
    **{f"activation {a}": dict(in_channels=16, out_channels=16, size=4, activation=a) for a in ACTIVATIONS},
}


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("fields", CONVS.values(), ids=CONVS.keys())
def test_convolution(fields, residual, rng):
    shape = Conv("c", (0,), **fields).out_shape
    if residual:  # the residual is a value of its own: another convolution of the image
        skip = Conv("skip", (0,), fields["in_channels"], shape[0], fields["size"], 1, fields.get("stride", 1))
        ops = (skip, Conv("c", (0, 1), **fields))
    else:
        ops = (Conv("c", (0,), **fields),)
    op, network = ops[-1], Network("n", fields["in_channels"], fields["size"], ops)
    weights = {k: v for o in ops for k, v in random_weights(o, rng).items()}
    x = rng.normal(size=(2, *network.shapes[0]))

    def plain(o):
        y = convolution(x, weights[f"{o.name}.weight"], o.stride, o.groups)
        y = y + weights.get(f"{o.name}.bias", np.zeros(o.out_channels))[:, None, None]
        if o.norm:
            g, b, m, v = (weights[f"{o.name}.{n}"][:, None, None] for n in ("gamma", "beta", "mean", "var"))
            y = (y - m) / np.sqrt(v + 1e-5) * g + b
        return y

    expected = ACTIVATIONS[op.activation](plain(op) + (plain(ops[0]) if residual else 0))
    got = run(onnx_model(network, weights, batch=2), image=x)
    assert got.shape == (2, *op.out_shape)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_layers_share_one_flat_map(activation, rng):
    ops = (Linear("a", (0,), 6, 5, activation), Linear("b", (1,), 5, 3, bias=False))
    network = Network("n", 6, 1, ops)
    weights = random_weights(ops[0], rng) | random_weights(ops[1], rng)
    x = rng.normal(size=(4, 6, 1, 1))
    hidden = ACTIVATIONS[activation](x[:, :, 0, 0] @ weights["a.weight"].T + weights["a.bias"])
    got = run(onnx_model(network, weights, batch="N"), image=x)
    np.testing.assert_allclose(got, hidden @ weights["b.weight"].T, rtol=1e-4, atol=1e-5)


def test_a_convolution_may_follow_a_linear_layer(rng):
    ops = (Linear("a", (0,), 6, 5), Conv("b", (1,), 5, 3, 1, norm=False))
    weights = random_weights(ops[0], rng) | random_weights(ops[1], rng)
    x = rng.normal(size=(1, 6, 1, 1))
    hidden = x[:, :, 0, 0] @ weights["a.weight"].T + weights["a.bias"]
    got = run(onnx_model(Network("n", 6, 1, ops), weights), image=x)
    np.testing.assert_allclose(got[:, :, 0, 0], hidden @ weights["b.weight"][:, :, 0, 0].T, rtol=1e-4, atol=1e-5)


def _mean_pool(x):
    ones = windows(np.ones_like(x), 3, 2, 0.0).sum((-1, -2))
    return windows(x, 3, 2, 0.0).sum((-1, -2)) / ones


SIMPLE = {
    "max": (Pool("p", (0,), 4, 7, 3, 2, "max"), lambda x: windows(x, 3, 2, -np.inf).max((-1, -2))),
    "mean": (Pool("p", (0,), 4, 7, 3, 2, "mean"), _mean_pool),
    "global": (GlobalPool("p", (0,), 4, 7), lambda x: x.mean((2, 3), keepdims=True)),
    "sum": (Sum("p", (0, 0, 0), 4, 7, "relu"), lambda x: np.maximum(3 * x, 0)),
    "activation alone": (Sum("p", (0,), 4, 7, "hswish"), lambda x: ACTIVATIONS["hswish"](x)),
    "zero": (Zero("p", (0,), 4, 7), lambda x: 0 * x),
    "shuffle": (
        Shuffle("p", (0,), 4, 7, 2),
        lambda x: x[:, [0, 2, 1, 3]],
    ),
}


@pytest.mark.parametrize(("op", "expected"), SIMPLE.values(), ids=SIMPLE.keys())
@pytest.mark.parametrize("batch", [2, "N"])
def test_operators_without_weights(op, expected, batch, rng):
    x = rng.normal(size=(2, 4, 7, 7))
    got = run(onnx_model(Network("n", 4, 7, (op,)), {}, batch=batch), image=x)
    np.testing.assert_allclose(got, expected(x), rtol=1e-5, atol=1e-6)


def test_scale_as_a_model_of_its_own(rng):
    network = Network("n", 4, 5, (GlobalPool("pool", (0,), 4, 5), Scale("scale", (0, 1), 4, 5)))
    x, gate = rng.normal(size=(1, 4, 5, 5)), rng.normal(size=(1, 4, 1, 1))
    got = run(operators_model(network, [1]), image=x, pool=gate)
    np.testing.assert_allclose(got, x * gate, rtol=1e-5)


@pytest.mark.parametrize("name", REFERENCE_NETWORKS)
def test_reference_networks_run(name):
    network = reference_network(name)
    model = onnx_model(network)
    got = run(model, image=np.random.default_rng(0).normal(size=(1, *network.shapes[0])))
    assert got.shape == (1, 1000)
    assert np.isfinite(got).all() and got.std() > 1e-3
    assert Network.parse(model.metadata_props[0].value) == network


def small():
    b = NetworkBuilder("small", in_channels=3, size=8)
    x = b.conv("stem", b.image, 16, kernel=3, stride=2, activation="relu")
    b.linear("classifier", b.global_pool("pool", x), 10)
    return b.build()


def test_emission_is_deterministic():
    assert onnx_model(small()).SerializeToString() == onnx_model(small()).SerializeToString()


def test_missing_and_misshapen_weights_are_named(rng):
    network = small()
    weights = random_weights(network.operators[0], rng) | random_weights(network.operators[2], rng)
    without = {k: v for k, v in weights.items() if k != "stem.var"}
    with pytest.raises(WeightsError, match=r"lack 'stem.var', an array of shape \(16,\) for operator 'conv_i3_o16"):
        onnx_model(network, without)
    with pytest.raises(WeightsError, match=r"'classifier.weight' has shape \(16, 10\).*needs \(10, 16\)"):
        onnx_model(network, weights | {"classifier.weight": weights["classifier.weight"].T})


def test_norm_of_a_sum(rng):
    network = Network("n", 4, 5, (Sum("s", (0, 0), 4, 5, "relu", norm=True),))
    weights = {f"s.{name}": rng.uniform(0.5, 2, 4) for name in ("gamma", "beta", "mean", "var")}
    x = rng.normal(size=(2, 4, 5, 5))
    scale, shift = weights["s.gamma"] / np.sqrt(weights["s.var"] + 1e-5), weights["s.beta"]
    expected = np.maximum((2 * x - weights["s.mean"][:, None, None]) * scale[:, None, None] + shift[:, None, None], 0)
    np.testing.assert_allclose(run(onnx_model(network, weights, batch=2), image=x), expected, rtol=1e-4, atol=1e-5)


def test_benchmark_networks_run(rng):
    space = get_space("nasbench201")
    for arch in ([0] * 6, [1] * 6, [4] * 6, [3, 0, 1, 4, 0, 2], [2, 3, 0, 0, 0, 3]):
        got = run(onnx_model(space.network(arch)), image=rng.normal(size=(1, 3, 32, 32)))
        assert got.shape == (1, 10) and np.isfinite(got).all()
