"""Initial weights: those of the published scores, one draw an operator name, shared by all architectures."""

from typing import Literal
from zlib import crc32

import jax
import numpy as np

from search_spaces import Conv, Linear, Operator

Array = jax.Array
Draw = Literal["default", "absolute", "gaussian"]


class Initial:
    """Fresh weights by operator, drawn once.

    The published scores were computed at the framework's default: uniform within
    1 / sqrt(fan in). Every operator of a network has weights of its own; the same operator (name
    and shape) of two architectures has the same ones, which takes noise out of their comparison.

    Args:
        seed: Of all draws.
        draw: "default"; "absolute" for the magnitudes of the same weights (synflow); or "gaussian"
            for unit normal kernels (Zen-NAS).
    """

    def __init__(self, seed: int, draw: Draw = "default") -> None:
        self.seed, self._kind = seed, draw
        self._drawn: dict[tuple[str, tuple[int, ...]], tuple[Array, Array | None, float]] = {}

    def kernel(self, op: Operator) -> tuple[Array | None, Array | None]:
        """Kernel `[k, k, in / groups, out]` or `[in, out]`, and bias `[out]`; None where there is none."""
        return self._draw(op)[:2] if isinstance(op, Conv | Linear) else (None, None)

    def norm(self, op: Conv | Linear) -> float:
        """Euclidean norm of the kernel."""
        return self._draw(op)[2]

    def _draw(self, op: Conv | Linear) -> tuple[Array, Array | None, float]:
        shape = kernel_shape(op)
        if (op.name, shape) not in self._drawn:
            rng = np.random.default_rng([self.seed, crc32(op.name.encode()), *shape])
            bound = 1 / np.sqrt(np.prod(shape[:-1]))
            kernel = rng.uniform(-bound, bound, shape).astype(np.float32)
            bias = rng.uniform(-bound, bound, shape[-1:]).astype(np.float32) if op.bias else None
            if self._kind == "gaussian":
                kernel = rng.standard_normal(shape, dtype=np.float32)
            elif self._kind == "absolute":
                kernel, bias = np.abs(kernel), None if bias is None else np.abs(bias)
            norm = float(np.linalg.norm(kernel.astype(np.float64)))
            self._drawn[op.name, shape] = jax.device_put(kernel), None if bias is None else jax.device_put(bias), norm
        return self._drawn[op.name, shape]


def kernel_shape(op: Operator) -> tuple[int, ...]:
    """Shape of an operator's kernel; empty if it has none."""
    if isinstance(op, Conv):
        return (op.kernel, op.kernel, op.in_channels // op.groups, op.out_channels)
    return (op.in_channels, op.out_channels) if isinstance(op, Linear) else ()
