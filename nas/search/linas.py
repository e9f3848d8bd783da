"""LINAS: NSGA-II on predictors that are refitted with every batch of real evaluations.

Cummings et al., "A Hardware-Aware Framework for Accelerating Neural Architecture Search Across
Modalities" (2022): measure a batch, fit a predictor per objective, search the predictors
thoroughly, measure the best of what was found, repeat.
"""

from typing import Any

import numpy as np

from nas.search.base import Searcher
from nas.search.nsga2 import NSGA2
from predictors.accuracy import AccuracyPredictor
from search_spaces import Space


class Linas(Searcher):
    """The predictor-in-the-loop search.

    Args:
        space: Where to search.
        initial: Evaluations before the first predictor; see `spread`.
        population: Of the inner NSGA-II.
        generations: Of the inner NSGA-II.
        refit: Evaluations told between two fits; asked for fewer at a time, the rest waits in a queue.
        seed: Same seed, same proposals for the same answers.
        **options: Those of `Searcher`.
    """

    def __init__(
        self,
        space: Space,
        *,
        initial: int = 60,
        population: int = 100,
        generations: int = 40,
        refit: int = 16,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(space, seed=seed, **options)
        self.initial, self.population, self.generations, self.seed = initial, population, generations, seed
        self.refit = refit
        self._queue = self.X  # best first, from the last fit
        self._fitted = 0  # evaluations told then

    def _propose(self, n: int) -> np.ndarray:
        if len(self._asked) < self.initial or len(self.X) < 2:
            return self.top_up(self.space.spread(self.rng, n), n)
        waiting = self.fresh(self._queue)
        if len(waiting) >= n and len(self.X) - self._fitted < self.refit:
            return waiting
        scores = [
            self.known[j] if j in self.known else AccuracyPredictor(self.space).fit(self.X, self.Y[:, j]).predict
            for j in range(self.num_objectives)
        ]
        inner = NSGA2(
            self.space,
            population=self.population,
            num_objectives=self.num_objectives,
            seed=int(self.rng.integers(2**63)),
            limits=dict(enumerate(self.limits)),
            known=self.known,
        )
        for _ in range(self.generations):
            X = inner.ask(self.population)
            if len(X) == 0:
                break
            inner.tell(X, np.stack([score(X) for score in scores], axis=1))
        self._queue, self._fitted = inner.parents, len(self.X)
        return self.top_up(inner.parents, n)
