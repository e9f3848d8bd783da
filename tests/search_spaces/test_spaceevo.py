"""SpaceEvo's hyperspace against the release's lists: blocks, windows, widths, and closed forms of sizes and costs."""

from math import prod

import numpy as np
import pytest

from search_spaces import SpaceError, get_space
from search_spaces.hyperspace import Hyperspace
from search_spaces.spaceevo import STAGES, STRIDES
from search_spaces.spaceevo_blocks import BLOCKS, PUBLISHED


def test_windows_are_the_releases():
    assert [stage.windows for stage in STAGES] == [2, 4, 4, 4, 4, 4]
    assert [stage.widths(0) for stage in STAGES[:3]] == [(32, 48), (32, 48), (64, 80, 96)]
    assert STAGES[5].widths(STAGES[5].windows - 1)[-1] == 448 and len(STAGES[4].widths(1)) == 5
    assert len(PUBLISHED) ** len(STAGES) * prod(stage.windows for stage in STAGES) == 6**6 * 2 * 4**5
    assert Hyperspace(types=PUBLISHED) == Hyperspace() and Hyperspace().size == 6**6 * 2 * 4**5


def test_published_space_for_vnni():
    """151122-023231: MobileNetV2, fused MBConv, V2, V2, V3, V3."""
    space = get_space("spaceevo")
    assert space.options["blocks"] == "151122" and space.options["windows"] == "023231"
    largest = space.network(space.cardinality - 1)
    names = {op.name for op in largest}
    assert {"stage1.block1.depthwise", "stage2.block1.fused", "stage5.block6.se.scale"} <= names
    assert "stage3.block1.se.scale" not in names
    widths = {gene.name: gene.choices for gene in space.genes if gene.name.endswith("width")}
    assert widths["stage2.width"] == (64, 80) and widths["stage6.width"] == tuple(range(320, 417 + 16, 16))[:7]
    # a stage of depth d has (kernels * expansions)^d networks
    blocks = [(k, e) for k, e in ((2, 3), (3, 4), (2, 3), (2, 3), (2, 3), (2, 3))]
    expected = 5 * 2 * 2 * 2
    for (k, e), stage in zip(blocks, STAGES, strict=True):
        expected *= stage.window * sum((k * e) ** d for d in stage.depths)
    assert space.size == expected


@pytest.mark.parametrize("digit", range(len(BLOCKS)))
def test_every_block_type_can_be_everywhere(digit):
    """Uniform spaces, with which the evolution of spaces begins; all widths multiples of 16."""
    space = get_space("spaceevo", blocks=str(digit) * 6, windows="000000")
    rng = np.random.default_rng(digit)
    for x in (space.cardinality - 1, 0 * space.cardinality, *space.sample(rng, 3)):
        network = space.network(x)
        network.check()
        assert all(network.shapes[i][0] % 16 == 0 for op in network if op.name.endswith("1.skip") for i in op.inputs)
        assert network.shapes[-1] == (1000, 1, 1)


def test_costs_of_a_bottleneck_by_hand():
    """Residual bottlenecks, smallest network: 1 x 1, 3 x 3 and 1 x 1 convolutions at 50 % of the stage's width."""
    space = get_space("spaceevo", blocks="333333", windows="000000", resolutions=32)
    network = space.network(0 * space.cardinality)
    macs = sum(op.macs for op in network if op.name.startswith("stage1.block1."))
    # 16 px in, 8 px out; 16 -> 16 -> 16 -> 32 channels, and the skip 16 -> 32
    assert macs == 16 * 16 * 16**2 + 9 * 16 * 16 * 8**2 + 16 * 32 * 8**2 + 16 * 32 * 8**2


def test_our_block_type_is_a_published_one_with_another_activation():
    """Fused MBConv with ReLU for HardSwish: the same genotypes, every operator of the same size."""
    published, ours = (get_space("spaceevo", blocks=digit * 6, windows="000000") for digit in "56")
    assert np.array_equal(published.cardinality, ours.cardinality)
    there, here = (space.network(space.largest) for space in (published, ours))
    renamed = [op.key.replace("hswish", "relu") if ".fused" in op.name else op.key for op in there]
    assert renamed == [op.key for op in here] != [op.key for op in there]


def test_stem_and_head_can_be_without_what_int8_makes_slow():
    """ReLU for HardSwish, and no layer between pooling and the classifier; the stages stay as they are."""
    published, lean = (get_space("spaceevo", width=0.5, **kept) for kept in ({}, {"activation": "relu", "features": 0}))
    assert lean.to_text(lean.largest) == published.to_text(published.largest)
    networks = [space.network(space.largest) for space in (published, lean)]
    rest, less = ({op.name: op.key for op in n if not op.name.startswith("stage")} for n in networks)
    assert set(rest) - set(less) == {"feature_mix"}
    assert all("hswish" in rest[name] and "relu" in less[name] for name in ("stem", "final_expand"))
    inner = [[op.key for op in n if op.name.startswith("stage")] for n in networks]
    assert inner[0] == inner[1]
    assert networks[1].shapes[-1] == (1000, 1, 1)
    # 640 -> 960 -> 1000 against 640 -> 1000
    assert networks[0].params - networks[1].params == 640 * 960 + (960 - 640) * 1000


@pytest.mark.parametrize(
    ("strides", "sizes"),
    [("222121", [16, 8, 4, 4, 2, 2]), (212121, [16, 16, 8, 8, 4, 4]), ("121212", [32, 16, 16, 8, 8, 4])],
)
def test_strides_decide_the_sizes_of_maps(strides, sizes):
    """Of a space and of the stages that are distilled; widths, kernels and expansions stay, and so do the names."""
    options = {"width": 0.5, "resolutions": 32, "stem_stride": 1}
    space, published = get_space("spaceevo", strides=strides, **options), get_space("spaceevo", **options)
    assert space.genes == published.genes
    network = space.network(space.largest)
    shapes = dict(zip((op.name for op in network), (op.out_shape for op in network), strict=True))
    assert [shapes[f"stage{s}.block1.project"][1] for s in range(1, len(STAGES) + 1)] == sizes
    hyper = Hyperspace(width=0.5, resolutions=(32,), stem_stride=1, strides=str(strides))
    assert [hyper.size_before(s, 32) for s in range(2, len(STAGES) + 2)] == sizes
    assert hyper.space(hyper.throughout(1)).options.get("strides", STRIDES) == str(strides)
    assert get_space("spaceevo", **space.options).network(space.largest).kernels == network.kernels


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"blocks": "17"}, "blocks"),
        ({"blocks": "177777"}, "666666"),
        ({"windows": "223231"}, "133333"),
        ({"windows": "x23231"}, "windows"),
        ({"width": 9.0}, "width"),
        ({"resolutions": 4}, "resolutions"),
        ({"activation": "swish"}, "hswish, relu"),
        ({"features": -1}, "features"),
        ({"strides": "22222"}, "strides"),
        ({"strides": 322121}, "strides"),
    ],
)
def test_mistakes_are_told(options, word):
    with pytest.raises(SpaceError, match=word):
        get_space("spaceevo", **options)
