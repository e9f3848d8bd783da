"""A front without any training: zero-cost proxies for accuracy, the table and the device for latency."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import InfeasibleError
from nas.front import measure_networks
from nas.pareto import pareto_front
from nas.score_run import DEFAULT_BATCH, score_population
from nas.tables import find_table
from search_spaces import Space

if TYPE_CHECKING:
    from supernets.data import Dataset

FORMAT = 1
VOTERS = ("synflow", "jacov", "snip")
_POOL = 20  # candidates a scored one is chosen from


@dataclass(frozen=True)
class ZeroCostSettings:
    """What decides a search without training.

    Attributes:
        device: Name or TOML file.
        limit_ms: Hard limit on the latency.
        evaluations: Architectures scored.
        rounds: Generations that they are spread over; the first is random.
        measured: Networks measured at most.
        batch: Images.
        seed: Of every random choice.
    """

    device: str
    limit_ms: float | None = None
    evaluations: int = 160
    rounds: int = 4
    measured: int = 12
    batch: int = DEFAULT_BATCH
    seed: int = 0


def zero_cost_search(
    space: Space, data: "Dataset", settings: ZeroCostSettings, table_file: Path | None = None
) -> dict[str, Any]:
    """Searches the front of proxy vote and latency.

    The vote (a majority of synflow, jacov and snip; Abdelfattah et al., ICLR 2021) compares
    architectures with each other, so it is taken anew over all that are scored after each
    generation. A generation is made by crossing and mutating the front.

    Returns:
        The document: settings, "front" (fastest first, all measured) and "over_limit".

    Raises:
        InfeasibleError: if no sampled network can meet the limit.
    """
    from latency_tables import get_device
    from predictors import TableLatency
    from predictors.zero_cost.measures import vote

    device = get_device(settings.device)
    table = find_table(space, device, table_file)
    latency = TableLatency(table, space).fit()
    rng = np.random.default_rng(settings.seed)
    limit = np.inf if settings.limit_ms is None else settings.limit_ms
    fastest = float(latency.predict(np.array([latency.costs_.cheapest()]))[0])
    if limit < fastest:
        raise InfeasibleError(
            f"--limit-ms (={settings.limit_ms:g}) cannot be met: the fastest network of {space.name} takes "
            f"{fastest:.3g} ms on {settings.device}; use a limit above that."
        )
    X = np.zeros((0, len(space.genes)), dtype=np.int64)
    scores = {name: np.zeros(0) for name in VOTERS}
    votes, ms = np.zeros(0), np.zeros(0)
    size = -(-settings.evaluations // settings.rounds)
    while len(X) < settings.evaluations:
        count = min(size, settings.evaluations - len(X))
        new = _next(space, X, votes, ms, latency, limit, count, rng)
        if not len(new):
            break  # a small space, all of it scored
        found = score_population(space, new, VOTERS, data, batch=settings.batch, seed=settings.seed)
        X = np.concatenate([X, new])
        scores = {name: np.concatenate([scores[name], found.values[name]]) for name in VOTERS}
        votes, ms = vote([scores[name] for name in VOTERS]), latency.predict(X)
    share = 100 * (votes + 1) / len(votes)
    front = pareto_front(np.stack([ms, -share], axis=1))
    if len(front) > settings.measured:
        front = front[np.unique(np.linspace(0, len(front) - 1, settings.measured).round().astype(int))]
    entries = _measured(space, X[front], share[front], table, device)
    return {
        "format": FORMAT,
        "space": {"name": space.name, "options": space.options},
        "accuracy": "zero-cost",
        "proxies": list(VOTERS),
        "data": data.name,
        "device": device.name,
        "limit_ms": settings.limit_ms,
        "seed": settings.seed,
        "evaluations": len(X),
        "front": [entry for entry in entries if entry["latency_ms"]["median"] <= limit],
        "over_limit": [entry for entry in entries if entry["latency_ms"]["median"] > limit],
    }


def _next(
    space: Space,
    X: np.ndarray,
    votes: np.ndarray,
    ms: np.ndarray,
    latency: Any,
    limit: float,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Up to `count` new architectures within the limit: random at first, then children of the front."""
    if len(X):
        parents = X[pareto_front(np.stack([ms, -votes], axis=1))]
        mothers, fathers = (parents[rng.integers(0, len(parents), _POOL * count)] for _ in range(2))
        pool = space.mutate(space.crossover(mothers, fathers, rng), rng, 1.5 / len(space.genes))
        pool = np.concatenate([pool, space.sample(rng, _POOL)])
    else:
        pool = space.sample(rng, _POOL * count)
    known = {tuple(x) for x in X.tolist()}
    pool = np.array([x for x in dict.fromkeys(map(tuple, pool.tolist())) if x not in known], dtype=np.int64)
    if not len(pool):
        return pool.reshape(0, len(space.genes))
    fits = pool[latency.predict(pool) <= limit]
    if not len(X) and not len(fits):
        fits = np.array([latency.costs_.cheapest()], dtype=np.int64)
    return fits[:count]


def _measured(space: Space, X: np.ndarray, share: np.ndarray, table: Any, device: Any) -> list[dict[str, Any]]:
    from nas.console import progress

    networks = [space.network(x) for x in X]
    with progress(f"measure on {device.name}") as update:
        latencies = measure_networks(networks, device, update)
    found: list[dict[str, Any]] = [
        {
            "arch": space.to_text(x),
            "vote_percent": float(value),
            "macs": network.live.macs,
            "params": network.live.params,
            "latency_ms": {"median": measured.median_ms, "p10": measured.p10_ms, "p90": measured.p90_ms},
            "predicted_latency_ms": {"median": table.predict(network).median},
        }
        for x, value, network, measured in zip(X, share, networks, latencies, strict=True)
    ]
    Y = np.array([[e["latency_ms"]["median"], -e["vote_percent"]] for e in found])
    return [found[i] for i in pareto_front(Y)]
