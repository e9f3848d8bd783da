"""Programs for spaces whose widths are free: one serves all widths of a block, absent channels held at zero.

At their true sizes, the blocks of such a space need a program for every pair of widths: hundreds a stage, each drawn
once or twice. Here what a block reads and makes has the supernet's width, and what lies between has one, two, three or
four quarters of it; a network's own widths are arguments. An absent channel is zero behind every operator that has
weights, so that neither the next one nor any gradient sees it. Kernel sizes and depth stay those of the network.
"""

from dataclasses import replace
from functools import lru_cache

import jax.numpy as jnp

from search_spaces import Conv, Linear, Operator, Sum
from supernets.any_kernel import Choices, any_kernel, scalars
from supernets.links import Link, Operators
from supernets.params import Array, Params

_LEVELS, _STEP = 4, 8  # widths within a block: quarters of the supernet's, in steps of 8 channels
_KEPT = ".channels"
Shapes = tuple[tuple[int, ...], ...]  # of every operator's kernel in the supernet; () for one without


def fitted(link: Link, weights: Params, *, masked: bool, last: bool = False) -> tuple[Operators, Choices]:
    """The operators that a link's program is made for, and what tells it which network's they are.

    Args:
        link: Of a network.
        weights: Its part of the supernet's, full width.
        masked: Whether one program serves all widths.
        last: Whether it makes the logits: widths within it are then the network's own.
    """
    operators, kept = link.operators, tuple[tuple[str, int], ...]()
    if masked:
        shapes = tuple(tuple(weights[n].shape) if (n := f"{op.name}.kernel") in weights else () for op in operators)
        operators, kept = _widened(operators, shapes, last)
    operators, choices = any_kernel(operators, weights)
    return operators, choices | scalars(kept, weights)


def absent_held(op: Operator, y: Array, choices: Choices) -> Array:
    """An operator's output with the channels at zero that the network has not."""
    own = choices.get(op.name + _KEPT)
    return y if own is None else jnp.where(jnp.arange(y.shape[-1]) < own, y, 0)


def summands_fitted(op: Operator, inputs: list[Array]) -> list[Array]:
    """What an operator reads; what it adds up cut or filled with zeros to its width, where programs differ in it."""
    if isinstance(op, Conv):
        return [inputs[0], *(_to(x, op.out_channels) for x in inputs[1:])]
    return [_to(x, op.channels) for x in inputs] if isinstance(op, Sum) else inputs


def _to(x: Array, channels: int) -> Array:
    missing = channels - x.shape[-1]
    return x[..., :channels] if missing <= 0 else jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))


@lru_cache(maxsize=4096)
def _widened(operators: Operators, shapes: Shapes, last: bool) -> tuple[Operators, tuple[tuple[str, int], ...]]:
    """The operators at their program's widths, and the network's own by the names that programs know them by."""
    widths, found, own = [_input_width(operators, shapes)], [], []
    end = operators[-1].out_shape[0], _widest(len(operators), operators, shapes)
    for op, shape in zip(operators, shapes, strict=True):
        read = widths[op.inputs[0]]
        if isinstance(op, Conv) and op.depthwise:
            wide: Operator = replace(op, in_channels=read, out_channels=read, groups=read)
        elif isinstance(op, Conv | Linear):
            width, most = op.out_channels, shape[-1]
            if not last:
                width = most if (width, most) == end else _level(width, most)
            wide = replace(op, in_channels=read, out_channels=width)
        else:
            wide = replace(op, channels=widths[op.inputs[-1]] if isinstance(op, Sum) else read)  # type: ignore[call-arg]
        if not last and (shape or isinstance(op, Sum) and op.norm):
            own.append((op.name + _KEPT, op.out_shape[0]))
        found.append(wide)
        widths.append(wide.out_shape[0])
    return tuple(found), tuple(own)


def _level(width: int, most: int) -> int:
    step = -(-most // (_LEVELS * _STEP)) * _STEP
    return min(most, -(-width // step) * step)


def _widest(value: int, operators: Operators, shapes: Shapes) -> int:
    """Channels of a value in the supernet: of its last summand's, where it is a sum."""
    op, shape = operators[value - 1], shapes[value - 1]
    if shape:
        return shape[-1]
    source = op.inputs[-1] if isinstance(op, Sum) else op.inputs[0]
    return _widest(source, operators, shapes) if source else _input_width(operators, shapes)


def _input_width(operators: Operators, shapes: Shapes) -> int:
    """Channels in the supernet of what a link reads: as many as the first kernel behind it."""
    same = {0}
    for i, (op, shape) in enumerate(zip(operators, shapes, strict=True), 1):
        if op.inputs[0] in same:
            if shape:
                return shape[-1 if isinstance(op, Conv) and op.depthwise else -2]
            same.add(i)
    raise ValueError(f"{operators[0].name}: no kernel says how many channels the link reads.")
