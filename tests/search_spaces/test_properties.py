"""Properties of genotypes, texts and networks that hold for whatever hypothesis thinks of, in every space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SPACES, ArchitectureError, Network, SpaceError, get_space

CASES = settings(max_examples=40, deadline=None, derandomize=True)
ALL = {name: get_space(name) for name in SPACES}
names = st.sampled_from(sorted(SPACES))
seeds = st.integers(0, 2**32 - 1)


@st.composite
def genotypes(draw, rows=1):
    """A space and rows of gene indices, canonical or not."""
    space = ALL[draw(names)]
    row = st.tuples(*(st.integers(0, int(n) - 1) for n in space.cardinality))
    return space, np.array(draw(st.lists(row, min_size=rows, max_size=rows)))


@CASES
@given(genotypes())
def test_one_network_has_one_genotype_one_text_and_one_set_of_values(case):
    space, (x,) = case
    arch = space.check(x)
    assert (space.canonical(np.array(arch))[0] == arch).all()
    assert space.parse(space.to_text(x)) == arch == space.encode(space.decode(x))
    network = space.network(x)
    assert network.text == space.network(arch).text
    again = Network.parse(network.text)
    assert again == network and (again.macs, again.params, again.kernels) == (
        network.macs,
        network.params,
        network.kernels,
    )
    assert network.live.macs <= network.macs and network.peak_memory >= 4 * max(
        np.prod(shape) for shape in network.shapes[1:]
    )


@CASES
@given(genotypes(rows=2))
def test_two_genotypes_have_the_same_text_only_if_they_are_the_same(case):
    space, (a, b) = case
    assert (space.to_text(a) == space.to_text(b)) == (space.check(a) == space.check(b))


@CASES
@given(genotypes(rows=2), seeds, st.floats(0, 1))
def test_variation_keeps_to_the_space_and_to_its_seed(case, seed, rate):
    space, X = case
    X = space.canonical(X)
    for vary in (
        lambda rng: space.mutate(X, rng, rate),
        lambda rng: space.crossover(X[:1], X[1:], rng),
    ):
        Y = vary(np.random.default_rng(seed))
        assert (space.canonical(Y) == Y).all() and (Y >= 0).all() and (Y < space.cardinality).all()
        assert (Y == vary(np.random.default_rng(seed))).all()
    child = space.crossover(X[:1], X[1:], np.random.default_rng(seed))[0]
    on = space.active(child)[0]
    assert ((child == X[0]) | (child == X[1]))[on].all()


@CASES
@given(genotypes(), st.data())
def test_damaged_text_is_another_architecture_or_refused(case, data):
    space, (x,) = case
    text = list(space.to_text(x))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.text(max_size=4))
    try:
        arch = space.parse("".join(text))
    except ArchitectureError:
        return
    assert space.check(arch) == arch


@CASES
@given(names, st.text(max_size=60))
def test_any_text_is_an_architecture_or_refused(name, text):
    try:
        arch = ALL[name].parse(text)
    except ArchitectureError as error:
        assert "\n" not in str(error).strip() or "\n" in text
    else:
        assert ALL[name].check(arch) == arch


@CASES
@given(st.sampled_from(["ofa_mbv3", "proxyless", "fbnet"]), st.floats(-1, 3), st.integers(-3, 2000))
def test_options_make_a_space_or_are_refused(name, width, classes):
    try:
        space = get_space(name, width=width, num_classes=classes)
    except SpaceError as error:
        assert len(str(error).splitlines()) == 1
        return
    network = space.network([0] * len(space.genes))
    assert network.num_classes == classes and network.macs > 0 and network.params > 0


@pytest.mark.parametrize("name", sorted(SPACES))
def test_size_counts_the_networks(name):
    """A small space is counted whole; of a large one 200 samples are 200 networks."""
    space = ALL[name]
    if space.size < 100_000:
        X = space.canonical(np.array(list(np.ndindex(*space.cardinality))))
        assert len(np.unique(X, axis=0)) == space.size
    else:
        assert len(np.unique(space.sample(np.random.default_rng(0), 200), axis=0)) == 200


@CASES
@given(genotypes())
def test_no_network_has_more_macs_than_the_largest_nor_fewer_than_the_smallest(case):
    space, (x,) = case
    least, macs, most = (space.network(arch).macs for arch in (space.smallest, space.canonical(x)[0], space.largest))
    assert least <= macs <= most
