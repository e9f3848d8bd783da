"""Costs learned as sums over operators."""

import numpy as np

from predictors.graph import operator_features
from predictors.operator_costs import OperatorCosts
from search_spaces import get_space


def test_recovers_the_cost_of_every_operator():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, (60, 4))
    true = np.array([2.0, 0.0, 0.5, 1.0])
    model = OperatorCosts().fit(counts, counts @ true + 3)
    far = rng.integers(10, 20, (50, 4))
    np.testing.assert_allclose(model.predict(far), far @ true + 3, rtol=0.05)
    assert (model.weights_ >= 0).all()


def test_a_cost_of_zero_is_no_division_by_zero():
    model = OperatorCosts().fit(np.arange(6)[:, None], np.zeros(6))
    assert model.predict(np.array([[3]])) == 0


def test_operators_are_counted_as_named_and_as_run():
    space = get_space("nasbench201")
    # node 3 reads only node 0, so what node 1 and 2 compute is dead
    dead, bare = (
        space.network(space.parse(f"|{a}~0|+|none~0|{a}~1|+|nor_conv_1x1~0|none~1|none~2|"))
        for a in ("nor_conv_3x3", "none")
    )
    named = operator_features([dead, bare])
    assert named.shape[1] >= 1
    assert operator_features([dead.live, bare.live]).shape[1] == 0  # no operator is told apart
