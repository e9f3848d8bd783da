"""The search engine's bars: its speed; evaluations to the front of NAS-Bench-201 and of Once-for-All's space.

    .venv/bin/python scripts/bench_search.py --part speed                        # a minute on 2 cores
    .venv/bin/python scripts/bench_search.py --part truth --processes 16         # 20 seeds, every searcher
    .venv/bin/python scripts/bench_search.py --part surrogate                    # published ImageNet accuracies
    .venv/bin/python scripts/bench_search.py --quick                             # both, small

The last full result of a part, with its conditions, is kept in benchmarks/search.json; devices and searchers
may be run one after the other.
"""

import json
import platform
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from latency_tables import get_device
from nas.commands.compare import comparison_row
from nas.commands.profile import profile_space
from nas.compare import CompareSettings, compare
from nas.console import emit_json, print_table, progress
from nas.files import write_json
from nas.search.constrained import evolve
from nas.surrogate import Surrogate
from nas.truth import read_truth
from predictors import TableLatency
from predictors.accuracy import AccuracyPredictor
from search_spaces import AdditiveCost, get_space

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "search.json"
TRUTH = ROOT.parent / "shared" / "bench" / "nasbench201.parquet"
OFA = ROOT.parent / "shared" / "bench" / "ofa_mbv3_imagenet.parquet"
TABLE = ROOT / "runs" / "ofa_mbv3-224.parquet"
DEVICES = ("edgegpu_ms", "raspi4_ms", "pixel3_hwnb_ms", "1080ti_1_ms", "gold_6240_ms")


def speed(quick: bool) -> dict[str, Any]:
    """Once-for-All's setting with a 3 x 400 MLP, and what a table scores in a second."""
    space = get_space("ofa_mbv3")
    table = AdditiveCost(space, lambda op: [op.macs])
    rng = np.random.default_rng(0)
    sizes = [int(space.cardinality.sum()), 400, 400, 400, 1]
    layers = [
        (rng.normal(size=(a, b)).astype(np.float32) / np.float32(np.sqrt(a)), np.zeros(b, np.float32))
        for a, b in zip(sizes, sizes[1:], strict=False)
    ]

    def mlp(X: np.ndarray) -> np.ndarray:
        h = space.one_hot(X)
        for w, b in layers[:-1]:
            h = np.maximum(h @ w + b, 0)
        return (h @ layers[-1][0])[:, 0]

    def cost(X: np.ndarray) -> np.ndarray:
        return table(X)[:, 0]

    limit = float(np.median(cost(space.sample(rng, 1000))))
    runs = [_seconds(lambda s=s: evolve(space, mlp, cost, limit, seed=s)) for s in range(2 if quick else 10)]
    batch = space.sample(rng, 75)
    arithmetic = _seconds(lambda: [mlp(batch) for _ in range(500)])
    rates = {}
    for n in (1_000, 10_000, 100_000):
        X = space.sample(rng, n)
        rates[str(n)] = n / min(_seconds(lambda X=X: cost(X)) for _ in range(3))

    def generations(n: int, count: int) -> float:
        return min(_seconds(lambda: evolve(space, mlp, cost, limit, population=n, generations=count)) for _ in range(3))

    sizes = [100, 1_000] if quick else [1_000, 10_000, 100_000]
    generation = {str(n): (generations(n, 6) - generations(n, 2)) / 4 for n in sizes}
    return {
        "ofa_setting_seconds": {"median": float(np.median(runs)), "max": max(runs), "runs": len(runs)},
        "mlp_alone_seconds": arithmetic,
        "table_architectures_per_second": rates,
        "seconds_per_generation": generation,
    }


def truth(quick: bool, processes: int, searchers: str, devices: str, learned: bool | None) -> dict[str, Any]:
    """Every searcher on every device, with the latency known and learned."""
    space = get_space("nasbench201")
    documents = {}
    for device in devices.split(",")[: 1 if quick else None]:
        table = read_truth(space, TRUTH, cost=device, accuracy="c10_valid_200", test="c10_test_200", arch="arch_str")
        for known in (True, False) if learned is None else (not learned,):
            settings = CompareSettings(
                searchers=tuple(searchers.split(",")),
                seeds=2 if quick else 20,
                evaluations=60 if quick else 500,
                known=known,
                processes=processes,
            )
            label = f"{device} {'known' if known else 'learned'}"
            with progress(label) as update:
                document = compare(table, settings, update)
            documents[label] = _thinned(document)
    return documents


def _thinned(document: dict[str, Any]) -> dict[str, Any]:
    """The curves in steps of ten keep the file small."""
    for row in document["rows"]:
        row["mean"], row["standard_error"] = row["mean"][9::10], row["standard_error"][9::10]
    return document


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Two documents of the same searches; the rows of the new one replace those of the same searchers."""
    if any(old.get(name) != new[name] for name in ("seeds", "evaluations", "cost", "cost_known", "batch")):
        return new
    rows = {row["searcher"]: row for row in [*old["rows"], *new["rows"]]}
    return {**new, "rows": list(rows.values())}


def surrogate(quick: bool, processes: int, searchers: str, table: Path) -> dict[str, Any]:
    """Once-for-All's ImageNet space: accuracy fitted on 1,200 published subnets, latency of this CPU's table."""
    import pandas as pd

    published = pd.read_parquet(OFA)
    space = get_space("ofa_mbv3", resolutions=224)
    X = np.array([space.encode(_published(row)) for row in published.to_dict("records")])
    accuracy = AccuracyPredictor(space).fit(X, 100.0 - published["top1"].to_numpy())
    latency = TableLatency(profile_space(space, get_device("local-cpu-1t"), table, seed=0), space).fit()
    truth = Surrogate(space, accuracy.predict, latency.predict, "local-cpu-1t", generations=40 if quick else 400)
    settings = CompareSettings(
        searchers=tuple(name for name in searchers.split(",") if name != "ehvi-zc"),  # too large a space to score
        seeds=2 if quick else 10,
        evaluations=60 if quick else 500,
        targets=(0.955, 0.99),
        processes=processes,
    )
    with progress("surrogate") as update:
        return _thinned(compare(truth, settings, update))


def _published(row: dict[str, float]) -> dict[str, int]:
    """Gene values of a row: 20 blocks of kernels and expansions, 5 depths, a resolution."""
    values = {"resolution": int(row["r"])}
    for stage in range(5):
        values[f"stage{stage + 1}.depth"] = int(row[f"d{stage}"])
        for block in range(4):
            for gene, column in (("kernel", "ks"), ("expand", "e")):
                values[f"stage{stage + 1}.block{block + 1}.{gene}"] = int(row[f"{column}{4 * stage + block}"])
    return values


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(
    part: Annotated[str, typer.Option(help="speed, truth, surrogate or all.")] = "all",
    searchers: str = "ehvi-zc,ehvi,linas,optuna-tpe,nsga2,optuna-nsga2,aging,ofa,mnasnet,sensitivity,netadapt",
    devices: str = ",".join(DEVICES),
    table: Annotated[Path, typer.Option(help="Latency table of ofa_mbv3 at 224 px; profiled if absent.")] = TABLE,
    learned: Annotated[bool | None, typer.Option("--learned/--known", help="Only one of the two.")] = None,
    processes: int = 2,
    quick: bool = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Runs the parts and prints a table of each."""
    import os

    result: dict[str, Any] = {}
    if part in ("speed", "all"):
        result["speed"] = speed(quick)
    if part in ("truth", "all"):
        result["truth"] = truth(quick, processes, searchers, devices, learned)
    if part in ("surrogate", "all"):
        result["surrogate"] = surrogate(quick, processes, searchers, table)
    for document in result.values():
        document["conditions"] = {"machine": platform.machine(), "cores": os.cpu_count(), "processes": processes}
    if not quick:
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        before = kept.get("truth", {})
        kept["truth"] = before | {
            label: _merged(before[label], document) if "rows" in before.get(label, {}) else document
            for label, document in result.pop("truth", {}).items()
        }
        write_json(RESULT, {**kept, **result})
        result = {**result, "truth": kept["truth"]}
    if as_json:
        emit_json(result)
        return
    if "speed" in result:
        rows = [(name, json.dumps(value)) for name, value in result["speed"].items()]
        print_table("Speed", ("what", "measured"), rows)
    documents = {**result.get("truth", {}), "surrogate": result.get("surrogate")}
    for label, document in documents.items():
        if label != "conditions" and document:
            targets = list(document["rows"][0]["evaluations_to"])
            head = ("searcher", "hypervolume", "s.e.", *(f"to {t}" for t in targets), "regret %", "seconds")
            print_table(label, head, [comparison_row(row, targets) for row in document["rows"]])


if __name__ == "__main__":
    typer.run(main)
