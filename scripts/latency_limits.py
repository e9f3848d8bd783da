"""The budget bar of bench_latency.py: networks searched for a limit, confirmed as the product does, measured again."""

from collections.abc import Callable
from typing import Any

import numpy as np

from latency_tables import Latency, LatencyTable
from nas.budget import combined
from predictors import TableLatency
from search_spaces import AdditiveCost, Network, Space

# From the name of a piece, networks and a seed to latencies.
Measure = Callable[[str, list[Network], int], list[Latency]]
_POOL = 5000


class LimitedSearch:
    """The networks of the most MACs out of many random ones that are predicted to meet a limit.

    Args:
        space: Whose networks.
        at_size: The same space at the one resolution of the table, its last one.
        table: Of latencies.
    """

    def __init__(self, space: Space, at_size: Space, table: LatencyTable) -> None:
        resolution = space.index["resolution"]
        X = space.sample(np.random.default_rng(5), _POOL)
        X[:, resolution] = space.cardinality[resolution] - 1
        self._space, self._X = space, space.canonical(X)
        alone = self._X * (np.arange(X.shape[1]) != resolution)
        self.ms = TableLatency(table, at_size).predict(alone)
        self._macs = AdditiveCost(at_size, lambda op: [op.macs])(alone)[:, 0]

    def best(self, limit: float, n: int) -> np.ndarray:
        """Rows of the `n` best."""
        fitting = np.flatnonzero(self.ms <= limit)
        return fitting[np.argsort(-self._macs[fitting])[:n]]

    def network(self, row: int) -> Network:
        """One of them."""
        return self._space.network(self._X[row])


def kept_limits(search: LimitedSearch, measure: Measure, limits: int, each: int) -> dict[str, Any]:
    """Of networks reported as meeting a limit: how many exceed it when they are measured again.

    As `nas search` does, half of the networks are taken right below the limit; how far a measurement
    may exceed their prediction is the room that the other half leaves (`nas.measuring`).

    Args:
        search: Finds networks.
        measure: Measures them.
        limits: Number of limits, quantiles of the space's latencies.
        each: Networks a limit.
    """
    values = np.quantile(search.ms, np.linspace(0.1, 0.9, limits))
    room, ours, naive, searched = 1.0, [0, 0], [0, 0], 0
    for step in ("near", "aimed"):
        rows = [(limit, row) for limit in values for row in search.best(limit / room, each // 2)]
        networks = [search.network(row) for _, row in rows]
        first, second, third = (measure(f"{step}{n}", networks, 1000 * n + len(step)) for n in range(3))
        confirmed = combined(first, second)
        for (limit, _), found, once, again in zip(rows, confirmed, first, third, strict=True):
            ours = _counted(ours, found.upper_ms <= limit, again.median_ms > limit)
            naive = _counted(naive, once.median_ms <= limit, again.median_ms > limit)
        searched += len(rows)
        if step == "near":
            room = max(1.0, *(c.upper_ms / search.ms[row] for c, (_, row) in zip(confirmed, rows, strict=True)))
    return {
        "limits": limits,
        "searched": searched,
        "room": float(room),
        "reported": ours[0],
        "exceed_when_remeasured": ours[1],
        "reported_by_one_measurement": naive[0],
        "exceed_by_one_measurement": naive[1],
    }


def _counted(counts: list[int], reported: bool, exceeds: bool) -> list[int]:
    return [counts[0] + int(reported), counts[1] + int(reported and exceeds)]
