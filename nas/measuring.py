"""Candidates of a search measured on their devices, in two steps where a limit holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.budget import Confirmed, confirm
from nas.console import progress
from nas.costs import Cost
from nas.front import candidates, entries
from search_spaces import Space


class Measuring:
    """Measures networks on every device whose latency is a cost; each network once.

    Args:
        space: Of the genotypes.
        costs: What is searched for beside error; the first is the latency of the device searched for.
        seed: Of the order of measurements.
        ray_address: Of a cluster, for devices on its nodes.
    """

    def __init__(self, space: Space, costs: Sequence[Cost], *, seed: int = 0, ray_address: str | None = None) -> None:
        self._space, self._costs = space, tuple(costs)
        self._devices = [cost for cost in self._costs if cost.device is not None]
        self._seed, self._ray_address = seed, ray_address
        self._found: dict[str, dict[tuple[int, ...], Confirmed]] = {cost.name: {} for cost in self._devices}

    def front(self, X: np.ndarray, Y: np.ndarray, limits: Mapping[str, float], n: int) -> list[dict[str, Any]]:
        """Entries of up to `n` candidates.

        Under a limit on a latency half of them are chosen at first. They show how much room below the
        limit a prediction must leave for the network to meet it surely; the other half leaves that room.

        Args:
            X: Genotypes that were evaluated `[rows, genes]`.
            Y: Their error in percent and costs `[rows, 1 + costs]`.
            limits: Largest allowed value by name of the cost.
            n: Networks to measure.
        """
        limit = np.array([np.inf, *(limits.get(cost.name, np.inf) for cost in self._costs)])
        limited = any(cost.name in limits for cost in self._devices)
        rows = candidates(Y, limit, -(-n // 2) if limited else n)
        found = self.entries(X[rows], 100 - Y[rows, 0])
        if not limited or not len(rows):
            return found
        more = candidates(Y, limit / self._room(X[rows], Y[rows]), n - len(rows), taken=rows.tolist())
        return [*found, *self.entries(X[more], 100 - Y[more, 0])]

    def entries(self, X: np.ndarray, accuracy: Sequence[float] | np.ndarray) -> list[dict[str, Any]]:
        """Entries of genotypes `[n, genes]`, measured where that was not done before."""
        keys = [tuple(x) for x in X.tolist()]
        for cost in self._devices:
            self._measure(cost, list(dict.fromkeys(key for key in keys if key not in self._found[cost.name])))
        measured = {name: [known[key] for key in keys] for name, known in self._found.items()}
        return entries(self._space, X, list(accuracy), self._costs, measured) if keys else []

    def _measure(self, cost: Cost, keys: list[tuple[int, ...]]) -> None:
        if not keys:
            return
        assert cost.device is not None
        device, table = cost.device
        networks = [self._space.network(np.array(key)) for key in keys]
        with progress(f"measure on {device.name}") as update:
            found = confirm(networks, device, table, update, seed=self._seed, ray_address=self._ray_address)
        self._found[cost.name] |= dict(zip(keys, found, strict=True))

    def _room(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """Largest ratio of what a measurement may reach to what was predicted, `[1 + costs]`; 1 for other columns."""
        room = np.ones(1 + len(self._costs))
        for j, cost in enumerate(self._costs, start=1):
            if cost.device is not None:
                upper = [self._found[cost.name][tuple(x)].upper_ms for x in X.tolist()]
                room[j] = max(1.0, float(np.max(np.array(upper) / Y[:, j])))
        return room
