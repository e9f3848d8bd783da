"""The order in which a stream visits its pictures: shuffled, yet reading each block of a file about once an epoch."""

import numpy as np

WINDOW = 512  # pictures of a lane that are shuffled among each other


def lanes(batch_size: int, hosts: int) -> int:
    """Into how many lanes a stream is divided: eight, or one a host if there are more, as far as they divide a batch.

    Lanes make the order independent of the number of hosts: a batch holds as many pictures of each
    lane, and a host reads some of the lanes.
    """
    return int(np.gcd(batch_size, max(8, hosts)))


def epoch_order(blocks: np.ndarray, *, batch_size: int, lanes: int, seed: tuple[int, ...], epoch: int) -> np.ndarray:
    """Indices of the pictures of every step of an epoch, int64 `[steps, batch_size]`; each at most once.

    Blocks are shuffled and laid end to end, cut into lanes of one length, and shuffled within windows
    of a lane. A step's indices come lane after lane. The rest that fills no batch is left out.

    Args:
        blocks: The block of every picture, `[n]`; pictures of one block are read together.
        batch_size: A multiple of `lanes`.
        lanes: Parts of the epoch that are read side by side.
        seed: Of the order.
        epoch: From 0.
    """
    rng = np.random.default_rng([*seed, epoch])
    names, block = np.unique(blocks, return_inverse=True)
    together = np.argsort(rng.permutation(len(names))[block], kind="stable")
    steps, length, part = len(blocks) // batch_size, len(blocks) // lanes, batch_size // lanes
    order = together[: lanes * length].reshape(lanes, length)
    if len(names) < len(blocks):
        window = np.arange(length) // WINDOW
        places = np.argsort(window + rng.random((lanes, length)), axis=1)
        order = np.take_along_axis(order, places, axis=1)
    return order[:, : steps * part].reshape(lanes, steps, part).swapaxes(0, 1).reshape(steps, batch_size)
