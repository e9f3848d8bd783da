"""Searchers against random search on a trained run: hypervolume at equal evaluations, over seeds.

    .venv/bin/python scripts/bench_front.py runs/demo            # 5 seeds x 120 evaluations, about five minutes
    .venv/bin/python scripts/bench_front.py runs/demo --quick    # 2 seeds x 70 evaluations

Every evaluation is a real one: recalibrated subnet of the supernet, validation accuracy through
ONNX Runtime. Evaluations are kept in memory, so an architecture asked for twice is computed once.
The last result, with its conditions, is kept in benchmarks/front.json.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from nas.console import emit_json, print_table, progress
from nas.files import write_json
from nas.objective import evaluation
from nas.pareto import hypervolume
from nas.runs import Run
from nas.search import make_searcher, search
from nas.subnets import Subnets
from nas.tables import find_table
from predictors import TableLatency

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "front.json"


def main(
    run: Path,
    device: str = "local-cpu-1t",
    searchers: str = "ehvi,linas,nsga2,random",
    quick: bool = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Prints mean, standard deviation and wins over random of the hypervolume of every searcher."""
    seeds, evaluations = (2, 70) if quick else (5, 120)
    opened = Run.open(run)
    table = find_table(opened.space, device, run=run)
    latency = TableLatency(table, opened.space).fit()
    evaluator, cache = Subnets(opened).evaluator(), dict[bytes, float]()

    def accuracies(X: np.ndarray) -> Any:
        for x in X:
            key = x.tobytes()
            if key not in cache:
                cache[key] = evaluator(x)
            yield cache[key]

    names = searchers.split(",")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    with progress("searches") as update:
        for i, (name, seed) in enumerate((n, s) for n in names for s in range(seeds)):
            start = time.monotonic()
            searcher = make_searcher(name, opened.space, seed=seed, known={1: latency.predict})
            evaluate = evaluation(accuracies, latency.predict)
            result = search(opened.space, evaluate, searcher=searcher, evaluations=evaluations, batch=16)
            found[name].append(result.Y)
            seconds[name] += (time.monotonic() - start) / seeds
            update(i + 1, len(names) * seeds, f"{name} seed {seed}")
    reference = np.max([Y.max(axis=0) for results in found.values() for Y in results], axis=0)
    ideal = np.min([Y.min(axis=0) for results in found.values() for Y in results], axis=0)
    volumes = {
        name: np.array([hypervolume(Y, reference) for Y in results]) / float(np.prod(reference - ideal))
        for name, results in found.items()
    }
    rows = [
        {
            "searcher": name,
            "hypervolume_mean": float(v.mean()),
            "hypervolume_sd": float(v.std(ddof=1)),
            "hypervolume_by_seed": v.tolist(),
            "wins_over_random": int((v > volumes["random"]).sum()) if "random" in volumes else None,
            "seconds": round(seconds[name], 1),
        }
        for name, v in volumes.items()
    ]
    document = {
        "seeds": seeds,
        "evaluations": evaluations,
        "reference": reference.tolist(),
        "ideal": ideal.tolist(),
        "validation_images": opened.config["data"]["validation"],
        "conditions": table.metadata["conditions"],
        "run": {key: opened.config[key] for key in ("space", "seed", "train")},
        "rows": rows,
    }
    if not quick:
        write_json(RESULT, json.loads(json.dumps(document)))
    if as_json:
        emit_json(document)
        return
    print_table(
        f"Hypervolume (1 = the box between best and worst seen), {seeds} seeds x {evaluations} evaluations",
        ("searcher", "mean", "s.d.", f"wins of {seeds}", "seconds"),
        [
            (
                r["searcher"],
                f"{r['hypervolume_mean']:.4f}",
                f"{r['hypervolume_sd']:.4f}",
                r["wins_over_random"],
                r["seconds"],
            )
            for r in rows
        ],
    )


if __name__ == "__main__":
    typer.run(main)
