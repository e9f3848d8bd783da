"""Weights of a supernet: every network of its space fits into them."""

from functools import cache

import numpy as np
import pytest

from search_spaces import Conv, Linear, get_space
from supernets.shared import init_shared
from supernets.slicing import operator_weights

SPACES = {
    "ofa_resnet50": {"resolutions": 32},
    "mnasnet": {"image_size": 32},
    "spaceevo": {"resolutions": 32, "width": 0.5, "blocks": "555551", "windows": "021223", "stem_stride": 1},
    "proxyless": {"image_size": 32, "width": 0.25},
}


@cache
def fresh(name):
    """A space and weights for it."""
    space = get_space(name, **SPACES[name])
    return space, init_shared(space, 0)


@pytest.mark.parametrize("name", SPACES)
def test_every_network_fits(name):
    space, params = fresh(name)
    shapes = {key: np.broadcast_to(np.float32(0), value.shape) for key, value in params.items()}
    for x in (space.largest, space.smallest, *space.sample(np.random.default_rng(0), 200)):
        for op in space.network(x):
            if isinstance(op, Conv | Linear):
                assert operator_weights(shapes, op)["kernel"].shape[-1] == op.out_channels


def test_what_does_not_fit_is_refused():
    space = get_space("spaceevo", resolutions=32, width=0.25)
    op = next(op for op in space.network(space.largest) if isinstance(op, Conv))
    with pytest.raises(ValueError, match=f"^{op.name}: .* does not fit into weights of 3 channels"):
        operator_weights({f"{op.name}.kernel": np.zeros((3, 3, 3, 3))}, op)


@pytest.mark.parametrize("name", ["ofa_resnet50", "spaceevo"])
def test_branches_start_at_zero_only_beside_an_identity(name):
    space, params = fresh(name)
    ends = ("stem", "stage0")  # whose branches are beside the one or the other, as widths are
    blocks = [op for op in space.network(space.largest) if len(op.inputs) == 2 and not op.name.startswith(ends)]
    gammas = {op.name: float(params[f"{op.name}.gamma"].max()) for op in blocks}
    begin = {name for name in gammas if ".block1." in name}  # where a stage begins, the other branch is a convolution
    assert begin and {gammas[name] for name in begin} == {1.0}
    assert {gammas[name] for name in gammas.keys() - begin} == {0.0}
