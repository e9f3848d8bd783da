"""`Searcher`: the ask/tell contract, hard limits, and no architecture twice."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas.errors import InfeasibleError
from search_spaces import Space

Objective = Callable[[np.ndarray], np.ndarray]  # genotypes [n, genes] -> values [n]


class Searcher(ABC):
    """Proposes architectures and learns from their scores; every objective is minimised.

    Args:
        space: Where to search.
        num_objectives: Columns of the `Y` that will be told.
        seed: Same seed, same proposals for the same answers.
        limits: Largest allowed value by objective index; an architecture above it is infeasible.
        known: Objectives that need no measuring, by index: functions of genotypes. A limit on one
            of these is met before anything is proposed.
    """

    def __init__(
        self,
        space: Space,
        *,
        num_objectives: int = 2,
        seed: int = 0,
        limits: Mapping[int, float] | Sequence[float | None] | None = None,
        known: Mapping[int, Objective] | None = None,
    ) -> None:
        self.space = space
        self.num_objectives = num_objectives
        self.rng = np.random.default_rng(seed)
        self.known = dict(known or {})
        items = limits.items() if isinstance(limits, Mapping) else enumerate(limits or ())
        self.limits = np.full(num_objectives, np.inf)
        for j, limit in items:
            self.limits[j] = np.inf if limit is None else limit
        self.X = np.zeros((0, len(space.genes)), dtype=np.int64)  # everything told
        self.Y = np.zeros((0, num_objectives))
        self._asked: set[bytes] = set()

    def ask(self, n: int) -> np.ndarray:
        """`n` canonical architectures never asked before, int array `[n, genes]`; fewer if the space ends.

        Raises:
            InfeasibleError: if none can be found that meets the limits on known objectives.
        """
        X = self._propose(n)[:n]
        self._asked.update(self._keys(X))
        return X

    def tell(self, X: np.ndarray, Y: np.ndarray) -> None:
        """Scores `Y` `[n, m]` of the architectures `X` `[n, genes]`."""
        X, Y = np.atleast_2d(np.asarray(X, dtype=np.int64)), np.asarray(Y, dtype=np.float64)
        if Y.shape != (len(X), self.num_objectives) or not np.isfinite(Y).all():
            raise ValueError(f"Y (shape {Y.shape}) must be finite and [{len(X)}, {self.num_objectives}].")
        self._asked.update(self._keys(X))
        self.X, self.Y = np.concatenate([self.X, X]), np.concatenate([self.Y, Y])
        self._learn(X, Y)

    @abstractmethod
    def _propose(self, n: int) -> np.ndarray:
        """At least `n` new feasible architectures where there are any."""

    def _learn(self, X: np.ndarray, Y: np.ndarray) -> None:
        """Called with everything told; `self.X` and `self.Y` hold it already."""
        del X, Y

    # -- helpers -------------------------------------------------------------------------------

    def excess(self, X: np.ndarray) -> np.ndarray:
        """By how much `X` breaks the limits on known objectives, relative to them, `[n]`; 0 where feasible."""
        total = np.zeros(len(X))
        for j, values in self.known.items():
            if np.isfinite(self.limits[j]):
                total += np.maximum(0.0, values(X) - self.limits[j]) / abs(self.limits[j])
        return total

    def fresh(self, X: np.ndarray) -> np.ndarray:
        """The rows of `X` that are feasible as far as known and were never asked, without repetition.

        A network that gives every image the same result is never worth an evaluation.
        """
        first: dict[bytes, int] = {}
        for row, key in enumerate(self._keys(X)):
            if key not in self._asked:
                first.setdefault(key, row)
        X = X[list(first.values())]
        return X[(self.excess(X) == 0) & self.space.reads_image(X)] if len(X) else X

    def top_up(self, X: np.ndarray, n: int) -> np.ndarray:
        """The fresh rows of `X`, and random fresh ones until there are `n`.

        Where feasible architectures are rare, random ones are evolved towards the limits.
        """
        found = self.fresh(X)
        pool = X[:0]
        for _ in range(200):
            if len(found) >= n:
                return found
            pool = np.concatenate([pool, found, self.space.sample(self.rng, 4 * n)])
            pool = np.concatenate([pool, self.space.mutate(pool, self.rng, 0.15)])
            found = self.fresh(np.concatenate([found, pool]))
            pool = pool[np.argsort(self.excess(pool), kind="stable")[: 8 * n]]
        if len(found) == 0 and len(self._asked) == 0:
            best = pool[:1]
            parts = ", ".join(
                f"objective {j}: limit {self.limits[j]:g}, smallest found {float(values(best)[0]):g}"
                for j, values in self.known.items()
                if np.isfinite(self.limits[j])
            )
            raise InfeasibleError(f"No architecture of {self.space.name} meets the limits ({parts}); raise them.")
        return found

    @staticmethod
    def _keys(X: np.ndarray) -> list[bytes]:
        return [row.tobytes() for row in np.ascontiguousarray(X, dtype=np.int64)]
