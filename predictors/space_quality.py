"""The Q-T score of a search space (Wang et al., SpaceEvo, ICCV 2023): how good it is under latency limits."""

from collections.abc import Sequence

import numpy as np

BEST = 50  # networks whose losses are averaged
_FLOOR = 1e-5  # of the share under a limit
_NONE = 1e5  # the loss where nothing is under a limit


def quality(
    loss: np.ndarray,
    latency_ms: np.ndarray,
    limits_ms: Sequence[float],
    *,
    share: float = 0.08,
    exponent: float = 0.01,
    best: int = BEST,
) -> float:
    """Q-T score of networks drawn from a space; higher is better.

    sum over limits T of 1 / (max(1, (share / p_T)^exponent) Q_T), p_T the share of networks under T and Q_T
    the mean of their `best` smallest losses.

    Args:
        loss: Of the networks, `[n]`.
        latency_ms: Of the networks, `[n]`.
        limits_ms: The latency limits.
        share: Of networks under a limit that is enough.
        exponent: How much fewer count against a space.
        best: Losses that are averaged; all, where fewer are under a limit.
    """
    return float(sum(1 / (penalty * q) for penalty, q in parts(loss, latency_ms, limits_ms, share, exponent, best)))


def parts(
    loss: np.ndarray,
    latency_ms: np.ndarray,
    limits_ms: Sequence[float],
    share: float = 0.08,
    exponent: float = 0.01,
    best: int = BEST,
) -> list[tuple[float, float]]:
    """The two factors of every limit's term: max(1, (share / p_T)^exponent) and Q_T."""
    found = []
    for limit in limits_ms:
        under = loss[latency_ms <= limit]
        p = len(under) / len(loss) + _FLOOR
        few = min(best, len(under))
        q = float(np.partition(under, few - 1)[:few].mean()) if few else _NONE
        found.append((max(1.0, (share / p) ** exponent), q))
    return found
