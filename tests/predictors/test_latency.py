"""`TableLatency` agrees with the table, network by network."""

import numpy as np
import pytest

from latency_tables import KernelLatency, LatencyTable, MissingKernelError
from predictors.latency import TableLatency
from search_spaces import covering, get_space


@pytest.fixture(scope="module")
def space():
    return get_space("ofa_mbv3", width=0.25, num_classes=4, resolutions=(16, 24), stem_stride=1, in_channels=1)


@pytest.fixture(scope="module")
def table(space):
    rng = np.random.default_rng(0)
    keys = sorted({key for arch in covering(space) for key in space.network(arch).kernels})
    return LatencyTable(
        {key: KernelLatency("fp32", 1.0, 1.0, 1.0, 1, float(rng.uniform(0.1, 1))) for key in keys},
        {
            "conditions": {"device": "test-cpu"},
            "space": {"name": space.name, "options": space.options},
            "correction": {"constant_ms": 0.25},
            "held_out": {"low": 0.9, "high": 1.2},
        },
    )


def test_vectorised_equals_one_by_one(space, table):
    X = space.sample(np.random.default_rng(1), 200)
    predictor = TableLatency(table, space).fit()
    expected = [table.predict(space.network(arch)) for arch in X]
    np.testing.assert_allclose(predictor.predict(X), [p.median for p in expected], rtol=1e-12)
    np.testing.assert_allclose(predictor.predict_interval(X), [(p.low, p.high) for p in expected], rtol=1e-12)


def test_a_table_of_another_space_is_refused(table):
    other = get_space("ofa_mbv3", width=0.5, num_classes=4, resolutions=(16,), stem_stride=1, in_channels=1)
    with pytest.raises(MissingKernelError, match="Run `nas profile ofa_mbv3 --device test-cpu`"):
        TableLatency(table, other).fit()
