"""Accuracy that networks inherit from the weights of a search, to choose among those drawn from its distribution."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from search_spaces import Architecture
from supernets.mixed import Plan, path_logits
from supernets.params import Array, Params


def inherited(
    params: Params,
    p: Plan,
    archs: Sequence[Architecture],
    batches: Sequence[tuple[Array, Array]],
    on_network: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Accuracy (percent) of every network, `[networks]`, its batch norms' moments those of each batch.

    No block is compiled that a mixture has run.

    Args:
        params: The supernet's weights.
        p: The space.
        archs: The networks.
        batches: Normalised images `[n, h, w, c]` and their classes, which trained no weight.
        on_network: Called with the number of networks done, and of all.
    """
    found, n = list[float](), sum(len(labels) for _, labels in batches)
    for x in archs:
        rights = [_right(path_logits(params, p, x, images), labels) for images, labels in batches]
        found.append(100 * sum(map(int, rights)) / n)
        if on_network:
            on_network(len(found), len(archs))
    return np.array(found)


@jax.jit
def _right(logits: Array, labels: Array) -> Array:
    return (logits.argmax(axis=1) == labels).sum()
