"""A whole search of a run: evaluate, predict, measure, report."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.baselines import uniform_scalings
from nas.budget import confirm
from nas.console import progress, say
from nas.errors import InfeasibleError
from nas.files import writable_folder, write_json
from nas.front import candidates, entries, measured_front, volume_curve
from nas.objective import OBJECTIVES, Evaluations
from nas.pareto import hypervolume
from nas.runs import Run
from nas.search import SearchResult, make_searcher
from nas.search.asynchronous import search_asynchronously
from nas.tables import find_table
from nas.workers import evaluators

if TYPE_CHECKING:
    from latency_tables import LatencyTable
    from predictors import TableLatency

FORMAT = 1


@dataclass(frozen=True)
class SearchSettings:
    """What decides a search; all but the last four also decide its result.

    Attributes:
        device: Name or TOML file.
        limit_ms: Hard limit on the latency.
        searcher: One of `nas.search.SEARCHERS`.
        evaluations: Subnets evaluated from the supernet.
        batch: Evaluations in flight at most; a few times the workers, so that none waits.
        measured: Networks re-measured at most.
        seed: Of every random choice.
        workers: Ray workers; None for one a core.
        ray_address: Of a cluster.
        storage: URL of an Optuna storage.
        fresh: Forget an earlier log.
    """

    device: str
    limit_ms: float | None = None
    searcher: str = "ehvi"
    evaluations: int = 160
    batch: int = 16
    measured: int = 12
    seed: int = 0
    workers: int | None = None
    ray_address: str | None = None
    storage: str | None = None
    fresh: bool = False


def search_run(folder: Path, settings: SearchSettings, table_file: Path | None = None) -> dict[str, Any]:
    """Searches a run on a device and writes `search/front-DEVICE.json`.

    Returns:
        The document: settings, "front" (fastest first, all measured), "over_limit", "baselines"
        (uniform scalings), "hypervolume", "curve", "predictor" (held-out error), "table".

    Raises:
        InfeasibleError: if no network can meet the limit; says the smallest latency possible.
        RunError, TableError, DeviceError: for what is missing or does not belong together.
    """
    from latency_tables import get_device
    from nas.subnets import Subnets
    from predictors import TableLatency

    run = Run.open(folder)
    device = get_device(settings.device)
    table = find_table(run.space, device, table_file, folder)
    latency = TableLatency(table, run.space)
    _check_limit(run, table, latency, settings)
    writable_folder(run.folder / "search")
    log = run.folder / "search" / f"{device.name}-{settings.searcher}-seed{settings.seed}.jsonl"
    if settings.fresh:
        log.unlink(missing_ok=True)
    evaluator = Subnets(run).evaluator()
    workers = settings.workers if settings.workers is not None else _cores()
    with evaluators(evaluator, workers=workers, address=settings.ray_address) as accuracies:
        result = _search(run, settings, accuracies, latency, log)
        scalings = uniform_scalings(run.space)
        with progress("uniform scalings") as update:
            baseline_accuracy = []
            for value in accuracies(scalings):
                baseline_accuracy.append(value)
                update(len(baseline_accuracy), len(scalings), "")
    # the workers are gone: the machine is quiet for measuring
    chosen = candidates(result.X, result.Y, settings.limit_ms, settings.measured)
    X = np.concatenate([result.X[chosen], scalings])
    accuracy = [*(100 - result.Y[chosen, 0]), *baseline_accuracy]
    distinct, place = np.unique(X, axis=0, return_inverse=True)  # the largest is often both found and a scaling
    with progress(f"measure on {device.name}") as update:
        networks = [run.space.network(x) for x in distinct]
        measured = confirm(networks, device, table, update, seed=settings.seed, ray_address=settings.ray_address)
    found = entries(run.space, X, accuracy, table, [measured[i] for i in place.ravel()])
    front, over = measured_front(found[: len(chosen)], settings.limit_ms)
    if not front:
        say(f"No candidate surely met the limit of {settings.limit_ms:g} ms when measured; use a larger limit.")
    reference = _reference(result.Y)
    document = {
        "format": FORMAT,
        "run": run.name,
        "space": run.config["space"],
        "device": device.name,
        "conditions": table.metadata["conditions"],
        "limit_ms": settings.limit_ms,
        "searcher": settings.searcher,
        "seed": settings.seed,
        "evaluations": len(result.X),
        "validation_images": run.config["data"]["validation"],
        "front": front,
        "over_limit": over,
        "baselines": found[len(chosen) :],
        "reference": reference.tolist(),
        "hypervolume": hypervolume(result.Y, reference),
        "curve": volume_curve(result.Y, reference),
        "evaluated": result.Y.tolist(),
        "predictor": _predictor_report(run, result),
        "table": {"held_out": table.metadata["held_out"], "kernels": len(table.kernels)},
    }
    write_json(run.front(device.name), document)
    return document


def _search(run: Run, settings: SearchSettings, accuracies: Any, latency: "TableLatency", log: Path) -> SearchResult:
    options: dict[str, Any] = {"known": {1: latency.predict}, "limits": {1: settings.limit_ms}}
    if settings.searcher.startswith("optuna"):
        url = f"sqlite:///{log.with_suffix('.db')}"
        options |= {"storage": settings.storage or url, "study_name": f"{run.name}-{log.stem}"}
    searcher = make_searcher(settings.searcher, run.space, num_objectives=2, seed=settings.seed, **options)
    with progress(f"search ({settings.searcher})") as update:
        return search_asynchronously(
            run.space,
            Evaluations(accuracies, latency.predict),
            searcher=searcher,
            evaluations=settings.evaluations,
            window=settings.batch,
            objectives=OBJECTIVES,
            log=log,
            options={
                "searcher": settings.searcher,
                "seed": settings.seed,
                "limit_ms": settings.limit_ms,
                "batch": settings.batch,
                "data": run.config["data"]["fingerprint"],
            },
            on_progress=lambda done, total: update(done, total, ""),
        )


def _check_limit(run: Run, table: "LatencyTable", latency: "TableLatency", settings: SearchSettings) -> None:
    """Refuses a limit below the fastest network of the space, which the table knows exactly."""
    fastest = latency.fit().costs_.cheapest()
    least = table.predict(run.space.network(fastest)).median
    if settings.limit_ms is not None and settings.limit_ms < least:
        raise InfeasibleError(
            f"--limit-ms (={settings.limit_ms:g}) cannot be met: the fastest network of {run.space.name} takes "
            f"{least:.3g} ms on {settings.device} ({run.space.to_text(fastest)}); use a limit above that."
        )


def _reference(Y: np.ndarray) -> np.ndarray:
    """Reference point of the hypervolume: the worst of everything evaluated, `[2]`."""
    return Y.max(axis=0)


def _predictor_report(run: Run, result: SearchResult) -> dict[str, Any]:
    """Error of the accuracy predictor on evaluated subnets that it was not fitted on."""
    from predictors import AccuracyPredictor

    held_out = AccuracyPredictor(run.space).held_out(result.X, 100 - result.Y[:, 0])
    return {
        "rmse": held_out.rmse,
        "kendall_tau": held_out.kendall_tau,
        "subnets": held_out.n,
        "predicted": held_out.predicted.tolist(),
    }


def _cores() -> int:
    import os

    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
