"""Sorting hidden channels by importance, so that narrow subnets keep the best ones (OFA, section 3.3)."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp

from search_spaces import MBConvSpace
from search_spaces.mbconv import hidden_channels, se_channels
from supernets.params import Array, Params

_OFFSET = 1e5  # between the channels of one width and those that only the next larger one adds


def channel_order(params: Mapping[str, Array], space: MBConvSpace, trained: int = 1) -> dict[str, Array]:
    """For every block the permutation of its hidden channels, and of those inside squeeze-excite.

    The importance of a channel is the L1 norm of the projection's weights that read it; inside
    squeeze-excite that of the expansion's weights that read it.

    Args:
        params: The supernet's weights.
        space: Its space.
        trained: How many widths, from the largest, are trained already: the channels of each stay
            ahead of those that only a larger one has, so that all of them compute the same.
    """
    orders = {}
    channels = space.spec.first_channels
    for s, stage in enumerate(space.spec.stages, 1):
        for b in range(1, max(stage.depths) + 1):
            block = f"stage{s}.block{b}"
            widths = [hidden_channels(channels, e) for e in sorted(stage.expands, reverse=True)[:trained]]
            orders[block] = _descending(params[f"{block}.project.kernel"], widths)
            if stage.squeeze_excite:
                inner = [se_channels(width) for width in widths]
                orders[f"{block}.se"] = _descending(params[f"{block}.se.expand.kernel"], inner)
            channels = stage.channels
    return orders


def _descending(kernel: Array, widths: Sequence[int]) -> Array:
    importance = jnp.abs(kernel).sum(axis=1)
    for width in widths:
        importance = importance - _OFFSET * (jnp.arange(len(importance)) >= width)
    return jnp.argsort(-importance, stable=True)


# which axis of which tensor runs over a block's hidden channels, or over those inside squeeze-excite
_HIDDEN = {
    "expand.kernel": 1,
    "expand.gamma": 0,
    "expand.beta": 0,
    "depthwise.kernel": 2,
    "depthwise.gamma": 0,
    "depthwise.beta": 0,
    "project.kernel": 0,
    "se.reduce.kernel": 0,
    "se.expand.kernel": 1,
    "se.expand.bias": 0,
}
_INNER = {"se.reduce.kernel": 1, "se.reduce.bias": 0, "se.expand.kernel": 0}


def permute(params: Mapping[str, Array], orders: Mapping[str, Array]) -> Params:
    """Weights (or momenta) with hidden channels in a new order; the full network computes the same."""
    moved = dict(params)
    for name, order in orders.items():
        block, axes = (name.removesuffix(".se"), _INNER) if name.endswith(".se") else (name, _HIDDEN)
        for tensor, axis in axes.items():
            key = f"{block}.{tensor}"
            if key in moved:
                moved[key] = jnp.take(moved[key], order, axis=axis)
    return moved


def sort_channels(params: Mapping[str, Array], space: MBConvSpace, trained: int = 1) -> Params:
    """Weights with the most important hidden channels first, within the widths trained already."""
    return permute(params, channel_order(params, space, trained))
