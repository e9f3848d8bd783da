"""A Gaussian process with a length scale per feature, kept as plain arrays.

Rasmussen & Williams, "Gaussian Processes for Machine Learning", algorithm 2.1. Length scales by
maximum marginal likelihood through scikit-learn; predictions need numpy only.
"""

import warnings
from collections.abc import Callable, Mapping

import numpy as np

_SUBSET, _STEPS = 220, 30  # rows that the length scales are fitted on, and steps of the optimiser
_NAMES = ("scales", "signal", "noise", "X", "factor", "alpha", "mean")


class GaussianProcess:
    """Squared-exponential process with noise.

    Args:
        scales: Length scale of every feature; fitted by `fit`.
        signal: Standard deviation of the function.
        noise: Standard deviation of an observation.
    """

    def __init__(self, scales: np.ndarray | None = None, signal: float = 1.0, noise: float = 0.1) -> None:
        self.scales_, self.signal_, self.noise_ = scales, signal, noise

    def fit(self, X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> "GaussianProcess":
        """Finds length scales, signal and noise, then conditions on all rows."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        rows = rng.permutation(len(X))[:_SUBSET]
        spread = max(float(np.var(y)), 1e-6)
        kernel = ConstantKernel(spread, (spread / 100, spread * 100)) * RBF(
            np.full(X.shape[1], 4.0), (0.3, 300.0)
        ) + WhiteKernel(spread / 20, (1e-5, max(spread, 1e-4)))
        regressor = GaussianProcessRegressor(kernel, optimizer=_maximise)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound: a feature without effect
            regressor.fit(X[rows], y[rows] - y[rows].mean())
        best = regressor.kernel_
        self.scales_ = np.atleast_1d(best.k1.k2.length_scale)
        self.signal_ = float(np.sqrt(best.k1.k1.constant_value))
        self.noise_ = float(np.sqrt(best.k2.noise_level))
        return self.condition(X, y)

    def condition(self, X: np.ndarray, y: np.ndarray) -> "GaussianProcess":
        """Takes observations in, the length scales as they are."""
        self.X_, self.mean_ = X, float(y.mean())
        covariance = self._kernel(X, X) + self.noise_**2 * np.eye(len(X))
        self.factor_ = np.linalg.cholesky(covariance)
        self.alpha_ = np.linalg.solve(self.factor_.T, np.linalg.solve(self.factor_, y - self.mean_))
        return self

    def predict(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of new observations `[n]`."""
        cross = self._kernel(X, self.X_)
        explained = np.linalg.solve(self.factor_, cross.T)
        variance = self.signal_**2 + self.noise_**2 - (explained**2).sum(axis=0)
        return self.mean_ + cross @ self.alpha_, np.sqrt(np.maximum(variance, 1e-12))

    def _kernel(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        A, B = A / self.scales_, B / self.scales_
        distance = (A**2).sum(1)[:, None] + (B**2).sum(1)[None] - 2 * A @ B.T
        return self.signal_**2 * np.exp(-0.5 * np.maximum(distance, 0))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that `from_arrays` needs."""
        return {name: np.asarray(getattr(self, f"{name}_")) for name in _NAMES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> "GaussianProcess":
        """Reads `arrays()` stored as "{prefix}.{name}".

        Raises:
            KeyError, ValueError: if an array is missing or does not fit.
        """
        values = {name: arrays[f"{prefix}.{name}"] for name in _NAMES}
        made = cls(values["scales"], float(values["signal"]), float(values["noise"]))
        made.X_, made.factor_, made.alpha_ = values["X"], values["factor"], values["alpha"]
        made.mean_ = float(values["mean"])
        n = len(made.X_)
        if made.factor_.shape != (n, n) or made.alpha_.shape != (n,) or made.X_.shape[1:] != values["scales"].shape:
            raise ValueError(f"arrays of {prefix!r} do not fit together")
        return made


def _maximise(objective: Callable[..., tuple[float, np.ndarray]], start: np.ndarray, bounds: np.ndarray) -> tuple:
    """scikit-learn's optimiser with a limit on its steps."""
    from scipy.optimize import minimize

    found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": _STEPS})
    return found.x, found.fun
