"""Where an emitted model gets its numbers: given arrays with batch norm folded in, or random ones."""

from collections.abc import Mapping
from zlib import crc32

import numpy as np

from latency_tables.errors import WeightsError
from latency_tables.qdq import BATCH_NORM_EPSILON, Rounding
from search_spaces import Conv, Linear, Operator, Sum

_POOL = np.random.default_rng(0).random(4093, dtype=np.float32) * 2 - 1  # a prime, so that rows differ


class Weights:
    """Weights of a network by name, as `onnx_model` describes them.

    Args:
        arrays: From names such as "stem.weight" and "stem.gamma" to arrays.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays

    @property
    def rounding(self) -> Rounding:
        """The roundings that they ask for."""
        return Rounding(self._arrays)

    def conv(self, op: Conv) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight `[out, in / groups, k, k]` and bias `[out]` with batch norm folded in, float32."""
        shape = (op.out_channels, op.in_channels // op.groups, op.kernel, op.kernel)
        weight = self._take(op, "weight", shape)
        bias = self._take(op, "bias", shape[:1]) if op.bias else None
        if op.norm:
            gamma, beta, mean, var = (self._take(op, n, shape[:1]) for n in ("gamma", "beta", "mean", "var"))
            scale = gamma / np.sqrt(var + BATCH_NORM_EPSILON)
            weight = weight * scale[:, None, None, None]
            bias = beta + ((0.0 if bias is None else bias) - mean) * scale
        return weight.astype(np.float32), None if bias is None else bias.astype(np.float32)

    def norm(self, op: Sum) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift `[channels]` of a batch norm that no convolution precedes, float32."""
        gamma, beta, mean, var = (self._take(op, n, (op.channels,)) for n in ("gamma", "beta", "mean", "var"))
        scale = gamma / np.sqrt(var + BATCH_NORM_EPSILON)
        return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)

    def linear(self, op: Linear) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight `[out, in]` and bias `[out]`, float32."""
        weight = self._take(op, "weight", (op.out_channels, op.in_channels)).astype(np.float32)
        return weight, self._take(op, "bias", (op.out_channels,)).astype(np.float32) if op.bias else None

    def _take(self, op: Operator, field: str, shape: tuple[int, ...]) -> np.ndarray:
        """One array in float64, of exactly that shape."""
        name = f"{op.name}.{field}"
        if name not in self._arrays:
            raise WeightsError(f"Weights lack {name!r}, an array of shape {shape} for operator {op.key!r}.")
        array = np.asarray(self._arrays[name])
        if array.shape != shape:
            raise WeightsError(f"Weight {name!r} has shape {array.shape}, operator {op.key!r} needs {shape}.")
        return array.astype(np.float64)


class RandomWeights(Weights):
    """Fixed pseudo-random weights that keep activations near unit variance; for timing."""

    def __init__(self) -> None:
        super().__init__({})

    def conv(self, op: Conv) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight and, where batch norm or bias exists, bias."""
        shape = (op.out_channels, op.in_channels // op.groups, op.kernel, op.kernel)
        return self._draw(op, shape), self._bias(op, op.norm or op.bias, op.out_channels)

    def norm(self, op: Sum) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift that change little."""
        return np.full(op.channels, 1.01, dtype=np.float32), np.full(op.channels, 0.01, dtype=np.float32)

    def linear(self, op: Linear) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight and, where the operator has one, bias."""
        return self._draw(op, (op.out_channels, op.in_channels)), self._bias(op, op.bias, op.out_channels)

    def _draw(self, op: Operator, shape: tuple[int, ...]) -> np.ndarray:
        # a short period, so that a bundle of hundreds of models packs to little; kernels do not look at values
        bound = np.float32(np.sqrt(6 / np.prod(shape[1:])))  # He et al.'s uniform initialisation
        pool = np.roll(_POOL, crc32(op.name.encode()) % len(_POOL))
        return np.resize(pool * bound, shape)

    def _bias(self, op: Operator, present: bool, channels: int) -> np.ndarray | None:
        return np.full(channels, 0.01, dtype=np.float32) if present else None
