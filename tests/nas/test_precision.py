"""Orders, dependencies and bisection against exhaustive search and sums worked out by hand."""

from itertools import combinations

import numpy as np
import pytest

from nas.errors import UserError
from nas.mixed_run import Wish
from nas.precision.bisection import longest_prefix
from nas.precision.estimates import divergence
from nas.precision.sensitivity import Sensitivity, costs_beside, prefixes, valued


def test_bisection_is_exhaustive_search_where_longer_is_worse():
    for n in range(12):
        for last in range(n + 1):
            tests = []
            found = longest_prefix(lambda k, last=last, tests=tests: tests.append(k) or k <= last, n)
            assert found == last
            assert len(tests) == len(set(tests)) <= 2 * np.log2(max(n, 2)) + 4 and 0 not in tests
    tests = []
    assert longest_prefix(lambda k: tests.append(k) or k <= 321, 600) == 321 and len(tests) <= 10 + 1 + 100


def test_bisection_looks_past_a_single_failure(rng):
    """Accuracy is not quite monotone: one prefix that fails among those that pass must not stop it."""
    good = {0, 1, 2, 3, 5, 6, 7}
    assert longest_prefix(good.__contains__, 9) == 7
    for _ in range(200):
        passing = {0, *np.flatnonzero(rng.random(31) < 0.6).tolist()}
        k = longest_prefix(passing.__contains__, 30)
        assert k in passing and not {*range(k + 1, k + 6)} & passing


def test_costs_beside_a_set_are_its_pairs(rng):
    """For L(S) = sum of O_l and I_lj, one operator more or less gives O_l and the sum of I_lj over the set exactly."""
    names = list("abcdef")
    alone, pairs = rng.random(6), np.triu(rng.normal(size=(6, 6)), 1)
    asked = []

    def loss(chosen):
        asked.append(chosen)
        rows = [names.index(name) for name in chosen]
        return 0.3 + alone[rows].sum() + sum(pairs[min(p), max(p)] for p in combinations(rows, 2))

    for chosen in ((), ("b", "e"), tuple(names)):
        asked.clear()
        found, among = costs_beside(names, chosen, loss), [names.index(name) for name in chosen]
        assert [found[name] for name in names] == pytest.approx(alone + (pairs + pairs.T)[:, among].sum(axis=1))
        assert len(asked) == 1 + len(names)


def test_orders():
    known = {"a": Sensitivity(1.0, 6.0), "b": Sensitivity(2.0, -7.0), "c": Sensitivity(3.0, 3.5)}

    def ordered(order, seed=0):
        return list(prefixes(valued(known, order, seed))[-1])

    assert ordered("hessian") == ["a", "b", "c"]
    assert ordered("augmented") == ["b", "c", "a"]
    assert sorted(ordered("random")) == ["a", "b", "c"]
    assert {tuple(ordered("random", seed)) for seed in range(20)} > {("a", "b", "c")}
    assert ordered("random", 3) == ordered("random", 3)
    assert prefixes(valued(known, "augmented", 0)) == [(), ("b",), ("b", "c"), ("b", "c", "a")]


def test_divergence_is_that_of_distributions():
    from scipy.special import rel_entr, softmax

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 5)).astype(np.float32) * 8
    assert divergence(a, a) == pytest.approx(0, abs=1e-12)
    assert divergence(a, b) == pytest.approx(rel_entr(softmax(a, 1), softmax(b, 1)).sum(1).mean(), rel=1e-5)


def test_wishes_that_make_no_sense():
    for wrong in ({"budget": 0.0}, {"budget": 101.0}, {"order": "best"}):
        with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
            Wish(**wrong)
