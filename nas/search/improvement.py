"""Expected hypervolume improvement over a front, for normal predictions of warped objectives."""

from dataclasses import dataclass

import numpy as np

from nas.pareto import pareto_front

_DIRECTIONS = 256


@dataclass(frozen=True)
class Warp:
    """z = log(y - lowest + offset): spreads the values near the best, so that a model is exact where it matters.

    Attributes:
        lowest: Smallest value seen.
        offset: Of the logarithm; half of the distance from there to the median.
        cap: Larger values are taken for this one: beyond the reference point they make no difference.
    """

    lowest: float
    offset: float
    cap: float = np.inf

    @classmethod
    def of(cls, y: np.ndarray, cap: float = np.inf) -> "Warp":
        """The warp for values `y` `[n]`."""
        lowest, spread = float(y.min()), float(np.median(y) - y.min())
        return cls(lowest, 0.5 * spread or 0.5 * float(np.ptp(y)) or 1.0, cap if cap > lowest else np.inf)

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """Warped values."""
        return np.log(np.minimum(y, self.cap) - self.lowest + self.offset)

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Values of warped ones."""
        return np.exp(np.minimum(z, 50.0)) + self.lowest - self.offset


class Improvement:
    """By how much points increase the hypervolume of a set.

    Exact for two objectives. For any other number it is the mean over fixed random directions of the gain
    of the hypervolume scalarisation (Zhang & Golovin, ICML 2020), whose expectation it is up to a constant.

    Args:
        Y: What is there `[n, m]`, minimised.
        reference: Reference point `[m]`.
    """

    def __init__(self, Y: np.ndarray, reference: np.ndarray) -> None:
        self.reference = np.asarray(reference, dtype=np.float64)
        inside = Y[(reference > Y).all(axis=1)]
        self.front = inside[pareto_front(inside)] if len(inside) else inside
        m = len(self.reference)
        if m != 2:
            directions = np.abs(np.random.default_rng(0).normal(size=(_DIRECTIONS, m)))
            self._directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
            self._best = self._scalarise(self.front).max(axis=0) if len(self.front) else np.zeros(_DIRECTIONS)

    def __call__(self, Y: np.ndarray) -> np.ndarray:
        """Gain of every point of `Y` `[n, m]` alone, `[n]`."""
        if len(self.reference) != 2:
            return np.maximum(self._scalarise(Y) - self._best, 0.0).mean(axis=1)
        left = np.concatenate([[-np.inf], self.front[:, 0]])
        right = np.concatenate([self.front[:, 0], self.reference[:1]])
        height = np.concatenate([self.reference[1:], self.front[:, 1]])
        gain = np.zeros(len(Y))
        for low, high, top in zip(left, right, height, strict=True):
            gain += np.maximum(high - np.maximum(Y[:, 0], low), 0.0) * np.maximum(top - Y[:, 1], 0.0)
        return gain

    def expected(self, mean: np.ndarray, sd: np.ndarray, warps: list[Warp | None]) -> np.ndarray:
        """Expectation of the gain under independent normals, `[n]`, by Gauss-Hermite quadrature.

        Args:
            mean: `[n, m]`, in warped units where there is a warp.
            sd: `[n, m]`; not used for an objective without a warp, whose value is exact.
            warps: Of every objective; None where it is known.
        """
        unknown = [j for j, warp in enumerate(warps) if warp is not None]
        nodes, weights = np.polynomial.hermite_e.hermegauss({0: 1, 1: 8, 2: 5}.get(len(unknown), 3))
        total = np.zeros(len(mean))
        for combination in np.ndindex(*[len(nodes)] * len(unknown)):
            Y = mean.copy()
            weight = 1.0
            for j, k in zip(unknown, combination, strict=True):
                warp = warps[j]
                assert warp is not None
                Y[:, j] = warp.inverse(mean[:, j] + nodes[k] * sd[:, j])
                weight *= weights[k] / weights.sum()
            total += weight * self(Y)
        return total

    def _scalarise(self, Y: np.ndarray) -> np.ndarray:
        m = len(self.reference)
        least = np.full((len(Y), _DIRECTIONS), np.inf)
        for j in range(m):
            least = np.minimum(least, np.maximum(self.reference[j] - Y[:, j, None], 0.0) / self._directions[:, j])
        return least**m
