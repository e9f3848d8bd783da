"""The Once-for-All space against what was published about it."""

import numpy as np
import pandas as pd
import pytest

from search_spaces import AdditiveCost, covering, get_space


def test_size_is_the_published_one():
    space = get_space("ofa_mbv3")
    per_resolution = (9**2 + 9**3 + 9**4) ** 5
    assert space.size == 25 * per_resolution
    assert f"{per_resolution:.0e}" == "2e+19"


def published_architecture(row) -> dict[str, int]:
    """Genes of one row of the benchmark table."""
    values = {"resolution": int(row.r)}
    for s in range(5):
        values[f"stage{s + 1}.depth"] = int(row[f"d{s}"])
        for b in range(4):
            values[f"stage{s + 1}.block{b + 1}.kernel"] = int(row[f"ks{4 * s + b}"])
            values[f"stage{s + 1}.block{b + 1}.expand"] = int(row[f"e{4 * s + b}"])
    return values


def test_every_published_subnet_has_its_published_counts(shared_bench):
    """All 1,200 ImageNet subnets of DyNAS-T, to the unit.

    The convention: MACs are those of convolutions (squeeze-excite's among them) and of the
    classifier; parameters are weights, biases and batch norm's scale and shift; running
    statistics and the kernel transformation matrices are not counted.
    """
    space = get_space("ofa_mbv3")
    table = pd.read_parquet(shared_bench / "ofa_mbv3_imagenet.parquet")
    archs = [space.encode(published_architecture(row)) for _, row in table.iterrows()]
    networks = [space.network(arch) for arch in archs]
    assert len(networks) == 1200
    assert [n.macs for n in networks] == table.macs.astype(int).tolist()
    assert [n.params for n in networks] == table.params.astype(int).tolist()
    vectorised = AdditiveCost(space, lambda op: [op.macs, op.params])(np.array(archs))
    assert (vectorised == table[["macs", "params"]].to_numpy()).all()


@pytest.mark.parametrize("size", [28, 32, 64])
def test_small_pictures_have_a_sensible_member(size):
    space = get_space("ofa_mbv3", width=0.5, num_classes=10, resolutions=size, stem_stride=1, in_channels=1)
    network = space.network(space.sample(np.random.default_rng(0), 1)[0]).check()
    last_maps = [shape[1] for shape in network.shapes if shape[1] > 1]
    assert network.num_classes == 10 and last_maps[-1] >= 2


def test_covering_holds_every_kernel():
    space = get_space("ofa_mbv3", resolutions=(32, 64))
    covered = {key for arch in covering(space) for key in space.network(arch).kernels}
    seen = {key for x in space.sample(np.random.default_rng(0), 300) for key in space.network(x).kernels}
    assert seen <= covered


def test_cheapest_architecture_is_exact():
    space = get_space("ofa_mbv3", resolutions=(32, 64))
    rng = np.random.default_rng(0)
    prices = {}  # arbitrary, also negative costs: the optimum need not be the smallest network

    def price(op):
        return [prices.setdefault(op.key, rng.normal()), op.macs]

    cost = AdditiveCost(space, price)
    best = space.decode(cost.cheapest(column=1))
    assert best["resolution"] == 32 and all(v == 2 for k, v in best.items() if k.endswith("depth"))
    X = space.sample(rng, 20_000)
    X = np.concatenate([X, space.mutate(np.repeat([cost.cheapest(0)], 20_000, axis=0), rng, 0.05)])
    assert cost(np.array([cost.cheapest(0)]))[0, 0] <= cost(X)[:, 0].min() + 1e-9
