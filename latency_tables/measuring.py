"""Latency of whole networks, repeatable on a shared machine.

Rounds go over all open sessions in random order. In every round a session runs a few times
unrecorded (the first call after another network took 1.3x), then a few times recorded; the
median of these is one sample. The speed of a round is the median, over the *other* sessions, of
sample over typical sample; dividing by it cancels drift. Rounds much slower than usual are
repeated. Measuring stops when every median is known to `tolerance`.

Few models are opened several times, since the memory layout of a session alone moves its latency
by 0.5 to 0.8 %. Many are measured in batches that fit into memory; a few of them, the anchors,
stay open in all batches and bring those to the same speed of the machine.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from latency_tables.devices import Device, get_device
from latency_tables.progress import Progress, ProgressCallback
from latency_tables.rounds import run_rounds
from latency_tables.sessions import Runner, make_runner
from search_spaces import Network

MEMORY_BYTES = 5 << 28  # of the sessions open at once, roughly
MAX_SESSIONS = 128
MIN_SESSIONS = 6
ANCHORS = 4
_OPENING = 0.3  # share of a batch's time that opening its sessions takes, about


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per call.

    Attributes:
        median_ms: Median over rounds, drift cancelled.
        p10_ms: 10 % of the calls were faster.
        p90_ms: 90 % of the calls were faster.
        runs: Recorded calls.
        error_ms: Half width of the 95 % confidence interval of the median.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    runs: int
    error_ms: float = 0.0

    def scaled(self, factor: float) -> "Latency":
        """The same on a machine that is slower by that factor."""
        times = (self.median_ms * factor, self.p10_ms * factor, self.p90_ms * factor)
        return Latency(*times, self.runs, self.error_ms * factor)


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


def measure(
    models: Sequence[Any],
    device: Device | str = "local-cpu-1t",
    *,
    effort: Effort = Effort(),  # noqa: B008 (frozen)
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> list[Latency]:
    """Latency of networks or ONNX models, in the order given.

    Args:
        models: Networks (emitted with random weights), `onnx.ModelProto`s, or paths of ONNX files.
        device: A `Device` or its name.
        effort: How long to measure.
        seed: Of the order within rounds.
        progress: Called after every round.
    """
    device = get_device(device) if isinstance(device, str) else device
    start = time.perf_counter()

    def report(done: float) -> None:
        if progress:
            left = (time.perf_counter() - start) * (1 - done) / done
            progress(Progress("networks", int(done * len(models)), len(models), left))

    found = measure_batches(models, device, effort=effort, seed=seed, report=report)
    return same_speed([(latencies, anchors) for _, latencies, anchors in found])


def measure_batches(
    models: Sequence[Any],
    device: Device,
    *,
    effort: Effort,
    seed: int,
    done: Callable[[int], bool] = lambda start: False,
    report: Callable[[float], None] = lambda share: None,
) -> Iterator[tuple[int, list[Latency], list[float]]]:
    """Measures batch by batch.

    Args:
        models: As for `measure`.
        device: Where.
        effort: How long to measure, all batches together.
        seed: As for `measure`.
        done: Whether the batch that starts at that model is known already and to be passed over.
        report: Called after every round and batch with the share of all models that is done.

    Yields:
        Position of the first model of a batch, latencies of the batch, and medians of the anchors
        in it (ms), for `same_speed`.
    """
    parts = batches(models)
    anchors: list[Runner] = []
    for batch, start in parts:
        if done(start):
            continue
        if len(parts) > 1 and not anchors:
            ordered = sorted(range(len(models)), key=lambda i: getattr(models[i], "macs", i))
            chosen = [ordered[(2 * i + 1) * len(models) // (2 * ANCHORS)] for i in range(ANCHORS)]
            anchors = [make_runner(models[i], device) for i in chosen]

        def report_batch(share: float, start: int = start, length: int = len(batch)) -> None:
            report((start + share * length) / len(models))

        share = replace(effort, seconds=effort.seconds * len(batch) / len(models))
        rng = np.random.default_rng([seed, start])
        yield start, *_measure_batch(batch, anchors, device, share, rng, report_batch)
        report_batch(1.0)  # the caller has put the batch away


def _measure_batch(
    models: Sequence[Any],
    anchors: Sequence[Runner],
    device: Device,
    effort: Effort,
    rng: np.random.Generator,
    report: Callable[[float], None],
) -> tuple[list[Latency], list[float]]:
    """Opens sessions, runs rounds over them and the anchors, closes the sessions."""
    copies = max(1, min(-(-MIN_SESSIONS // len(models)), MEMORY_BYTES // sum(map(_bytes, models))))
    sessions = []
    for i, model in enumerate(models):
        sessions += [make_runner(model, device) for _ in range(copies)]
        report(_OPENING * (i + 1) / len(models))
    rounds = run_rounds(
        [*sessions, *anchors],
        tolerance=effort.tolerance,
        rounds=effort.rounds,
        seconds=effort.seconds,
        rng=rng,
        report=lambda share: report(_OPENING + (1 - _OPENING) * share),
    )
    latencies = []
    for i in range(0, len(sessions), copies):
        columns = slice(i, i + copies)
        median = float(np.median(rounds.median_ms[columns]))
        times = np.concatenate(rounds.times_ms[columns])
        low, high = (float(q) for q in np.quantile(times, (0.1, 0.9)))
        error = float(rounds.error_ms[columns].mean() / np.sqrt(copies))
        latencies.append(Latency(median, min(low, median), max(high, median), len(times), error))
    return latencies, rounds.median_ms[len(sessions) :].tolist()


def same_speed(measured: Sequence[tuple[Sequence[Latency], Sequence[float]]]) -> list[Latency]:
    """Latencies of batches that were measured one after the other, brought to the same speed.

    Args:
        measured: For every batch its latencies and those of the anchors in it (ms).
    """
    if not all(anchors for _, anchors in measured):
        return [latency for latencies, _ in measured for latency in latencies]
    typical = np.median([anchors for _, anchors in measured], axis=0)
    return [
        latency.scaled(float(np.median(typical / np.array(anchors))))
        for latencies, anchors in measured
        for latency in latencies
    ]


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
