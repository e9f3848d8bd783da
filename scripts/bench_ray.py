"""What a second Ray node saves: wall time of the same search on one local node and on two.

    .venv/bin/python scripts/bench_ray.py                       # nodes of one CPU, for a machine of 2 cores
    .venv/bin/python scripts/bench_ray.py --cpus 8              # of eight, for 16 cores
    .venv/bin/python scripts/bench_ray.py --quick

The nodes are real (`ray start --head`, `ray start --address`). An evaluation is the accuracy of an ofa_mbv3 subnet
in ONNX Runtime on one thread. One node and two take turns; the searches' results must be equal. What the cores
themselves allow is measured beside it: the same evaluations by as many plain processes, without Ray and without
a search. The last full result, with its conditions, is kept in benchmarks/ray.json.
"""

import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from latency_tables.emit import onnx_model
from nas.console import emit_json, print_table, progress
from nas.files import write_json
from nas.objective import Evaluations
from nas.onnx_eval import accuracy, logits
from nas.processes import free_port
from nas.search import make_searcher
from nas.search.asynchronous import search_asynchronously
from nas.workers import evaluators
from search_spaces import AdditiveCost, Space, get_space

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "ray.json"
RAY = (sys.executable, "-m", "ray.scripts.scripts")  # the command `ray`, of this interpreter


class OnnxAccuracy:
    """Accuracy in percent of subnets with fixed random weights on random images: all work, no data."""

    def __init__(self, space: Space, images: int) -> None:
        rng = np.random.default_rng(0)
        network = space.network(space.sample(rng, 1)[0])
        self._space = space
        self._images = rng.normal(size=(images, 3, network.size, network.size)).astype(np.float32)
        self._labels = rng.integers(0, network.num_classes, images)

    def __call__(self, x: np.ndarray) -> float:
        model = onnx_model(self._space.network(x), batch=1).SerializeToString()
        return accuracy(logits(model, self._images), self._labels)


@contextmanager
def cluster(nodes: int, cpus: int) -> Iterator[str]:
    """Address of a local cluster of `nodes` nodes of `cpus` CPUs each."""
    port = free_port()
    common = [f"--num-cpus={cpus}", "--object-store-memory=268435456", "--disable-usage-stats"]
    head = ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false"]
    address = f"127.0.0.1:{port}"
    try:
        _ray("start", *head, *common)
        for _ in range(nodes - 1):
            _ray("start", f"--address={address}", *common)
        yield address
    finally:
        _ray("stop", "--force")


def _ray(*arguments: str) -> None:
    done = subprocess.run([*RAY, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ray {' '.join(arguments)} failed: {done.stderr.strip().splitlines()[-1]}")


def timed(space: Space, address: str, workers: int, evaluations: int, images: int) -> tuple[float, np.ndarray]:
    """Seconds of a search after every worker's first evaluation, and what it found `[n, genes + 2]`."""
    macs = AdditiveCost(space, lambda op: [op.macs])
    with evaluators(OnnxAccuracy(space, images), workers=workers, address=address) as accuracies:
        list(accuracies(space.sample(np.random.default_rng(1), 2 * workers)))
        searcher = make_searcher("nsga2", space, num_objectives=2, seed=0)
        start = time.perf_counter()
        result = search_asynchronously(
            space,
            Evaluations(accuracies, lambda X: macs(X)[:, 0]),
            searcher=searcher,
            evaluations=evaluations,
            window=32,
        )
        seconds = time.perf_counter() - start
    return seconds, np.concatenate([result.X, result.Y], axis=1)


def plain(space: Space, workers: int, images: int, X: np.ndarray) -> float:
    """Seconds of the evaluations `X` in `workers` processes."""
    evaluate = OnnxAccuracy(space, images)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(evaluate, X[: 4 * workers]))
        start = time.perf_counter()
        list(pool.map(evaluate, X))
        return time.perf_counter() - start


def main(
    cpus: Annotated[int, typer.Option(help="Of a node, and its workers.")] = 1,
    rounds: int = 3,
    per_worker: Annotated[int, typer.Option(help="Evaluations a worker of two nodes.")] = 40,
    images: Annotated[int, typer.Option(help="Of an evaluation.")] = 120,
    quick: bool = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Times both clusters in turns and prints the ratio."""
    if quick:
        rounds, per_worker = 1, 8
    space = get_space("ofa_mbv3", resolutions=128)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the plain processes, as Ray's workers have it
    evaluations = 2 * cpus * per_worker
    seconds: dict[int, list[float]] = {1: [], 2: []}
    processes: dict[int, list[float]] = {1: [], 2: []}
    found = []
    with progress(f"nodes of {cpus} CPU") as update:
        for turn in range(2 * rounds):
            nodes = (1, 2)[turn % 2]
            with cluster(nodes, cpus) as address:
                took, result = timed(space, address, nodes * cpus, evaluations, images)
            seconds[nodes].append(took)
            found.append(result)
            processes[nodes].append(plain(space, nodes * cpus, images, result[:, : len(space.genes)].astype(np.int64)))
            update(turn + 1, 2 * rounds, f"{nodes} node(s): {took:.1f} s")
    ratios = np.array(seconds[1]) / np.array(seconds[2])
    document: dict[str, Any] = {
        "cpus_a_node": cpus,
        "evaluations": evaluations,
        "rounds": rounds,
        "seconds_one_node": seconds[1],
        "seconds_two_nodes": seconds[2],
        "speedup_median": float(np.median(ratios)),
        "speedup_least": float(ratios.min()),
        "speedup_of_plain_processes": float(np.median(np.array(processes[1]) / np.array(processes[2]))),
        "results_equal": all(np.array_equal(result, found[0]) for result in found),
        "conditions": {"machine": platform.machine(), "cores": os.cpu_count()},
    }
    if not quick:
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        write_json(RESULT, {**kept, f"{cpus} CPU a node": document})
    if as_json:
        emit_json(document)
        return
    print_table("One Ray node and two", ("what", "measured"), [(k, str(v)) for k, v in document.items()])
    if not document["results_equal"]:
        raise SystemExit("The searches' results differ.")


if __name__ == "__main__":
    typer.run(main)
