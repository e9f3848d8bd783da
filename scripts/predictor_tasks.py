"""Tables that bench_predictors.py judges on: features and published accuracies, one entry a task."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
PROXIES = ("epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "plain", "snip", "synflow", "zen")
NODE_BATCH = 64
NODE_PART = 50  # architectures between two writes of the file
Table = tuple[np.ndarray, np.ndarray]  # features [n, d] and accuracies [n]


def nasbench201(extra: str | None = None) -> Table:
    """Encoding and statistics of all architectures; with `extra` "proxies" and "plain" of the 2,500 that have
    published scores, with and without those, with "early" of all, and their 12-epoch accuracy."""
    import pandas as pd

    from predictors.features import features
    from search_spaces import get_space

    space = get_space("nasbench201")
    if extra in ("proxies", "plain"):
        table = pd.read_parquet(SHARED / "bench" / "nasbench201_zero_cost.parquet")
        X = np.array([space.parse(text) for text in table.arch_str])
        scores = table[list(PROXIES)].to_numpy(dtype=np.float64)
        ranked = np.argsort(np.argsort(scores, axis=0), axis=0) / len(scores)  # scales differ by orders of magnitude
        return features(space, X, ranked if extra == "proxies" else None), table.test_acc_200.to_numpy()
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


class Task(NamedTuple):
    """What predictors are judged on.

    Attributes:
        make: Features and accuracies.
        labels: How many are fitted on.
        models: Names; None for all that do not read node statistics.
    """

    make: Callable[[], Table]
    labels: tuple[int, ...]
    models: tuple[str, ...] | None = None


TASKS: dict[str, Task] = {
    "nasbench201": Task(nasbench201, (78, 156, 1000)),
    "nasbench201 of 2500": Task(lambda: nasbench201("plain"), (78, 156, 1000)),
    "nasbench201 of 2500 + proxies": Task(lambda: nasbench201("proxies"), (78, 156, 1000)),
    "nasbench201 + 12 epochs": Task(lambda: nasbench201("early"), (78, 156, 1000)),
    "ofa_mbv3": Task(ofa_mbv3, (100, 1000)),
    "nasbench_macro": Task(nasbench_macro, (100, 1000)),
}


def node_tasks(path: Path) -> dict[str, Task]:
    """ParZC on the node statistics of a file, and the default predictor on the same architectures."""
    return {
        "nasbench201 nodes": Task(lambda: _nodes(path), (78, 156), ("parzc", "gp")),
        "nasbench201 nodes + genes": Task(lambda: _nodes(path, genes=True), (78, 156), ("parzc", "gp")),
        "nasbench201 same architectures": Task(lambda: _same(path), (78, 156), ("default",)),
    }


def _nodes(path: Path, genes: bool = False) -> Table:
    """Scaled statistics; with `genes` beside the features that other predictors read, which is a variant of ours."""
    from predictors.parzc import scale_nodes

    nodes, encoding, y = node_tables(path)
    return np.concatenate([scale_nodes(nodes), *([encoding] if genes else [])], axis=1), y


def _same(path: Path) -> Table:
    return node_tables(path)[1:]


def make_nodes(path: Path, inputs: Path, n: int | None) -> None:
    """Computes node statistics of `n` random architectures of NAS-Bench-201, for ParZC, on the images of
    bench_proxies.py; a file that holds some of them already is continued."""
    from predictors.zero_cost import ZeroCost, node_names
    from search_spaces import get_space
    from search_spaces.whole_file import whole_file

    with np.load(inputs, allow_pickle=False) as file:
        archs = np.random.default_rng(0).permutation(file["every_arch"])[:n]
        images, labels = file["images"].astype(np.float32), file["labels"]
    space = get_space("nasbench201")
    names = node_names(space)
    statistics = np.zeros((0, len(names), 3), dtype=np.float32)
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            statistics = file["nodes"]
            if (file["archs"][: len(archs)] != archs[: len(statistics)]).any():
                raise SystemExit(f"{path} holds other architectures; name another file.")
    judge = ZeroCost(("snip", "synflow"), images, labels, batch=NODE_BATCH)
    start = time.perf_counter()
    while len(statistics) < len(archs):
        some = archs[len(statistics) : len(statistics) + NODE_PART]
        found = judge.nodes([space.network(space.parse(str(text))) for text in some], names)
        statistics = np.concatenate([statistics, found.astype(np.float32)])
        with whole_file(path) as beside, beside.open("wb") as file:
            np.savez_compressed(file, nodes=statistics, archs=archs[: len(statistics)])
        seconds = time.perf_counter() - start
        print(f"{len(statistics)} of {len(archs)}, {seconds:.0f} s", file=sys.stderr, flush=True)


def node_tables(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Node statistics `[n, nodes, 3]`, `features` `[n, d]` and accuracies `[n]` of the architectures of a file."""
    import pandas as pd

    from predictors.features import features
    from search_spaces import get_space

    space = get_space("nasbench201")
    table = pd.read_parquet(SHARED / "bench" / "nasbench201.parquet", columns=["arch_str", "c10_test_200"])
    accuracy = table.set_index("arch_str").c10_test_200
    with np.load(path, allow_pickle=False) as file:
        nodes, archs = file["nodes"].astype(np.float64), [str(text) for text in file["archs"]]
    X = features(space, np.array([space.parse(text) for text in archs]))
    return nodes, X, accuracy.loc[archs].to_numpy(dtype=np.float64)
