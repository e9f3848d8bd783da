"""Rank fidelity: whether inherited weights order networks as training alone does."""

import argparse
from typing import Any

import numpy as np

from search_spaces import get_space
from supernet_parts.common import SHARED, cifar, rebatched, settings
from supernet_parts.judge import Judge
from supernet_parts.stages import Stages


def rank(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Kendall tau between inherited and published accuracy over 300 random rows of NAS-Bench-Macro."""
    import pyarrow.parquet as pq
    from scipy.stats import kendalltau

    data, space = cifar(options), get_space("nasbench_macro")
    # every block exactly once a step (FairNAS): three paths, one for each of a layer's choices
    fair = {"method": "single_path", "warm_epochs": 0, "random_subnets": 3, "sampling": "fair"}
    config = settings(options, **fair, **({} if options.quick else {"batch_size": 256, "peak_lr": 0.2}))
    config = rebatched(config, options.batch)
    params, seconds = stages.kept("macro", lambda: stages.train(space, data, config, "macro"))
    table = pq.read_table(SHARED / "bench" / "nasbench_macro.parquet").to_pydict()
    rows = np.random.default_rng(0).choice(len(table["arch"]), 4 if options.quick else 300, replace=False)
    judge = Judge(data, 32, config, calibration=600 if options.quick else 5000)

    def inherited() -> list[float]:
        return [judge(params, space.network(space.parse(table["arch"][i]))) for i in rows]

    found = stages("inherited", inherited)
    truth = [table["mean_acc"][i] for i in rows]
    others = {name: [table[name][i] for i in rows] for name in ("flops", "params", "acc1")}
    return {
        "tau": float(kendalltau(found, truth)[0]),
        "rows": len(rows),
        "training_s": seconds,
        "epochs": config.epochs,
        "inherited_range": [min(found), max(found)],
        "tau_of": {name: float(kendalltau(values, truth)[0]) for name, values in others.items()},
        "asked": {"tau": 0.80},
    }
