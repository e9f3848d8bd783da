"""The regressors to choose from, over standardised targets; each has `fit`, `predict` and `spread`.

`spread` is how unsure the model is of each prediction, up to a factor that calibration finds.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np


class Regressor(Protocol):
    """What a model must do: `X` is `[n, d]`, `y` is `[n]`, roughly unit normal."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        """Learns; returns itself."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions `[n]`."""

    def spread(self, X: np.ndarray) -> np.ndarray:
        """Relative uncertainty `[n]`, positive."""


class Flat:
    """A scikit-learn regressor that is equally unsure everywhere.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Flat":
        """Learns."""
        self.model_ = self._make().fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions."""
        return self.model_.predict(X)

    def spread(self, X: np.ndarray) -> np.ndarray:
        """One everywhere."""
        return np.ones(len(X))


class GaussianProcess:
    """Matern 3/2 over all features, scale and noise by marginal likelihood.

    Args:
        rows: At most so many decide scale and noise; all are conditioned on.
        seed: Chooses those rows.
    """

    def __init__(self, rows: int = 500, seed: int = 0) -> None:
        self.rows, self.seed = rows, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> "GaussianProcess":
        """Learns."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(np.sqrt(X.shape[1]), (0.3, 300.0), nu=1.5)
        kernel = kernel + WhiteKernel(0.05, (1e-5, 1.0))
        some = np.random.default_rng(self.seed).permutation(len(y))[: self.rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a width at its bound is an answer too
            self.model_ = GaussianProcessRegressor(kernel).fit(X[some], y[some])
        if len(y) > self.rows:
            self.model_ = GaussianProcessRegressor(self.model_.kernel_, optimizer=None).fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Posterior mean."""
        return self.model_.predict(X)

    def spread(self, X: np.ndarray) -> np.ndarray:
        """Posterior standard deviation, noise included."""
        return self.model_.predict(X, return_std=True)[1]


class Mean:
    """Weighted mean of several models; the first one's uncertainty.

    Args:
        models: The models.
        weights: Theirs; equal by default.
    """

    def __init__(self, *models: Regressor, weights: Sequence[float] | None = None) -> None:
        self.models, self.weights = models, weights

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Mean":
        """Learns."""
        for model in self.models:
            model.fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Mean of the predictions."""
        return np.average([model.predict(X) for model in self.models], axis=0, weights=self.weights)

    def spread(self, X: np.ndarray) -> np.ndarray:
        """Of the first model."""
        return self.models[0].spread(X)


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(np.geomspace(0.1, 300, 15))


def _svr() -> Any:
    from sklearn.svm import SVR

    return SVR(C=10.0, epsilon=0.05)


def _trees(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.06, min_samples_leaf=5, max_leaf_nodes=10, random_state=seed
    )


def _mlp(seed: int, members: int) -> Regressor:
    from predictors.mlp import MLPRegressor

    return MLPRegressor(members=members, seed=seed) if members > 1 else Flat(lambda: MLPRegressor(seed=seed))


def _parzc(seed: int) -> Regressor:
    from predictors.parzc import ParZCRegressor

    return ParZCRegressor(seed=seed)


def _default(seed: int) -> Regressor:
    return Mean(GaussianProcess(seed=seed), Flat(lambda: _trees(seed)), weights=(2, 1))


# From a name to a function of the seed. "default" has the largest mean tau of scripts/bench_predictors.py: trees help
# the process on Once-for-All's space, and weigh less because they are the weaker half elsewhere.
MODELS: dict[str, Callable[[int], Regressor]] = {
    "default": _default,
    "ridge": lambda seed: Flat(_ridge),
    "svr": lambda seed: Flat(_svr),
    "trees": lambda seed: Flat(lambda: _trees(seed)),
    "gp": lambda seed: GaussianProcess(seed=seed),
    "mlp": lambda seed: _mlp(seed, 1),
    "deep_ensemble": lambda seed: _mlp(seed, 5),
    "parzc": _parzc,  # meant for node statistics, see `predictors.parzc.scale_nodes`
}
