"""Supernets that round: steps and offsets are weights like others, found by operator name, and sliced with them.

An operator's activations are rounded at the places that `search_spaces.rounding` names, its kernel by a
step for every output channel; every size of a depthwise filter has its own, since the transformation
between sizes changes their magnitude. Steps of activations are shared by all subnets. Batch norm stays as
it is: folding it into a kernel multiplies a channel and its step alike, so the integers do not change.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from search_spaces import Conv, Linear, Operator, Sum
from search_spaces.rounding import largest_scale, places
from supernets.fake_quant import ACTIVATION_LEVELS, round_activation
from supernets.layers import ACTIVATIONS
from supernets.module import run_operator
from supernets.params import Array

IMAGE = "image"  # the place of the network's input; its step belongs to the operator that reads it
_FIELDS = tuple(f"{place}_{part}" for place in (IMAGE, "conv", "linear", "out") for part in ("scale", "offset"))
Visit = Callable[[str, Array], Array]  # place, result -> result


def is_quantised(params: Mapping[str, Any]) -> bool:
    """Whether weights have steps."""
    return any(name.endswith(".out_scale") for name in params)


def steps(params: Mapping[str, Any], op: Operator) -> dict[str, Any]:
    """Steps and offsets of an operator's activations by field, "out_scale" and so on; none where nothing is rounded."""
    return {field: params[f"{op.name}.{field}"] for field in _FIELDS if f"{op.name}.{field}" in params}


def rounded_input(own: Mapping[str, Any], op: Operator, inputs: list[Array]) -> list[Array]:
    """What an operator reads, with the image rounded."""
    return [_round(own, op, IMAGE, inputs[0]), *inputs[1:]] if f"{IMAGE}_scale" in own else inputs


def run_rounded(op: Operator, weights: Any, inputs: list[Array], batch: bool, own: Mapping[str, Any]) -> Array:
    """`run_operator`, with results rounded where there are steps for it."""
    if not own:
        return run_operator(op, weights, inputs, batch)
    return run_visited(op, weights, inputs, batch, lambda place, y: _round(own, op, place, y))


def run_visited(op: Operator, weights: Any, inputs: list[Array], batch: bool, visit: Visit) -> Array:
    """`run_operator` step by step, with `visit` at every place."""
    if isinstance(op, Conv):
        bare = replace(op, activation="none", inputs=op.inputs[:1])
        y = run_operator(bare, weights, inputs[:1], batch)
        if len(inputs) == 2:
            y = visit("conv", y) + inputs[1]
    elif isinstance(op, Linear | Sum):
        y = run_operator(replace(op, activation="none"), weights, inputs, batch)
    else:
        return visit("out", run_operator(op, weights, inputs, batch))
    if "linear" in places(op):
        y = visit("linear", y)
    return visit("out", ACTIVATIONS[op.activation](y))


def _round(own: Mapping[str, Any], op: Operator, place: str, y: Array) -> Array:
    if f"{place}_scale" not in own:
        return y
    scale = jnp.minimum(own[f"{place}_scale"], largest_scale(op, place, ACTIVATION_LEVELS))
    return round_activation(y, scale, own.get(f"{place}_offset", jnp.zeros_like(scale)))
