"""Sorting hidden channels by importance, so that narrow subnets keep the best ones (OFA, section 3.3)."""

from collections.abc import Mapping

import jax.numpy as jnp

from search_spaces import MBConvSpace
from supernets.params import Array, Params


def channel_order(params: Mapping[str, Array], space: MBConvSpace) -> dict[str, Array]:
    """For every block the permutation of its hidden channels, and of those inside squeeze-excite.

    The importance of a channel is the L1 norm of the projection's weights that read it; inside
    squeeze-excite that of the expansion's weights that read it.
    """
    orders = {}
    for s, stage in enumerate(space.spec.stages, 1):
        for b in range(1, max(stage.depths) + 1):
            block = f"stage{s}.block{b}"
            orders[block] = _descending(params[f"{block}.project.kernel"])
            if stage.squeeze_excite:
                orders[f"{block}.se"] = _descending(params[f"{block}.se.expand.kernel"])
    return orders


def _descending(kernel: Array) -> Array:
    return jnp.argsort(-jnp.abs(kernel).sum(axis=1), stable=True)


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


def sort_channels(params: Mapping[str, Array], space: MBConvSpace) -> Params:
    """Weights with the most important hidden channels first."""
    return permute(params, channel_order(params, space))
