"""Rounding with learned steps: LSQ+ (Bhalgat et al., CVPR workshops 2020) on the integers that ONNX Runtime uses.

Forward, the values are exactly those of QuantizeLinear and DequantizeLinear; backward, rounding counts
as the identity within the range. The gradients of step and offset are scaled by 1 / sqrt(n * Q), n being the
numbers that share them, of one image where they are activations (Esser et al., ICLR 2020, section 2.2).
"""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

ACTIVATION_LEVELS = 255  # unsigned 8 bits
WEIGHT_LEVELS = 64  # to either side: 7 bits, since x86 without VNNI saturates with 8 (latency_tables/int8.py)
FLOOR = 1e-7 / 255  # no step is smaller


@jax.custom_vjp
def round_weight(w: Array, scale: Array) -> Array:
    """s * clip(round(w / s), -64, 64) with a step for every output channel.

    Args:
        w: `[..., out]`.
        scale: `[out]`.
    """
    s = jnp.maximum(scale, FLOOR)
    return s * jnp.clip(jnp.round(w / s), -WEIGHT_LEVELS, WEIGHT_LEVELS)


def _weight_forward(w: Array, scale: Array) -> tuple[Array, tuple[Array, Array]]:
    return round_weight(w, scale), (w, scale)


def _weight_backward(residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    w, scale = residuals
    v = w / jnp.maximum(scale, FLOOR)
    inside = jnp.abs(v) <= WEIGHT_LEVELS
    slope = jnp.where(inside, jnp.round(v) - v, jnp.sign(v) * WEIGHT_LEVELS)
    shrink = (w.size / scale.size * WEIGHT_LEVELS) ** -0.5
    return g * inside, shrink * (g * slope).reshape(-1, scale.size).sum(axis=0)


round_weight.defvjp(_weight_forward, _weight_backward)


def rounded_kernel(w: Array | np.ndarray, scale: Array | np.ndarray) -> Array | np.ndarray:
    """`round_weight` for arrays of JAX, and for those of numpy, for which nothing is compiled."""
    if not isinstance(w, np.ndarray):
        return round_weight(w, scale)
    s = np.maximum(np.asarray(scale), np.float32(FLOOR))
    return s * np.clip(np.round(w / s), -WEIGHT_LEVELS, WEIGHT_LEVELS)


@jax.custom_vjp
def round_activation(x: Array, scale: Array, offset: Array) -> Array:
    """s * (clip(round(x / s) + z, 0, 255) - z), z = clip(round(-offset / s), 0, 255).

    LSQ+ has a real offset; an integer kernel has a whole zero point, so the offset counts as -s z.

    Args:
        x: `[n, ...]`, n images.
        scale: Scalar.
        offset: Scalar, the smallest value.
    """
    s, z = jnp.maximum(scale, FLOOR), zero_point(scale, offset)
    return s * (jnp.clip(jnp.round(x / s) + z, 0, ACTIVATION_LEVELS) - z)


def zero_point(scale: Array, offset: Array) -> Array:
    """The whole number that stands for 0."""
    return jnp.clip(jnp.round(-offset / jnp.maximum(scale, FLOOR)), 0, ACTIVATION_LEVELS)


def _activation_forward(x: Array, scale: Array, offset: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return round_activation(x, scale, offset), (x, scale, offset)


def _activation_backward(residuals: tuple[Array, Array, Array], g: Array) -> tuple[Array, Array, Array]:
    x, scale, offset = residuals
    v = x / jnp.maximum(scale, FLOOR) + zero_point(scale, offset)
    inside = (v >= 0) & (v <= ACTIVATION_LEVELS)
    slope = jnp.where(inside, jnp.round(v) - v, jnp.where(v < 0, 0.0, ACTIVATION_LEVELS))
    shrink = (x.size / x.shape[0] * ACTIVATION_LEVELS) ** -0.5
    return g * inside, shrink * (g * slope).sum(), shrink * (g * ~inside).sum()


round_activation.defvjp(_activation_forward, _activation_backward)


def weight_scale(w: Array, axes: tuple[int, ...]) -> Array:
    """The first step: the largest magnitude on the last level, over some axes."""
    return jnp.maximum(jnp.abs(w).max(axis=axes) / WEIGHT_LEVELS, FLOOR)


def activation_scale(low: Array, high: Array) -> Array:
    """The first step: from the smallest to the largest value in 255 steps, zero among them."""
    return jnp.maximum((jnp.maximum(high, 0.0) - jnp.minimum(low, 0.0)) / ACTIVATION_LEVELS, FLOOR)
