"""A distribution brought to a latency against a general minimiser; the network taken against all networks."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize

from supernets.architecture import LatencyModel, softmax
from supernets.errors import TrainingError
from supernets.settle import check_reachable, drawn, most_probable, tilted


def some(seed: int, layers: int, blocks: int) -> tuple[list[np.ndarray], LatencyModel]:
    rng = np.random.default_rng(seed)
    costs = tuple(rng.uniform(0, 1, blocks) for _ in range(layers))
    return [rng.normal(0, 2, blocks) for _ in range(layers)], LatencyModel(costs, 0.3)


@pytest.mark.parametrize("seed", range(3))
def test_the_tilted_distribution_is_the_nearest_of_its_latency(seed):
    alphas, latency = some(seed, 2, 3)
    goal = 0.9
    found = [softmax(a) for a in tilted(alphas, latency, goal)]
    assert latency.expected_ms(found) == pytest.approx(goal, abs=1e-9)
    before = [softmax(a) for a in alphas]

    def divergence(flat: np.ndarray) -> float:
        return float(sum((p * np.log(p / q)).sum() for p, q in zip(flat.reshape(2, 3), before, strict=True)))

    constraints = [{"type": "eq", "fun": lambda f: latency.expected_ms(f.reshape(2, 3)) - goal}]
    constraints += [{"type": "eq", "fun": lambda f, i=i: f.reshape(2, 3)[i].sum() - 1} for i in range(2)]
    best = minimize(divergence, np.full(6, 1 / 3), bounds=[(1e-9, 1)] * 6, constraints=constraints, tol=1e-12)
    np.testing.assert_allclose(np.concatenate(found), best.x, atol=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_the_network_taken_is_the_most_probable_of_its_latency(seed):
    alphas, latency = some(seed, 5, 4)
    goal = 0.3 + np.random.default_rng([seed, 1]).uniform(1.5, 3.0)
    found = most_probable(alphas, latency, goal)
    log_p = [np.log(softmax(a)) for a in alphas]

    def score(path: tuple[int, ...]) -> float:
        return float(sum(p[k] for p, k in zip(log_p, path, strict=True)))

    # what rounding up may take for slower than it is stays out
    near = [path for path in product(range(4), repeat=5) if 0.98 * goal <= latency.of(path) <= goal * (1 - 1e-3)]
    assert 0.98 * goal * (1 - 1e-3) <= latency.of(found) <= goal
    assert score(found) >= max(map(score, near))


def test_without_a_network_close_to_the_latency_a_faster_one_is_taken():
    latency = LatencyModel((np.array([0.0, 1.0]), np.array([0.0, 5.0])), 0.5)
    assert most_probable([np.array([0.0, 1.0]), np.array([0.0, 9.0])], latency, 4.0) == (1, 0)
    assert most_probable([np.zeros(2), np.zeros(2)], latency, 0.5) == (0, 0)


def test_a_latency_that_no_network_has_is_refused():
    alphas, latency = some(0, 3, 3)
    for ms in (0.2, 9.0):
        with pytest.raises(TrainingError, match=r"reference_ms \(=.*between the fastest and the slowest"):
            check_reachable(latency, ms)
        with pytest.raises(TrainingError, match="between the fastest"):
            tilted(alphas, latency, ms)
    with pytest.raises(TrainingError, match="at least the fastest"):
        most_probable(alphas, latency, 0.2)


def test_what_is_drawn_has_the_latency_and_the_probabilities():
    alphas, latency = some(3, 4, 3)
    goal = 2.0
    alphas = tilted(alphas, latency, goal)
    every = np.array(list(product(range(3), repeat=4)))
    ms = np.array([latency.of(x) for x in every])
    near = {tuple(map(int, x)) for x, own in zip(every, ms, strict=True) if 0.98 * goal <= own <= goal}
    probability = {x: float(np.prod([softmax(a)[k] for a, k in zip(alphas, x, strict=True)])) for x in near}
    assert len(near) > 2
    found = drawn(alphas, latency, goal, 1000, np.random.default_rng(0))
    assert len(found) == len(set(found)) and set(found) <= near
    assert {x for x in near if probability[x] > 1e-4} <= set(found)
    first = [drawn(alphas, latency, goal, 1, np.random.default_rng(seed))[0] for seed in range(400)]
    for x, own in probability.items():
        assert first.count(x) / 400 == pytest.approx(own / sum(probability.values()), abs=0.08)


def test_nothing_is_drawn_where_no_network_has_the_latency():
    latency = LatencyModel((np.array([0.0, 1.0]),), 1.0)
    assert drawn([np.zeros(2)], latency, 1.5, 4, np.random.default_rng(0)) == []
