"""Published networks have exactly the published counts."""

import pytest

from search_spaces import REFERENCE_NETWORKS, Network, SpaceError, reference_network

# parameters and MACs (millions): torchvision's, timm's semnasnet_100, pytorchcv's ProxylessNAS
PUBLISHED = {
    "mobilenet_v2": (3_504_872, 300.8),
    "mobilenet_v3_large": (5_483_032, 216.6),
    "mobilenet_v3_small": (2_542_856, 56.5),
    "mnasnet_b1": (4_383_312, 314.4),
    "mnasnet_a1": (3_887_038, None),
    "proxyless_mobile": (4_080_512, 320.4),
    "proxyless_cpu": (4_361_648, None),
    "proxyless_gpu": (7_119_848, None),
    "resnet50": (25_557_032, 4089.2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_equal_the_published_ones(name):
    params, macs = PUBLISHED[name]
    network = reference_network(name)
    assert network.params == params
    if macs is not None:
        assert round(network.macs / 1e6, 1) == macs


@pytest.mark.parametrize(("name", "macs"), [("fbnet_a", 244.5), ("fbnet_b", 291.1), ("fbnet_c", 378.2)])
def test_fbnet_macs_are_the_published_ones(name, macs):
    network = reference_network(name)
    # FBNet's zoo counts the inputs of the last pooling as well
    pool = next(op for op in network if op.kind == "globalpool")
    assert round((network.macs + pool.channels * pool.size**2) / 1e6, 1) == macs


@pytest.mark.parametrize("name", REFERENCE_NETWORKS)
def test_networks_are_consistent_and_their_text_round_trips(name):
    network = reference_network(name).check()
    assert network.shapes[-1] == (1000, 1, 1)
    assert "\n" not in network.text
    assert Network.parse(network.text) == network


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(SpaceError, match="resnet51.*resnet50"):
        reference_network("resnet51")
