"""What the models of a search see."""

import numpy as np
import pytest

from nas.search.inputs import Inputs, LogScale
from search_spaces import get_space


@pytest.fixture(scope="module")
def space():
    return get_space("nasbench_macro")


def test_log_scale_has_a_mean_squared_distance_of_one():
    sample = np.exp(np.random.default_rng(0).normal(3, 2, 4000))
    scaled = LogScale.of(sample)(sample)[:, 0]
    pairs = np.random.default_rng(1).integers(0, 4000, (2, 20000))
    assert ((scaled[pairs[0]] - scaled[pairs[1]]) ** 2).mean() == pytest.approx(1, rel=0.1)
    assert np.isfinite(LogScale.of(np.zeros(5))(np.zeros(3))).all()


def test_a_measured_cost_is_estimated_and_a_known_one_is_not(space):
    rng = np.random.default_rng(0)
    X = space.sample(rng, 30)
    macs = np.array([space.network(x).macs for x in X], dtype=float)
    Y = np.stack([rng.random(30), macs], axis=1)
    learned = Inputs(space, {}, [1], zero_cost=False)
    groups = learned.learn(X, Y)
    assert len(groups) == len(learned(X))
    assert all(a.shape == b.shape and len(a) == 30 for a, b in zip(groups, learned(X), strict=True))
    new = space.sample(rng, 50)
    estimate = learned.estimated(new)[0][:, 0]
    true = np.array([space.network(x).macs for x in new])
    assert np.corrcoef(np.argsort(np.argsort(estimate)), np.argsort(np.argsort(true)))[0, 1] > 0.9
    largest = learned.largest(1)
    assert largest is not None and largest > 0.8 * true.max()

    known = Inputs(space, {1: lambda X: np.array([space.network(x).macs for x in X], dtype=float)}, [], zero_cost=False)
    assert known.estimated(new) == [] and known.largest(0) is None
    assert known.largest(1) >= true.max()


def test_a_large_space_has_no_estimates():
    space = get_space("ofa_mbv3", resolutions=128)
    X = space.sample(np.random.default_rng(0), 8)
    inputs = Inputs(space, {}, [1], zero_cost=False)
    inputs.learn(X, np.ones((8, 2)))
    assert inputs.estimated(X) == [] and inputs.largest(1) is None
