"""The kernel predictor on kernel times known exactly: accuracy, intervals, files, refusals."""

import json

import numpy as np
import pytest

from latency_tables import KernelLatency, LatencyTable, TableError
from latency_tables.kernel_study import candidates
from predictors.kernel_features import KernelConfig
from predictors.kernels import KernelPredictor
from predictors.refine import least_sure
from predictors.roofline import Roofline
from search_spaces import REFERENCE_NETWORKS, covering, get_space, reference_network

KINDS_RATE = {"dw": 8e6, "pointwise": 5e7, "dense": 7e7, "grouped": 3e7, "vector": 1e7, "linear": 1e7}  # MACs a ms


def true_ms(key):
    """A machine of our own: rates by kind, blocks of 16 channels, slower filters of large side."""
    c = KernelConfig.parse(key)
    padded = -(-c.outputs // 16) * 16 / c.outputs
    rate = KINDS_RATE.get(c.kind, 2e6)
    return 0.002 + c.macs * padded * (1 + 0.05 * c.kernel) / rate + c.bytes / 2e7 + 0.004 * c.add


ABOUT = {
    "conditions": {"device": "test-cpu", "threads": 1},
    "space": {"name": "kernels", "options": {}},
    "correction": {"constant_ms": 0.1},
    "held_out": {"low": 0.95, "high": 1.05},
    "anchors": [],
}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    keys = sorted({key for network in candidates(32, 0) for key in network.kernels})
    unseen = [
        {"network": n.text, "median_ms": (0.1 + sum(map(true_ms, n.kernels))) * rng.lognormal(0, 0.01)}
        for n in candidates(12, 99)
    ]
    rows = {k: KernelLatency("fp32", *[float(true_ms(k) * rng.lognormal(0, 0.03))] * 3, 9, 0.0) for k in keys}
    return LatencyTable(
        {k: KernelLatency("fp32", r.median_ms, r.p10_ms, r.p90_ms, 9, r.median_ms) for k, r in rows.items()},
        {**ABOUT, "unseen": unseen},
    )


@pytest.fixture(scope="module")
def predictor(table):
    return KernelPredictor().fit([table])


def test_keys_are_read_back():
    networks = [reference_network(name) for name in REFERENCE_NETWORKS]
    space = get_space("ofa_mbv3", resolutions=32)
    networks += [space.network(arch) for arch in covering(space)]
    for network in networks:
        for op in network:
            config = KernelConfig.parse(op.key)
            if op.macs:
                assert config.macs == op.macs, op.key
            assert config.out_size == op.out_shape[1] and config.outputs == op.out_shape[0], op.key
            assert config.activation == getattr(op, "activation", "none"), op.key
    for bad in ("", "conv", "conv_i3_h3_none", "../x", "conv_x"):
        with pytest.raises(ValueError, match="no key"):
            KernelConfig.parse(bad)


def test_networks_of_papers_are_predicted(predictor):
    for name in ("mobilenet_v2", "mnasnet_a1", "fbnet_c", "resnet50"):
        network = reference_network(name)
        truth = 0.1 + sum(map(true_ms, network.kernels))
        predicted = predictor.predict_network(network)
        assert predicted.median == pytest.approx(truth, rel=0.1), name
        assert predicted.low <= predicted.median <= predicted.high


def test_kernel_intervals_are_calibrated(predictor):
    keys = {key for network in candidates(30, 5) for key in network.kernels} - set(predictor.kernels_)
    keys = sorted(keys)
    rows = predictor.predict_interval(keys)
    truth = np.array([true_ms(key) for key in keys]) * np.random.default_rng(3).lognormal(0, 0.03, len(keys))
    covered = ((truth >= rows[:, 1]) & (truth <= rows[:, 2])).mean()
    assert 0.85 <= covered <= 0.96 and len(keys) > 300
    assert np.median(np.abs(rows[:, 0] / truth - 1)) < 0.05


def test_known_kernels_are_taken_from_the_table(predictor, table):
    key = next(iter(table.kernels))
    assert predictor.predict_interval([key]).tolist() == [[table.kernels[key].cost_ms] * 3]


def made_table(networks):
    keys = sorted({key for network in networks for key in network.kernels})
    rows = {key: KernelLatency("fp32", *[true_ms(key)] * 3, 9, true_ms(key)) for key in keys}
    return LatencyTable(rows, ABOUT)


def test_measuring_what_is_least_sure_beats_measuring_more(rng):
    first, pool, truth = candidates(10, 1), candidates(120, 2), candidates(40, 3)
    keys = sorted({key for network in truth for key in network.kernels})
    ms = np.array([true_ms(key) for key in keys])
    start = KernelPredictor().fit([made_table(first)])
    chosen = least_sure(start, pool, 10)
    assert len(chosen) == len({network.text for network in chosen}) == 10

    def error(more):
        predictor = KernelPredictor().fit([made_table(first), made_table(more)])
        return np.sqrt(np.mean(np.log(predictor.predict(keys) / ms) ** 2))

    random = [error([pool[i] for i in rng.choice(len(pool), 10, replace=False)]) for _ in range(3)]
    assert error(chosen) < np.mean(random) < np.sqrt(np.mean(np.log(start.predict(keys) / ms) ** 2))
    known = KernelPredictor().fit([made_table(pool[:10])])
    assert least_sure(known, pool[:10], 3) == []


def test_kernels_far_from_the_roofline_are_named(table):
    key = next(iter(table.kernels))
    rows = dict(table.kernels)
    rows[key] = KernelLatency("fp32", 900.0, 900.0, 900.0, 9, 900.0)
    far = KernelPredictor().fit([LatencyTable(rows, table.metadata)]).far_from_roofline()
    assert far[key] > 10 and len(far) < 5


def test_round_trip_of_the_file(predictor, tmp_path):
    predictor.write(tmp_path / "p.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["p.npz"]
    again = KernelPredictor.read(tmp_path / "p.npz")
    network = reference_network("fbnet_c")
    assert again.predict_network(network) == predictor.predict_network(network)


def test_files_that_are_no_predictors_are_refused(tmp_path, predictor):
    with pytest.raises(TableError, match="nas profile kernels"):
        KernelPredictor.read(tmp_path / "absent.npz")
    (tmp_path / "noise.npz").write_bytes(b"noise")
    np.savez(tmp_path / "object.npz", metadata=np.array([{}], dtype=object))  # a pickle inside
    np.savez(tmp_path / "future.npz", metadata=np.array(json.dumps({"format": 99})))
    np.savez(tmp_path / "bare.npz", metadata=np.array(json.dumps({"format": 1, "kinds": ["dw"]})))
    for name in ("noise", "object", "future", "bare"):
        with pytest.raises(TableError, match="cannot be read"):
            KernelPredictor.read(tmp_path / f"{name}.npz")


def test_roofline_is_a_cold_start(rng):
    keys = [key for key in candidates(1, 0)[0].kernels] + [key for key in candidates(4, 7)[3].kernels]
    configs = [KernelConfig.parse(key) for key in keys]
    fitted = Roofline().fit(configs, [true_ms(key) for key in keys])
    other = [KernelConfig.parse(key) for key in candidates(2, 11)[1].kernels]
    truth = np.array([true_ms(key) for key in candidates(2, 11)[1].kernels])
    assert fitted.predict(other).sum() == pytest.approx(truth.sum(), rel=0.5)
    assert fitted.peak_gmacs > 0 and (fitted.predict(other) > 0).all()
    with pytest.raises(ValueError, match="at least 3"):
        Roofline().fit(configs[:2], [1.0, 1.0])


def test_tables_of_other_conditions_do_not_mix(table):
    other = LatencyTable(table.kernels, {**table.metadata, "conditions": {"device": "x", "threads": 2}})
    with pytest.raises(ValueError, match="threads: 1 and 2"):
        KernelPredictor().fit([table, other])
