"""Genotypes of every space: one contract."""

from itertools import product

import numpy as np
import pytest

from search_spaces import SPACES, ArchitectureError, SpaceError, get_space
from search_spaces.gene import Gene
from search_spaces.mbconv import MBConvSpace
from search_spaces.space import Space


@pytest.fixture(params=SPACES)
def space(request) -> Space:
    return get_space(request.param)


def test_samples_are_canonical_and_deterministic(space):
    X = space.sample(np.random.default_rng(3), 200)
    assert X.shape == (200, len(space.genes))
    assert (space.canonical(X) == X).all()
    assert (X == space.sample(np.random.default_rng(3), 200)).all()
    assert (X >= 0).all() and (X < space.cardinality).all()


def test_every_choice_is_drawn(space):
    X = space.sample(np.random.default_rng(0), 3000)
    active = space.active(X)
    for i, gene in enumerate(space.genes):
        assert set(X[active[:, i], i]) == set(range(len(gene.choices))), gene.name


def test_samples_of_every_size(space):
    """Canonical, with every choice of a gene that is there, and further out than uniform ones."""
    X = space.sample_of_every_size(np.random.default_rng(0), 3000)
    active = space.active(X)
    assert (space.canonical(X) == X).all()
    for i, gene in enumerate(space.genes):
        assert set(X[active[:, i], i]) == set(range(len(gene.choices))), gene.name
    uniform = space.sample(np.random.default_rng(0), 60)
    found, known = ([space.network(x).macs for x in rows] for rows in (X[:60], uniform))
    assert np.quantile(found, 0.1) <= np.quantile(known, 0.1) and np.quantile(found, 0.9) >= np.quantile(known, 0.9)


def test_the_largest_at_a_resolution():
    space = get_space("ofa_mbv3", resolutions=[24, 32])
    assert [space.network(space.largest_at(size)).size for size in (24, 32, None)] == [24, 32, 32]
    with pytest.raises(ArchitectureError, match=r"resolution.*28"):
        space.largest_at(28)


def test_encode_decode_text_round_trip(space):
    for x in space.sample(np.random.default_rng(1), 50):
        arch = tuple(x.tolist())
        assert space.encode(space.decode(arch)) == arch
        text = space.to_text(arch)
        assert not set(text) & set(" \n\t'\"$&;")
        assert space.parse(text) == arch
        assert space.network(arch).check().text == space.network(space.parse(text)).text


def test_variation_stays_in_the_space(space):
    rng = np.random.default_rng(2)
    A, B = space.sample(rng, 300), space.sample(rng, 300)
    for X in (space.mutate(A, rng, 0.3), space.crossover(A, B, rng)):
        assert (space.canonical(X) == X).all() and (X < space.cardinality).all()
    assert (space.mutate(A, rng, 0.0) == A).all()
    assert (space.crossover(A, A, rng) == A).all()


def test_one_hot_is_zero_where_inactive(space):
    X = space.sample(np.random.default_rng(4), 20)
    features = space.one_hot(X)
    assert features.shape == (20, space.cardinality.sum())
    assert (features.sum(axis=1) == space.active(X).sum(axis=1)).all()
    first = int(space.cardinality[0])
    assert (features[:, :first].argmax(axis=1) == X[:, 0]).all()


def test_options_rebuild_the_space(space):
    again = get_space(space.name, **space.options)
    assert again.genes == space.genes
    x = space.sample(np.random.default_rng(0), 1)[0]
    assert again.network(x) == space.network(x)


@pytest.mark.parametrize(
    "text", ["", "r224", "x", "r224_d9-k3e3_d2", "r224_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3-k3e3_d2-k3e3"]
)
def test_malformed_text_is_one_clear_line(text):
    with pytest.raises(ArchitectureError) as error:
        get_space("ofa_mbv3").parse(text)
    assert "\n" not in str(error.value)


def test_bad_genes_are_named():
    space = get_space("ofa_mbv3")
    with pytest.raises(ArchitectureError, match="no gene 'colour'"):
        space.encode({"colour": 1})
    with pytest.raises(ArchitectureError, match="'resolution' is active"):
        space.encode({})
    with pytest.raises(ArchitectureError, match=r"resolution' \(=225\)"):
        space.encode({"resolution": 225})
    with pytest.raises(ArchitectureError, match="46 genes"):
        space.network([0, 1])
    with pytest.raises(ArchitectureError, match="index of its choices"):
        space.network([99] + [0] * 45)


def test_unknown_space_and_options():
    with pytest.raises(SpaceError, match="ofa_mbv3"):
        get_space("ofa")
    with pytest.raises(SpaceError, match="no option 'depth'"):
        get_space("ofa_mbv3", depth=3)
    with pytest.raises(SpaceError, match="width"):
        get_space("ofa_mbv3", width=-1)


def test_size_counts_distinct_networks_by_brute_force():
    base = get_space("ofa_mbv3", width=0.5, resolutions=(32, 40))
    assert isinstance(base, MBConvSpace)
    from dataclasses import replace

    stages = tuple(replace(s, depths=(1, 2), kernels=(3, 5), expands=(3, 6)) for s in base.spec.stages[:2])
    small = MBConvSpace("small", replace(base.spec, stages=stages), {})
    everything = np.array(list(product(*(range(c) for c in small.cardinality))))
    distinct = np.unique(small.canonical(everything), axis=0)
    assert small.size == len(distinct) == 2 * (4 + 16) ** 2
    assert len({small.network(x).text for x in distinct}) == small.size


def test_gene_tag():
    assert Gene("stage1.block2.kernel", (3, 5)).tag == "k"
