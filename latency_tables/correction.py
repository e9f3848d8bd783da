"""From kernel times to what kernels cost inside whole networks: a ridge fit that stays additive.

Kernel times alone are off by what measuring does to them (the profiler cools caches, its clock
ticks in microseconds) and by what they do to each other. The model: a network costs a constant
plus the sum of its kernels' costs, and a kernel's cost is its measured time, scaled for all,
then shifted a little for all, for its kind, and for itself. How little is the prior; the whole
networks measured in the same run decide the rest. In other words a Gaussian process on kernel
counts, its widths chosen by marginal likelihood.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Prior standard deviations, as shares of a kernel's cost (or of the mean cost, for offsets).
_SCALE, _CONSTANT = 0.3, 1.0
_KIND_WIDTHS = (0.03, 0.1, 0.3)
_KERNEL_WIDTHS = (0.03, 0.1, 0.2, 0.4)
_NOISE = (0.004, 0.008, 0.015, 0.03)
_SMALLEST = 0.05  # no kernel costs less than this share of its scaled time


@dataclass(frozen=True)
class Correction:
    """A fitted correction.

    Attributes:
        cost_ms: What every kernel costs inside a network.
        constant_ms: What a call costs besides.
        scale: Whole-network time over sum of kernel times, typically.
        widths: The chosen prior: kind, kernel, and noise of the whole-network times (shares).
    """

    cost_ms: np.ndarray
    constant_ms: float
    scale: float
    widths: tuple[float, float, float]


def kernel_kind(key: str) -> str:
    """What kernels are grouped by: "conv", "dw", "conv_add", "scale", ..."""
    return key.partition("_")[0] + ("_add" if "_add_" in key else "")


def fit_correction(
    keys: Sequence[str], kernel_ms: np.ndarray, counts: np.ndarray, network_ms: np.ndarray
) -> Correction:
    """Fits kernels' costs to whole networks.

    Args:
        keys: The kernels.
        kernel_ms: Measured time of every kernel `[k]`.
        counts: How often every network runs every kernel `[n, k]`.
        network_ms: Measured time of every network `[n]`.
    """
    scale = float(np.median(network_ms / (counts @ kernel_ms)))
    cost = scale * kernel_ms
    relative = counts / network_ms[:, None]
    constant = _CONSTANT * cost.mean() / network_ms
    options = [(kind, kernel, noise) for kind in _KIND_WIDTHS for kernel in _KERNEL_WIDTHS for noise in _NOISE]
    posteriors = {w: _posterior(cost, _moves(keys, cost, *w[:2]), relative, constant, w[2]) for w in options}
    widths = max(posteriors, key=lambda w: posteriors[w][2])
    fitted, constant_ms, _ = posteriors[widths]
    moves, smallest = _moves(keys, cost, *widths[:2]), _SMALLEST * cost
    held = np.zeros(len(cost), dtype=bool)
    while (low := (fitted < smallest) & ~held).any():  # hold these at the limit, and fit the others again
        held |= low
        start = np.where(held, smallest, cost)
        fitted, constant_ms, _ = _posterior(start, moves * ~held[:, None], relative, constant, widths[2])
    return Correction(fitted, constant_ms * _CONSTANT * float(cost.mean()), scale, widths)


def _moves(keys: Sequence[str], cost: np.ndarray, kind_width: float, kernel_width: float) -> np.ndarray:
    """How each free parameter moves every kernel's cost, in units of its prior width `[k, parameters]`."""
    kinds = sorted(set(map(kernel_kind, keys)))
    member = np.array([[kernel_kind(key) == kind for kind in kinds] for key in keys], dtype=np.float64)
    return np.hstack(
        [
            np.diag(kernel_width * cost),
            kind_width * cost[:, None] * member,
            kind_width * cost.mean() * member,
            _SCALE * cost[:, None],
            np.full((len(cost), 1), kind_width * cost.mean()),
        ]
    )


def _posterior(
    cost: np.ndarray, moves: np.ndarray, relative: np.ndarray, constant: np.ndarray, noise: float
) -> tuple[np.ndarray, float, float]:
    """Expected cost of every kernel and of a call (in prior widths), and the log evidence.

    Args:
        cost: Prior mean of every kernel's cost `[k]`.
        moves: See `_moves`.
        relative: Kernel counts over network latency `[n, k]`.
        constant: Prior width of the constant over network latency `[n]`.
        noise: Standard deviation of the measured latencies (share).
    """
    residual = 1 - relative @ cost
    design = np.hstack([relative @ moves, constant[:, None]])
    chol = np.linalg.cholesky(design @ design.T + noise**2 * np.eye(len(design)))
    alpha = np.linalg.solve(chol.T, np.linalg.solve(chol, residual))
    weights = design.T @ alpha
    evidence = float(-0.5 * residual @ alpha - np.log(np.diag(chol)).sum())
    return cost + moves @ weights[:-1], float(weights[-1]), evidence


def held_out_errors(predicted: np.ndarray, measured: np.ndarray, level: float = 0.9) -> dict[str, float]:
    """How good predictions of networks are that took no part in the fit.

    Returns:
        networks, within_5 and within_10 (shares), mean_error (share), spearman, and the ends of
        the interval of measured over predicted that covers `level` of the cases: low, high.
    """
    ratio = np.sort(measured / predicted)
    error = np.abs(predicted / measured - 1)
    ranks = np.argsort(np.argsort([predicted, measured], axis=1), axis=1)
    # conformal: with n cases the k-th smallest ratio has k / (n + 1) of all cases below it
    k = int((len(ratio) + 1) * (1 - level) / 2)
    return {
        "networks": len(ratio),
        "within_5": float((error <= 0.05).mean()),
        "within_10": float((error <= 0.10).mean()),
        "mean_error": float(error.mean()),
        "spearman": float(np.asarray(np.corrcoef(ranks.astype(np.float64)))[0, 1]),
        "level": level,
        "low": float(ratio[max(k - 1, 0)]),
        "high": float(ratio[min(len(ratio) - k, len(ratio) - 1)]),
    }
