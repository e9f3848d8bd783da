"""One program for all kernel sizes of a depthwise convolution: which it has is an argument."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from search_spaces import Conv
from supernets.depthwise import kernel_costs_nothing
from supernets.links import Operators
from supernets.params import Array, Params
from supernets.slicing import smaller_sizes

Choices = dict[str, Array]  # which kernel size, by the name of the operator


def any_kernel(operators: Operators, weights: Params) -> tuple[Operators, Choices]:
    """The operators with the largest depthwise kernels, where that costs nothing, and the kernel choices instead.

    One program then serves all kernel sizes of a block.
    """
    largest = tuple(
        weights[f"{op.name}.kernel"].shape[0] if isinstance(op, Conv) and op.depthwise else 0 for op in operators
    )
    found, chosen = _with_largest_kernels(operators, largest, tuple(weights))
    return found, scalars(chosen, weights)


def scalars(values: Sequence[tuple[str, int]], weights: Params) -> Choices:
    """Integers for a program by name, on all devices that weights are on."""
    where = _where(weights) if values else None
    return {name: _scalar(value, where) for name, value in values}


@lru_cache(maxsize=4096)
def _with_largest_kernels(
    operators: Operators, largest: tuple[int, ...], names: tuple[str, ...]
) -> tuple[Operators, tuple[tuple[str, int], ...]]:
    """The operators, and which of its sizes each had, by name."""
    found, chosen = [], []
    for op, size in zip(operators, largest, strict=True):
        if isinstance(op, Conv) and op.depthwise and kernel_costs_nothing(op.size):
            chosen.append((op.name, [*smaller_sizes(names, op), size].index(op.kernel)))
            op = replace(op, kernel=size)
        found.append(op)
    return tuple(found), tuple(chosen)


def _where(weights: Params) -> NamedSharding | None:
    """On which devices weights are, if on several."""
    sharding = getattr(next(iter(weights.values())), "sharding", None)
    return NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else None


@cache
def _scalar(value: int, where: NamedSharding | None) -> Array:
    """On the devices once, not at every call: moving it there would take as long as the call."""
    return jnp.int32(value) if where is None else jax.jit(lambda: jnp.int32(value), out_shardings=where)()
