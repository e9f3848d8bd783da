"""NSGA-II (Deb et al., IEEE TEC 2002) over genotypes, vectorised."""

from typing import Any

import numpy as np

from nas.pareto import crowding, ranks
from nas.search.base import Searcher
from search_spaces import Space


def survivors(Y: np.ndarray, excess: np.ndarray, n: int) -> np.ndarray:
    """Indices of the best `n` rows, best first: feasible before not, then front, then crowding distance."""
    front = np.zeros(len(Y), dtype=np.int64)
    crowd = np.zeros(len(Y))
    feasible = excess <= 0
    if feasible.any():
        front[feasible] = ranks(Y[feasible])
        for f in np.unique(front[feasible]):
            rows = np.flatnonzero(feasible & (front == f))
            crowd[rows] = crowding(Y[rows])
    return np.lexsort((-crowd, front, excess))[:n]


class NSGA2(Searcher):
    """Elitist evolution by non-domination and crowding, with constrained domination.

    Args:
        space: Where to search.
        population: Parents kept.
        mutation_rate: Probability that a gene is redrawn; by default two genes an architecture.
        crossover_rate: Probability that a child has two parents.
        **options: Those of `Searcher`.
    """

    def __init__(
        self,
        space: Space,
        *,
        population: int = 50,
        mutation_rate: float | None = None,
        crossover_rate: float = 0.9,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        self.population = population
        self.mutation_rate = 2 / len(space.genes) if mutation_rate is None else mutation_rate
        self.crossover_rate = crossover_rate
        self.parents = self.X  # best first
        self._scores = self.Y

    def _propose(self, n: int) -> np.ndarray:
        children = self.X[:0]
        if len(self.parents) >= 2:
            for _ in range(20):
                children = self.fresh(np.concatenate([children, self.children(max(n, 8))]))
                if len(children) >= n:
                    break
        return self.top_up(children, n)

    def children(self, n: int) -> np.ndarray:
        """`n` offspring of binary tournaments among the parents."""
        # parents are sorted best first, so the winner of a tournament is the smaller index
        mothers, fathers = self.rng.integers(0, len(self.parents), size=(2, n, 2)).min(axis=2)
        crossed = self.space.crossover(self.parents[mothers], self.parents[fathers], self.rng)
        single = self.rng.random(n) >= self.crossover_rate
        return self.space.mutate(
            np.where(single[:, None], self.parents[mothers], crossed), self.rng, self.mutation_rate
        )

    def _learn(self, X: np.ndarray, Y: np.ndarray) -> None:
        X, Y = np.concatenate([self.parents, X]), np.concatenate([self._scores, Y])
        finite = np.isfinite(self.limits)
        over = np.maximum(0.0, Y[:, finite] - self.limits[finite]) / np.abs(self.limits[finite])
        best = self._survivors(Y, over.sum(axis=1), self.population)
        self.parents, self._scores = X[best], Y[best]

    def _survivors(self, Y: np.ndarray, excess: np.ndarray, n: int) -> np.ndarray:
        return survivors(Y, excess, n)
