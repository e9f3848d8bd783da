"""What the models of a search see of an architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.search.base import Objective
from predictors.feature_groups import Features
from predictors.gaussian_process import Groups
from predictors.operator_costs import OperatorCosts
from search_spaces import Space

_SAMPLE = 1000


@dataclass(frozen=True)
class LogScale:
    """Logarithms of costs, scaled to a mean squared distance of 1 over a sample.

    Attributes:
        floor: Smaller values are taken for this one: a time of 0 is a clock's, not a network's.
        mean: Of the sample's logarithms.
        sd: Their standard deviation.
    """

    floor: float
    mean: float
    sd: float

    @classmethod
    def of(cls, sample: np.ndarray) -> "LogScale":
        """The scale of a sample of costs `[n]`."""
        floor = max(float(np.quantile(sample, 0.01)), 1e-12)
        log = np.log(np.maximum(sample, floor))
        return cls(floor, float(log.mean()), float(log.std()) or 1.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """One feature `[n, 1]` of costs `[n]`."""
        return ((np.log(np.maximum(values, self.floor)) - self.mean) / (np.sqrt(2) * self.sd))[:, None]


class Inputs:
    """Groups of features: those of the space, the known objectives, and what tells of the measured costs.

    A known latency is an input to a model of accuracy, because slow networks tend to be accurate. For a
    latency that is measured there are counts of the operators and its estimate as a sum over
    them, see `OperatorCosts`, where the space is small enough to count them.

    Args:
        space: Of the architectures.
        known: Known objectives by index.
        costs: Indices of measured objectives that grow with the operators.
        zero_cost: Whether zero-cost scores are among the features.
    """

    def __init__(self, space: Space, known: Mapping[int, Objective], costs: Sequence[int], *, zero_cost: bool) -> None:
        self._features = Features(space, zero_cost=zero_cost)
        self._sample = np.concatenate([space.sample(np.random.default_rng(0), _SAMPLE), space.ends()])
        self._known, self._costs = dict(known), tuple(costs)
        self._scales = {j: LogScale.of(values(self._sample)) for j, values in self._known.items()}
        self._estimates: dict[int, tuple[OperatorCosts, LogScale]] = {}
        self._counts = self._features.operators(self._sample) if self._costs else []

    def learn(self, X: np.ndarray, Y: np.ndarray) -> Groups:
        """Estimates costs from objectives `Y` `[n, m]` of `X`; returns the groups of `X`."""
        self._estimates = {}
        if self._counts:
            counts = _joined(self._features.operators(X))
            for j in self._costs:
                if (Y[:, j] >= 0).all():
                    model = OperatorCosts().fit(counts, Y[:, j])
                    scale = LogScale.of(model.predict(_joined(self._counts)))
                    self._estimates[j] = model, scale
        return self(X)

    def fixed(self, X: np.ndarray) -> Groups:
        """The groups that do not change as the search learns."""
        counted = self._features.operators(X) if self._counts else []
        return [
            *self._features(X),
            *(scale(self._known[j](X)) for j, scale in self._scales.items()),
            *(
                (c - of.mean(axis=0)) / np.sqrt(2 * of.var(axis=0).sum())
                for c, of in zip(counted, self._counts, strict=True)
            ),
        ]

    def estimated(self, X: np.ndarray) -> Groups:
        """The groups that do: they follow the fixed ones."""
        if not self._estimates:
            return []
        counts = _joined(self._features.operators(X))
        return [scale(model.predict(counts)) for model, scale in self._estimates.values()]

    def __call__(self, X: np.ndarray) -> Groups:
        """All groups of genotypes `X` `[n, genes]`, each `[n, d]`."""
        return [*self.fixed(X), *self.estimated(X)]

    def largest(self, j: int) -> float | None:
        """Largest value of objective `j` in a random sample and at the space's ends, None if nothing tells."""
        if j in self._known:
            return float(self._known[j](self._sample).max())
        return float(self._estimates[j][0].predict(_joined(self._counts)).max()) if j in self._estimates else None


def _joined(counts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(counts, axis=1)
