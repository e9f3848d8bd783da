"""`profile`: measures every kernel of a space on a device and makes a `LatencyTable` of it.

Two kinds of measurement, both on whole networks: a few networks that contain every kernel run
under ONNX Runtime's profiler (trace.py), and random networks are timed whole without it
(measuring.py). The correction fitted on some of the latter is judged on the others.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import astuple
from pathlib import Path

import numpy as np

from latency_tables.correction import Correction, fit_correction, held_out_errors
from latency_tables.devices import Device, device_fingerprint, get_device
from latency_tables.journal import Journal
from latency_tables.measuring import Effort, Latency, batches, measure_batches, same_speed
from latency_tables.progress import Progress, ProgressCallback
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.trace import kernel_times
from search_spaces import Architecture, Network, Space, covering

_TRACE_ROUNDS, _TRACE_CALLS = 4, 8
_EFFORT = Effort(tolerance=0.005, rounds=(10, 30), seconds=240.0)


def profile(
    space: Space,
    device: Device | str,
    path: str | Path,
    *,
    resolutions: Iterable[int] | None = None,
    fit: int = 96,
    held_out: int = 32,
    seed: int = 0,
    resume: bool = True,
    progress: ProgressCallback | None = None,
) -> LatencyTable:
    """Measures a space on a device and writes its table.

    A run that was killed continues where it stopped when called again with the same arguments:
    what it measured lies in `{path}.part.jsonl` until the table is complete.

    Args:
        space: The space; all its kernels are measured.
        device: A `Device` or its name.
        path: The Parquet file to write.
        resolutions: Measure only these of the space's resolutions.
        fit: Random networks that the correction is fitted on, besides the smallest and the largest.
        held_out: Further random networks that it is judged on.
        seed: Of the random networks and of the order of measurements.
        resume: Continue an earlier run; otherwise start afresh.
        progress: Called after every step, with the time left.

    Raises:
        DeviceError: if the device is unknown.
        ValueError: if a resolution is not one of the space's, or there are too few networks.
    """
    for name, value in (("fit", fit), ("held_out", held_out)):
        if value < 2:
            raise ValueError(f"{name} (={value}) must be at least 2.")
    resolutions = None if resolutions is None else sorted(set(resolutions))
    device = get_device(device) if isinstance(device, str) else device
    path = Path(path)
    traced, timed = _networks(space, resolutions, fit + held_out, seed)
    header = {
        "conditions": device_fingerprint(device),
        "space": {"name": space.name, "options": space.options},
        "resolutions": sorted({network.size for network in traced}),
        "fit": fit,
        "held_out": held_out,
        "seed": seed,
    }
    journal = Journal(path.with_name(path.name + ".part.jsonl"), header, resume=resume)
    stages = {"kernels": traced, "networks": timed}
    known = {s: sum(len(b) for b, i in batches(n) if f"{s} {i}" in journal) for s, n in stages.items()}
    clock = _Clock({s: len(n) for s, n in stages.items()}, known, progress)
    kernels = _trace(traced, device, journal, clock)
    latencies = _time(timed, device, journal, seed, clock)
    keys = list(kernels)
    column = {key: i for i, key in enumerate(keys)}
    counts = np.zeros((len(timed), len(keys)))
    for row, network in zip(counts, timed, strict=True):
        np.add.at(row, [column[key] for key in network.kernels], 1)
    network_ms = np.array([latency.median_ms for latency in latencies])
    judged = np.arange(len(timed)) >= len(timed) - held_out
    judged[2:] = np.random.default_rng(seed).permutation(judged[2:])  # not the last ones: the machine drifts
    kernel_ms = np.array([kernel["median_ms"] for kernel in kernels.values()])
    correction = fit_correction(keys, kernel_ms, counts[~judged], network_ms[~judged])
    predicted = correction.constant_ms + counts[judged] @ correction.cost_ms
    table = LatencyTable(
        {
            key: KernelLatency(device.precision, cost_ms=float(cost), **kernel)
            for (key, kernel), cost in zip(kernels.items(), correction.cost_ms, strict=True)
        },
        {
            **header,
            "correction": _summary(correction),
            "held_out": held_out_errors(predicted, network_ms[judged]),
        },
    )
    table.write(path)
    journal.remove()
    return table


def _networks(
    space: Space, resolutions: Iterable[int] | None, timed: int, seed: int
) -> tuple[list[Network], list[Network]]:
    """Networks that contain every kernel, and those to time whole: smallest, largest, then random ones."""
    rng = np.random.default_rng(seed)
    traced = covering(space)
    rows = np.vstack([np.zeros(len(space.genes), dtype=np.int64), space.cardinality - 1, space.sample(rng, timed)])
    if resolutions is not None:
        column = space.index.get("resolution", -1)
        sizes = space.genes[column].choices if column >= 0 else ()
        if unknown := sorted(set(resolutions).difference(sizes)):
            raise ValueError(f"resolutions (={unknown}) are not among those of {space.name}: {list(sizes)}.")
        allowed = [i for i, size in enumerate(sizes) if size in set(resolutions)]
        traced = [arch for arch in traced if arch[column] in allowed]
        rows[:, column] = [allowed[0], allowed[-1], *rng.choice(allowed, timed)]
    archs: list[Architecture] = [space.check(row) for row in space.canonical(rows).tolist()]
    return [space.network(arch) for arch in traced], [space.network(arch) for arch in archs]


def _trace(
    networks: list[Network], device: Device, journal: Journal, report: Callable[[str, int], None]
) -> dict[str, dict]:
    """Rows of all kernels: median, p10, p90 (ms) and number of calls."""
    parts = batches(networks)
    for batch, start in parts:
        if (name := f"kernels {start}") not in journal:
            times = kernel_times(batch, device, rounds=_TRACE_ROUNDS, calls=_TRACE_CALLS)
            journal.add(name, {key: _row(values) for key, values in times.items()})
        report("kernels", start + len(batch))
    pooled: dict[str, list[list[float]]] = {}
    for _, start in parts:
        for key, row in journal[f"kernels {start}"].items():
            pooled.setdefault(key, []).append(row)
    return {key: _pool(rows) for key, rows in pooled.items()}


def _time(
    networks: list[Network], device: Device, journal: Journal, seed: int, report: Callable[[str, int], None]
) -> list[Latency]:
    """Latency of whole networks."""
    for start, latencies, anchors in measure_batches(
        networks,
        device,
        effort=_EFFORT,
        seed=seed,
        done=lambda start: f"networks {start}" in journal,
        report=lambda share: report("networks", int(share * len(networks))),
    ):
        journal.add(f"networks {start}", {"latencies": [astuple(x) for x in latencies], "anchors": anchors})
    records = [journal[f"networks {start}"] for _, start in batches(networks)]
    return same_speed([([Latency(*v) for v in r["latencies"]], r["anchors"]) for r in records])


class _Clock:
    """Turns steps into progress with the time left, at the pace of the steps of this run.

    Args:
        totals: Networks of every stage.
        known: How many of them an earlier run measured.
        progress: The callback, if any.
    """

    def __init__(self, totals: dict[str, int], known: dict[str, int], progress: ProgressCallback | None) -> None:
        self._totals, self._known, self._progress = totals, known, progress
        self._starts: dict[str, float] = {}
        self._pace = 0.0  # seconds a network
        self._last = time.perf_counter()

    def __call__(self, stage: str, done: int) -> None:
        now = time.perf_counter()
        start = self._starts.setdefault(stage, self._last)
        self._last = now
        if done > self._known[stage]:
            self._pace = (now - start) / (done - self._known[stage])
        later = list(self._totals)[list(self._totals).index(stage) + 1 :]
        left = self._totals[stage] - done + sum(self._totals[s] - self._known[s] for s in later)
        if self._progress:
            self._progress(Progress(stage, done, self._totals[stage], self._pace * left))


def _row(times: np.ndarray) -> list[float]:
    """Mean of the middle half (the profiler's clock ticks in microseconds), p10, p90 and number of calls."""
    ordered = np.sort(times)
    quarter = len(ordered) // 4
    middle = float(ordered[quarter : len(ordered) - quarter].mean())
    low, high = np.quantile(times, (0.1, 0.9))
    return [middle, min(float(low), middle), max(float(high), middle), len(times)]


def _pool(rows: list[list[float]]) -> dict:
    """One row of those of several batches."""
    median, low, high, _ = np.median(np.array(rows), axis=0)
    return {
        "median_ms": float(median),
        "p10_ms": float(low),
        "p90_ms": float(high),
        "runs": int(sum(row[3] for row in rows)),
    }


def _summary(correction: Correction) -> dict:
    kind, kernel, noise = correction.widths
    return {
        "constant_ms": correction.constant_ms,
        "scale": correction.scale,
        "kind_width": kind,
        "kernel_width": kernel,
        "noise": noise,
    }
