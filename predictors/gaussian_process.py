"""Gaussian process over groups of features, one length scale a group."""

from collections.abc import Sequence

import numpy as np

Groups = Sequence[np.ndarray]  # features [n, d] of every group; all groups describe the same n rows

_NOISE = 1e-2  # prior medians, for targets and distances of unit scale
_FLOOR = 1e-6
_PRIOR_PRECISION = 0.3  # of the log parameters


def correlation(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matern 3/2 of weighted squared distances, and minus its derivative by them."""
    r = np.sqrt(3.0 * distances)
    decay = np.exp(-r)
    return (1.0 + r) * decay, 1.5 * decay


def squared_distances(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between the rows of `A` `[n, d]` and `B` `[m, d]`, `[n, m]`."""
    # in place: for a whole space these are the largest arrays there are
    distances = (-2.0 * A) @ B.T
    distances += (A * A).sum(1)[:, None]
    distances += (B * B).sum(1)[None]
    return np.maximum(distances, 0.0, out=distances)


class GaussianProcess:
    """Matern 3/2: k(a, b) = s^2 (1 + r) exp(-r), r^2 = 3 sum_g theta_g |a_g - b_g|^2, plus a nugget; constant mean.

    Accuracies of networks are not as smooth as a squared exponential takes them for: it becomes too certain.
    The mean and s^2 are profiled out in closed form; theta and the nugget maximise the marginal likelihood
    under a wide log-normal prior (Rasmussen & Williams 2006, section 5.4). Features should be
    scaled so that the mean squared distance within a group is about 1. The target is standardised inside.

    Args:
        iterations: Of the optimiser.

    Attributes:
        log_parameters_: log theta of every group, then log nugget / s^2.
        sd_: Standard deviation s, in units of the target.

    Example:
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> mean, sd = GaussianProcess().fit([x], np.sin(5 * x[:, 0])).predict([x])
        >>> bool(np.abs(mean - np.sin(5 * x[:, 0])).max() < 0.1)
        True
    """

    def __init__(self, *, iterations: int = 25) -> None:
        self.iterations = iterations

    def fit(self, groups: Groups, y: np.ndarray, *, optimise: bool = True) -> "GaussianProcess":
        """Learns `y` `[n]`, n >= 2; without `optimise` the parameters of an earlier fit are kept."""
        from scipy.linalg import solve_triangular
        from scipy.optimize import minimize

        y = np.asarray(y, dtype=np.float64)
        self._shift, self._scale = float(y.mean()), float(y.std()) or 1.0
        target = (y - self._shift) / self._scale
        prior = np.log([*[1.0 / len(groups)] * len(groups), _NOISE])
        if not hasattr(self, "log_parameters_"):
            self.log_parameters_ = prior
        if optimise and target.any():  # of a constant the likelihood is unbounded
            distances = np.stack([squared_distances(g, g) for g in groups])
            self.log_parameters_ = minimize(
                _objective,
                self.log_parameters_,
                (distances, target, prior),
                method="L-BFGS-B",
                jac=True,
                bounds=[(-8, 4)] * len(groups) + [(-9, 1)],
                options={"maxiter": self.iterations},
            ).x
        self._theta, self._nugget = np.exp(self.log_parameters_[:-1]), float(np.exp(self.log_parameters_[-1])) + _FLOOR
        self._inputs = self.scaled(groups)
        kernel = self.cross(self._inputs, self._inputs)
        np.fill_diagonal(kernel, 1.0 + self._nugget)
        self._factor = np.linalg.cholesky(kernel)
        solved = solve_triangular(self._factor, np.stack([np.ones(len(y)), target], 1), lower=True)
        self._mean = float(solved[:, 0] @ solved[:, 1] / (solved[:, 0] @ solved[:, 0]))
        self._weights = solved[:, 1] - self._mean * solved[:, 0]
        self.sd_ = self._scale * float(np.sqrt(self._weights @ self._weights / len(y)))
        return self

    def predict(self, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of a new observation (nugget included) of every row, each `[n]`."""
        posterior = self.posterior(groups)
        return posterior.mean, posterior.sd

    def posterior(self, groups: Groups) -> "Posterior":
        """The posterior over some rows, which can be conditioned further."""
        return Posterior(self, groups)

    def scaled(self, groups: Groups) -> np.ndarray:
        """Inputs `[n, d]` of all groups whose squared distances are those of the kernel."""
        return np.concatenate([np.sqrt(t) * np.asarray(g) for t, g in zip(self._theta, groups, strict=True)], axis=1)

    def cross(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """Correlations `[n, m]` of `scaled` inputs `A` with `B`."""
        r = squared_distances(A, B)
        r *= 3.0
        np.sqrt(r, out=r)
        decay = np.exp(-r)
        r += 1.0
        r *= decay
        return r


class Posterior:
    """Marginal posteriors of some rows; `believe` conditions on one of them turning out at its mean."""

    def __init__(self, gp: GaussianProcess, groups: Groups) -> None:
        from scipy.linalg import solve_triangular

        self._gp, self._inputs = gp, gp.scaled(groups)
        cross = gp.cross(gp._inputs, self._inputs)
        self._solved = solve_triangular(gp._factor, cross, lower=True, overwrite_b=True, check_finite=False)
        self.mean = gp._shift + gp._scale * (gp._mean + gp._weights @ self._solved)
        self._explained = (self._solved**2).sum(0)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of an observation of every row, `[n]`."""
        return self._gp.sd_ * np.sqrt(np.maximum(1 - self._explained, 0.0) + self._gp._nugget)

    def believe(self, row: int) -> None:
        """Conditions on row `row` being observed at its mean: means stay, neighbours become certain."""
        known = self._solved[:, row]
        left = np.sqrt(max(1 + self._gp._nugget - float(known @ known), _FLOOR))
        correlation = self._gp.cross(self._inputs[row : row + 1], self._inputs)[0]
        new = (correlation - known @ self._solved) / left
        self._solved = np.concatenate([self._solved, new[None]])
        self._explained = self._explained + new**2


def _objective(p: np.ndarray, distances: np.ndarray, y: np.ndarray, prior: np.ndarray) -> tuple[float, np.ndarray]:
    """Negative log posterior of the log parameters `p`, mean and scale profiled out, and its gradient."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    n, theta, nugget = len(y), np.exp(p[:-1]), np.exp(p[-1])
    kernel, by_distance = correlation(np.tensordot(theta, distances, 1))
    try:
        factor = cho_factor(kernel + (nugget + _FLOOR) * np.eye(n), lower=True, check_finite=False)
    except LinAlgError:
        return 1e10, np.zeros_like(p)
    inverse = cho_solve(factor, np.eye(n), check_finite=False)
    ones = inverse.sum(1)
    residual = y - (ones @ y) / ones.sum()
    solved = inverse @ residual
    variance = float(residual @ solved) / n
    by_kernel = inverse - np.outer(solved, solved) / variance  # twice the gradient by the kernel matrix
    gradient = np.concatenate(
        [
            -0.5 * theta * (distances.reshape(len(theta), -1) @ (by_distance * by_kernel).ravel()),
            [0.5 * nugget * np.trace(by_kernel)],
        ]
    )
    value = 0.5 * n * np.log(variance) + float(np.log(np.diag(factor[0])).sum())
    return (
        value + 0.5 * _PRIOR_PRECISION * float(((p - prior) ** 2).sum()),
        gradient + _PRIOR_PRECISION * (p - prior),
    )
