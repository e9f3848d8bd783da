"""Networks confirmed to meet a limit: measured in two separate passes, with room for a third to differ.

A network whose measured median is just below a limit exceeds it half of the time it is measured
again. Two passes with fresh sessions show how far measurements of this device lie apart; a network
meets a limit when a further measurement is expected below it with 3 standard deviations to spare.
Both passes run a latency table's reference networks in their rounds, so limits hold at the speed
that the device had when it was profiled, whatever else runs on it now.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from latency_tables import Device, Latency, LatencyTable

_DEVIATIONS = 3.0
_LEAST = 0.003  # relative standard deviation of a measurement that few networks cannot prove smaller


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A network's latency from two passes.

    Attributes:
        latency: Of both passes together.
        upper_ms: What a further measurement is expected not to exceed.
    """

    latency: "Latency"
    upper_ms: float


def confirm(
    models: Sequence[Any],
    device: "Device",
    table: "LatencyTable",
    update: Callable[[float, float, str], None],
    *,
    seed: int = 0,
    **options: Any,
) -> list[Confirmed]:
    """Measures networks in two passes.

    Args:
        models: As for `latency_tables.measure`.
        device: Where.
        table: The device's table, for its reference networks.
        update: Progress: done, total, note.
        seed: Of the order of measurements.
        options: For `latency_tables.measure`.
    """
    from nas.front import measure_networks

    passes = []
    for number in range(2):

        def shown(done: float, total: float, note: str, number: int = number) -> None:
            update(number * total + done, 2 * total, note)

        passes.append(measure_networks(models, device, shown, anchors=table.anchors, seed=2 * seed + number, **options))
    return combined(*passes)


def combined(first: "Sequence[Latency]", second: "Sequence[Latency]") -> list[Confirmed]:
    """Two passes as one, with what a third is expected not to exceed."""
    from latency_tables import Latency

    a, b = (np.array([latency.median_ms for latency in found]) for found in (first, second))
    deviation = max(float(np.sqrt(np.mean(np.log(a / b) ** 2) / 2)), _LEAST)
    made = []
    for x, y, ms in zip(first, second, np.sqrt(a * b), strict=True):
        latency = Latency(
            float(ms),
            min((x.p10_ms + y.p10_ms) / 2, float(ms)),
            max((x.p90_ms + y.p90_ms) / 2, float(ms)),
            x.runs + y.runs,
            float(ms) * 1.96 * deviation / np.sqrt(2),
            (x.speed + y.speed) / 2,
        )
        made.append(Confirmed(latency, float(ms) * float(np.exp(_DEVIATIONS * deviation * np.sqrt(1.5)))))
    return made
