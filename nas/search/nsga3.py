"""NSGA-III (Deb & Jain, IEEE TEC 2014): NSGA-II with reference directions instead of crowding."""

from typing import Any

import numpy as np

from nas.pareto import ranks
from nas.search.nsga2 import NSGA2
from search_spaces import Space


class NSGA3(NSGA2):
    """For three or more objectives, where crowding distance loses its meaning.

    Args:
        space: Where to search.
        population: Parents kept; there are about as many directions.
        **options: Those of `NSGA2`.
    """

    def __init__(self, space: Space, *, population: int = 50, **options: Any) -> None:
        super().__init__(space, population=population, **options)
        from pymoo.util.ref_dirs import get_reference_directions

        partitions = 1
        while (
            len(get_reference_directions("das-dennis", self.num_objectives, n_partitions=partitions + 1)) <= population
        ):
            partitions += 1
            if self.num_objectives == 1:
                break
        self.directions = get_reference_directions("das-dennis", self.num_objectives, n_partitions=partitions)

    def _survivors(self, Y: np.ndarray, excess: np.ndarray, n: int) -> np.ndarray:
        feasible = np.flatnonzero(excess <= 0)
        chosen = self._niched(Y[feasible], min(n, len(feasible))) if len(feasible) else feasible
        over = np.flatnonzero(excess > 0)
        return np.concatenate([feasible[chosen], over[np.argsort(excess[over], kind="stable")]])[:n].astype(np.int64)

    def _niched(self, Y: np.ndarray, n: int) -> np.ndarray:
        """Whole fronts while they fit, then members of the next one from the emptiest niches."""
        front = ranks(Y)
        last = np.sort(front)[n - 1]
        kept = np.flatnonzero(front < last)[np.argsort(front[front < last], kind="stable")].tolist()
        low = Y.min(axis=0)
        high = Y[front == 0].max(axis=0)
        scaled = (Y - low) / np.where(high > low, high - low, 1.0)
        unit = self.directions / np.linalg.norm(self.directions, axis=1, keepdims=True)
        along = scaled @ unit.T
        distances = np.sqrt(np.maximum((scaled**2).sum(axis=1)[:, None] - along**2, 0.0))
        niche, distance = distances.argmin(axis=1), distances.min(axis=1)
        crowd = np.bincount(niche[kept], minlength=len(unit))
        left = np.flatnonzero(front == last).tolist()
        while len(kept) < n:
            emptiest = min(left, key=lambda i: (crowd[niche[i]], distance[i], i))
            left.remove(emptiest)
            kept.append(emptiest)
            crowd[niche[emptiest]] += 1
        return np.array(kept, dtype=np.int64)
