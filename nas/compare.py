"""Searchers side by side on published ground truth: hypervolume against evaluations, over seeds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.search import make_searcher, search
from nas.search.factory import SEARCHERS
from nas.surrogate import Surrogate
from nas.truth import Truth

BASELINES = ("random", "params", "macs")  # always in: what does not beat them is worth nothing
DEFAULT = ("ehvi-zc", "ehvi", "linas", "optuna-tpe", "nsga2")
Update = Callable[[int, int, str], None]

_truth: Truth | Surrogate | None = None  # of a worker process


@dataclass(frozen=True)
class CompareSettings:
    """What is compared.

    Attributes:
        searchers: Names out of `SEARCHERS`; `BASELINES` are added.
        seeds: Searches of each, with seeds 0, 1, ...
        evaluations: Of every search.
        known: Whether the cost is known without evaluating, as from a latency table; otherwise it is learned.
        targets: Normalised hypervolumes to reach.
        batch: Architectures asked for at once.
        processes: Searches at a time.
    """

    searchers: tuple[str, ...] = DEFAULT
    seeds: int = 10
    evaluations: int = 500
    known: bool = True
    targets: tuple[float, ...] = (0.9, 0.95, 0.99)
    batch: int = 1
    processes: int = 1


@dataclass(frozen=True)
class _Trial:
    curve: np.ndarray
    seconds: float
    regret: float


def compare(truth: Truth | Surrogate, settings: CompareSettings, update: Update | None = None) -> dict[str, Any]:
    """Runs every searcher with every seed.

    Returns:
        The document: settings, "reference" and "rows", one a searcher: "mean" and "standard_error" (None with one
        seed) of the normalised hypervolume after every evaluation; for every target the median number of
        evaluations to it (None if half of the seeds never get there) and the share of seeds that do; "regret" in
        percent of test accuracy; "seconds" of a search.
    """
    names = [*dict.fromkeys((*settings.searchers, *BASELINES))]
    for name in names:
        make_searcher(name, truth.space)  # an unknown name is said before anything runs
    start = time.monotonic()
    _prepare(truth, settings, any(SEARCHERS[name].options.get("zero_cost") for name in names), update)
    prepared = time.monotonic() - start
    jobs = [(name, seed) for name in names for seed in range(settings.seeds)]
    trials: dict[str, list[_Trial]] = {name: [] for name in names}
    for done, ((name, seed), trial) in enumerate(zip(jobs, _run(truth, settings, jobs), strict=True), 1):
        trials[name].append(trial)
        if update:
            update(done, len(jobs), f"{name} seed {seed}")
    return {
        "space": truth.space.name,
        "cost": truth.cost,
        "cost_known": settings.known,
        "seeds": settings.seeds,
        "evaluations": settings.evaluations,
        "batch": settings.batch,
        "reference": truth.reference.tolist(),
        "features_seconds": prepared,
        "rows": [_row(name, trials[name], settings.targets) for name in names],
    }


def _row(name: str, trials: Sequence[_Trial], targets: Sequence[float]) -> dict[str, Any]:
    longest = max(len(t.curve) for t in trials)
    curves = np.stack([np.pad(t.curve, (0, longest - len(t.curve)), mode="edge") for t in trials])
    spread = curves.std(axis=0, ddof=1) if len(trials) > 1 else np.full(longest, np.nan)
    reached = {target: [evaluations_to(curve, target) for curve in curves] for target in targets}
    return {
        "searcher": name,
        "mean": curves.mean(axis=0).tolist(),
        "standard_error": [_finite(v) for v in (spread / np.sqrt(len(trials))).tolist()],
        "evaluations_to": {
            f"{target:g}": {
                "median": _finite(float(np.median(n))),
                "share": float(np.isfinite(n).mean()),
                "by_seed": [_finite(v) for v in n],
            }
            for target, n in reached.items()
        },
        "regret": _finite(float(np.mean([t.regret for t in trials]))),
        "seconds": float(np.mean([t.seconds for t in trials])),
    }


def evaluations_to(curve: np.ndarray, target: float) -> float:
    """Evaluations until a hypervolume curve `[n]` reaches the target; infinite if it never does."""
    there = np.flatnonzero(curve >= target)
    return float(there[0] + 1) if len(there) else float("inf")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _prepare(truth: Truth | Surrogate, settings: CompareSettings, zero_cost: bool, update: Update | None) -> None:
    """What all searches of a space share is computed once, before the processes part."""
    from predictors.feature_groups import ENUMERABLE, Features, zero_cost_columns

    def report(done: int, total: int) -> None:
        if update:
            update(done, total, "zero-cost scores")

    _ = truth.volume
    if zero_cost:
        zero_cost_columns(truth.space, processes=settings.processes, report=report)
    if truth.space.size <= ENUMERABLE:
        Features(truth.space)


def _run(truth: Truth | Surrogate, settings: CompareSettings, jobs: list[tuple[str, int]]) -> Any:
    global _truth
    _truth = truth
    if settings.processes == 1:
        return (_trial(settings, job) for job in jobs)
    return _parallel(settings, jobs)


def _parallel(settings: CompareSettings, jobs: list[tuple[str, int]]) -> Any:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial

    # forked, so that the truth and the features of the space are there already
    with ProcessPoolExecutor(settings.processes, multiprocessing.get_context("fork"), _one_thread) as pool:
        yield from pool.map(partial(_trial, settings), jobs)


def _one_thread() -> None:
    """Searches run side by side: the linear algebra of each keeps to one thread."""
    import scipy.linalg  # noqa: F401 (its libraries must be there to be limited)
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _trial(settings: CompareSettings, job: tuple[str, int]) -> _Trial:
    truth, (name, seed) = _truth, job
    assert truth is not None
    known = {1: lambda X: truth.scores(X)[:, 1]} if settings.known else {}
    start = time.process_time()
    searcher = make_searcher(name, truth.space, seed=seed, known=known)
    result = search(
        truth.space,
        lambda X: truth.scores(X).tolist(),
        searcher=searcher,
        evaluations=settings.evaluations,
        batch=settings.batch,
    )
    return _Trial(truth.curve(result.Y), time.process_time() - start, truth.regret(result.X))
