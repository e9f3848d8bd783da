"""Latency of whole networks, repeatable on a shared machine.

Rounds go over all open sessions in random order. In every round a session runs a few times
unrecorded (the first call after another network took 1.3x), then a few times recorded; the
median of these is one sample. The speed of the machine at a sample is the median, over samples of
*other* sessions just before and after, of sample over typical sample; dividing by it cancels drift.
Rounds much slower than usual are repeated. Measuring stops when every median is known to `tolerance`.

Few models are opened several times, since the memory layout of a session alone moves its latency
by 0.5 to 0.8 %. Many are measured in batches that fit into memory; a few networks, the anchors,
run in the same rounds of all batches and bring those to the same speed of the machine. A latency
table keeps its anchors with their latencies: measured in the same rounds as a network on another
day, they bring that to the speed at which the table was measured.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from latency_tables.devices import Device, get_device
from latency_tables.errors import TableError
from latency_tables.plan import Executor, Plan, local_executor
from latency_tables.progress import Progress, ProgressCallback
from search_spaces import ArchitectureError, Network

MEMORY_BYTES = 5 << 28  # of the sessions open at once, roughly
MAX_SESSIONS = 128
MIN_SESSIONS = 6
ANCHORS = 4


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per call.

    Attributes:
        median_ms: Median over rounds, drift cancelled.
        p10_ms: 10 % of the calls were faster.
        p90_ms: 90 % of the calls were faster.
        runs: Recorded calls.
        error_ms: Half width of the 95 % confidence interval of the median.
        speed: Factor that reference networks brought the times to their speed by; 1 for none.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    runs: int
    error_ms: float = 0.0
    speed: float = 1.0

    def scaled(self, factor: float) -> "Latency":
        """The same on a machine that is slower by that factor."""
        times = (self.median_ms * factor, self.p10_ms * factor, self.p90_ms * factor)
        return Latency(*times, self.runs, self.error_ms * factor, self.speed * factor)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        tolerance: Stop when the 95 % confidence interval of every median is within this share.
        rounds: Fewest and most rounds.
        seconds: Stop after about this time for all models (never before the fewest rounds).
    """

    tolerance: float = 0.005
    rounds: tuple[int, int] = (10, 60)
    seconds: float = 120.0


@dataclass(frozen=True)
class Anchors:
    """Reference networks that run in the same rounds as what is measured.

    Attributes:
        networks: A few networks of the kind that is measured.
        median_ms: Their latencies at the speed that results are brought to; none to keep the speed of now.
    """

    networks: tuple[Network, ...] = ()
    median_ms: tuple[float, ...] = ()

    @property
    def document(self) -> list[dict[str, Any]]:
        """As a table's metadata keep it."""
        return [{"network": n.text, "median_ms": ms} for n, ms in zip(self.networks, self.median_ms, strict=True)]

    @classmethod
    def parse(cls, document: Sequence[Mapping[str, Any]]) -> "Anchors":
        """Reads `document`.

        Raises:
            TableError: if it is malformed.
        """
        try:
            networks = tuple(Network.parse(row["network"]) for row in document)
            times = tuple(float(row["median_ms"]) for row in document)
        except (ArchitectureError, KeyError, TypeError, ValueError) as error:
            raise TableError(f"The reference networks of a latency table are damaged: {error}") from error
        if not all(isfinite(ms) and ms > 0 for ms in times):
            raise TableError("A reference network of a latency table has no time above 0; measure the table again.")
        return cls(networks, times)


def measure(
    models: Sequence[Any],
    device: Device | str = "local-cpu-1t",
    *,
    effort: Effort = Effort(),  # noqa: B008 (frozen)
    anchors: Anchors = Anchors(),  # noqa: B008 (frozen)
    seed: int = 0,
    executor: Executor | None = None,
    progress: ProgressCallback | None = None,
) -> list[Latency]:
    """Latency of networks or ONNX models, in the order given.

    Args:
        models: Networks (emitted with random weights), `onnx.ModelProto`s, or paths of ONNX files.
        device: A `Device` or its name.
        effort: How long to measure.
        anchors: Reference networks, mostly those of a latency table: results are then at the speed
            that the machine had when the table was measured.
        seed: Of the order within rounds.
        executor: Of a device elsewhere.
        progress: Called after every round.
    """
    device = get_device(device) if isinstance(device, str) else device
    everything = [*models, *anchors.networks]
    reference = list(range(len(models), len(everything)))
    parts = batches(models)
    if len(parts) > 1 and not reference:
        reference = spread([getattr(model, "macs", i) for i, model in enumerate(models)])
    tasks = time_tasks(models, parts, reference, effort, seed)
    start = time.perf_counter()
    place = {task["name"]: task["models"] for task in tasks}

    def report(name: str, share: float) -> None:
        done = (place[name][0] + share * len(place[name])) / len(models)
        if progress and done > 0:
            left = (time.perf_counter() - start) * (1 - done) / done
            progress(Progress("networks", int(done * len(models)), len(models), left))

    run = (executor or local_executor(device)).run(Plan(device, everything, tasks), (), report)
    measured = [time_record(record, len(place[name]), len(reference)) for name, record in run]
    report(tasks[-1]["name"], 1.0)
    return same_speed(measured, anchors.median_ms)


def time_tasks(
    models: Sequence[Any],
    parts: "Sequence[tuple[list[Any], int]]",
    anchors: Sequence[int],
    effort: Effort,
    seed: int,
) -> list[dict[str, Any]]:
    """Tasks of a plan that time batches of models whole, with the models at positions `anchors` in every round."""
    return [
        {
            "name": f"networks {start}",
            "kind": "time",
            "models": list(range(start, start + len(batch))),
            "anchors": list(anchors),
            "copies": max(1, min(-(-MIN_SESSIONS // len(batch)), MEMORY_BYTES // sum(map(_bytes, batch)))),
            "tolerance": effort.tolerance,
            "rounds": list(effort.rounds),
            "seconds": effort.seconds * len(batch) / len(models),
            "seed": [seed, start],
        }
        for batch, start in parts
    ]


def time_record(record: Mapping[str, Any], models: int, anchors: int) -> tuple[list[Latency], list[float]]:
    """Latencies and medians of the anchors (ms) of a task's record.

    Raises:
        TableError: if the record is not one of that many models and anchors.
    """
    try:
        rows = [[float(value) for value in row] for row in record["latencies"]]
        reference = [float(value) for value in record["anchors"]]
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"A record of measured networks is damaged ({error}); measure again.") from error
    numbers = [value for row in rows for value in row[:4]] + reference
    if (len(rows), len(reference)) != (models, anchors) or any(len(row) != 5 for row in rows):
        raise TableError(f"A record has {len(rows)} networks, {models} were to be measured; measure again.")
    if not all(isfinite(value) and value > 0 for value in numbers):
        raise TableError("A record of measured networks has a time that is not above 0; measure again.")
    return [Latency(row[0], row[1], row[2], int(row[3]), row[4]) for row in rows], reference


def same_speed(
    measured: Sequence[tuple[Sequence[Latency], Sequence[float]]], reference_ms: Sequence[float] = ()
) -> list[Latency]:
    """Latencies of batches that were measured one after the other, brought to the same speed.

    Args:
        measured: For every batch its latencies and those of the anchors in it (ms).
        reference_ms: What the anchors take at the speed wanted; by default the typical one of these batches.
    """
    if not all(anchors for _, anchors in measured):
        return [latency for latencies, _ in measured for latency in latencies]
    typical = np.array(reference_ms) if len(reference_ms) else np.median([a for _, a in measured], axis=0)
    return [
        latency.scaled(float(np.median(typical / np.array(anchors))))
        for latencies, anchors in measured
        for latency in latencies
    ]


def spread(sizes: Sequence[float]) -> list[int]:
    """Positions of the anchors: a few models at even ranks of size."""
    ordered = sorted(range(len(sizes)), key=lambda i: sizes[i])
    return list(dict.fromkeys(ordered[(2 * i + 1) * len(sizes) // (2 * ANCHORS)] for i in range(ANCHORS)))


def batches(models: Sequence[Any]) -> list[tuple[list[Any], int]]:
    """Consecutive models that fit into memory together, and the position of the first of each batch."""
    found: list[tuple[list[Any], int]] = []
    size = 0
    for i, model in enumerate(models):
        if not found or size + _bytes(model) > MEMORY_BYTES or len(found[-1][0]) == MAX_SESSIONS:
            found.append(([], i))
            size = 0
        found[-1][0].append(model)
        size += _bytes(model)
    return found


def _bytes(model: Any) -> int:
    """Memory of a session: for networks about what was measured, for others a guess on the safe side."""
    if isinstance(model, Network):
        return 2 * model.weight_bytes + 3 * model.peak_memory + (1 << 20)
    return MEMORY_BYTES // 16
