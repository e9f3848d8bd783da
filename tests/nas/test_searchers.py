"""One contract for every searcher, and each against an exactly known front."""

from itertools import product

import numpy as np
import pytest

from nas.errors import InfeasibleError, UserError
from nas.pareto import hypervolume
from nas.search import SEARCHERS, make_searcher, search
from predictors import feature_groups
from predictors.feature_groups import enumerate_space
from search_spaces import AdditiveCost, get_space

SPACE = get_space("ofa_mbv3", width=0.25, num_classes=10, resolutions=(16, 24, 32), stem_stride=1)
COST = AdditiveCost(SPACE, lambda op: [op.macs])


def macs(X):
    return COST(X)[:, 0] / 1e6


def error(X):
    """A made-up error that falls with every gene, at different rates, with interactions."""
    weights = np.random.default_rng(7).random(SPACE.one_hot(X).shape[1])
    gain = SPACE.one_hot(X) @ weights
    return 30.0 - gain + 0.1 * np.sin(3 * gain)


def evaluate(X):
    return list(zip(error(X), macs(X), strict=True))


@pytest.fixture(params=[name for name, entry in SEARCHERS.items() if not entry.options.get("zero_cost")])
def name(request):
    if request.param == "optuna-gp":
        pytest.importorskip("torch", reason="Optuna's GP sampler needs torch, which is optional")
    return request.param


def run(name, seed=0, n=48, batch=12, **options):
    searcher = make_searcher(name, SPACE, seed=seed, known={1: macs}, **options)
    return search(SPACE, evaluate, searcher=searcher, evaluations=n, batch=batch)


def test_asks_for_new_canonical_architectures(name):
    result = run(name)
    assert result.X.shape == (48, len(SPACE.genes)) and result.Y.shape == (48, 2)
    assert (SPACE.canonical(result.X) == result.X).all()
    assert len(np.unique(result.X, axis=0)) == 48


def test_same_seed_same_search(name):
    assert (run(name, seed=5).X == run(name, seed=5).X).all()
    assert (run(name, seed=5).X != run(name, seed=6).X).any()


def test_limits_on_known_objectives_are_never_broken(name):
    limit = float(np.quantile(macs(SPACE.sample(np.random.default_rng(0), 1000)), 0.02))
    result = run(name, n=36, limits={1: limit})
    assert (result.Y[:, 1] <= limit).all()


def test_infeasible_limit_is_said(name):
    with pytest.raises(InfeasibleError, match="limit 0.001, smallest found"):
        run(name, limits={1: 0.001})


def test_three_objectives(name):
    searcher = make_searcher(name, SPACE, num_objectives=3, seed=0)

    def three(X):
        return [(e, m, 1 / m) for e, m in evaluate(X)]

    assert search(SPACE, three, searcher=searcher, evaluations=30, batch=10).Y.shape == (30, 3)


def test_ends_when_the_space_ends(name):
    from dataclasses import replace

    from search_spaces.mbconv import MBConvSpace

    stage = replace(SPACE.spec.stages[0], depths=(1, 2), kernels=(3, 5), expands=(3,))
    small = MBConvSpace("small", replace(SPACE.spec, resolutions=(16,), stages=(stage,)), {})
    searcher = make_searcher(name, small, seed=0)
    result = search(small, lambda X: [(float(x.sum()), 1.0) for x in X], searcher=searcher, evaluations=50, batch=4)
    assert len(result.X) == small.size == 2 + 4


def test_beats_random(name):
    """Guided searchers dominate random search in hypervolume at equal evaluations, in the mean of 3 seeds."""
    if name in ("random", "params", "macs"):
        pytest.skip("a baseline itself")
    if name in ("sensitivity", "netadapt"):
        pytest.skip("greedy: its first evaluations all stay near the largest network")
    everything = np.array(evaluate(SPACE.sample(np.random.default_rng(1), 2000)))
    reference = everything.max(axis=0)

    def volume(searcher):
        return np.mean([hypervolume(run(searcher, seed=s, n=96, batch=24).Y, reference) for s in range(3)])

    assert volume(name) > volume("random")


def test_nsga2_reaches_the_exact_front_of_a_small_space():
    from dataclasses import replace

    from search_spaces.mbconv import MBConvSpace

    stages = tuple(replace(s, depths=(1, 2), kernels=(3, 5), expands=(3, 6)) for s in SPACE.spec.stages[:2])
    small = MBConvSpace("small", replace(SPACE.spec, resolutions=(16, 32), stages=stages), {})
    cost = AdditiveCost(small, lambda op: [op.macs])

    def score(X):
        return np.stack([-small.one_hot(X) @ np.arange(1.0, small.cardinality.sum() + 1), cost(X)[:, 0]], axis=1)

    everything = np.unique(small.canonical(np.array(list(product(*map(range, small.cardinality))))), axis=0)
    Y = score(everything)
    found = search(small, score, searcher=make_searcher("nsga2", small, seed=0), evaluations=400, batch=20)
    reference = Y.max(axis=0) + 1
    assert hypervolume(found.Y, reference) >= 0.995 * hypervolume(Y, reference)


def test_no_network_is_asked_for_that_ignores_the_image(rng):
    space = get_space("nasbench201")
    X = space.sample(rng, 500)
    searcher = make_searcher("random", space)
    assert not space.reads_image(X).all()
    assert space.reads_image(searcher.fresh(X)).all()
    assert space.reads_image(SPACE.sample(rng, 5)).shape == (5,)


def test_unknown_searcher_lists_the_known_ones():
    with pytest.raises(UserError, match="'sgd' is unknown.*nsga2"):
        make_searcher("sgd", SPACE)


def test_zero_cost_scores_are_an_input_and_small_spaces_only():
    with pytest.raises(UserError, match=r"'ehvi-zc' scores a space whole, and .* \(at most 32768\); use ehvi"):
        make_searcher("ehvi-zc", SPACE)
    small = get_space("nasbench201")
    everything = enumerate_space(small)
    truth = np.random.default_rng(0).normal(size=len(everything))
    index = {row.tobytes(): i for i, row in enumerate(everything)}

    def made_up(X):
        rows = [index[row.tobytes()] for row in np.ascontiguousarray(X)]
        return np.stack([truth[rows], X.sum(axis=1)], axis=1).tolist()

    def best(name, column):
        feature_groups._SCORES[small] = column
        searcher = make_searcher(name, small, seed=0, known={1: lambda X: X.sum(axis=1).astype(float)})
        return search(small, made_up, searcher=searcher, evaluations=30).Y[:, 0].min()

    # scores that are the truth find the best of noise at once, which nothing else can
    assert best("ehvi-zc", truth[:, None]) < best("ehvi", truth[:, None]) - 0.5
    assert best("ehvi-zc", truth[:, None]) == best("ehvi-zc", truth[:, None])
