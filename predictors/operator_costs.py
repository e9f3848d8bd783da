"""A cost of networks as the sum over their operators, learned from whole networks."""

import numpy as np

_RIDGE = 0.05  # of columns scaled to a mean square of 1


class OperatorCosts:
    """Non-negative least squares of relative errors: cost = c + sum over operators of count * weight.

    The first approximation to any latency, and from a dozen networks it extrapolates where
    smoother models know nothing. What it misses (dead operators, fusion, caches) is for them to learn.

    Attributes:
        weights_: Cost of one operator of every column, then of none, `[columns + 1]`.

    Example:
        >>> counts = np.array([[1, 0], [0, 1], [2, 1], [3, 5]])
        >>> OperatorCosts().fit(counts, counts @ [2.0, 1.0] + 3).predict(np.array([[10, 0]])).round().tolist()
        [23.0]
    """

    def fit(self, counts: np.ndarray, y: np.ndarray) -> "OperatorCosts":
        """Learns costs `y` `[n]` (non-negative) of networks with operator counts `[n, columns]`."""
        from scipy.optimize import nnls

        relative = 1.0 / np.sqrt(y * np.median(y) + 1e-12 * max(1.0, float(y.max())) ** 2)
        A = self._design(counts) * relative[:, None]
        scale = np.sqrt((A * A).mean(axis=0)) + 1e-12
        A /= scale
        ridge = _RIDGE * np.sqrt(len(A)) * np.eye(A.shape[1])
        solution = nnls(np.concatenate([A, ridge]), np.concatenate([y * relative, np.zeros(len(ridge))]))[0]
        self.weights_ = solution / scale
        return self

    def predict(self, counts: np.ndarray) -> np.ndarray:
        """Costs of networks, `[n]`."""
        return self._design(counts) @ self.weights_

    @staticmethod
    def _design(counts: np.ndarray) -> np.ndarray:
        return np.concatenate([counts, np.ones((len(counts), 1))], axis=1).astype(np.float64)
