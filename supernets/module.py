"""`NetworkModule`: any `Network` as a stand-alone Flax module."""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from search_spaces import Conv, GlobalPool, Linear, Network, Operator, Pool, Scale, Shuffle, Sum, Zero
from supernets.depthwise import depthwise
from supernets.elastic import he_normal
from supernets.layers import ACTIVATIONS, convolution, normalise, pointwise

Array = jax.Array


class Weights(nnx.Module):
    """Weights of one operator: kernel `[k, k, in / groups, out]` or `[in, out]`, then norm or bias."""

    def __init__(self, op: Conv | Linear | Sum, rng: np.random.Generator) -> None:
        if isinstance(op, Conv):
            self.kernel = _kernel(rng, (op.kernel, op.kernel, op.in_channels // op.groups, op.out_channels))
        elif isinstance(op, Linear):
            self.kernel = _kernel(rng, (op.in_channels, op.out_channels))
        if isinstance(op, Conv | Sum) and op.norm:
            channels = op.out_shape[0]
            self.gamma = nnx.Param(jnp.ones(channels))
            self.beta = nnx.Param(jnp.zeros(channels))
            self.mean = nnx.BatchStat(jnp.zeros(channels))
            self.var = nnx.BatchStat(jnp.ones(channels))
        if isinstance(op, Conv | Linear) and op.bias:
            self.bias = nnx.Param(jnp.zeros(op.out_channels))


def _kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> nnx.Param:
    return he_normal(rng, shape, int(np.prod(shape[:-1])))


def _weighted(op: Operator) -> TypeGuard[Conv | Linear | Sum]:
    return isinstance(op, Conv | Linear) or (isinstance(op, Sum) and op.norm)


class NetworkModule(nnx.Module):
    """Runs the operators of a network; parameters and names are those of `network.operators`.

    Args:
        network: Any network.
        rng: Of the initial weights.
    """

    def __init__(self, network: Network, *, rng: np.random.Generator) -> None:
        self.network = network
        self.weights = nnx.Dict({_attribute(op.name): Weights(op, rng) for op in network if _weighted(op)})

    def __call__(self, images: Array, *, use_batch_statistics: bool = False) -> Array:
        """Logits `[n, classes]` of normalised images `[n, h, w, c]`.

        Args:
            images: Of the network's size.
            use_batch_statistics: Normalise by the batch instead of by the stored moments.
        """
        values = [images]
        for op in self.network:
            weights = self.weights.get(_attribute(op.name))
            inputs = [values[i] for i in op.inputs]
            values.append(run_operator(op, weights, inputs, use_batch_statistics))
        return values[-1].reshape(len(images), -1)

    def assign(self, tensors: Mapping[str, Array | np.ndarray]) -> None:
        """Sets weights by name, e.g. {"stem.kernel": ...}."""
        for name, value in tensors.items():
            op, _, field = name.rpartition(".")
            getattr(self.weights[_attribute(op)], field)[...] = jnp.asarray(value)


def _attribute(name: str) -> str:
    """Operator names have dots, which separate the parts of a path."""
    return name.replace(".", "/")


def run_operator(op: Operator, weights: Any, inputs: list[Array], batch: bool) -> Array:
    """Output of one operator.

    Args:
        op: The operator.
        weights: With fields kernel, gamma, beta, mean, var and bias, as far as it has them.
        inputs: What it reads, `[n, h, w, c]` each.
        batch: Whether to normalise by the batch instead of by mean and var.
    """
    return _RUN[type(op)](op, weights, inputs, batch)


def _conv(op: Conv, weights: Any, inputs: list[Array], batch: bool) -> Array:
    x, kernel = inputs[0], weights.kernel[...]
    if op.depthwise:
        y = depthwise(x, [kernel[:, :, 0]], jnp.int32(0), op.stride)
    elif op.kernel == 1:
        y = pointwise(x[:, :: op.stride, :: op.stride], kernel[0, 0], op.groups)
    else:
        y = convolution(x, kernel, stride=op.stride, groups=op.groups)
    y = checkpoint_name(y, "product")
    if op.bias:
        y = y + weights.bias[...]
    if op.norm:
        given = None if batch else (weights.mean[...], weights.var[...])
        y, _ = normalise(y, weights.gamma[...], weights.beta[...], given)
    if len(inputs) == 2:
        y = y + inputs[1]
    return ACTIVATIONS[op.activation](y)


def _linear(op: Linear, weights: Any, inputs: list[Array], batch: bool) -> Array:
    y = inputs[0].reshape(len(inputs[0]), -1) @ weights.kernel[...]
    return ACTIVATIONS[op.activation](y + weights.bias[...] if op.bias else y)


def _pool(op: Pool, weights: None, inputs: list[Array], batch: bool) -> Array:
    near_far = (op.padding, op.far_padding)
    window, strides = (1, op.kernel, op.kernel, 1), (1, op.stride, op.stride, 1)
    padding = ((0, 0), near_far, near_far, (0, 0))
    if op.reduce == "max":
        return lax.reduce_window(inputs[0], -jnp.inf, lax.max, window, strides, padding)
    total = lax.reduce_window(inputs[0], 0.0, lax.add, window, strides, padding)
    # of one pixel a position: the compiler works it out beforehand, and for a whole batch that took it minutes
    ones = jnp.ones((1, *inputs[0].shape[1:3], 1), inputs[0].dtype)
    return total / lax.reduce_window(ones, 0.0, lax.add, window, strides, padding)


def _global_pool(op: GlobalPool, weights: None, inputs: list[Array], batch: bool) -> Array:
    return checkpoint_name(inputs[0].mean(axis=(1, 2), keepdims=True), "pooled")


def _scale(op: Scale, weights: None, inputs: list[Array], batch: bool) -> Array:
    return inputs[0] * inputs[1]


def _sum(op: Sum, weights: Any, inputs: list[Array], batch: bool) -> Array:
    y = inputs[0]
    for x in inputs[1:]:
        y = y + x
    if op.norm:
        given = None if batch else (weights.mean[...], weights.var[...])
        y, _ = normalise(y, weights.gamma[...], weights.beta[...], given)
    return ACTIVATIONS[op.activation](y)


def _zero(op: Zero, weights: None, inputs: list[Array], batch: bool) -> Array:
    return jnp.zeros_like(inputs[0])


def _shuffle(op: Shuffle, weights: None, inputs: list[Array], batch: bool) -> Array:
    x = inputs[0]
    return x.reshape(*x.shape[:3], op.groups, -1).swapaxes(3, 4).reshape(x.shape)


_RUN: dict[type[Operator], Callable[..., Array]] = {
    Conv: _conv,
    Linear: _linear,
    Pool: _pool,
    GlobalPool: _global_pool,
    Scale: _scale,
    Shuffle: _shuffle,
    Sum: _sum,
    Zero: _zero,
}
