"""Sets of least time against exhaustive search, and prices of conversions against those that made the times."""

from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pytest

from nas.precision.conversions import edges, learned, switching_sets
from nas.precision.least_time import Cuts, Times
from predictors.mixed_precision import Conversions
from search_spaces import get_space


@pytest.fixture(scope="module")
def network():
    """Residual blocks of two convolutions and a shortcut: more than a chain."""
    space = get_space("ofa_resnet50")
    return space.network(space.canonical(np.zeros(len(space.genes), dtype=np.int64))[0]).live


def _times(network, rng, conversions):
    names = [op.name for op in network]
    return Times(*(dict(zip(names, scale * rng.random(len(names)), strict=True)) for scale in (1.0, 0.7)), conversions)


def _small(network, n):
    return replace(network, operators=network.operators[:n])


def test_edges_are_what_operators_read(network):
    pairs, values = edges(network)
    assert len(pairs) > len(network.operators) - 1  # shortcuts
    for (a, b), count in zip(pairs, values, strict=True):
        assert a + 1 in network.operators[b].inputs
        assert count == np.prod(network.operators[a].out_shape)


@pytest.mark.parametrize("each", [0.0, 0.05, 0.3])
def test_sets_of_least_time_are_those_of_exhaustive_search(network, rng, each):
    """For any price of sensitivity, one of the path's sets costs no more than any of all 4,096."""
    small = _small(network, 12)
    names = [op.name for op in small]
    for _ in range(3):
        times = _times(small, rng, Conversions(0.0, each, 0.02))
        cuts = Cuts(small, times)
        s = rng.random(12) ** 4
        every = chain.from_iterable(combinations(range(12), k) for k in range(13))
        masks = np.array([np.isin(range(12), list(chosen)) for chosen in every])
        ms, sums = np.array([cuts.time(mask) for mask in masks]), masks @ s
        path = cuts.path(dict(zip(names, s, strict=True)))
        found = np.array([np.isin(names, list(chosen)) for chosen in path])
        found_ms, found_sums = np.array([cuts.time(mask) for mask in found]), found @ s
        for price in (0.0, *np.geomspace(1e-3, 1e3, 40)):
            least = (ms + price * sums).min()
            assert (found_ms + price * found_sums).min() == pytest.approx(least, rel=1e-5, abs=1e-6)


def test_a_path_goes_from_float_to_the_fastest_set(network, rng):
    times = _times(network, rng, Conversions(0.0, 0.1, 0.1))
    cuts, names = Cuts(network, times), [op.name for op in network]
    path = cuts.path(dict(zip(names, rng.random(len(names)), strict=True)))
    assert path[0] == () and len(path) > 5
    assert all(set(a) < set(b) for a, b in zip(path, path[1:], strict=False))  # as parametric cuts are
    ms = [cuts.time(np.isin(names, list(chosen))) for chosen in path]
    assert ms == sorted(ms, reverse=True)


def test_without_conversions_an_operator_is_on_integers_where_they_are_faster(network, rng):
    times = _times(network, rng, Conversions())
    faster = {name for name, ms in times.on_integers.items() if ms < times.in_float[name]}
    assert set(Cuts(network, times).path(dict.fromkeys(times.in_float, 1.0))[-1]) == faster


def test_where_conversions_are_dear_nothing_is_mixed(network, rng):
    times = _times(network, rng, Conversions(0.0, 100.0, 0.0))
    path = Cuts(network, times).path({name: rng.random() for name in times.in_float})
    assert {len(chosen) for chosen in path} <= {0, len(network.operators)}


def test_prices_are_learned(network, rng):
    names, true = [op.name for op in network], Conversions(0.2, 0.03, 0.5)
    times = _times(network, rng, true)
    cuts, sets = Cuts(network, times), switching_sets(names, rng, 12)
    assert len(sets) == 12 and all(0 < len(chosen) < len(names) for chosen in sets)
    ms = [true.constant_ms + cuts.time(np.isin(names, list(chosen))) for chosen in sets]
    found = learned(network, times.in_float, times.on_integers, sets, ms)
    assert (found.constant_ms, found.each_ms, found.million_ms) == pytest.approx((0.2, 0.03, 0.5), rel=1e-6)
    assert found.error_after < 1e-9
