"""Quality of subnets, against networks trained alone."""

import argparse
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from search_spaces import Network
from supernet_parts.common import cifar, ofa_space, rebatched, settings
from supernet_parts.judge import Judge
from supernet_parts.stages import Stages


def quality(options: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Smallest, median and largest subnets: inherited, fine-tuned for a tenth of the epochs, and from scratch."""
    from supernets.extraction import inherited

    data = cifar(options)
    space = ofa_space(options, data)
    config = rebatched(settings(options, method=options.method), options.batch)
    judge = Judge(data, data.image_size, config)
    X = space.sample(np.random.default_rng(0), 201)
    median = X[np.argsort([space.network(x).macs for x in X])[100]]
    chosen = {"smallest": 0 * median, "median": median, "largest": space.cardinality - 1}

    def supernet() -> tuple[dict[str, Any], float]:
        return stages.kept("supernet", lambda: stages.train(space, data, config, "supernet"))

    def inherits(network: Network) -> float:
        return judge(supernet()[0], network)

    seconds = stages("training_s", lambda: supernet()[1])
    rows: list[dict[str, Any]] = []
    for name, x in chosen.items():
        network, arch = space.network(x), space.to_text(x)
        alone = rebatched(settings(options, method="scratch", arch=arch, warm_epochs=0), options.batch)
        tuned = replace(alone, epochs=max(1, alone.epochs // 10), peak_lr=alone.peak_lr / 100)

        def fine_tuned(network: Network = network, tuned: Any = tuned, name: str = name) -> float:
            arrays = {key: np.asarray(value) for key, value in supernet()[0].items()}
            params, _ = stages.train(space, data, tuned, f"{name}-tuned", start=inherited(arrays, network))
            stages.forget(f"{name}-tuned")
            return judge(params, network)

        def scratch(network: Network = network, alone: Any = alone, name: str = name) -> float:
            params, _ = stages.train(space, data, alone, f"{name}-scratch")
            stages.forget(f"{name}-scratch")
            return judge(params, network)

        rows.append({"network": name, "macs": network.macs, "arch": arch})
        rows[-1]["inherited"] = stages(f"{name} inherited", partial(inherits, network))
        rows[-1]["fine_tuned"] = stages(f"{name} fine-tuned", fine_tuned)
        rows[-1]["run"] = scratch
    (stages.out / "supernet.npz").unlink(missing_ok=True)  # the rest needs it no more
    for row in rows:
        row["scratch"] = stages(f"{row['network']} scratch", row.pop("run"))
    worst = max(row["scratch"] - row["inherited"] for row in rows)
    return {
        "epochs": config.epochs,
        "training_s": seconds,
        "rows": rows,
        "largest_gap": worst,
        "asked": {"largest_gap": 1.0, "training_s": 1500},
    }
