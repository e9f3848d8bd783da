"""A whole search of a run: evaluate, predict, measure, report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.baselines import uniform_scalings
from nas.console import progress, say
from nas.costs import Cost, make_costs
from nas.errors import InfeasibleError, UserError
from nas.files import writable_folder, write_json
from nas.front import measured_front, volume_curve
from nas.measuring import Measuring
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
        objectives: Minimised beside error and latency; names as `nas.costs.make_cost` reads them.
        limits: Hard limits on costs; a cost that has one is minimised too.
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
    objectives: Sequence[str] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    searcher: str = "ehvi"
    evaluations: int = 160
    batch: int = 16
    measured: int = 12
    seed: int = 0
    workers: int | None = None
    ray_address: str | None = None
    storage: str | None = None
    fresh: bool = False

    @property
    def all_limits(self) -> dict[str, float]:
        """Limits by name of the cost."""
        return dict(self.limits) | ({} if self.limit_ms is None else {"latency_ms": self.limit_ms})


def search_run(folder: Path, settings: SearchSettings, table_file: Path | None = None) -> dict[str, Any]:
    """Searches a run on a device and writes `search/front-DEVICE.json`.

    Returns:
        The document: settings, "front" (fastest first, all measured), "over_limit", "baselines"
        (uniform scalings), "objectives", "hypervolume", "curve", "predictor" (held-out error), "table".

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
    own = Cost("latency_ms", latency.predict, device=(device, table))
    costs = (own, *make_costs(settings.objectives, settings.limits, run.space, folder))
    writable_folder(run.folder / "search")
    log = run.folder / "search" / f"{device.name}-{settings.searcher}-seed{settings.seed}.jsonl"
    if settings.fresh:
        log.unlink(missing_ok=True)
    evaluator = Subnets(run).evaluator()
    workers = settings.workers if settings.workers is not None else usable_cores()
    if workers and (alone := [cost.name for cost in costs if cost.alone]):
        raise UserError(
            f"--objective {alone[0]} counts what else runs on this machine as well; evaluate nothing meanwhile: "
            "add --workers 0."
        )
    with evaluators(evaluator, workers=workers, address=settings.ray_address) as accuracies:
        result = _search(run, settings, accuracies, costs, log)
        scalings = uniform_scalings(run.space)
        with progress("uniform scalings") as update:
            baseline_accuracy = []
            for value in accuracies(scalings):
                baseline_accuracy.append(value)
                update(len(baseline_accuracy), len(scalings), "")
    # the workers are gone: the machine is quiet for measuring
    measuring = Measuring(run.space, costs, seed=settings.seed, ray_address=settings.ray_address)
    found = measuring.front(result.X, result.Y, settings.all_limits, settings.measured)
    baselines = measuring.entries(scalings, baseline_accuracy)
    front, over = measured_front(found, settings.limit_ms, settings.limits)
    if not front:
        say("No candidate surely met the limits when measured; use larger ones.")
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
        "baselines": baselines,
        "objectives": [*OBJECTIVES, *(cost.name for cost in costs[1:])],
        "limits": dict(settings.limits),
        "reference": reference.tolist(),
        "hypervolume": hypervolume(result.Y, reference),
        "curve": volume_curve(result.Y, reference),
        "evaluated": result.Y[:, :2].tolist(),
        "evaluated_costs": result.Y[:, 2:].tolist(),
        "predictor": _predictor_report(run, result),
        "table": {"held_out": table.metadata["held_out"], "kernels": len(table.kernels)},
    }
    write_json(run.front(device.name), document)
    return document


def _search(run: Run, settings: SearchSettings, accuracies: Any, costs: Sequence[Cost], log: Path) -> SearchResult:
    options: dict[str, Any] = {
        "known": {j: cost.values for j, cost in enumerate(costs, start=1) if cost.known},
        "limits": {j: settings.all_limits.get(cost.name) for j, cost in enumerate(costs, start=1)},
    }
    if settings.searcher.startswith("optuna"):
        url = f"sqlite:///{log.with_suffix('.db')}"
        options |= {"storage": settings.storage or url, "study_name": f"{run.name}-{log.stem}"}
    searcher = make_searcher(settings.searcher, run.space, num_objectives=1 + len(costs), seed=settings.seed, **options)
    latency, *others = (cost.values for cost in costs)
    with progress(f"search ({settings.searcher})") as update:
        return search_asynchronously(
            run.space,
            Evaluations(accuracies, latency, others),
            searcher=searcher,
            evaluations=settings.evaluations,
            window=settings.batch,
            objectives=(*OBJECTIVES, *(cost.name for cost in costs[1:])),
            log=log,
            options={
                "searcher": settings.searcher,
                "seed": settings.seed,
                "limit_ms": settings.limit_ms,
                "batch": settings.batch,
                "data": run.config["data"]["fingerprint"],
                **_cost_options(settings, costs),
            },
            on_progress=lambda done, total: update(done, total, ""),
        )


def _cost_options(settings: SearchSettings, costs: Sequence[Cost]) -> dict[str, Any]:
    """What a log says of further costs; nothing where there are none, as in logs older than they are."""
    if len(costs) == 1:
        return {}
    names = [f"{cost.name} {cost.version}".strip() for cost in costs[1:]]
    return {"objectives": names, "limits": dict(settings.limits)}


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
    """Reference point of the hypervolume: the worst of everything evaluated, `[m]`."""
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


def usable_cores() -> int:
    import os

    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
