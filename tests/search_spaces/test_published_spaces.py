"""Published networks are members of their spaces, to the parameter."""

from dataclasses import replace

import numpy as np
import pytest

from search_spaces import AdditiveCost, SpaceError, covering, get_space, reference_network
from search_spaces.reference import (
    _FBNET_A,
    _FBNET_B,
    _FBNET_C,
    _PROXYLESS_CPU,
    _PROXYLESS_GPU,
    _PROXYLESS_MOBILE,
    _rows,
)

FBNET = "16,16,24,32,64,112,184,352"
PUBLISHED = {
    "fbnet_a": ("fbnet", f"{FBNET},1504", _FBNET_A),
    "fbnet_b": ("fbnet", f"{FBNET},1984", _FBNET_B),
    "fbnet_c": ("fbnet", f"{FBNET},1984", _FBNET_C),
    "proxyless_mobile": ("proxyless", "32,16,32,40,80,96,192,320,1280", _PROXYLESS_MOBILE),
    "proxyless_cpu": ("proxyless", "40,24,32,48,88,104,216,360,1432", _PROXYLESS_CPU),
    "proxyless_gpu": ("proxyless", "40,24,32,56,112,128,256,432,1728", _PROXYLESS_GPU),
}


def text(blocks):
    names = []
    for row in _rows(blocks):
        if row is None:
            names.append("skip")
        else:
            kernel, expand, _, _, groups = row
            names.append(f"k{kernel}e{expand}" + (f"g{groups}" if groups > 1 else ""))
    return names


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_members(name):
    family, channels, blocks = PUBLISHED[name]
    space = get_space(family, channels=tuple(map(int, channels.split(","))))
    names = text(blocks)[1:] if family == "proxyless" else text(blocks)
    network, reference = space.network(space.parse("_".join(names))), reference_network(name)
    assert network.params == reference.params and network.macs == reference.macs
    assert network.kernels == reference.kernels


@pytest.mark.parametrize(
    ("name", "channels", "stages"),
    [
        (
            "mnasnet_a1",
            (32, 16, 24, 40, 80, 112, 160, 320, 1280),
            "sep-k3-se0-none-w100-d1 mb6-k3-se0-identity-w100-d2 mb3-k5-se25-identity-w100-d3 "
            "mb6-k3-se0-identity-w100-d4 mb6-k3-se25-identity-w100-d2 mb6-k5-se25-identity-w100-d3 "
            "mb6-k3-se0-none-w100-d1",
        ),
        (
            "mnasnet_b1",
            (32, 16, 24, 40, 80, 96, 192, 320, 1280),
            "sep-k3-se0-none-w100-d1 mb3-k3-se0-identity-w100-d3 mb3-k5-se0-identity-w100-d3 "
            "mb6-k5-se0-identity-w100-d3 mb6-k3-se0-identity-w100-d2 mb6-k5-se0-identity-w100-d4 "
            "mb6-k3-se0-none-w100-d1",
        ),
    ],
)
def test_mnasnets_are_members(name, channels, stages):
    space = get_space("mnasnet", channels=channels)
    network, reference = space.network(space.parse(stages.replace(" ", "_"))), reference_network(name)
    assert (network.params, network.macs) == (reference.params, reference.macs)


def test_resnet50_d_is_a_member():
    """25,576,264 parameters: ResNet-50's with three 3 x 3 convolutions for a stem."""
    space = get_space("ofa_resnet50", resolutions=224)
    genes = {"resolution": 224, "stem.middle": 100, "stem.width": 100, "stem.depth": 1}
    for s, depth in enumerate((3, 4, 6, 3), 1):
        genes |= {f"stage{s}.width": 100, f"stage{s}.depth": depth}
        genes |= {f"stage{s}.block{b}.expand": 25 for b in range(1, depth + 1)}
    assert space.network(space.encode(genes)).params == 25_576_264


def test_sizes_are_exact():
    assert get_space("fbnet").size == 9**22
    assert get_space("proxyless").size == (6 * 7**3) ** 5 * 6
    per_stage = (4 * 2 * 2 * 3 * 3) ** 7
    assert get_space("mnasnet").size == per_stage * 2**2 * 3**5
    deep = 3**2 + 3**3 + 3**4
    assert get_space("ofa_resnet50").size == 25 * 3**2 * 2 * 3**4 * deep**3 * (3**4 + 3**5 + 3**6)


def test_fbnet_rows_of_the_benchmark_are_networks(shared_bench):
    """The benchmark's nine operations are ours, and every row is a network of 32 px and 100 classes."""
    import json

    names = json.loads((shared_bench / "fbnet_ops.json").read_text())
    space = get_space("fbnet", image_size=32, num_classes=100, stem_stride=1)
    assert {name.replace("_", "") for name in names.values()} == set(space.genes[0].choices)


@pytest.mark.parametrize("name", ["ofa_resnet50", "proxyless", "fbnet", "mnasnet"])
def test_costs_of_populations_are_those_of_networks(name):
    small = {"resolutions": (32, 36)} if name == "ofa_resnet50" else {"image_size": 32}
    space = get_space(name, num_classes=10, **small)
    cost = AdditiveCost(space, lambda op: [op.macs, op.params])
    X = space.sample(np.random.default_rng(0), 60)
    networks = [space.network(x) for x in X]
    np.testing.assert_array_equal(cost(X), [[n.macs, n.params] for n in networks])
    covered = {key for arch in covering(space) for key in space.network(arch).kernels}
    more = space.sample(np.random.default_rng(1), 200)
    assert {key for x in more for key in space.network(x).kernels} <= covered
    assert cost(np.array([cost.cheapest()]))[0, 0] <= cost(X)[:, 0].min()


def test_odd_maps_are_halved_up():
    """132 px give maps of 33 px, whose last windows see one row and one column only."""
    space = get_space("ofa_resnet50", resolutions=132)
    network = space.network(space.cardinality - 1).check()
    pools = [op for op in network if op.kind == "pool" and op.kernel == 2]
    assert {op.size: op.out_shape[1] for op in pools} == {33: 17, 17: 9, 9: 5}
    assert all((op.padding, op.far_padding) == (0, 1) for op in pools)
    even = replace(pools[0], size=32)
    assert even.far_padding == 0


@pytest.mark.parametrize("name", ["proxyless", "fbnet", "mnasnet", "ofa_resnet50"])
def test_bad_options_are_named(name):
    with pytest.raises(SpaceError, match="num_classes"):
        get_space(name, num_classes=0)
    with pytest.raises(SpaceError, match="stem_stride"):
        get_space(name, stem_stride=3)
    if name != "ofa_resnet50":
        with pytest.raises(SpaceError, match="channels"):
            get_space(name, channels=(1, 2))
        with pytest.raises(SpaceError, match="image_size"):
            get_space(name, image_size=2)
