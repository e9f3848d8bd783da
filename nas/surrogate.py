"""Ground truth for a space too large to tabulate: predictors fitted on published measurements stand in for it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas.pareto import hypervolume, pareto_front
from nas.search import make_searcher
from nas.truth import hypervolume_curve
from search_spaces import Space

Predict = Callable[[np.ndarray], np.ndarray]  # genotypes [n, genes] -> values [n]


@dataclass(frozen=True)
class Surrogate:
    """Two predictors taken for the truth, and the best front that long searches of them find.

    Attributes:
        space: Of the architectures.
        error: Predicted error in percent.
        latency: Predicted cost.
        cost: Name of the cost.
        seeds: Long searches that the front is gathered from.
        population: Of each.
        generations: Of each.
    """

    space: Space
    error: Predict
    latency: Predict
    cost: str
    seeds: int = 5
    population: int = 200
    generations: int = 400

    @cached_property
    def reference(self) -> np.ndarray:
        """Reference point of the hypervolume: the 95th percentiles of random architectures."""
        return np.quantile(self.scores(self.space.sample(np.random.default_rng(0), 10_000)), 0.95, axis=0)

    @cached_property
    def front(self) -> np.ndarray:
        """The best front known `[k, 2]`: of all that NSGA-II saw, every evaluation free."""
        best = np.zeros((0, 2))
        for seed in range(self.seeds):
            searcher = make_searcher("nsga2", self.space, seed=seed, population=self.population)
            for _ in range(self.generations):
                X = searcher.ask(self.population)
                Y = self.scores(X)
                searcher.tell(X, Y)
                best = np.concatenate([best, Y])
                best = best[pareto_front(best)]
        return best

    @cached_property
    def volume(self) -> float:
        """Hypervolume of the best front known."""
        return hypervolume(self.front, self.reference)

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Error and cost of genotypes `X` `[n, genes]`, `[n, 2]`."""
        return np.stack([self.error(X), self.latency(X)], axis=1)

    def curve(self, Y: np.ndarray) -> np.ndarray:
        """Hypervolume after every evaluation of `Y` `[n, 2]` over that of the best front known, `[n]`."""
        return hypervolume_curve(Y, self.reference) / self.volume

    def regret(self, X: np.ndarray) -> float:
        """There is no test set: not a number."""
        del X
        return float("nan")
