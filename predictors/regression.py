"""`FeatureRegression`: a number from features, with calibrated intervals and held-out figures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from predictors.models import MODELS, Regressor
from search_spaces.whole_file import whole_file

_FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Held-out figures of a cross-validation.

    Attributes:
        rmse: Root mean squared error, in the units of the target.
        kendall_tau: Rank correlation (tau-b).
        spearman: Rank correlation.
        regret: Best target minus the best one among the k predicted best, k = 1, 5, 10.
        coverage: Share of targets within their interval; out of fold, so that it is a check.
        n: Rows.
    """

    rmse: float
    kendall_tau: float
    spearman: float
    regret: dict[int, float]
    coverage: float
    n: int


class NormalScores:
    """A monotone map from targets to normal scores of their ranks, and back.

    Accuracies are heavily skewed: a few broken networks far below, all the interesting ones within
    a percent. On ranks every model separates the latter (tau on NAS-Bench-201 with 156
    labels rises by 0.1 to 0.2).
    """

    def fit(self, y: np.ndarray) -> "NormalScores":
        """Learns from targets `[n]`."""
        from scipy.stats import norm, rankdata

        ranks = rankdata(y) / (len(y) + 1)
        self.y_, first = np.unique(y, return_index=True)
        self.z_ = norm.ppf(ranks)[first]
        return self

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Normal scores."""
        return _interpolate(y, self.y_, self.z_)

    def backward(self, z: np.ndarray) -> np.ndarray:
        """Targets; beyond the extremes along the slope of the outer tenth."""
        return _interpolate(z, self.z_, self.y_)


def _interpolate(x: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    if len(xs) == 1:
        return np.full(np.shape(x), ys[0])
    k = max(1, len(xs) // 10)
    low, high = (ys[k] - ys[0]) / (xs[k] - xs[0]), (ys[-1] - ys[-1 - k]) / (xs[-1] - xs[-1 - k])
    inside = np.interp(x, xs, ys)
    return inside + np.minimum(x - xs[0], 0) * low + np.maximum(x - xs[-1], 0) * high


class FeatureRegression:
    """Predicts a target from features; what an interval misses is what it says it misses.

    Targets become normal scores (see `NormalScores`). Intervals are conformal: cross-validation
    says by how many spreads predictions miss targets, and the interval is that many spreads wide.

    Args:
        model: One of `predictors.models.MODELS`.
        folds: Of the cross-validation.
        level: Coverage of the intervals.
        seed: Of folds and model.

    Attributes:
        report_: Held-out figures, a `Report`.
        width_: Spreads from the prediction to the end of its interval.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 3))
        >>> model = FeatureRegression("ridge").fit(X, X.sum(axis=1))
        >>> model.predict(X).shape, model.report_.kendall_tau > 0.9
        ((60,), True)
    """

    def __init__(self, model: str = "default", *, folds: int = 5, level: float = 0.9, seed: int = 0) -> None:
        self.model, self.folds, self.level, self.seed = model, folds, level, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> "FeatureRegression":
        """Learns from features `X` `[n, d]` and targets `y` `[n]`, n >= 10."""
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if self.model not in MODELS:
            raise ValueError(f"model (={self.model!r}) must be one of: {', '.join(MODELS)}.")
        if X.ndim != 2 or len(X) != len(y) or len(y) < 10:
            raise ValueError(f"X {X.shape} and y {y.shape} must be [n, d] and [n] with n >= 10.")
        if not (np.isfinite(X).all() and np.isfinite(y).all()):
            raise ValueError("X and y must be finite; replace missing features before fitting.")
        self.X_, self.y_ = X, y
        # threads gain nothing on a few hundred rows, and on a busy machine they wait for each other for seconds
        with _one_thread():
            self.report_ = self._cross_validate()
            self._fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predicted targets `[n]`."""
        with _one_thread():
            return self._scores.backward(self._regressor.predict(self._scaled(X)))

    def predict_interval(self, X: np.ndarray) -> np.ndarray:
        """Ends of the prediction interval `[n, 2]`."""
        scaled = self._scaled(X)
        with _one_thread():
            z, half = self._regressor.predict(scaled), self.width_ * self._regressor.spread(scaled)
        return np.stack([self._scores.backward(z - half), self._scores.backward(z + half)], axis=1)

    def save(self, path: str | Path) -> None:
        """Writes arrays and metadata: what was fitted on, from which `load` fits the same model again."""
        header = {"format": _FORMAT, "report": asdict(self.report_), **self._options()}
        with whole_file(Path(path)) as beside, beside.open("wb") as file:
            np.savez_compressed(file, X=self.X_, y=self.y_, metadata=np.array(json.dumps(header)))

    @classmethod
    def load(cls, path: str | Path) -> "FeatureRegression":
        """Reads what `save` wrote; nothing in the file is run.

        Raises:
            ValueError: if it is of another format.
        """
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["metadata"]))
            if header.get("format") != _FORMAT:
                raise ValueError(
                    f"{path} has format {header.get('format')!r}, this version reads {_FORMAT}; fit again."
                )
            options = {key: header[key] for key in ("folds", "level", "seed")}
            return cls(header["model"], **options).fit(file["X"], file["y"])

    def _options(self) -> dict[str, Any]:
        return {"model": self.model, "folds": self.folds, "level": self.level, "seed": self.seed}

    def _fit(self, X: np.ndarray, y: np.ndarray) -> None:
        binary = np.isin(X, (0.0, 1.0)).all(axis=0)
        self._mean = np.where(binary, 0.0, X.mean(axis=0))
        self._std = np.where(binary | (X.std(axis=0) == 0), 1.0, X.std(axis=0))
        self._scores = NormalScores().fit(y)
        self._regressor: Regressor = MODELS[self.model](self.seed)
        self._regressor.fit(self._scaled(X), self._scores.forward(y))

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        return (np.asarray(X, dtype=np.float64) - self._mean) / self._std

    def _cross_validate(self) -> Report:
        from sklearn.model_selection import KFold

        n = len(self.y_)
        predicted, misses, inside = np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool)
        folds = list(KFold(min(self.folds, n), shuffle=True, random_state=self.seed).split(self.X_))
        spreads, z = np.zeros(n), np.zeros(n)
        for rest, fold in folds:
            self._fit(self.X_[rest], self.y_[rest])
            scaled = self._scaled(self.X_[fold])
            z[fold], spreads[fold] = self._regressor.predict(scaled), self._regressor.spread(scaled)
            predicted[fold] = self._scores.backward(z[fold])
            misses[fold] = np.abs(self._scores.forward(self.y_[fold]) - z[fold]) / spreads[fold]
        for _, fold in folds:
            others = np.setdiff1d(np.arange(n), fold)
            inside[fold] = misses[fold] <= _quantile(misses[others], self.level)
        self.width_ = _quantile(misses, self.level)
        return _report(self.y_, predicted, float(inside.mean()))


def _one_thread() -> Any:
    import scipy.linalg  # noqa: F401 (libraries must be there to be limited)
    import sklearn.utils  # noqa: F401
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _quantile(misses: np.ndarray, level: float) -> float:
    """Conformal: the k-th smallest of n misses, k = level * (n + 1), covers at least `level` of what is to come."""
    k = int(np.ceil(level * (len(misses) + 1)))
    return float(np.sort(misses)[min(k, len(misses)) - 1])


def _report(y: np.ndarray, predicted: np.ndarray, coverage: float) -> Report:
    return Report(
        rmse=float(np.sqrt(np.mean((predicted - y) ** 2))),
        kendall_tau=rank_correlation("kendall", predicted, y),
        spearman=rank_correlation("spearman", predicted, y),
        regret=regret(y, predicted),
        coverage=coverage,
        n=len(y),
    )


def rank_correlation(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b or Spearman's rho; 0 where one of them is constant."""
    from scipy.stats import kendalltau, spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float({"kendall": kendalltau, "spearman": spearmanr}[kind](a, b).statistic)


def regret(y: np.ndarray, predicted: np.ndarray, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Best target minus the best among the k predicted best."""
    order = np.argsort(-predicted)
    return {k: float(y.max() - y[order[:k]].max()) for k in ks}
