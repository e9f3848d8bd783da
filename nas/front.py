"""From evaluated architectures to a reported front: candidates are re-measured, and a broken limit is not reported."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.pareto import hypervolume, pareto_front
from search_spaces import Space

if TYPE_CHECKING:
    from latency_tables import Device, Latency, Progress
    from nas.budget import Confirmed
    from nas.costs import Cost


def candidates(Y: np.ndarray, limits: np.ndarray, n: int, taken: Sequence[int] = ()) -> np.ndarray:
    """Rows worth measuring: the front within the limits, thinned to `n` evenly over the first objective.

    Args:
        Y: Objectives as far as known, all minimised, `[rows, m]`.
        limits: Largest allowed value of each, `[m]`.
        n: Most rows to return; the ends of the front are always among them.
        taken: Rows that are measured already.
    """
    rows = np.flatnonzero((Y <= limits).all(axis=1))
    front = rows[pareto_front(Y[rows])]
    front = front[~np.isin(front, np.asarray(taken, dtype=np.int64))]
    if len(front) <= n:
        return front
    # evenly over the rank along the front: it is dense where the trade-off is
    return front[np.unique(np.linspace(0, len(front) - 1, n).round().astype(int))]


def entries(
    space: Space,
    X: np.ndarray,
    accuracy: Sequence[float],
    costs: "Sequence[Cost]",
    measured: "Mapping[str, Sequence[Confirmed]]",
) -> list[dict[str, Any]]:
    """JSON entries of measured networks.

    Args:
        space: Of the genotypes.
        X: Genotypes `[n, genes]`.
        accuracy: In percent `[n]`.
        costs: The device's latency first.
        measured: By the name of a cost of a device.
    """
    values = {cost.name: cost.values(X) for cost in costs}
    made = []
    for i, x in enumerate(X):
        latency = measured[costs[0].name][i].latency
        network = space.network(x)
        assert costs[0].device is not None
        predicted = costs[0].device[1].predict(network)
        made.append(
            {
                "arch": space.to_text(x),
                "macs": network.macs,
                "params": network.params,
                "peak_memory_bytes": network.peak_memory,
                "accuracy": float(accuracy[i]),
                "latency_ms": {
                    "median": latency.median_ms,
                    "p10": latency.p10_ms,
                    "p90": latency.p90_ms,
                    "upper": measured[costs[0].name][i].upper_ms,
                },
                "latency_runs": latency.runs,
                "predicted_latency_ms": {
                    "median": predicted.median,
                    "low": predicted.low,
                    "high": predicted.high,
                },
                "costs": {
                    cost.name: _cost(float(values[cost.name][i]), measured[cost.name][i] if cost.device else None)
                    for cost in costs[1:]
                },
            }
        )
    return made


def _cost(value: float, found: "Confirmed | None") -> dict[str, float]:
    """A cost as it counts; a latency counts as measured."""
    if found is None:
        return {"value": value, "upper": value}
    return {"value": found.latency.median_ms, "upper": found.upper_ms, "predicted": value}


def measured_front(
    found: Sequence[dict[str, Any]], limit_ms: float | None, limits: Mapping[str, float] | None = None
) -> tuple[list[dict], list[dict]]:
    """Splits measured entries into the front (fastest first) and those that may break a limit when measured again."""

    def fits(entry: dict[str, Any]) -> bool:
        within = limit_ms is None or entry["latency_ms"]["upper"] <= limit_ms
        return within and all(entry["costs"][name]["upper"] <= limit for name, limit in (limits or {}).items())

    broken = [entry for entry in found if not fits(entry)]
    kept = [entry for entry in found if fits(entry)]
    rows = [
        [entry["latency_ms"]["median"], 100 - entry["accuracy"], *(c["value"] for c in entry["costs"].values())]
        for entry in kept
    ]
    return ([kept[i] for i in pareto_front(np.array(rows))] if kept else []), broken


def volume_curve(Y: np.ndarray, reference: np.ndarray, points: int = 60) -> list[tuple[int, float]]:
    """Hypervolume of the first n evaluations, as (n, volume), at up to `points` values of n."""
    counts = np.unique(np.linspace(1, len(Y), min(points, len(Y))).round().astype(int))
    return [(int(n), hypervolume(Y[:n], reference)) for n in counts]


def measure_networks(
    models: Sequence[Any],
    device: "Device",
    update: Callable[[float, float, str], None],
    *,
    ray_address: str | None = None,
    **options: Any,
) -> "list[Latency]":
    """Latency of whole networks on a device, here or elsewhere, with progress shown."""
    from latency_tables import measure
    from nas.devices import executor_for

    def show(step: "Progress") -> None:
        update(step.done, step.total, step.stage)

    with executor_for(device, ray_address) as executor:
        return measure(models, device, progress=show, executor=executor, **options)
