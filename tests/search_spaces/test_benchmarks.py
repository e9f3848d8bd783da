"""The benchmark spaces: published counts and texts, exactly."""

import numpy as np
import pytest

from search_spaces import AdditiveCost, ArchitectureError, SpaceError, covering, get_space
from search_spaces.nasbench201 import benchmark_flops


def test_nasbench201_counts_equal_the_published_ones(shared_bench):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(shared_bench / "nasbench201_zero_cost.parquet")
    space = get_space("nasbench201")
    assert space.size == 15_625
    networks = [space.network(space.parse(text)) for text in table.arch_str]
    assert [n.params for n in networks] == [round(p * 1e6) for p in table.mparams]
    assert [benchmark_flops(n) for n in networks] == [round(f * 1e6) for f in table.mflops]


def test_nasbench_macro_counts_equal_the_published_ones(shared_bench):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(shared_bench / "nasbench_macro.parquet")
    space = get_space("nasbench_macro")
    networks = [space.network(space.parse(text)) for text in table.arch]
    assert [n.params for n in networks] == table.params.tolist()
    assert [n.macs for n in networks] == table.flops.tolist()


def test_nasbench201_text_is_the_benchmarks_own():
    space = get_space("nasbench201")
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    assert space.parse(text) == (3, 0, 1, 4, 0, 2)
    assert space.to_text(space.parse(text)) == text
    for wrong in ("", "|none~0|", text.replace("~2", "~1"), text.replace("none", "conv"), text[:-1]):
        with pytest.raises(ArchitectureError):
            space.parse(wrong)


def test_edges_that_nothing_depends_on_are_counted_but_not_run():
    space = get_space("nasbench201")
    # node 1 is convolved and read by nobody; the cell passes its input on
    network = space.network(space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"))
    assert network.params > network.live.params == 73_306
    assert network.live.check().shapes[-1] == network.shapes[-1]
    assert network.kernels == network.live.kernels


def test_cells_without_a_path_are_those_that_guess(shared_bench):
    space = get_space("nasbench201")
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(shared_bench / "nasbench201.parquet", columns=["arch_str", "c10_valid_200"])
    X = np.array([space.parse(text) for text in table["arch_str"]])
    np.testing.assert_array_equal(space.reads_image(X), table["c10_valid_200"] > 10.0)


def test_bad_options_are_named():
    for name in ("nasbench201", "nasbench_macro"):
        with pytest.raises(SpaceError, match="num_classes"):
            get_space(name, num_classes=0)
        with pytest.raises(SpaceError, match="image_size"):
            get_space(name, image_size=2)


@pytest.mark.parametrize("name", ["nasbench201", "nasbench_macro"])
def test_additive_cost_equals_the_networks_own(name, rng):
    space = get_space(name)
    X = space.sample(rng, 100)
    cost = AdditiveCost(space, lambda op: [op.macs, op.params])
    live = [space.network(x).live for x in X]
    np.testing.assert_array_equal(cost(X), [[n.macs, n.params] for n in live])
    covered = {key for arch in covering(space) for key in space.network(arch).kernels}
    assert {key for n in live for key in n.kernels} <= covered
    cheapest = cost.cheapest()
    assert cost(np.array([cheapest]))[0, 0] <= cost(X)[:, 0].min()
