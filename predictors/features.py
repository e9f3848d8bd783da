"""Features of architectures: their encoding and what their networks say about themselves."""

from collections.abc import Sequence

import numpy as np

from search_spaces import Conv, Network, Pool, Space

STATISTICS = (
    "log_macs",
    "log_params",
    "log_activations",
    "log_peak_memory",
    "convs",
    "spatial_convs",
    "pools",
    "longest_convs",
    "shortest_convs",
    "longest_spatial",
    "shortest_spatial",
    "mean_spatial",
    "mean_pools",
    "log_paths",
)


def network_statistics(network: Network) -> np.ndarray:
    """Costs and depths of what runs of a network, float64 `[len(STATISTICS)]`.

    A path leads from the image to the result through convolutions (all, or those larger than
    1 x 1); means are over all paths.
    """
    live = network.live
    convs = [op for op in live if isinstance(op, Conv)]
    # of every value: number of paths, then longest, shortest and total number of steps of a kind on them
    paths = [1.0]
    steps = {kind: [(0.0, 0.0, 0.0)] for kind in ("conv", "spatial", "pool")}
    for op in live:
        own = {
            "conv": float(isinstance(op, Conv)),
            "spatial": float(isinstance(op, Conv) and op.kernel > 1),
            "pool": float(isinstance(op, Pool)),
        }
        count = sum(paths[v] for v in op.inputs)
        for kind, values in steps.items():
            # what is added to a convolution does not pass through it
            parts = [(values[v], own[kind] * (v == op.inputs[0]), paths[v]) for v in op.inputs]
            values.append(
                (
                    max(p[0] + step for p, step, _ in parts),
                    min(p[1] + step for p, step, _ in parts),
                    sum(p[2] + step * n for p, step, n in parts),
                )
            )
        paths.append(count)
    conv, spatial, pool = (steps[kind][-1] for kind in ("conv", "spatial", "pool"))
    return np.array(
        [
            np.log(live.macs),
            np.log(live.params),
            np.log(sum(c * h * w for c, h, w in live.shapes)),
            np.log(live.peak_memory),
            len(convs),
            sum(op.kernel > 1 for op in convs),
            sum(isinstance(op, Pool) for op in live),
            conv[0],
            conv[1],
            spatial[0],
            spatial[1],
            spatial[2] / paths[-1],
            pool[2] / paths[-1],
            np.log(paths[-1]),
        ]
    )


def features(space: Space, X: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
    """The space's encoding, network statistics and further columns of genotypes `[n, genes]`; float64 `[n, d]`."""
    X = np.atleast_2d(X)
    columns: Sequence[np.ndarray] = [space.encoding(X), np.array([network_statistics(space.network(x)) for x in X])]
    return np.hstack([*columns, *([] if extra is None else [extra])]).astype(np.float64)
