"""The kernels of `depthwise_kernels` with batches divided over devices, and filters no wider than what they meet."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from supernets import depthwise_kernels as kernels

Array = jax.Array


def convolve(x: Array, w: Array, stride: int) -> Array:
    """Depthwise convolution of `[n, h, w, c]` with `[k, k, c]`, padding k // 2."""
    return _forward(stride)(x, _crop(w, x))


def gradients(x: Array, w: Array, g: Array, stride: int) -> tuple[Array, Array]:
    """Gradients of input and filter from that of the output."""
    near = _crop(w, x)
    margin = (w.shape[0] - near.shape[0]) // 2
    dx = _input_gradient(stride, x.shape[1:3])(g, near)
    dw = _filter_gradient(near.shape[0], stride)(x, g)
    return dx, jnp.pad(dw, ((margin, margin), (margin, margin), (0, 0)))


def _crop(w: Array, x: Array) -> Array:
    """Taps further from the centre only ever see padding."""
    p = w.shape[0] // 2
    r = min(p, max(x.shape[1:3]) - 1)
    return w[p - r : p + r + 1, p - r : p + r + 1]


@cache
def _forward(stride: int) -> Callable[..., Array]:
    return _divided(partial(kernels.forward, stride=stride), "n h w c, i j c -> n y x c")


@cache
def _input_gradient(stride: int, size: tuple[int, int]) -> Callable[..., Array]:
    run = partial(kernels.input_gradient, stride=stride, size=size)
    return _divided(run, "n y x c, i j c -> n h w c")


@cache
def _filter_gradient(k: int, stride: int) -> Callable[..., Array]:
    run = partial(kernels.filter_gradient, k=k, stride=stride)
    return _divided(run, "n h w c, n y x c -> i j c")


def _divided(run: Callable[..., Array], rule: str) -> Callable[..., Array]:
    """A kernel that runs on each device's images; what has no axis of images is added up."""
    once = jax.jit(run)  # many programs hold a kernel of these shapes: Python goes through it for the first one only
    divided = custom_partitioning(lambda *operands: once(*operands))
    sources, result = rule.split(" -> ")
    by_image = [part.startswith("n ") for part in (*sources.split(", "), result)]

    def specs(shapes: Any) -> tuple[Any, list[PartitionSpec]]:
        sharding = shapes[0].sharding
        axis = sharding.spec[0] if len(sharding.spec) else None
        return axis, [PartitionSpec(axis) if images else PartitionSpec() for images in by_image]

    def infer(mesh: Any, shapes: Any, result: Any) -> NamedSharding:
        del result
        return NamedSharding(mesh, specs(shapes)[1][-1])

    def partition(mesh: Any, shapes: Any, result: Any) -> tuple[Any, ...]:
        del result
        axis, found = specs(shapes)
        *arguments, out = (NamedSharding(mesh, spec) for spec in found)

        def own(*operands: Array) -> Array:
            value = run(*operands)
            return value if by_image[-1] or axis is None else jax.lax.psum(value, axis)

        return mesh, own, out, tuple(arguments)

    divided.def_partition(
        partition=partition,
        infer_sharding_from_operands=infer,
        sharding_rule=rule,
        need_replication_factors=tuple(dict.fromkeys(a for a in rule if a.isalpha() and a != "n")),
        reduction_factors=() if by_image[-1] else ("n",),
    )

    def anywhere(*operands: Array) -> Array:
        """Where every device runs its own program already (`supernets.apart`), there is nothing to divide."""
        return once(*operands) if jax.sharding.get_abstract_mesh().manual_axes else divided(*operands)

    return anywhere
