"""The elastic space of ProxylessNAS's blocks against the space of its choices, whose networks are published counts'."""

import numpy as np
import pytest

from search_spaces import get_space


@pytest.mark.parametrize("width", [1.0, 1.3])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_networks_of_both_spaces_are_the_same(width, stem_stride):
    elastic = get_space("ofa_proxyless", width=width, resolutions=192, stem_stride=stem_stride)
    choices = get_space("proxyless", width=width, image_size=192, stem_stride=stem_stride)
    for x in elastic.sample(np.random.default_rng(0), 20):
        values = elastic.decode(x)
        for name in values:  # what both have
            if name.endswith(".expand"):
                values[name] = 6 if values[name] > 4 else 3
        names = []
        for stage in range(1, 7):
            for block in range(1, (4 if stage < 6 else 1) + 1):
                key = f"stage{stage}.block{block}"
                there = block <= values[f"stage{stage}.depth"]
                names.append(f"k{values[f'{key}.kernel']}e{values[f'{key}.expand']}" if there else "skip")
        ours, theirs = elastic.network(elastic.encode(values)), choices.network(choices.parse("_".join(names)))
        assert [op.key for op in ours] == [op.key for op in theirs]
        assert (ours.macs, ours.params) == (theirs.macs, theirs.params)
