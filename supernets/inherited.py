"""Accuracy that networks inherit from the weights of a search, to choose among those drawn from its distribution."""

from collections.abc import Sequence

import jax
import numpy as np

from search_spaces import Architecture
from supernets.mixed import Plan, path_logits
from supernets.params import Array, Params


def inherited(
    params: Params, p: Plan, archs: Sequence[Architecture], batches: Sequence[tuple[Array, Array]]
) -> np.ndarray:
    """Accuracy (percent) of every network, `[networks]`, its batch norms' moments those of each batch.

    Nothing is waited for between networks, and no block is compiled that a mixture has run.

    Args:
        params: The supernet's weights.
        p: The space.
        archs: The networks.
        batches: Normalised images `[n, h, w, c]` and their classes, which trained no weight.
    """
    rights = [_right(path_logits(params, p, x, images), labels) for x in archs for images, labels in batches]
    found = np.array([int(right) for right in rights]).reshape(len(archs), len(batches))
    return 100 * found.sum(axis=1) / sum(len(labels) for _, labels in batches)


@jax.jit
def _right(logits: Array, labels: Array) -> Array:
    return (logits.argmax(axis=1) == labels).sum()
