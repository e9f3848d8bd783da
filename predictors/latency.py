"""`TableLatency`: latency of whole populations from a latency table."""

import numpy as np

from latency_tables import LatencyTable
from search_spaces import AdditiveCost, Space, covering


class TableLatency:
    """Predicts latency from genotypes by a table; a few array look-ups for any number of them.

    Args:
        table: The latency table.
        space: The space of the genotypes.

    Attributes:
        costs_: The table compiled for the space.

    Example:
        >>> TableLatency(table, space).fit().predict(space.sample(rng, 1000))  # doctest: +SKIP
    """

    def __init__(self, table: LatencyTable, space: Space) -> None:
        self.table = table
        self.space = space

    def fit(self, X: np.ndarray | None = None, y: np.ndarray | None = None) -> "TableLatency":
        """Compiles the table; there is nothing to learn, so both arguments are ignored.

        Raises:
            MissingKernelError: if the table lacks a kernel of the space.
        """
        del X, y
        self.table.require(key for arch in covering(self.space) for key in self.space.network(arch).kernels)
        self.costs_ = AdditiveCost(self.space, self.table.costs)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Median latency in ms per call of genotypes `[n, genes]`, float64 `[n]`."""
        if not hasattr(self, "costs_"):
            self.fit()
        return self.table.constant_ms + self.costs_(X)[:, 0]

    def predict_interval(self, X: np.ndarray) -> np.ndarray:
        """Ends of the 90 % prediction interval in ms, `[n, 2]`."""
        unit = self.table.interval(1.0)
        return self.predict(X)[:, None] * np.array([[unit.low, unit.high]])
