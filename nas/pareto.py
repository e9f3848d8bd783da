"""Pareto fronts and hypervolume; every objective is minimised."""

import numpy as np


def pareto_front(Y: np.ndarray) -> np.ndarray:
    """Indices of the points of `Y` `[n, m]` that no other point dominates, ascending by the first objective.

    Of equal points the first is kept.
    """
    import moocore

    Y = np.asarray(Y, dtype=np.float64)
    if len(Y) == 0:
        return np.zeros(0, dtype=np.int64)
    front = np.flatnonzero(moocore.is_nondominated(Y, keep_weakly=False))
    return front[np.lexsort(Y[front].T[::-1])]


def hypervolume(Y: np.ndarray, reference: np.ndarray) -> float:
    """Volume between the points `Y` `[n, m]` and the `reference` point `[m]` that at least one point dominates."""
    import moocore

    Y = np.asarray(Y, dtype=np.float64)
    reference = np.asarray(reference, dtype=np.float64)
    inside = Y[(reference > Y).all(axis=1)] if len(Y) else Y
    return float(moocore.hypervolume(inside, ref=reference)) if len(inside) else 0.0


def ranks(Y: np.ndarray) -> np.ndarray:
    """Front that every point belongs to, 0 for the first; int array `[n]`."""
    import moocore

    return np.asarray(moocore.pareto_rank(np.asarray(Y, dtype=np.float64)), dtype=np.int64)


def crowding(Y: np.ndarray) -> np.ndarray:
    """Crowding distance (Deb et al. 2002) of the points of one front, `[n]`; infinite at its ends."""
    n, m = Y.shape
    distance = np.zeros(n)
    for j in range(m):
        order = np.argsort(Y[:, j], kind="stable")
        column = Y[order, j]
        span = column[-1] - column[0]
        distance[order[[0, -1]]] = np.inf
        if n > 2 and span > 0:
            distance[order[1:-1]] += (column[2:] - column[:-2]) / span
    return distance


def knee(Y: np.ndarray) -> int:
    """Index of the point of a two-objective front that lies furthest below the line through its ends."""
    Y = np.asarray(Y, dtype=np.float64)
    low, high = Y.min(axis=0), Y.max(axis=0)
    scaled = (Y - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmin(scaled.sum(axis=1)))
