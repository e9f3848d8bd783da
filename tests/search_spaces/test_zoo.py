"""Random networks are well-formed, varied and repeatable."""

import numpy as np

from search_spaces import REFERENCE_NETWORKS, Network, reference_network
from search_spaces.zoo import random_network


def test_networks_are_whole_and_repeatable():
    made = [random_network(np.random.default_rng([0, i])) for i in range(40)]
    for i, network in enumerate(made):
        assert network.check() == random_network(np.random.default_rng([0, i]))
        assert Network.parse(network.text) == network
    kinds = {key.partition("_")[0] for network in made for key in network.kernels}
    assert kinds == {"conv", "dw", "linear", "pool", "globalpool", "scale", "shuffle"}
    assert len({network.kernels for network in made}) == len(made)


def test_no_published_network_is_among_them():
    published = {reference_network(name).kernels for name in REFERENCE_NETWORKS}
    assert not published & {random_network(np.random.default_rng([0, i])).kernels for i in range(100)}
