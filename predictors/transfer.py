"""`TransferLatency`: a new device's latencies from those of other devices and ten measurements.

The model is linear in the other devices' standardised log-latencies with weights that are not
negative and shrink towards their mean (a device is a mixture of known ones), plus a ridge on
architecture features for what no known device explains. How far to shrink is decided on the known
devices themselves: each is predicted from the others as if it were the new one. Which ten
networks to measure is a design question: those that, measured, leave the least variance over all
networks under the mixture's prior (A-optimal design, greedily; Chaloner & Verdinelli, Statistical
Science 1995). Few-shot transfer as a task: HELP (Lee et al., NeurIPS 2021), BRP-NAS (Dudziak et
al., NeurIPS 2020).
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

_POOL = 1500  # networks among which samples are sought, and by which they are judged
_DESIGN_NOISE = 0.1  # variance of a measurement in units of the typical latency's variance
_WEIGHT_PRIORS = (0.1, 0.3, 1.0, 3.0)
_FEATURE_PRIORS = (0.5, 1.0, 3.0, 10.0, np.inf)


class TransferLatency:
    """Predicts latencies on a new device for a pool of networks known on other devices.

    Args:
        sources_ms: Latency of every network of the pool on every known device, measured or from
            their latency tables, `[n, devices]`; all above 0.
        features: Features of every network `[n, f]`, for instance operator counts; optional.
        seed: Of the subset of the pool that designs are sought in.

    Attributes:
        weights_: Weight of every known device `[devices]`.
        priors_: Chosen strength of the shrinkage of weights and of features.
        error_: Standard deviation of the relative error on known devices predicted in the same way.

    Example:
        >>> transfer = TransferLatency(sources_ms, seed=0)  # doctest: +SKIP
        >>> rows = transfer.choose(10)  # measure these on the new device  # doctest: +SKIP
        >>> transfer.fit(rows, measured_ms).predict()  # doctest: +SKIP
    """

    def __init__(self, sources_ms: np.ndarray, features: np.ndarray | None = None, *, seed: int = 0) -> None:
        self.sources_ms, self.features, self.seed = sources_ms, features, seed

    def choose(self, n: int = 10) -> np.ndarray:
        """Rows of the pool to measure on the new device, `[n]`.

        Raises:
            ValueError: if there are fewer networks than that.
        """
        if not 2 <= n <= len(self.sources_ms):
            raise ValueError(f"n (={n}) must be between 2 and the {len(self.sources_ms)} networks of the pool.")
        return _design(self._standardised(), n, np.random.default_rng(self.seed))

    def fit(self, rows: Sequence[int] | np.ndarray, measured_ms: Sequence[float] | np.ndarray) -> "TransferLatency":
        """Learns from measurements.

        Args:
            rows: Rows of the pool that were measured.
            measured_ms: Their latencies on the new device, `[len(rows)]`.

        Raises:
            ValueError: if a latency is not above 0, or there are fewer than two.
        """
        rows, y = np.asarray(rows), np.asarray(measured_ms, dtype=np.float64)
        if len(rows) != len(y) or len(y) < 2 or not (np.isfinite(y).all() and (y > 0).all()):
            raise ValueError(f"measured_ms (={measured_ms!r}) must be at least 2 latencies above 0, one a row.")
        sources, features = self._standardised(), self._features()
        self.priors_, self.error_ = _tuned(sources, features, self._log().std(axis=0), len(rows), self.seed)
        self.weights_, coefficients, offset = _fit(sources, features, rows, np.log(y), *self.priors_)
        self.predicted_log_ms_ = offset + sources @ self.weights_ + features @ coefficients
        return self

    def predict(self, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Latency in ms of rows of the pool (by default of all)."""
        values = self.predicted_log_ms_ if rows is None else self.predicted_log_ms_[np.asarray(rows)]
        return np.exp(values)

    def _log(self) -> np.ndarray:
        values = np.asarray(self.sources_ms, dtype=np.float64)
        if values.ndim != 2 or not np.isfinite(values).all() or (values <= 0).any():
            raise ValueError("sources_ms must be latencies above 0 of shape [networks, devices].")
        return np.log(values)

    def _standardised(self) -> np.ndarray:
        log = self._log()
        return (log - log.mean(axis=0)) / log.std(axis=0)

    def _features(self) -> np.ndarray:
        """Features of unit scale; no columns where there are none."""
        if self.features is None:
            return np.zeros((len(self.sources_ms), 0))
        values = np.asarray(self.features, dtype=np.float64)
        return (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9) / np.sqrt(values.shape[1])


def _design(sources: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows that leave the least variance over the pool, chosen one after the other."""
    pool = rng.permutation(len(sources))[:_POOL]
    basis = sources[pool] / np.sqrt(sources.shape[1])
    covariance = np.eye(basis.shape[1])
    spread = basis.T @ basis / len(basis)
    left = np.ones(len(pool), dtype=bool)
    chosen = []
    for _ in range(n):
        projected = basis @ covariance
        variance = np.einsum("ij,ij->i", projected, basis) + _DESIGN_NOISE
        gain = np.einsum("ij,jk,ik->i", projected, spread, projected) / variance
        best = int(np.where(left, gain, -np.inf).argmax())
        left[best] = False
        chosen.append(pool[best])
        covariance = covariance - np.outer(projected[best], projected[best]) / variance[best]
    return np.array(chosen)


def _fit(
    sources: np.ndarray, features: np.ndarray, rows: np.ndarray, y: np.ndarray, weight: float, feature: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights of the known devices, coefficients of the features, and the constant."""
    X, F, devices = sources[rows], features[rows], sources.shape[1]
    centred, X, F = y - y.mean(), X - X.mean(axis=0), F - F.mean(axis=0)
    prior = np.full(devices, centred.std() / devices)
    weights, _ = nnls(
        np.vstack([X, np.sqrt(weight) * np.eye(devices)]), np.concatenate([centred, np.sqrt(weight) * prior])
    )
    coefficients = np.zeros(F.shape[1])
    if F.shape[1] and np.isfinite(feature):
        coefficients = np.linalg.solve(F.T @ F + feature * np.eye(F.shape[1]), F.T @ (centred - X @ weights))
    offset = y.mean() - sources[rows].mean(axis=0) @ weights - features[rows].mean(axis=0) @ coefficients
    return weights, coefficients, float(offset)


def _tuned(
    sources: np.ndarray, features: np.ndarray, spread: np.ndarray, samples: int, seed: int
) -> tuple[tuple[float, float], float]:
    """The priors by which known devices are ranked best from the others, and the error with them.

    Args:
        sources: Standardised log-latencies `[n, devices]`.
        features: As `_fit` takes them.
        spread: Standard deviation of every device's log-latencies, to turn errors into shares.
        samples: Measurements that a new device gets.
        seed: Of the subset of the pool that is judged on.
    """
    rng = np.random.default_rng(seed)
    judged = rng.permutation(len(sources))[:_POOL]
    choices = [(w, f) for w in _WEIGHT_PRIORS for f in (_FEATURE_PRIORS if features.shape[1] else (np.inf,))]
    devices = sources.shape[1]
    if devices < 3:
        return (1.0, np.inf), float("nan")
    pool, pool_features = sources[judged], features[judged]
    score = np.zeros(len(choices))
    errors = np.zeros((len(choices), devices))
    for device in range(devices):
        others, target = np.delete(pool, device, axis=1), pool[:, device]
        rows = _design(others, samples, rng)
        ranks = _ranks(target)
        for i, choice in enumerate(choices):
            weights, coefficients, offset = _fit(others, pool_features, rows, target[rows], *choice)
            predicted = offset + others @ weights + pool_features @ coefficients
            score[i] += np.corrcoef(_ranks(predicted), ranks)[0, 1]
            errors[i, device] = float(np.sqrt(np.mean((predicted - target) ** 2))) * spread[device]
    best = int(score.argmax())
    return choices[best], float(np.median(errors[best]))


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(np.float64)
