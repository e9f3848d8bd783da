"""Roofline: the least a kernel can take, from a device's arithmetic peak and memory bandwidth.

Williams, Waterman & Patterson, "Roofline", CACM 2009. Here a sum instead of a maximum, fitted by
kind: time = call + MACs / peak + bytes / bandwidth. A cold start where nothing better is known,
the mean that kernel models depart from, and a check of measured times.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from predictors.kernel_features import KernelConfig

_SMALLEST_MS = 1e-4  # no kernel is predicted below a tenth of a microsecond
_FEWEST = 8  # kernels of a kind that make a fit of its own


class Roofline:
    """Kernel times by MACs and bytes.

    Attributes:
        coefficients_: From a kind of kernel to milliseconds per call, per MAC and per byte; "" for any kind.
    """

    def fit(self, configs: Sequence[KernelConfig], ms: Sequence[float] | np.ndarray) -> "Roofline":
        """Fits relative errors with non-negative coefficients."""
        times = np.asarray(ms, dtype=np.float64)
        if len(times) < 3 or not (times > 0).all():
            raise ValueError(f"ms (={len(times)} times) must be at least 3 times above 0.")
        design = _design(configs)
        kinds = np.array([config.kind for config in configs])
        self.coefficients_ = {"": _solve(design, times)}
        for kind in sorted(set(kinds)):
            if (kinds == kind).sum() >= _FEWEST:
                self.coefficients_[kind] = _solve(design[kinds == kind], times[kinds == kind])
        return self

    def predict(self, configs: Sequence[KernelConfig]) -> np.ndarray:
        """Milliseconds of kernels `[n]`."""
        rates = np.array([self.coefficients_.get(c.kind, self.coefficients_[""]) for c in configs])
        return np.maximum((_design(configs) * rates).sum(axis=1), _SMALLEST_MS)

    @property
    def peak_gmacs(self) -> float:
        """Highest rate of any kind, 1e9 MACs a second; infinite where MACs are free."""
        slowest = [c[1] for c in self.coefficients_.values() if c[1] > 0]
        return 1e-6 / min(slowest) if slowest else float("inf")


def _design(configs: Sequence[KernelConfig]) -> np.ndarray:
    return np.array([[1.0, config.macs, config.bytes] for config in configs])


def _solve(design: np.ndarray, times: np.ndarray) -> np.ndarray:
    relative = design / times[:, None]
    scale = relative.max(axis=0)
    return nnls(relative / scale, np.ones(len(times)))[0] / scale
