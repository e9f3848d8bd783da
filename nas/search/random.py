"""Random search: the baseline that every other searcher must beat."""

import numpy as np

from nas.search.base import Searcher


class RandomSearcher(Searcher):
    """Draws every gene uniformly; keeps what is feasible and new."""

    def _propose(self, n: int) -> np.ndarray:
        return self.top_up(self.X[:0], n)
