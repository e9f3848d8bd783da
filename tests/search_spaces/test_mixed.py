"""Spaces of architecture and precision: the contract of a space, masks, texts, and the number of networks."""

import numpy as np
import pytest

from search_spaces import ArchitectureError, SpaceError, get_space
from search_spaces.mixed import MixedSpace


@pytest.fixture(scope="module", params=["ofa_mbv3", "ofa_resnet50"])
def space(request):
    return MixedSpace(get_space(request.param, resolutions=(64, 96)))


def test_genes_of_operators_that_are_skipped_are_inactive(space, rng):
    for x in space.sample(rng, 40):
        values, network = space.decode(x), space.network(x)
        bits = {name.removesuffix(".bits"): v for name, v in values.items() if name.endswith(".bits")}
        modes = {name.removesuffix(".mode") for name in values if name.endswith(".mode")}
        assert set(bits) == {op.name for op in network}
        weighted = {op.name for op in network if op.weight_elements}
        assert modes == {name for name in weighted if bits[name] == 8}
        assert space.precision(x).keys() == {name for name, b in bits.items() if b == 8}
        assert network.text == space.base.network(space.architectures(x)[0]).text


def test_populations_stay_canonical_and_texts_round_trip(space, rng):
    A, B = space.sample(rng, 60), space.sample(rng, 60)
    for X in (A, space.mutate(A, rng, 0.2), space.crossover(A, B, rng)):
        assert (space.canonical(X) == X).all()
        assert all(space.parse(space.to_text(x)) == tuple(x) for x in X[:20])
    share = (space.on_integers(A) & space.present(A)).sum(axis=1) / space.present(A).sum(axis=1)
    assert share.min() == 0 and share.max() == 1 and ((share > 0.2) & (share < 0.8)).any()


def test_size_against_enumeration():
    """A small user's space: one gene that adds an operator."""
    from predictors.feature_groups import enumerate_space
    from search_spaces import Gene, NetworkBuilder, Space

    class Two(Space):
        name, options, genes = "two", {}, (Gene("stem.depth", (1, 2)),)

        def network(self, arch):
            b = NetworkBuilder("two", in_channels=1, size=4)
            x = b.conv("stem.conv1", b.image, 2)
            if self.decode(arch)["stem.depth"] == 2:
                x = b.conv("stem.conv2", x, 2)
            b.linear("classifier", b.global_pool("pool", x), 2)
            return b.build()

    space = MixedSpace(Two())
    rows = enumerate_space(space)
    assert len(rows) == len({tuple(x) for x in rows}) == space.size == (3 + 3 * 3) * 2 * 3
    assert len({space.to_text(x) for x in rows}) == len(rows)


def test_mistakes_are_told(space):
    smallest = np.zeros(len(space.genes), dtype=np.int64)
    text = space.to_text(smallest)
    before, _, letters = text.partition("+")
    pool = [op.name for op in space.network(smallest)].index("pool")
    for wrong, word in (
        (before, "lacks"),
        (text + "f", "letters after"),
        (before + "+x" + letters[1:], "must be f, s or a"),
        (f"{before}+{letters[:pool]}a{letters[pool + 1 :]}", "no weights"),
    ):
        with pytest.raises(ArchitectureError, match=word):
            assert not space.parse(wrong)
    for name in ("proxyless", "nasbench201"):
        with pytest.raises(SpaceError, match="decided otherwise"):
            MixedSpace(get_space(name))


def test_an_operator_that_comes_in_has_the_precision_of_the_one_before_it(rng):
    space = MixedSpace(get_space("ofa_resnet50", resolutions=(64,)))
    base = np.stack([space.base.smallest] * 40)
    for on in (False, True):
        X = space.in_one_precision(base, np.full(len(base), on))
        rates = np.zeros(len(space.genes))
        rates[: base.shape[1]] = 0.9  # architectures only
        mutants = space.mutate(X, rng, rates)
        assert (space.present(mutants).sum(axis=1) > space.present(X).sum(axis=1)).any()
        assert (space.on_integers(mutants) == (space.present(mutants) & on)).all()
        assert (space.mutate(X, rng, 0.0) == X).all()


def test_children_of_one_precision_have_it_and_others_are_cut_once(rng):
    space = MixedSpace(get_space("ofa_resnet50", resolutions=(64,)))
    base = space.base.sample(rng, 60)
    integers, floats = (space.in_one_precision(base, np.full(len(base), on)) for on in (True, False))
    children = space.crossover(integers, integers[::-1], rng)
    assert (space.on_integers(children) == space.present(children)).all()
    assert (children[:, : base.shape[1]] != base).any()
    for child in space.crossover(integers, floats, rng):  # of the same architectures
        bits = space.on_integers(child)[0][space.present(child)[0]]
        assert (np.diff(bits.astype(int)) != 0).sum() <= 1


def test_searches_begin_with_networks_of_one_precision(space, rng):
    X = space.spread(rng, 40)
    share = (space.on_integers(X) & space.present(X)).sum(axis=1) / space.present(X).sum(axis=1)
    assert set(share) == {0.0, 1.0} and (space.canonical(X) == X).all()
    ends = [tuple(space.base.smallest), tuple(space.base.largest)]
    assert [tuple(x) for x in space.architectures(X[:4])] == ends * 2
    assert share[:4].tolist() == [0, 0, 1, 1]
    sizes = space.present(X).sum(axis=1)
    assert sizes.min() < sizes[4:].mean() < sizes.max()
