"""Evolution by a scalar: regularised evolution, MnasNet's reward, and Once-for-All's constrained evolution."""

from typing import Any

import numpy as np

from nas.pareto import pareto_front
from nas.search.base import Searcher
from search_spaces import Space


class AgingEvolution(Searcher):
    """Regularised evolution (Real et al., AAAI 2019): the oldest dies, not the worst.

    A tournament's winner is mutated in one gene. Each tournament weighs the objectives anew (augmented
    Chebyshev, Knowles 2006), so that the population spreads over the front.

    Args:
        space: Where to search.
        population: Architectures alive.
        tournament: Contestants.
        **options: Those of `Searcher`.
    """

    def __init__(self, space: Space, *, population: int = 50, tournament: int = 12, **options: Any) -> None:
        super().__init__(space, **options)
        self.population, self.tournament = population, tournament

    def _propose(self, n: int) -> np.ndarray:
        alive = slice(-self.population, None)
        X, Y = self.X[alive], self.Y[alive]
        if len(self._asked) < self.population or len(X) < 2:
            return self.top_up(self.X[:0], n)
        children = self.X[:0]
        for _ in range(20 * n):
            if len(children) >= n:
                break
            contestants = self.rng.choice(len(X), min(self.tournament, len(X)), replace=False)
            winner = X[contestants[int(self._loss(Y[contestants]).argmin())]]
            children = self.fresh(np.concatenate([children, self._mutated(winner)]))
        return self.top_up(children, n)

    def _mutated(self, x: np.ndarray) -> np.ndarray:
        """One active gene changed, `[1, genes]`."""
        row = x.copy()
        gene = self.rng.choice(np.flatnonzero(self.space.active(x)[0] & (self.space.cardinality > 1)))
        row[gene] = (row[gene] + self.rng.integers(1, self.space.cardinality[gene])) % self.space.cardinality[gene]
        return self.space.canonical(row)

    def _loss(self, Y: np.ndarray) -> np.ndarray:
        weights = self.rng.dirichlet(np.ones(self.num_objectives))
        low, high = self.Y.min(axis=0), self.Y.max(axis=0)
        scaled = weights * (Y - low) / np.where(high > low, high - low, 1.0)
        return scaled.max(axis=1) + 0.05 * scaled.sum(axis=1) + 10 * self._over(Y)

    def _over(self, Y: np.ndarray) -> np.ndarray:
        """By how much told values break the limits, `[n]`."""
        finite = np.isfinite(self.limits)
        return (np.maximum(0.0, Y[:, finite] - self.limits[finite]) / np.abs(self.limits[finite])).sum(axis=1)


class MnasNet(AgingEvolution):
    """MnasNet's reward, accuracy * prod (cost / target)^w (Tan et al., CVPR 2019), maximised by regularised evolution.

    Objective 0 is the error in percent; the others are costs and must be positive. Targets are the
    limits; a cost without one has a target drawn anew out of what was told, so that a front results.

    Args:
        space: Where to search.
        exponent: w.
        **options: Those of `AgingEvolution`.
    """

    def __init__(self, space: Space, *, exponent: float = -0.07, **options: Any) -> None:
        super().__init__(space, **options)
        self.exponent = exponent

    def _learn(self, X: np.ndarray, Y: np.ndarray) -> None:
        if (Y[:, 1:] <= 0).any():
            raise ValueError(f"MnasNet's reward needs costs above 0, got {Y[:, 1:].min():g}; use another searcher.")

    def _loss(self, Y: np.ndarray) -> np.ndarray:
        drawn = np.array([self.rng.choice(column) for column in self.Y[:, 1:].T])
        targets = np.where(np.isfinite(self.limits[1:]), self.limits[1:], drawn)
        reward = (100.0 - Y[:, 0]) * np.prod((Y[:, 1:] / targets) ** self.exponent, axis=1)
        # a fixed exponent prefers one trade-off; beyond its target a cost counts as the hard variant's
        hard = np.prod(np.maximum(Y[:, 1:] / targets, 1.0), axis=1)
        return -reward / hard + 1e3 * self._over(Y)


class OFAEvolution(Searcher):
    """Once-for-All's constrained evolution (Cai et al., ICLR 2020): truncation selection under a limit.

    The best quarter under the limit are parents; half of the children are mutants, half crossings. Without
    a limit on the second objective every batch has another one out of eight, from the lowest costs told to
    the highest. Unlike the released code, nothing is asked twice and no limit can hang it.

    Args:
        space: Where to search.
        population: Of which a quarter are parents.
        mutation_rate: Of every gene of a mutant.
        **options: Those of `Searcher`.
    """

    def __init__(self, space: Space, *, population: int = 100, mutation_rate: float = 0.1, **options: Any) -> None:
        super().__init__(space, **options)
        self.population, self.mutation_rate = population, max(mutation_rate, 1 / len(space.genes))
        self._turn = 0

    def _propose(self, n: int) -> np.ndarray:
        if len(self._asked) < self.population // 2 or len(self.X) < 4:
            return self.top_up(self.X[:0], n)
        limits = self.limits.copy()
        if self.num_objectives > 1 and np.isinf(limits[1:]).all():
            costs = np.unique(self.Y[pareto_front(self.Y), 1])
            limits[1] = np.quantile(costs, (self._turn % 8 + 1) / 8)
            self._turn += 1
        over = np.maximum(0.0, self.Y - limits) / np.maximum(np.abs(limits), 1e-12)
        over[:, np.isinf(limits)] = 0.0
        order = np.lexsort((self.Y[:, 0], over.sum(axis=1)))
        parents = self.X[order[: self.population // 4]]
        children = self.X[:0]
        for _ in range(20):
            if len(children) >= n:
                break
            mutants, mothers, fathers = parents[self.rng.integers(0, len(parents), size=(3, n))]
            mutants = self.space.mutate(mutants, self.rng, self.mutation_rate)
            crossed = self.space.crossover(mothers, fathers, self.rng)
            both = np.where(self.rng.random((n, 1)) < 0.5, mutants, crossed)
            children = self.fresh(np.concatenate([children, both]))
        return self.top_up(children, n)
