"""Accuracy that networks inherit from a search's weights, against the chain of links of each network."""

import jax
import numpy as np

from supernets.chain import forward
from supernets.inherited import inherited
from supernets.mixed import path_logits, plan
from supernets.search_config import fbnet_config
from tests.supernets.test_differentiable import LATENCY, SPACE, WEIGHTS, search, setting  # noqa: F401

ARCHS = [(0, 0), (1, 0), (0, 2), (2, 1)]


def test_a_path_is_its_network(setting):  # noqa: F811
    p, params, images, _ = setting
    for x in ARCHS:
        np.testing.assert_allclose(
            path_logits(params, p, x, images), forward(params, SPACE.network(x), images), atol=1e-5
        )


def test_accuracy_is_that_of_the_networks(setting):  # noqa: F811
    p, params, images, target = setting
    batches = [(images, target.argmax(axis=1)), (-images, target.argmax(axis=1))]
    rows = [[forward(params, SPACE.network(x), i).argmax(axis=1) == labels for i, labels in batches] for x in ARCHS]
    told = []
    found = inherited(params, p, ARCHS, batches, lambda done, total: told.append((done, total)))
    assert list(found) == [100 * np.mean(row) for row in rows]
    assert told == [(k, 4) for k in (1, 2, 3, 4)]


def test_a_search_takes_the_best_of_what_it_draws(tmp_path, pictures, monkeypatch):
    """Whichever network inherits most is taken; without draws it is the most probable."""
    judged = []

    def seen(params, p, archs, batches, on_network):
        judged.append(archs)
        assert isinstance(params["stem.kernel"], jax.Array) and plan(SPACE) == p
        assert sum(len(labels) for _, labels in batches) >= WEIGHTS.batch_size
        return -np.arange(len(archs))[::-1]

    monkeypatch.setattr("supernets.differentiable.inherited", seen)
    config = fbnet_config(WEIGHTS, 1.005, updates=4, loss="target")
    found = search(tmp_path, pictures, config, LATENCY).run()
    ((*others, last),) = judged
    assert others and found.best == last
    assert all(LATENCY.of(x) <= 1.005 for x in judged[0])
    assert found.expected_ms == 1.005
