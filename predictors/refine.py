"""What to measure next, so that models of kernels learn where they err most."""

from collections.abc import Sequence

import numpy as np

from predictors.kernels import KernelPredictor
from search_spaces import Network


def least_sure(predictor: KernelPredictor, networks: Sequence[Network], n: int) -> list[Network]:
    """The networks whose kernels the predictor is least sure of, greedily.

    As LitePred (Feng et al., NSDI 2024) samples configurations where its error is, with the model's
    own uncertainty for the error, and whole networks for configurations: their kernels are measured
    in context. After each choice its kernels count as known.

    Args:
        predictor: Fitted.
        networks: To choose from.
        n: How many, at most.
    """
    unknown = [sorted(set(network.kernels) - set(predictor.kernels_)) for network in networks]
    keys = sorted(set().union(*unknown))
    if not keys:
        return []
    rows = predictor.predict_interval(keys)
    variance = dict(zip(keys, ((rows[:, 2] - rows[:, 1]) / 2) ** 2, strict=True))
    total = [predictor.predict_network(network).median for network in networks]
    chosen: list[int] = []
    while len(chosen) < min(n, len(networks)):
        doubt = [np.sqrt(sum(variance[k] for k in own)) / ms for own, ms in zip(unknown, total, strict=True)]
        best = int(np.argmax(doubt))
        if doubt[best] == 0:
            break
        chosen.append(best)
        variance |= dict.fromkeys(unknown[best], 0.0)
    return [networks[i] for i in chosen]
