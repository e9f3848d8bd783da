"""Greedy searchers that start from the largest network: sensitivity (FastNAS) and NetAdapt."""

from typing import Any

import numpy as np

from nas.search.base import Searcher
from search_spaces import AdditiveCost, Space


def single_changes(space: Space, arch: np.ndarray) -> np.ndarray:
    """Every distinct architecture that differs from `arch` `[genes]` in one active gene, `[n, genes]`."""
    rows = []
    for gene in np.flatnonzero(space.active(arch)[0]):
        for choice in range(space.cardinality[gene]):
            if choice != arch[gene]:
                row = arch.copy()
                row[gene] = choice
                rows.append(space.canonical(row)[0])
    return np.unique(np.array(rows, dtype=np.int64).reshape(-1, len(space.genes)), axis=0)


class Sensitivity(Searcher):
    """ModelOpt's FastNAS as a cheap baseline: how much does each choice cost in error, alone?

    The largest network (the last choice of every gene) and all single changes are evaluated. Then, for rising
    thresholds, every gene takes its smallest choice whose loss stays below: a path from the
    largest network to the smallest. What is left of the budget goes to neighbours of that path.
    """

    def _propose(self, n: int) -> np.ndarray:
        largest = self.space.cardinality - 1
        first = np.concatenate([largest[None], self.rng.permutation(single_changes(self.space, largest))])
        start = self.fresh(first)
        if len(start):
            return start if len(start) >= n else self.top_up(np.concatenate([start, self._path(largest)]), n)
        path = self._path(largest)
        return self.top_up(np.concatenate([self.fresh(path), self.space.mutate(path, self.rng, 1 / len(largest))]), n)

    def _path(self, largest: np.ndarray) -> np.ndarray:
        score = {key: y for key, y in zip(self._keys(self.X), self.Y[:, 0], strict=True)}
        best = score.get(largest.tobytes())
        if best is None:
            return self.X[:0]
        loss: dict[tuple[int, int], float] = {}
        for gene in range(len(largest)):
            for choice in range(self.space.cardinality[gene]):
                row = largest.copy()
                row[gene] = choice
                loss[gene, choice] = score.get(self.space.canonical(row)[0].tobytes(), np.inf) - best
        rows = []
        for threshold in np.unique([v for v in loss.values() if np.isfinite(v)]):
            allowed = [
                min(c for c in range(int(k)) if c == largest[gene] or loss[gene, c] <= threshold)
                for gene, k in enumerate(self.space.cardinality)
            ]
            rows.append(self.space.canonical(np.array(allowed))[0])
        return np.array(rows, dtype=np.int64)


class NetAdapt(Searcher):
    """NetAdapt (Yang et al., ECCV 2018) over the genes of a space.

    From the largest network on, every round proposes for each gene the mildest change that lowers the cost by
    at least the round's step; all are evaluated and the most accurate is the next network. The
    cost is the first known objective, or MACs. When the smallest network is reached, the path begins again
    from a random network.

    Args:
        space: Where to search.
        step: First reduction, as a share of the largest network's cost.
        decay: Of the step, every round.
        **options: Those of `Searcher`.
    """

    def __init__(self, space: Space, *, step: float = 0.025, decay: float = 0.96, **options: Any) -> None:
        super().__init__(space, **options)
        self.step, self.decay = step, decay
        self._start(space.canonical(space.cardinality - 1)[0])

    def _propose(self, n: int) -> np.ndarray:
        fresh = self.fresh(self._proposals)
        for _ in range(50):
            if len(fresh) or self.excess(self._current[None])[0] > 0:
                break
            self._advance()
            fresh = self.fresh(self._proposals)
        return fresh[:n] if len(fresh) else self.top_up(fresh, n)

    def _start(self, x: np.ndarray) -> None:
        """Begins a path at `x`, shrunk at random where it breaks a known limit."""
        self._current, self._round = x, 0
        while self.excess(self._current[None])[0] > 0 and len(smaller := self._reductions()):
            self._current = smaller[self.rng.integers(len(smaller))]
        self._proposals = self._current[None]

    def _advance(self) -> None:
        """The next round: from the best evaluated proposal, or from elsewhere if there is none."""
        score = {key: y for key, y in zip(self._keys(self.X), self.Y[:, 0], strict=True)}
        told = [x for x in self._proposals if x.tobytes() in score]
        if told:
            self._current = min(told, key=lambda x: score[x.tobytes()])
            self._round += 1
            self._proposals = self.rng.permutation(self._reductions())
        if not told or len(self._proposals) == 0:
            self._start(self.space.sample(self.rng, 1)[0])

    def _cost(self, X: np.ndarray) -> np.ndarray:
        if self.known:
            return next(iter(self.known.values()))(X)
        if not hasattr(self, "_macs"):
            self._macs = AdditiveCost(self.space, lambda op: [op.macs])
        return self._macs(X)[:, 0]

    def _reductions(self) -> np.ndarray:
        neighbours = single_changes(self.space, self._current)
        cost = self._cost(
            np.concatenate([self._current[None], self.space.canonical(self.space.cardinality - 1), neighbours])
        )
        saved = cost[0] - cost[2:]
        needed = self.step * abs(cost[1]) * self.decay**self._round
        changed = (neighbours != self._current).argmax(axis=1)
        best = []
        for gene in np.unique(changed):
            rows = np.flatnonzero((changed == gene) & (saved > 0))
            if len(rows):
                enough = rows[saved[rows] >= needed]
                best.append(enough[saved[enough].argmin()] if len(enough) else rows[saved[rows].argmax()])
        return neighbours[np.array(best, dtype=np.int64)]
