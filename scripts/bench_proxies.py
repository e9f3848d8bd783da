"""Zero-cost proxies on NAS-Bench-201 against the published scores: rank correlations and cost.

    python scripts/bench_proxies.py                      # 1,000 architectures, two seeds
    python scripts/bench_proxies.py --quick              # 40 architectures, one seed
    python scripts/bench_proxies.py --prepare inputs.npz # for a machine without the data or pyarrow
    python scripts/bench_proxies.py --inputs inputs.npz --json

Accuracy is the 200-epoch CIFAR-10 test accuracy; images are CIFAR-10-JPEG. The timed run holds everything:
compilation, all proxies, all architectures. The last full result of a platform, with its conditions, is kept in
benchmarks/proxies.json.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SHARED = ROOT.parent / "shared"
RESULT = ROOT / "benchmarks" / "proxies.json"
BATCH = 64
# Spearman with CIFAR-10 accuracy as NAS-Bench-Suite-Zero published it; zico's is from memory.
PUBLISHED = {
    "params": 0.72, "flops": 0.69, "plain": -0.26, "snip": 0.58, "grad_norm": 0.58, "l2_norm": 0.68, "grasp": 0.51,
    "fisher": 0.50, "synflow": 0.73, "jacov": 0.75, "epe_nas": 0.70, "nwot": 0.77, "zen": 0.35, "vote": 0.81,
}  # fmt: skip
SAME_SCORE = {
    "params": 0.99,
    "flops": 0.99,
    "synflow": 0.99,
    "l2_norm": 0.99,
    "nwot": 0.9,
    "snip": 0.9,
    "grad_norm": 0.9,
}
TABLE_NAMES = {"params": "mparams", "flops": "mflops"}
SECONDS = {"cpu": 1.2, "gpu": 0.010}  # an architecture, all proxies


def prepare(path: Path, rows: int) -> None:
    """Writes architectures, published numbers and images of this benchmark to one file.

    `every_arch` are all of the space in random order, for the node statistics of bench_predictors.py.
    """
    import pandas as pd

    from supernets.data import load_dataset

    table = pd.read_parquet(SHARED / "bench" / "nasbench201_zero_cost.parquet")
    table = table.sample(n=min(rows, len(table)), random_state=0)
    data = load_dataset(SHARED / "data" / "cifar10_jpeg")
    chosen = np.random.default_rng(0).permutation(len(data.train_images))[: 2 * BATCH]
    published: Any = {c: table[c].to_numpy() for c in table if table[c].dtype.kind == "f"}
    every = pd.read_parquet(SHARED / "bench" / "nasbench201.parquet", columns=["arch_str"]).sample(
        frac=1, random_state=0
    )
    np.savez_compressed(
        path,
        every_arch=every["arch_str"].to_numpy(dtype=str),
        archs=table["arch_str"].to_numpy(dtype=str),
        images=(data.train_images[chosen] / 255 - data.mean) / data.std,
        labels=data.train_labels[chosen],
        **published,
    )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="40 architectures, one seed")
    parser.add_argument("--n", type=int, help="architectures; 1000 by default")
    parser.add_argument("--seeds", type=int, default=2, help="draws of the weights; the second gives the ceiling")
    parser.add_argument("--inputs", type=Path, help="what --prepare wrote")
    parser.add_argument("--prepare", type=Path, metavar="FILE", help="write the inputs and stop")
    parser.add_argument("--together", type=int, help="networks in lockstep; what suits the device by default")
    parser.add_argument("--save", type=Path, help="write the scores, .npz")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare, options.n or 1000)
        return
    n = options.n or (40 if options.quick else 1000)
    with tempfile.TemporaryDirectory() as folder:
        inputs = options.inputs or Path(folder) / "inputs.npz"
        if not options.inputs:
            prepare(inputs, max(n, 1000))
        document = run(inputs, n, 1 if options.quick else options.seeds, options.together, options.save)
    if not options.quick:
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.write_text(json.dumps({**kept, document["platform"]: document}, indent=1) + "\n")
    if options.json:
        print(json.dumps(document, indent=2))
        return
    print_table(document)


def run(inputs: Path, n: int, seeds: int, together: int | None, save: Path | None) -> dict[str, Any]:
    """Scores `n` architectures with `seeds` draws of the weights."""
    import jax
    from scipy.stats import spearmanr

    from latency_tables.device_side import fingerprint
    from predictors.zero_cost import PROXIES, ZeroCost
    from search_spaces import get_space

    with np.load(inputs, allow_pickle=False) as file:
        given = {name: file[name][:n] for name in file.files if name not in ("images", "labels", "every_arch")}
        images, labels = file["images"].astype(np.float32), file["labels"]
    space = get_space("nasbench201")
    networks = [space.network(space.parse(str(text))) for text in given["archs"]]
    found, seconds, first = [], [], []
    cpu_start = time.process_time()
    for seed in range(seeds):
        start = time.perf_counter()
        judge = ZeroCost(tuple(PROXIES), images, labels, batch=BATCH, seed=seed, together=together)
        marks: list[float] = []

        def report(done: int, total: int, marks: list[float] = marks, start: float = start) -> None:
            marks.append(time.perf_counter())
            if done % 100 < 50 or done == total:
                print(f"{done} of {total}, {marks[-1] - start:.1f} s", file=sys.stderr, flush=True)

        found.append(judge.score(networks, report))
        seconds.append(time.perf_counter() - start)
        first.append(marks[0] - start)
    cpu = time.process_time() - cpu_start
    if save:
        scores: Any = found[0].values
        np.savez_compressed(save, archs=given["archs"], **scores)
    platform_name = "cpu" if jax.default_backend() == "cpu" else "gpu"
    cpu_name = fingerprint("CPUExecutionProvider")["cpu"]
    device = cpu_name if platform_name == "cpu" else jax.devices()[0].device_kind
    rows = []
    for name, values in found[0].values.items():
        column = given.get(TABLE_NAMES.get(name, name))
        rows.append(
            {
                "proxy": name,
                "accuracy": rho(spearmanr, values, given["test_acc_200"]),
                "published_accuracy": PUBLISHED.get(name),
                "published_accuracy_here": rho(spearmanr, column, given["test_acc_200"]),
                "published_score": rho(spearmanr, values, column),
                "own_second_seed": rho(spearmanr, values, found[1].values[name]) if seeds > 1 else None,
                "failures": found[0].failures[name],
            }
        )
    return {
        "benchmark": "proxies",
        "architectures": len(networks),
        "batch": BATCH,
        "device": device,
        "platform": platform_name,
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "seconds": seconds[0],
        "seconds_to_first_scores": first[0],
        "seconds_per_architecture": seconds[0] / len(networks),
        "cpu_seconds_per_architecture": cpu / len(networks) / seeds,
        "asked_seconds_per_architecture": SECONDS[platform_name],
        "floor_seconds_one_gradient": floor(networks) if platform_name == "cpu" else None,
        "proxies": rows,
    }


def rho(spearmanr: Any, a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    """Spearman's correlation where both are given and vary."""
    return None if a is None or b is None or np.ptp(a) == 0 else float(spearmanr(a, b).statistic)


def floor(networks: list[Any]) -> float:
    """Seconds of one gradient's multiply-accumulates at the speed of a large matrix product here."""
    import jax
    import jax.numpy as jnp

    a = jnp.ones((2048, 2048))
    multiply = jax.jit(lambda a: a @ a)
    multiply(a).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        multiply(a).block_until_ready()
        times.append(time.perf_counter() - start)
    return float(np.mean([3 * BATCH * n.macs for n in networks]) / (2048**3 / min(times)))


def print_table(document: dict[str, Any]) -> None:
    """The results for a person."""
    print(
        f"{document['architectures']} architectures, batch {document['batch']}, {document['device']}, "
        f"{document['cores']} cores, JAX {document['jax']}\n"
        f"{document['seconds']:.1f} s in all, {document['seconds_to_first_scores']:.1f} s to the first: "
        f"{document['seconds_per_architecture'] * 1e3:.1f} ms an architecture "
        f"(asked {document['asked_seconds_per_architecture'] * 1e3:g}), "
        f"{document['cpu_seconds_per_architecture']:.2f} CPU s"
    )
    if document["floor_seconds_one_gradient"]:
        print(f"arithmetic floor of one gradient: {document['floor_seconds_one_gradient']:.3f} s")
    print(f"{'proxy':11s} accuracy  published  (same archs)  same score  asked  own seeds  failures")
    for row in document["proxies"]:
        cells = [row["accuracy"], row["published_accuracy"], row["published_accuracy_here"], row["published_score"]]
        cells += [SAME_SCORE.get(row["proxy"]), row["own_second_seed"]]
        text = "  ".join("       -" if c is None else f"{c:8.3f}" for c in cells)
        print(f"{row['proxy']:11s} {text}  {row['failures']}")


if __name__ == "__main__":
    main()
