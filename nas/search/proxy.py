"""Search by a score that needs no evaluation: the baseline that any learning must beat."""

from typing import Any

import numpy as np

from nas.pareto import ranks
from nas.search.base import Searcher
from predictors.feature_groups import ENUMERABLE, enumerate_space, network_costs
from search_spaces import Space


class ProxySearcher(Searcher):
    """Takes the larger network for the better one: asks for front after front of size against cost.

    The cost is the first known objective, or the other of MACs and parameters where none is known.
    Front ranks are among all architectures of a small space, and of a random sample of a large one.

    Args:
        space: Where to search.
        proxy: "params" or "macs".
        sample: Architectures ranked in a large space.
        **options: Those of `Searcher`.
    """

    def __init__(self, space: Space, *, proxy: str, sample: int = 4096, **options: Any) -> None:
        super().__init__(space, **options)
        self.proxy, self.sample = proxy, sample
        self._queue = self.X

    def _propose(self, n: int) -> np.ndarray:
        fresh = self.fresh(self._queue)
        if len(fresh) < n and (len(self._queue) == 0 or self.space.size > ENUMERABLE):
            self._queue = self._ranked()
            fresh = self.fresh(self._queue)
        return fresh[:n] if len(fresh) >= n else self.top_up(fresh, n)

    def _ranked(self) -> np.ndarray:
        small = self.space.size <= ENUMERABLE
        X = enumerate_space(self.space) if small else self.space.sample(self.rng, self.sample)
        X = self.rng.permutation(X[self.excess(X) == 0])
        if len(X) == 0:
            return X
        size = network_costs(self.space, X)  # MACs, parameters
        column = 1 if self.proxy == "params" else 0
        cost = next((values(X) for values in self.known.values()), size[:, 1 - column])
        return X[np.argsort(ranks(np.stack([-size[:, column], cost], axis=1)), kind="stable")]
