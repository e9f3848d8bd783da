"""From evaluated architectures to a reported front: candidates are re-measured, and a broken limit is not reported."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.pareto import hypervolume, pareto_front
from search_spaces import Space

if TYPE_CHECKING:
    from latency_tables import Device, Latency, LatencyTable, Progress
    from nas.budget import Confirmed


def candidates(X: np.ndarray, Y: np.ndarray, limit_ms: float | None, n: int) -> np.ndarray:
    """Rows of `X` worth measuring: the front of (error, predicted latency), thinned to `n` evenly over accuracy.

    Args:
        X: Genotypes `[n, genes]`.
        Y: Error in percent and predicted latency in ms, `[n, 2]`.
        limit_ms: Largest allowed latency.
        n: Most rows to return; the ends of the front are always among them.
    """
    rows = np.flatnonzero(Y[:, 1] <= (np.inf if limit_ms is None else limit_ms))
    front = rows[pareto_front(Y[rows])]
    if len(front) <= n:
        return front
    # evenly over the rank along the front: it is dense where the trade-off is
    return front[np.unique(np.linspace(0, len(front) - 1, n).round().astype(int))]


def entries(
    space: Space, X: np.ndarray, accuracy: Sequence[float], table: "LatencyTable", measured: "Sequence[Confirmed]"
) -> list[dict[str, Any]]:
    """JSON entries of measured networks."""
    made = []
    for x, value, found in zip(X, accuracy, measured, strict=True):
        latency = found.latency
        network = space.network(x)
        predicted = table.predict(network)
        made.append(
            {
                "arch": space.to_text(x),
                "macs": network.macs,
                "params": network.params,
                "peak_memory_bytes": network.peak_memory,
                "accuracy": float(value),
                "latency_ms": {
                    "median": latency.median_ms,
                    "p10": latency.p10_ms,
                    "p90": latency.p90_ms,
                    "upper": found.upper_ms,
                },
                "latency_runs": latency.runs,
                "predicted_latency_ms": {
                    "median": predicted.median,
                    "low": predicted.low,
                    "high": predicted.high,
                },
            }
        )
    return made


def measured_front(found: Sequence[dict[str, Any]], limit_ms: float | None) -> tuple[list[dict], list[dict]]:
    """Splits measured entries into the front (fastest first) and those that may break the limit when measured again."""
    limit = np.inf if limit_ms is None else limit_ms
    broken = [entry for entry in found if entry["latency_ms"]["upper"] > limit]
    kept = [entry for entry in found if entry["latency_ms"]["upper"] <= limit]
    Y = np.array([[entry["latency_ms"]["median"], 100 - entry["accuracy"]] for entry in kept]).reshape(-1, 2)
    return [kept[i] for i in pareto_front(Y)], broken


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
