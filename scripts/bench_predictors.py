"""Accuracy predictors on published benchmarks: rank correlation on everything left out, and calibration.

    python scripts/bench_predictors.py                       # default predictor: minutes
    python scripts/bench_predictors.py --models all          # every model
    python scripts/bench_predictors.py --nodes nodes.npz     # ParZC too, on node statistics made by --make-nodes
    python scripts/bench_predictors.py --make-nodes nodes.npz              # of every NAS-Bench-201 architecture
    python scripts/bench_predictors.py --make-nodes nodes.npz --inputs inputs.npz  # from bench_proxies.py --prepare

The last full result, with its conditions, is kept in benchmarks/predictors.json.

Every split draws the labels at random and is judged on all other architectures (at most `--test`).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SHARED = ROOT.parent / "shared"
PROXIES = ("epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "plain", "snip", "synflow", "zen")
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
NODE_BATCH = 64
Table = tuple[np.ndarray, np.ndarray]  # features [n, d] and accuracies [n]


def nasbench201(extra: str | None = None) -> Table:
    """Encoding and statistics of all architectures; with `extra` the 2,500 that have published proxies or all
    with the 12-epoch accuracy."""
    import pandas as pd

    from predictors.features import features
    from search_spaces import get_space

    space = get_space("nasbench201")
    if extra == "proxies":
        table = pd.read_parquet(SHARED / "bench" / "nasbench201_zero_cost.parquet")
        X = np.array([space.parse(text) for text in table.arch_str])
        scores = table[list(PROXIES)].to_numpy(dtype=np.float64)
        ranked = np.argsort(np.argsort(scores, axis=0), axis=0) / len(scores)  # scales differ by orders of magnitude
        return features(space, X, ranked), table.test_acc_200.to_numpy()
    table = pd.read_parquet(SHARED / "bench" / "nasbench201.parquet")
    X = np.array([space.parse(text) for text in table.arch_str])
    early = table.c10_valid_12.to_numpy(dtype=np.float64)[:, None] if extra == "early" else None
    return features(space, X, early), table.c10_test_200.to_numpy(dtype=np.float64)


def ofa_mbv3() -> Table:
    """Published ImageNet accuracies of OFA subnets."""
    import pandas as pd

    from predictors.features import features
    from search_spaces import get_space

    space = get_space("ofa_mbv3")
    table = pd.read_parquet(SHARED / "bench" / "ofa_mbv3_imagenet.parquet")
    rows = []
    for row in table.to_dict("records"):
        values = {"resolution": int(row["r"])}
        for s in range(5):
            values[f"stage{s + 1}.depth"] = depth = int(row[f"d{s}"])
            for b in range(depth):
                values[f"stage{s + 1}.block{b + 1}.kernel"] = int(row[f"ks{4 * s + b}"])
                values[f"stage{s + 1}.block{b + 1}.expand"] = int(row[f"e{4 * s + b}"])
        rows.append(space.encode(values))
    return features(space, np.array(rows)), table.top1.to_numpy()


def nasbench_macro() -> Table:
    """Published CIFAR-10 accuracies."""
    import pandas as pd

    from predictors.features import features
    from search_spaces import get_space

    space = get_space("nasbench_macro")
    table = pd.read_parquet(SHARED / "bench" / "nasbench_macro.parquet")
    return features(space, np.array([space.parse(text) for text in table.arch])), table.mean_acc.to_numpy()


# From a task to its table and the numbers of labels.
TASKS: dict[str, tuple[Callable[[], Table], tuple[int, ...]]] = {
    "nasbench201": (nasbench201, (78, 156, 1000)),
    "nasbench201 + proxies": (lambda: nasbench201("proxies"), (78, 156, 1000)),
    "nasbench201 + 12 epochs": (lambda: nasbench201("early"), (78, 156)),
    "ofa_mbv3": (ofa_mbv3, (100, 1000)),
    "nasbench_macro": (nasbench_macro, (100, 1000)),
}


def make_nodes(path: Path, inputs: Path, n: int | None) -> None:
    """Computes node statistics of NAS-Bench-201's architectures, for ParZC, on the images of bench_proxies.py."""
    from predictors.zero_cost import ZeroCost, node_names
    from search_spaces import get_space

    with np.load(inputs, allow_pickle=False) as file:
        archs, images, labels = file["every_arch"][:n], file["images"].astype(np.float32), file["labels"]
    judge = ZeroCost(("snip", "synflow"), images, labels, batch=NODE_BATCH)
    space = get_space("nasbench201")
    networks = [space.network(space.parse(str(text))) for text in archs]
    start = time.perf_counter()

    def report(done: int, total: int) -> None:
        seconds = time.perf_counter() - start
        print(f"{done} of {total}, {seconds:.0f} s", file=sys.stderr, flush=True)

    statistics = judge.nodes(networks, node_names(space), report).astype(np.float32)
    np.savez_compressed(path, nodes=statistics, archs=archs)


def nodes_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Node statistics `[n, nodes, k]` and the accuracies of their architectures."""
    import pandas as pd

    table = pd.read_parquet(SHARED / "bench" / "nasbench201.parquet", columns=["arch_str", "c10_test_200"])
    accuracy = table.set_index("arch_str").c10_test_200
    with np.load(path, allow_pickle=False) as file:
        return file["nodes"].astype(np.float64), accuracy.loc[list(file["archs"])].to_numpy(dtype=np.float64)


def judge(table: Table, labels: int, model: str, splits: int, test: int) -> dict[str, Any]:
    """Mean and standard deviation over splits."""
    from predictors.regression import FeatureRegression, rank_correlation, regret

    X, y = table
    rows = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(y))
        fit, rest = order[:labels], order[labels : labels + test]
        start = time.process_time()
        if model == "parzc":
            from predictors.parzc import ParZCRegressor

            predictor: Any = ParZCRegressor(seed=seed).fit(X[fit], y[fit])
            covered = float("nan")
        else:
            predictor = FeatureRegression(model, seed=seed).fit(X[fit], y[fit])
            ends = predictor.predict_interval(X[rest])
            covered = float(np.mean((y[rest] >= ends[:, 0]) & (y[rest] <= ends[:, 1])))
        predicted = predictor.predict(X[rest])
        tau = rank_correlation("kendall", predicted, y[rest])
        rho = rank_correlation("spearman", predicted, y[rest])
        rmse = float(np.sqrt(np.mean((predicted - y[rest]) ** 2)))
        rows.append((tau, rho, rmse, regret(y[rest], predicted)[10], covered, time.process_time() - start))
    mean, deviation = np.mean(rows, axis=0), np.std(rows, axis=0)
    names = ("kendall_tau", "spearman", "rmse", "top10_regret", "coverage90", "cpu_seconds")
    return {**{n: float(m) for n, m in zip(names, mean, strict=True)}, "kendall_tau_sd": float(deviation[0])}


def trainings_saved(splits: int, device: str = "edgegpu_ms", trained: tuple[int, ...] = (5, 10, 20, 50, 100, 200, 500)):  # type: ignore[no-untyped-def]
    """Hypervolume of the front that proxies choose without training, against training at random.

    Over the 2,500 architectures with published proxies, latency as measured on the device: the
    front of (latency, vote) is handed over; its true accuracies give its hypervolume, as a share of
    the exact front's. Random search trains n of them and hands over the front of what it trained.
    """
    import pandas as pd

    from nas.pareto import hypervolume, pareto_front
    from predictors.zero_cost.measures import vote

    scores = pd.read_parquet(SHARED / "bench" / "nasbench201_zero_cost.parquet")
    latency = pd.read_parquet(SHARED / "bench" / "nasbench201.parquet", columns=["arch_str", device])
    table = scores.merge(latency, on="arch_str")
    Y = np.stack([table[device], 100 - table.test_acc_200], axis=1)
    reference = np.quantile(Y, 0.99, axis=0)
    exact = hypervolume(Y, reference)
    voted = vote([table[name].to_numpy() for name in ("synflow", "jacov", "snip")])
    chosen = pareto_front(np.stack([table[device], -voted], axis=1))
    share = hypervolume(Y[chosen], reference) / exact
    random = {
        n: float(
            np.mean(
                [
                    hypervolume(Y[np.random.default_rng([seed, n]).permutation(len(Y))[:n]], reference) / exact
                    for seed in range(splits)
                ]
            )
        )
        for n in trained
    }
    saved = float(np.interp(share, list(random.values()), list(random)))
    return {
        "architectures": len(Y),
        "device": device,
        "zero_cost_share": float(share),
        "front_size": len(chosen),
        "random_share": random,
        "trainings_saved": saved,
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 splits of the smaller tasks")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--test", type=int, default=20_000, help="judged on at most so many architectures")
    parser.add_argument("--models", default="default", help="names joined by commas, or all")
    parser.add_argument("--tasks", help="names joined by commas; all by default")
    parser.add_argument("--nodes", type=Path, help="node statistics, for ParZC")
    parser.add_argument("--make-nodes", type=Path, metavar="FILE", help="compute node statistics and stop")
    parser.add_argument("--inputs", type=Path, help="what bench_proxies.py --prepare wrote, for --make-nodes")
    parser.add_argument("--n", type=int, help="architectures for --make-nodes; all by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.make_nodes:
        if not options.inputs:
            parser.error("--make-nodes needs --inputs FILE; `bench_proxies.py --prepare FILE` writes it.")
        make_nodes(options.make_nodes, options.inputs, options.n)
        return
    from predictors.models import MODELS

    splits = 2 if options.quick else options.splits
    models = list(MODELS) if options.models == "all" else options.models.split(",")
    tasks = options.tasks.split(",") if options.tasks else list(TASKS)
    rows: list[dict[str, Any]] = []

    def add(task: str, labels: int, model: str, table: Table) -> None:
        row = {"task": task, "labels": labels, "model": model, **judge(table, labels, model, splits, options.test)}
        row["asked"] = ASKED.get((task, labels, model))
        rows.append(row)
        print_row(row, file=sys.stderr if options.json else sys.stdout)

    for task in tasks:
        make, budgets = TASKS[task]
        table = make()
        for labels in budgets[:1] if options.quick else budgets:
            for model in models:
                add(task, labels, model, table)
    if options.nodes:
        from predictors.parzc import scale_nodes, training_free
        from predictors.regression import rank_correlation

        nodes, y = nodes_table(options.nodes)
        free = rank_correlation("kendall", training_free(nodes), y)
        print(f"ParZC, training-free: tau {free:.3f} on {len(y)}", file=sys.stderr if options.json else sys.stdout)
        for labels in (78, 156):
            add("nasbench201 nodes", labels, "parzc", (scale_nodes(nodes), y))
    saved = trainings_saved(max(splits, 20))
    if options.json:
        print(json.dumps({"benchmark": "predictors", "splits": splits, "rows": rows, "search": saved}, indent=2))
        return
    print(
        f"zero-cost search, {saved['architectures']} architectures, {saved['device']}: "
        f"{saved['zero_cost_share']:.3f} of the exact hypervolume with {saved['front_size']} networks, none trained; "
        f"random search needs {saved['trainings_saved']:.0f} trainings for that"
    )


def print_row(row: dict[str, Any], file: Any) -> None:
    """One result for a person."""
    asked = f" (asked {row['asked']:.2f})" if row["asked"] else ""
    print(
        f"{row['task']:24s} {row['labels']:5d} labels {row['model']:13s} tau {row['kendall_tau']:.3f} "
        f"+- {row['kendall_tau_sd']:.3f}{asked}, spearman {row['spearman']:.3f}, rmse {row['rmse']:.3f}, "
        f"top-10 regret {row['top10_regret']:.3f}, 90 % covers {row['coverage90']:.3f}, {row['cpu_seconds']:.1f} CPU s",
        file=file,
        flush=True,
    )


if __name__ == "__main__":
    main()
