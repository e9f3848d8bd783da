"""Accuracy of subnets, learned from a sample of evaluated ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces import Space


@dataclass(frozen=True)
class HeldOut:
    """How well the predictor does on subnets that it was not fitted on.

    Attributes:
        rmse: Root mean squared error, in the units of the target.
        kendall_tau: Rank correlation (tau-b).
        n: Held-out subnets.
        predicted: Out-of-fold predictions `[n]`, in the order of the fitted rows.
    """

    rmse: float
    kendall_tau: float
    n: int
    predicted: np.ndarray


def _candidates() -> dict[str, Callable[[], Any]]:
    from sklearn.linear_model import Ridge
    from sklearn.svm import SVR

    ridges = {f"ridge(alpha={a:g})": lambda a=a: Ridge(alpha=a) for a in (0.3, 1.0, 3.0, 10.0, 30.0)}
    # the target is standardised, so one epsilon serves every accuracy range
    machines = {f"svr(C={c:g})": lambda c=c: SVR(C=c, epsilon=0.05) for c in (0.3, 1.0, 3.0, 10.0)}
    return {**ridges, **machines}


class AccuracyPredictor:
    """Ridge or support vector regression over one-hot genes, whichever cross-validates better.

    The features are one-hot genes with all zeros for an inactive gene (Once-for-All), so that a
    skipped block says nothing. The held-out figures come from an outer cross-validation in which
    the choice of the model is made anew in every fold: no held-out subnet has a say in it.

    Args:
        space: Of the architectures.
        folds: Of the cross-validation.
        seed: Of the folds.

    Attributes:
        model_: Name of the chosen model.
        intercept_: Mean of the fitted targets.

    Example:
        >>> from search_spaces import get_space
        >>> space = get_space("ofa_mbv3", resolutions=32)
        >>> X = space.sample(np.random.default_rng(0), 60)
        >>> predictor = AccuracyPredictor(space).fit(X, space.one_hot(X).sum(axis=1))
        >>> predictor.predict(X).shape
        (60,)
    """

    def __init__(self, space: Space, *, folds: int = 5, seed: int = 0) -> None:
        self.space, self.folds, self.seed = space, folds, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> "AccuracyPredictor":
        """Learns from genotypes `X` `[n, genes]` and their targets `y` `[n]`, n >= 2."""
        features, y = self.space.one_hot(X), np.asarray(y, dtype=np.float64)
        if len(y) < 2 or len(features) != len(y):
            raise ValueError(f"y (n={len(y)}) must have at least 2 rows, as many as X (n={len(features)}).")
        self.intercept_, self._scale = float(y.mean()), float(y.std()) or 1.0
        target = (y - self.intercept_) / self._scale
        self.model_ = self._choose(features, target)
        self._model = _candidates()[self.model_]().fit(features, target)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predicted targets of genotypes `X` `[n, genes]`, float64 `[n]`."""
        return self._model.predict(self.space.one_hot(X)) * self._scale + self.intercept_

    def held_out(self, X: np.ndarray, y: np.ndarray) -> HeldOut:
        """Error on subnets left out in turn, each predicted by a model that never saw it."""
        from scipy.stats import kendalltau

        y = np.asarray(y, dtype=np.float64)
        predicted = np.zeros(len(y))
        for rest, fold in self._split(len(y)):
            predicted[fold] = (
                AccuracyPredictor(self.space, folds=self.folds, seed=self.seed + 1)
                .fit(X[rest], y[rest])
                .predict(X[fold])
            )
        tau = float(kendalltau(predicted, y).statistic)
        return HeldOut(float(np.sqrt(np.mean((predicted - y) ** 2))), tau, len(y), predicted)

    def _choose(self, features: np.ndarray, target: np.ndarray) -> str:
        candidates = _candidates()
        if len(target) < 2 * self.folds:
            return "ridge(alpha=10)"
        errors = dict.fromkeys(candidates, 0.0)
        for rest, fold in self._split(len(target)):
            for name, make in candidates.items():
                guess = make().fit(features[rest], target[rest]).predict(features[fold])
                errors[name] += float(((guess - target[fold]) ** 2).sum())
        return min(errors, key=errors.__getitem__)

    def _split(self, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
        from sklearn.model_selection import KFold

        return list(KFold(min(self.folds, n), shuffle=True, random_state=self.seed).split(np.arange(n)))
