"""Accuracy predictors on published benchmarks: rank correlation on everything left out, and calibration.

    python scripts/bench_predictors.py --quick               # a minute: 2 splits of the smallest tasks, nothing kept
    python scripts/bench_predictors.py                       # every model and task: 25 minutes on 2 cores
    python scripts/bench_predictors.py --tasks ofa_mbv3 --models default,gp
    python scripts/bench_predictors.py --nodes nodes.npz     # ParZC too, on node statistics made by --make-nodes
    python scripts/bench_predictors.py --make-nodes nodes.npz --inputs inputs.npz --n 1500
                                                             # inputs from bench_proxies.py --prepare; continues a file

Every split draws the labels at random and is judged on all other architectures. A row is kept in
benchmarks/predictors.json as soon as it is there, with its conditions, and replaces the one before. The perceptrons,
which take a minute a split, are judged on `--net-splits` splits.

"nasbench201 of 2500" are the architectures whose zero-cost scores are published; "+ proxies" has the ranks of those
published scores among the features, "+ 12 epochs" the accuracy after 12 of the 200 epochs.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from predictor_tasks import SHARED, TASKS, make_nodes, node_tables, node_tasks  # noqa: E402

from nas.files import write_json  # noqa: E402

# (task, labels, model) -> the tau asked for
ASKED = {
    ("nasbench201", 156, "default"): 0.75,
    ("nasbench201", 1000, "default"): 0.85,
    ("ofa_mbv3", 100, "default"): 0.75,
    ("ofa_mbv3", 1000, "default"): 0.85,
    ("nasbench201 nodes", 78, "parzc"): 0.70,
    ("nasbench201 nodes", 156, "parzc"): 0.73,
}
RESULT = ROOT / "benchmarks" / "predictors.json"
NETS = ("mlp", "deep_ensemble")  # slow to fit
ON_NODES = ("parzc",)  # what these read is not the features of a table
DEVICES = ("edgegpu_ms", "raspi4_ms", "pixel3_hwnb_ms", "1080ti_1_ms", "gold_6240_ms")
QUICK = ["ofa_mbv3", "nasbench_macro", "search"]
VOTERS = ("synflow", "jacov", "snip")


@lru_cache(maxsize=1)
def table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features and accuracies of a file."""
    with np.load(path, allow_pickle=False) as file:
        return file["X"], file["y"]


def judge(path: Path, labels: int, model: str, seed: int) -> dict[str, float]:
    """One split: fitted on `labels` random rows, judged on all others."""
    from predictors.regression import FeatureRegression, rank_correlation, regret

    X, y = table(path)
    order = np.random.default_rng(seed).permutation(len(y))
    fit, rest = order[:labels], order[labels:]
    start = time.process_time()
    predictor = FeatureRegression(model, seed=seed).fit(X[fit], y[fit])
    seconds = time.process_time() - start
    predicted, ends = predictor.predict(X[rest]), predictor.predict_interval(X[rest])
    return {
        "kendall_tau": rank_correlation("kendall", predicted, y[rest]),
        "spearman": rank_correlation("spearman", predicted, y[rest]),
        "rmse": float(np.sqrt(np.mean((predicted - y[rest]) ** 2))),
        "top10_regret": regret(y[rest], predicted)[10],
        "coverage90": float(np.mean((y[rest] >= ends[:, 0]) & (y[rest] <= ends[:, 1]))),
        "fit_cpu_seconds": seconds,
    }


def search_without_training(device: str, orders: int) -> dict[str, Any]:
    """The front that proxies choose without training, against training architectures at random.

    Over the architectures with published scores, latency as published for the device: the front of (latency, vote)
    is handed over. Its true accuracies give its hypervolume as a share of the exact front's, and its regret (see
    `nas.truth.Truth`). Random search trains one architecture after the other and hands over the front of those.
    """
    import pandas as pd

    from nas.pareto import pareto_front
    from nas.truth import Truth
    from predictors.zero_cost.measures import vote
    from search_spaces import get_space

    space = get_space("nasbench201")
    scores = pd.read_parquet(SHARED / "bench" / "nasbench201_zero_cost.parquet")
    table = scores.merge(pd.read_parquet(SHARED / "bench" / "nasbench201.parquet"), on="arch_str")
    X = np.array([space.parse(text) for text in table.arch_str])
    errors = 100 - table.test_acc_200.to_numpy()
    truth = Truth(space, X, np.stack([errors, table[device]], axis=1), errors, device)
    voted = vote([table[name].to_numpy() for name in VOTERS])
    chosen = pareto_front(np.stack([table[device], -voted], axis=1))
    share = float(truth.curve(truth.Y[chosen])[-1])
    rng = np.random.default_rng(0)
    curves = np.mean([truth.curve(truth.Y[rng.permutation(len(X))]) for _ in range(orders)], axis=0)
    return {
        "architectures": len(X),
        "front_size": len(chosen),
        "hypervolume": share,
        "regret": truth.regret(X[chosen]),
        "random_hypervolume": {str(n): float(curves[n - 1]) for n in (len(chosen), 20, 50, 100, 200, 500, 1000)},
        "random_regret_same_number": float(
            np.mean([truth.regret(rng.permutation(X)[: len(chosen)]) for _ in range(20)])
        ),
        "random_trainings_to_equal": int(np.argmax(curves >= share)) + 1,
        "orders": orders,
    }


def judged(task: str, path: Path, labels: int, model: str, splits: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """The row of a table: means over splits."""
    found = list(pool.map(partial(judge, path, labels, model), range(splits)))
    return {
        "task": task,
        "labels": labels,
        "model": model,
        "splits": splits,
        "judged_on": len(table(path)[1]) - labels,
        "asked": ASKED.get((task, labels, model)),
        **{name: float(np.mean([f[name] for f in found])) for name in found[0]},
        "kendall_tau_sd": float(np.std([f["kendall_tau"] for f in found])),
    }


def keep(part: str, entries: dict[str, Any], processes: int) -> None:
    """Adds entries to a part of the result on disk, each with the conditions it was measured under."""
    conditions = {"machine": platform.machine(), "cores": os.cpu_count(), "processes": processes}
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    kept[part] = kept.get(part, {}) | {name: {**entry, "conditions": conditions} for name, entry in entries.items()}
    write_json(RESULT, kept)


def training_free_tau(path: Path) -> dict[str, Any]:
    """Kendall's tau of ParZC's training-free scores."""
    from predictors.parzc import training_free
    from predictors.regression import rank_correlation

    nodes, _, y = node_tables(path)
    return {"kendall_tau": rank_correlation("kendall", training_free(nodes), y), "judged_on": len(y)}


def main() -> None:
    """Runs the benchmark."""
    from predictors.models import MODELS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 splits of the smallest tasks, no perceptrons")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--net-splits", type=int, default=2, help="of the perceptrons")
    parser.add_argument("--models", help="names joined by commas; all by default")
    parser.add_argument("--tasks", help="names joined by commas, search for the last part; all by default")
    parser.add_argument("--nodes", type=Path, help="node statistics, for ParZC")
    parser.add_argument("--make-nodes", type=Path, metavar="FILE", help="compute node statistics and stop")
    parser.add_argument("--inputs", type=Path, help="what bench_proxies.py --prepare wrote, for --make-nodes")
    parser.add_argument("--n", type=int, help="architectures for --make-nodes; all by default")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.make_nodes:
        if not options.inputs:
            parser.error("--make-nodes needs --inputs FILE; `bench_proxies.py --prepare FILE` writes it.")
        make_nodes(options.make_nodes, options.inputs, options.n)
        return
    every = TASKS | (node_tasks(options.nodes) if options.nodes else {})
    chosen = options.tasks.split(",") if options.tasks else QUICK if options.quick else [*every, "search"]
    models = options.models.split(",") if options.models else [name for name in MODELS if name not in ON_NODES]
    if unknown := {*chosen} - {*every, "search"} | {*models} - {*MODELS}:
        parser.error(
            f"{', '.join(sorted(unknown))}: unknown; tasks: {', '.join(every)}, search; models: {', '.join(MODELS)}."
        )
    stream = sys.stderr if options.json else sys.stdout
    document: dict[str, Any] = {"benchmark": "predictors", "rows": {}, "search": {}}

    def add(part: str, name: str, entry: dict[str, Any], text: str) -> None:
        document[part][name] = entry
        print(text, file=stream, flush=True)
        if not options.quick:
            keep(part, {name: entry}, options.processes)

    # JAX must not run before a fork, nor in one
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(options.processes, spawn) as pool:
        for task in (name for name in chosen if name != "search"):
            make, budgets, own = every[task]
            X, y = make()
            path = Path(folder) / f"{len(document['rows'])}.npz"
            np.savez(path, X=X, y=y)
            for labels in budgets[: 1 if options.quick else None]:
                for model in own or [name for name in models if not (options.quick and name in NETS)]:
                    splits = 2 if options.quick else options.net_splits if model in NETS else options.splits
                    row = judged(task, path, labels, model, splits, pool)
                    add("rows", f"{task}, {labels} labels, {model}", row, row_text(row))
    if options.nodes:
        free = training_free_tau(options.nodes)
        add(
            "rows",
            "nasbench201 nodes, ParZC training-free",
            free,
            f"ParZC, training-free: tau {free['kendall_tau']:.3f}",
        )
    if "search" in chosen:
        for device in DEVICES[: 1 if options.quick else None]:
            found = search_without_training(device, 20 if options.quick else 200)
            add("search", device, found, search_text(device, found))
    if options.json:
        print(json.dumps(document, indent=2))


def row_text(row: dict[str, Any]) -> str:
    """One result for a person."""
    asked = f" (asked {row['asked']:.2f})" if row["asked"] else ""
    return (
        f"{row['task']:30s} {row['labels']:5d} labels {row['model']:13s} tau {row['kendall_tau']:.3f} "
        f"+- {row['kendall_tau_sd']:.3f}{asked}, spearman {row['spearman']:.3f}, rmse {row['rmse']:.3f}, "
        f"top-10 regret {row['top10_regret']:.3f}, 90 % covers {row['coverage90']:.3f}, "
        f"{row['fit_cpu_seconds']:.1f} CPU s"
    )


def search_text(device: str, found: dict[str, Any]) -> str:
    """The same for the search without training."""
    n = found["front_size"]
    return (
        f"{device}: {n} networks chosen without training have {found['hypervolume']:.3f} of the exact hypervolume, "
        f"regret {found['regret']:.2f} %; {n} trained at random {found['random_hypervolume'][str(n)]:.3f}, "
        f"{found['random_regret_same_number']:.2f} %; random search needs {found['random_trainings_to_equal']} "
        f"trainings of {found['architectures']} to equal it"
    )


if __name__ == "__main__":
    main()
