"""The most accurate predicted network under a limit: Once-for-All's evolution, whole populations at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas.errors import InfeasibleError
from search_spaces import Space

Score = Callable[[np.ndarray], np.ndarray]  # genotypes [n, genes] -> values [n]

_CHUNK = 4096


@dataclass(frozen=True)
class Best:
    """What an evolution found.

    Attributes:
        arch: Genotype `[genes]`.
        accuracy: Predicted.
        cost: Within the limit.
    """

    arch: np.ndarray
    accuracy: float
    cost: float


def evolve(
    space: Space,
    accuracy: Score,
    cost: Score,
    limit: float,
    *,
    population: int = 100,
    generations: int = 500,
    parents: float = 0.25,
    mutation_rate: float = 0.1,
    seed: int = 0,
) -> Best:
    """Truncation selection as in Cai et al. (ICLR 2020), appendix: half mutants, half crossings, no learning.

    Children over the limit are dropped before anything is predicted; instead of drawing until enough are
    feasible, twice as many are drawn at once.

    Raises:
        InfeasibleError: if nothing meets the limit; says the smallest cost found.
    """
    rng = np.random.default_rng(seed)
    accuracy, cost = _chunked(accuracy), _chunked(cost)
    X = _feasible(space, cost, limit, population, rng)
    Y = accuracy(X)
    keep, half = max(1, int(parents * population)), population // 2
    for _ in range(generations):
        order = np.argsort(-Y, kind="stable")[:population]
        X, Y = X[order], Y[order]
        mutants, mothers, fathers = X[rng.integers(0, min(keep, len(X)), size=(3, 2 * half))]
        children = np.concatenate([space.mutate(mutants, rng, mutation_rate), space.crossover(mothers, fathers, rng)])
        within = np.flatnonzero(cost(children) <= limit)
        first = np.searchsorted(within, len(mutants))
        children = children[np.concatenate([within[:first][:half], within[first:][:half]])]
        if len(children):
            X, Y = np.concatenate([X[:keep], children]), np.concatenate([Y[:keep], accuracy(children)])
    best = int(Y.argmax())
    return Best(X[best], float(Y[best]), float(cost(X[best : best + 1])[0]))


def _chunked(score: Score) -> Score:
    """Scores large populations in parts whose intermediate results stay in the caches."""

    def parts(X: np.ndarray) -> np.ndarray:
        if len(X) <= _CHUNK:
            return score(X)
        return np.concatenate([score(X[i : i + _CHUNK]) for i in range(0, len(X), _CHUNK)])

    return parts


def _feasible(space: Space, cost: Score, limit: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """About `n` architectures within the limit, evolved towards it where they are rare."""
    pool = space.sample(rng, 4 * n)
    for _ in range(200):
        costs = cost(pool)
        if (costs <= limit).sum() >= n:
            return pool[costs <= limit][:n]
        best = pool[np.argsort(costs, kind="stable")[: 2 * n]]
        pool = np.concatenate([best, space.mutate(best, rng, 0.1), space.sample(rng, n)])
    within = pool[cost(pool) <= limit]
    if len(within) == 0:
        raise InfeasibleError(f"No network of {space.name} meets limit {limit:g}; smallest found {cost(pool).min():g}.")
    return within
