"""Which operators to keep in float for the least time, by minimum cuts.

What a set S of operators on integers costs is

    T(S) + lambda * sum of s_l over S,    T(S) = sum of q_l over S + sum of f_l over the others + conversions

with f_l and q_l an operator's time in float and on integers, s_l its sensitivity, and a price for every
value that one precision makes and the other reads. Conversions tie neighbours together: an operator
between two in float had better stay in float. Two precisions and prices on edges make the best set
a minimum cut, found exactly (Greig, Porteous & Seheult, J. R. Stat. Soc. B 51, 1989); lambda goes over all its values.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nas.precision.conversions import edges
from predictors.mixed_precision import Conversions
from search_spaces import Network

_UNITS = 10**8  # of the whole time: capacities are 32-bit integers
_CLOSER = 1e-9  # share of a cost by which a set must be better to be another one


@dataclass(frozen=True)
class Times:
    """What operators take, ms.

    Attributes:
        in_float: By name.
        on_integers: By name.
        conversions: Between them.
    """

    in_float: Mapping[str, float]
    on_integers: Mapping[str, float]
    conversions: Conversions


class Cuts:
    """Sets of least cost of one network.

    Args:
        network: Its operators.
        times: Of them.
    """

    def __init__(self, network: Network, times: Times) -> None:
        self._names = [op.name for op in network]
        self._float = np.array([times.in_float[name] for name in self._names])
        self._integers = np.array([times.on_integers[name] for name in self._names])
        self._edges, values = edges(network)
        self._prices = times.conversions.each_ms + times.conversions.million_ms * values / 1e6

    def time(self, on_integers: np.ndarray) -> float:
        """T of a set, bool `[operators]`, ms."""
        changed = on_integers[self._edges[:, 0]] != on_integers[self._edges[:, 1]]
        return float(np.where(on_integers, self._integers, self._float).sum() + self._prices[changed].sum())

    def best(self, added: np.ndarray) -> np.ndarray:
        """The set of least cost, bool `[operators]`, where an operator on integers costs so much more, ms."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        n = len(self._names)
        source, sink = n, n + 1
        bound = float(self._float.sum()) or 1.0  # no better set is dearer than all in float
        own = np.minimum(self._integers + added, bound)
        common = np.minimum(own, self._float)
        every = np.arange(n)
        rows = np.concatenate([np.full(n, source), every, *self._edges.T])
        columns = np.concatenate([every, np.full(n, sink), *self._edges.T[::-1]])
        costs = np.concatenate([self._float - common, own - common, self._prices, self._prices])
        capacities = np.round(np.minimum(costs / bound, 1.0) * _UNITS).astype(np.int32)
        graph = csr_array((capacities, (rows, columns)), shape=(n + 2, n + 2))
        left = graph - maximum_flow(graph, source, sink).flow
        left.data = np.maximum(left.data, 0)
        left.eliminate_zeros()
        reached = breadth_first_order(left, source, return_predecessors=False)
        return np.isin(every, reached)

    def path(self, sensitivity: Mapping[str, float]) -> list[tuple[str, ...]]:
        """All in float, then the sets of least cost for every lambda from infinity down to zero.

        Args:
            sensitivity: s_l by name, at least 0.
        """
        s = np.array([sensitivity[name] for name in self._names])
        fastest, safest = self.best(np.zeros(len(s))), self.best(np.where(s > 0, np.inf, 0.0))
        sets = [np.zeros(len(s), dtype=bool), safest, *self._between(safest, fastest, s), fastest]
        sets = [b for a, b in zip([None, *sets], sets, strict=False) if a is None or not np.array_equal(a, b)]
        return [tuple(name for name, here in zip(self._names, chosen, strict=True) if here) for chosen in sets]

    def _between(self, low: np.ndarray, high: np.ndarray, s: np.ndarray) -> list[np.ndarray]:
        """Sets strictly between two of the path: the lower hull of time over sensitivity."""
        gained, lost = self.time(low) - self.time(high), float(s[high].sum() - s[low].sum())
        if gained <= 0 or lost <= 0:
            return []
        price = gained / lost
        found = self.best(price * s)
        costs = [self.time(chosen) + price * float(s[chosen].sum()) for chosen in (found, low)]
        if costs[0] >= costs[1] * (1 - _CLOSER):
            return []
        return [*self._between(low, found, s), found, *self._between(found, high, s)]
