"""From what the passes leave behind to scores; numpy, float64."""

from collections.abc import Sequence

import numpy as np

_K = 1e-5


def correlations(jacobian: np.ndarray) -> np.ndarray:
    """Correlations of the rows of `[n, d]`; a row without variance gives nan, as published."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(jacobian)


def jacov(jacobian: np.ndarray) -> float:
    """Jacobian covariance of `[n, d]`."""
    matrix = correlations(jacobian)
    if not np.isfinite(matrix).all():
        return float("nan")
    values = np.maximum(np.linalg.eigvalsh(matrix), 0.0)  # rounding makes some of the zeros negative
    return float(-np.sum(np.log(values + _K) + 1 / (values + _K)))


def epe_nas(jacobian: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Correlations of the Jacobian within the classes of a batch."""
    scores = []
    for label in np.unique(labels):
        matrix = np.atleast_2d(correlations(jacobian[labels == label]))
        total = float(np.log(np.abs(matrix) + _K).sum())
        scores.append(total if num_classes <= 100 else total / len(matrix))
    if num_classes <= 100:
        return float(np.abs(scores).sum())
    return float(np.abs(np.subtract.outer(scores, scores)).sum() / len(scores))


def nwot(code: np.ndarray) -> float:
    """Logarithm of the determinant of the agreement of binary codes `[n, n]`."""
    sign, value = np.linalg.slogdet(code.astype(np.float64))
    return float(value) if sign != 0 else float("-inf")


def zico(ratios: Sequence[float]) -> float:
    """From the sum of every layer; a layer without gradient says nothing."""
    found = [r for r in ratios if r > 0]
    return float(np.sum(np.log(found))) if found else float("-inf")


def zen(change: float, variances: Sequence[float]) -> float:
    """From the mean change of the last map and the variances that the batch norms removed.

    A batch norm that nothing reaches has variance 0 and is left out.
    """
    if not change > 0:
        return float("-inf")
    return float(np.log(change) + 0.5 * np.sum(np.log([v for v in variances if v > 0])))


def log_sum(logs: Sequence[float], nothing: float) -> float:
    """log sum exp, of what is above `nothing`."""
    found = np.array([x for x in logs if x > nothing / 2])
    return float(found.max() + np.log(np.exp(found - found.max()).sum())) if len(found) else float("-inf")


def vote(scores: Sequence[np.ndarray]) -> np.ndarray:
    """How many other architectures a majority of the scores `[n]` puts below each; ties count half."""
    n = len(scores[0])
    wins = np.zeros(n)
    for start in range(0, n, 512):
        rows = slice(start, start + 512)
        margin = np.sum([np.sign(s[rows, None] - s[None, :]) for s in scores], axis=0)
        wins[rows] = ((np.sign(margin) + 1) / 2).sum(axis=1) - 0.5
    return wins
