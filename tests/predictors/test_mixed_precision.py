"""Costs of mixed networks against sums over their operators, one by one; conversions against made-up ones."""

import numpy as np
import pytest

from latency_tables import KernelLatency, LatencyTable
from predictors.mixed_precision import MixedCost, MixedLatency, switching_sample
from search_spaces import Conv, Linear, get_space
from search_spaces.mixed import MixedSpace
from search_spaces.operators import stored_bytes


@pytest.fixture(scope="module", params=["ofa_mbv3", "ofa_resnet50"])
def space(request):
    return MixedSpace(get_space(request.param, resolutions=64))


def test_population_costs_are_sums_over_operators(space, rng):
    X = space.sample(rng, 25)
    cost = MixedCost(space, lambda op: op.macs + 7.0, lambda op: 0.25 * op.macs + len(op.name))
    expected = []
    for x in X:
        on_integers = space.precision(x)
        expected.append(
            sum(0.25 * op.macs + len(op.name) if op.name in on_integers else op.macs + 7 for op in space.network(x))
        )
    assert cost(X) == pytest.approx(expected)


class EveryKernel(dict):
    """A table's kernels, each with a time of its own."""

    def __init__(self, space, scale):
        super().__init__()
        for x in space.base.sample(np.random.default_rng(0), 300):
            for key in space.base.network(x).kernels:
                self[key] = KernelLatency("fp32", *[scale * (1 + len(key) % 7)] * 3, 1, scale * (1 + len(key) % 7))

    def __missing__(self, key):
        return KernelLatency("fp32", 1.0, 1.0, 1.0, 1, 1.0)

    def __contains__(self, key):
        return True


def test_conversions_are_learned(rng):
    """Latencies made of the sum, a constant and a price a conversion: recovered, and held-out errors vanish."""
    space = MixedSpace(get_space("ofa_resnet50", resolutions=64))
    metadata = {"correction": {"constant_ms": 0.5}}
    model = MixedLatency(space, *(LatencyTable(EveryKernel(space, scale), metadata) for scale in (0.1, 0.06)))
    X = switching_sample(space, rng, 24)
    plain, counts = model.predict(X), model.boundaries(X)
    for x, row in zip(X, counts, strict=True):
        bits = [op.name in space.precision(x) for op in space.network(x)]
        values = [np.prod(op.out_shape) for op in space.network(x)]
        changes = [i for i in range(1, len(bits)) if bits[i] != bits[i - 1]]
        assert row.tolist() == pytest.approx([1, len(changes), sum(values[i - 1] for i in changes) / 1e6])
    y = plain + counts @ [0.3, 0.02, 4.0]
    found = model.fit(X, y).conversions_
    assert (found.constant_ms, found.each_ms, found.million_ms) == pytest.approx((0.3, 0.02, 4.0), rel=1e-3)
    assert found.error_after < 1e-6 < found.error_before
    assert model.predict(X) == pytest.approx(y)


def test_bytes_are_those_of_real_files(tmp_path, rng):
    """All on integers: the constants of the file that ONNX Runtime's quantiser writes, weights and their steps."""
    import onnx

    from latency_tables import onnx_model
    from latency_tables.int8 import calibrated

    base = get_space("ofa_resnet50", resolutions=32, num_classes=10)
    network = base.network(base.canonical(np.zeros(len(base.genes), dtype=int))[0])
    onnx.save(onnx_model(network), tmp_path / "m.onnx")
    images = rng.normal(size=(4, 3, 32, 32)).astype(np.float32)
    with calibrated(tmp_path / "m.onnx", images) as write:
        made = onnx.load(write(tmp_path / "q.onnx"))
    stored = {c.name: onnx.numpy_helper.to_array(c).nbytes for c in made.graph.initializer}
    for op in network.live:
        assert stored_bytes(op, 32) == 4 * op.weight_elements
        if isinstance(op, Conv | Linear):
            parts = ("weight_quantized", "weight_scale", "weight_zero_point", "bias_quantized")
            assert stored_bytes(op, 8) == sum(stored[f"{op.name}.{part}"] for part in parts)
