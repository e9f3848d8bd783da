"""`profile`: measures every kernel of a space on a device and makes a `LatencyTable` of it.

Two kinds of measurement, both on whole networks: a few networks that contain every kernel run
under ONNX Runtime's profiler (trace.py), and random networks are timed whole without it
(measuring.py). The correction fitted on some of the latter is judged on the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.correction import Correction, fit_correction, held_out_errors
from latency_tables.devices import Device, device_fingerprint, get_device
from latency_tables.journal import Journal
from latency_tables.measuring import (
    Anchors,
    Effort,
    Latency,
    batches,
    same_speed,
    spread,
    time_record,
    time_tasks,
)
from latency_tables.plan import Executor, Plan, local_executor
from latency_tables.progress import Clock, ProgressCallback
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.trace import kernel_times
from search_spaces import Architecture, Network, Space, covering

_TRACE_ROUNDS, _TRACE_CALLS = 4, 8
_EFFORT = Effort(tolerance=0.005, rounds=(10, 30), seconds=240.0)


@dataclass(frozen=True)
class Study:
    """What a table is made of: networks, and how they are measured.

    Attributes:
        traced: Networks that contain every kernel, measured under the profiler.
        timed: Networks measured whole; the first two are always fitted on.
        device: Where.
        about: Metadata of the table: "space", "resolutions", "fit", "held_out", "seed".
        unseen: Networks measured whole whose kernels are not measured: they judge predictors of kernels.
        reference: Anchors of an earlier table, to whose speed this one is brought.
    """

    traced: tuple[Network, ...]
    timed: tuple[Network, ...]
    device: Device
    about: Mapping[str, Any]
    unseen: tuple[Network, ...] = ()
    reference: Anchors = Anchors()

    @property
    def whole(self) -> tuple[Network, ...]:
        """All networks that are measured whole."""
        return (*self.timed, *self.unseen)

    @property
    def anchors(self) -> list[int]:
        """Positions in `whole`, or behind its end for those of `reference`, of the networks in every round."""
        if self.reference.networks:
            return [len(self.whole) + i for i in range(len(self.reference.networks))]
        return spread([network.macs for network in self.timed])

    def plan(self) -> Plan:
        """The tasks that measure it."""
        offset, parts = len(self.traced), batches(self.traced)
        anchors = [offset + i for i in self.anchors]
        tasks: list[dict[str, Any]] = [
            {
                "name": f"kernels {start}",
                "kind": "trace",
                "models": list(range(start, start + len(batch))),
                "anchors": anchors if len(parts) > 1 else [],
                "rounds": _TRACE_ROUNDS,
                "calls": _TRACE_CALLS,
            }
            for batch, start in parts
        ]
        for task in time_tasks(self.whole, batches(self.whole), self.anchors, _EFFORT, self.about["seed"]):
            tasks.append({**task, "models": [offset + i for i in task["models"]], "anchors": anchors})
        return Plan(self.device, [*self.traced, *self.whole, *self.reference.networks], tasks)


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
    executor: Executor | None = None,
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
        executor: Of a device elsewhere.
        progress: Called after every step, with the time left.

    Raises:
        DeviceError: if the device is unknown.
        ValueError: if a resolution is not one of the space's, or there are too few networks.
    """
    device = get_device(device) if isinstance(device, str) else device
    study = space_study(space, device, resolutions=resolutions, fit=fit, held_out=held_out, seed=seed)
    return run_study(study, path, resume=resume, executor=executor, progress=progress)


def space_study(
    space: Space,
    device: Device,
    *,
    resolutions: Iterable[int] | None = None,
    fit: int = 96,
    held_out: int = 32,
    seed: int = 0,
) -> Study:
    """The study of a space; arguments as for `profile`. The same arguments give the same study."""
    for name, value in (("fit", fit), ("held_out", held_out)):
        if value < 2:
            raise ValueError(f"{name} (={value}) must be at least 2.")
    resolutions = None if resolutions is None else sorted(set(resolutions))
    traced, timed = _networks(space, resolutions, fit + held_out, seed)
    about = {
        "space": {"name": space.name, "options": space.options},
        "resolutions": sorted({network.size for network in traced}),
        "fit": fit,
        "held_out": held_out,
        "seed": seed,
    }
    return Study(tuple(traced), tuple(timed), device, about)


def run_study(
    study: Study,
    path: str | Path,
    *,
    resume: bool = True,
    executor: Executor | None = None,
    progress: ProgressCallback | None = None,
) -> LatencyTable:
    """Measures a study and writes its table; arguments as for `profile`."""
    executor, path = executor or local_executor(study.device), Path(path)
    machine = executor.machine(study.device)
    header = {"conditions": device_fingerprint(study.device, machine), **study.about}
    journal = Journal(path.with_name(path.name + ".part.jsonl"), header, resume=resume)
    plan = study.plan()
    tasks = {task["name"]: task for task in plan.tasks}
    clock = Clock({name: len(task["models"]) for name, task in tasks.items()}, journal, progress)
    for name, record in executor.run(plan, journal, clock):
        journal.add(name, _digested(plan, tasks[name], record))
        clock(name, 1.0)
    kernels = _kernels([journal[name] for name, task in tasks.items() if task["kind"] == "trace"])
    timed = [journal[name] for name, task in tasks.items() if task["kind"] == "time"]
    measured = [([Latency(*v) for v in r["latencies"]], r["anchors"]) for r in timed]
    latencies = same_speed(measured, study.reference.median_ms)
    table = _table(study, header, kernels, latencies)
    table.write(path)
    journal.remove()
    return table


def _digested(plan: Plan, task: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """What the journal keeps of a task's record."""
    if task["kind"] == "trace":
        networks = [plan.models[i] for i in (*task["models"], *task["anchors"])]
        profiles, anchored = record.get("profiles", ()), len(task["anchors"])
        times, anchors = kernel_times(networks, profiles, rounds=task["rounds"], anchors=anchored)
        return {"kernels": {key: _row(values) for key, values in times.items()}, "anchors": anchors}
    latencies, anchors = time_record(record, len(task["models"]), len(task["anchors"]))
    return {"latencies": [astuple(latency) for latency in latencies], "anchors": anchors}


def _table(
    study: Study, header: dict[str, Any], kernels: dict[str, dict], latencies: Sequence[Latency]
) -> LatencyTable:
    """The table of what was measured: the correction is fitted here, and judged on networks that it has not seen."""
    keys, held_out = list(kernels), study.about["held_out"]
    column = {key: i for i, key in enumerate(keys)}
    counts = np.zeros((len(study.timed), len(keys)))
    for row, network in zip(counts, study.timed, strict=True):
        np.add.at(row, [column[key] for key in network.kernels], 1)
    whole_ms = [latency.median_ms for latency in latencies]
    network_ms = np.array(whole_ms[: len(study.timed)])
    judged = np.arange(len(counts)) >= len(counts) - held_out
    # not the last ones: the machine drifts
    judged[2:] = np.random.default_rng(study.about["seed"]).permutation(judged[2:])
    kernel_ms = np.array([kernel["median_ms"] for kernel in kernels.values()])
    correction = fit_correction(keys, kernel_ms, counts[~judged], network_ms[~judged])
    predicted = correction.constant_ms + counts[judged] @ correction.cost_ms
    anchors = study.reference
    if not anchors.networks:
        anchors = Anchors(tuple(study.timed[i] for i in study.anchors), tuple(whole_ms[i] for i in study.anchors))
    unseen = zip(study.unseen, whole_ms[len(study.timed) :], strict=True)
    return LatencyTable(
        {
            key: KernelLatency(study.device.precision, cost_ms=float(cost), **kernel)
            for (key, kernel), cost in zip(kernels.items(), correction.cost_ms, strict=True)
        },
        {
            **header,
            "correction": _summary(correction),
            "held_out": held_out_errors(predicted, network_ms[judged]),
            "anchors": anchors.document,
            "unseen": [{"network": network.text, "median_ms": ms} for network, ms in unseen],
        },
    )


def _networks(
    space: Space, resolutions: list[int] | None, timed: int, seed: int
) -> tuple[list[Network], list[Network]]:
    """Networks that contain every kernel, and those to time whole: smallest, largest, then random ones."""
    rng = np.random.default_rng(seed)
    traced = covering(space)
    rows = np.vstack([space.smallest, space.largest, space.sample(rng, timed)])
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


def _kernels(records: Sequence[Mapping[str, Any]]) -> dict[str, dict]:
    """Rows of all kernels: median, p10, p90 (ms) and number of calls; batches brought to the same speed by anchors."""
    totals = np.array([record["anchors"] for record in records])
    factors = np.ones(len(records))
    if totals.size:
        factors = np.median(np.median(totals, axis=0) / totals, axis=1)
    pooled: dict[str, list[list[float]]] = {}
    for record, factor in zip(records, factors, strict=True):
        for key, (*times, runs) in record["kernels"].items():
            pooled.setdefault(key, []).append([*(factor * ms for ms in times), runs])
    return {key: _pool(rows) for key, rows in pooled.items()}


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
