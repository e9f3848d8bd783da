"""A search of architecture and precision together (SimQ-NAS): accuracy of quantised files, latency, and size."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.budget import confirm
from nas.console import progress, say
from nas.costs import Cost, make_cost
from nas.errors import InfeasibleError, UserError
from nas.files import writable_folder, write_json
from nas.front import candidates, entries, measure_networks, measured_front, volume_curve
from nas.objective import OBJECTIVES, Evaluations
from nas.pareto import hypervolume
from nas.precision.files import MixedEvaluator, timed_file
from nas.runs import Run
from nas.search import make_searcher
from nas.search.asynchronous import search_asynchronously
from nas.search_run import FORMAT, SearchSettings, usable_cores
from nas.tables import find_table
from nas.workers import evaluators
from search_spaces.mixed import MixedSpace
from search_spaces.operators import stored_bytes

if TYPE_CHECKING:
    from latency_tables import Device, LatencyTable
    from predictors.mixed_precision import MixedLatency

_MEASURED_FOR_CONVERSIONS = 16
_COMPARED = 3  # networks of the front whose architectures are measured in one precision as well


def mixed_search(folder: Path, settings: SearchSettings, table_file: Path | None = None) -> dict[str, Any]:
    """Searches a run's architectures and the precision of their operators; writes `search/mixed-DEVICE.json`.

    Returns:
        As `nas.search_run.search_run`, with "conversions" (what was learned of them, and how far sums of the tables
        were off before and after) and as "baselines" architectures of the front all in fp32 and all in INT8.

    Raises:
        UserError: if the device has no INT8 twin, or a table is missing.
        SpaceError: if the space's operators are not decided by single genes.
        InfeasibleError: if no network meets the limits.
    """
    from latency_tables import get_device
    from nas.subnets import Subnets

    if settings.searcher.startswith("optuna"):
        raise UserError(f"--searcher {settings.searcher} keeps its own study; with --precision mixed use another one.")
    run = Run.open(folder)
    device = get_device(settings.device)
    space = MixedSpace(run.space)
    twin = _twin(device)
    table = find_table(run.space, device, table_file, folder)
    on_integers = find_table(run.space, twin, run=folder)
    writable_folder(run.folder / "search")
    stem = f"mixed-{device.name}"
    latency = _latency(space, device, table, on_integers, run.folder / "search" / f"{stem}-conversions.json")
    costs = (
        Cost("latency_ms", latency.predict, device=(device, table)),
        *(mixed_cost(name, space, folder) for name in dict.fromkeys([*settings.objectives, *settings.limits])),
    )
    log = run.folder / "search" / f"{stem}-{settings.searcher}-seed{settings.seed}.jsonl"
    if settings.fresh:
        log.unlink(missing_ok=True)
    evaluator = MixedEvaluator(space, Subnets(run).evaluator())
    workers = settings.workers if settings.workers is not None else usable_cores()
    limits = {j: settings.all_limits.get(cost.name) for j, cost in enumerate(costs, start=1)}
    known = {j: cost.values for j, cost in enumerate(costs, start=1) if cost.known}
    searcher = make_searcher(
        settings.searcher, space, num_objectives=1 + len(costs), seed=settings.seed, known=known, limits=limits
    )
    with (
        evaluators(evaluator, workers=workers, address=settings.ray_address) as accuracies,
        progress(f"search ({settings.searcher})") as update,
    ):
        result = search_asynchronously(
            space,
            Evaluations(accuracies, latency.predict, [cost.values for cost in costs[1:]]),
            searcher=searcher,
            evaluations=settings.evaluations,
            window=settings.batch,
            objectives=(*OBJECTIVES, *(cost.name for cost in costs[1:])),
            log=log,
            options={
                "searcher": settings.searcher,
                "seed": settings.seed,
                "limits": settings.all_limits,
                "batch": settings.batch,
                "conversions": asdict(latency.conversions_),
                "data": run.config["data"]["fingerprint"],
            },
            on_progress=lambda done, total: update(done, total, ""),
        )
        bound = np.array([np.inf, *(settings.all_limits.get(cost.name, np.inf) for cost in costs)])
        rows = candidates(result.Y, bound, settings.measured)
        if not len(rows):
            raise InfeasibleError(f"None of {len(result.X)} networks is predicted to meet the limits; raise them.")
        compared = space.architectures(result.X[rows[_spread(len(rows))]])
        alike = np.concatenate([space.in_one_precision(compared, np.full(len(compared), on)) for on in (False, True)])
        baseline_accuracy = list(accuracies(alike))
    # the workers are gone: the machine is quiet for measuring
    X = np.concatenate([result.X[rows], alike])
    percent = [*(100 - result.Y[rows, 0]), *baseline_accuracy]
    found = _measured(evaluator, X, percent, costs, device, table, settings)
    front, over = measured_front(found[: len(rows)], settings.limit_ms, settings.limits)
    if not front:
        say("No candidate surely met the limits when measured; use larger ones.")
    reference = result.Y.max(axis=0)
    document = {
        "format": FORMAT,
        "run": run.name,
        "space": run.config["space"],
        "precision": "mixed",
        "device": device.name,
        "conditions": table.metadata["conditions"],
        "limit_ms": settings.limit_ms,
        "searcher": settings.searcher,
        "seed": settings.seed,
        "evaluations": len(result.X),
        "validation_images": run.config["data"]["validation"],
        "front": front,
        "over_limit": over,
        "baselines": found[len(rows) :],
        "objectives": [*OBJECTIVES, *(cost.name for cost in costs[1:])],
        "limits": dict(settings.limits),
        "reference": reference.tolist(),
        "hypervolume": hypervolume(result.Y, reference),
        "curve": volume_curve(result.Y, reference),
        "evaluated": result.Y[:, :2].tolist(),
        "evaluated_costs": result.Y[:, 2:].tolist(),
        "conversions": asdict(latency.conversions_),
    }
    write_json(mixed_front(run, device.name), document)
    return document


def mixed_front(run: Run, device: str) -> Path:
    """File with what a mixed search found on a device."""
    return run.folder / "search" / f"mixed-{device}.json"


def mixed_cost(name: str, space: MixedSpace, folder: Path) -> Cost:
    """A cost by its name: size by precision; others are of the architecture alone.

    Raises:
        UserError: if the name is unknown, or it is the latency of another device.
    """
    from predictors.mixed_precision import MixedCost

    if name == "size_bytes":
        return Cost(name, MixedCost(space, lambda op: stored_bytes(op, 32), lambda op: stored_bytes(op, 8)))
    base = make_cost(name, space.base, folder)
    if base.device is not None or base.alone:
        raise UserError(f"--objective {name} is of one precision; with --precision mixed use size_bytes, macs, params.")
    return Cost(name, lambda X: base.values(space.architectures(X)), known=base.known, version=base.version)


def _spread(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, _COMPARED)).round().astype(int))


def _twin(device: "Device") -> "Device":
    """The INT8 twin of a device: the built-in device called like it with "-int8"."""
    from latency_tables import built_in_devices

    twin = built_in_devices().get(f"{device.name}-int8")
    if device.precision != "fp32" or twin is None:
        raise UserError(
            "--precision mixed needs a device in fp32 with an INT8 twin, local-cpu-1t or local-cpu, "
            f"not {device.name!r}."
        )
    return twin


def _latency(
    space: MixedSpace, device: "Device", in_float: "LatencyTable", on_integers: "LatencyTable", kept: Path
) -> "MixedLatency":
    """Latency with conversions learned from a few networks measured whole, which are kept for a search that resumes."""
    import json

    from predictors.mixed_precision import MixedLatency, switching_sample

    X = switching_sample(space, np.random.default_rng(0), _MEASURED_FOR_CONVERSIONS)
    texts = [space.to_text(x) for x in X]
    conditions = [in_float.metadata["conditions"], on_integers.metadata["conditions"]]
    record = {"format": FORMAT, "archs": texts, "conditions": conditions}
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        times = np.array(found.pop("latency_ms"), dtype=np.float64) if found.keys() >= record.keys() else None
        if found != record or times is None or times.shape != (len(X),) or not (times > 0).all():
            times = None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        times = None
    if times is None:
        with progress(f"conversions on {device.name}") as update:
            models = [timed_file(space, x, device.batch) for x in X]
            latencies = measure_networks(models, device, update, anchors=in_float.anchors)
        times = np.array([latency.median_ms for latency in latencies])
        write_json(kept, record | {"latency_ms": times.tolist()})
    return MixedLatency(space, in_float, on_integers).fit(X, times)


def _measured(
    evaluator: MixedEvaluator,
    X: np.ndarray,
    percent: Sequence[float],
    costs: Sequence[Cost],
    device: "Device",
    table: "LatencyTable",
    settings: SearchSettings,
) -> list[dict[str, Any]]:
    """Entries of genotypes whose real files were measured."""
    with tempfile.TemporaryDirectory() as folder, progress(f"measure on {device.name}") as update:
        paths = [evaluator.write(x, Path(folder, f"{i}.onnx"), batch=device.batch) for i, x in enumerate(X)]
        found = confirm(paths, device, table, update, seed=settings.seed, ray_address=settings.ray_address)
    made = entries(evaluator.space, X, percent, costs, {costs[0].name: found})
    for entry, x in zip(made, X, strict=True):
        share = dict.fromkeys(("median", "low", "high"), float(costs[0].values(x[None])[0]))
        entry["predicted_latency_ms"] = share
    return made
