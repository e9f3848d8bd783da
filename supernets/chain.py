"""The gradient of a subnet as a chain of small compiled programs, one link a block.

A whole subnet as one program must either be compiled anew for every subnet or pay for the largest
one every time, with masks. A link is a block at one kernel size and width, compiled at its true
size: a few hundred links serve all subnets of a space (supernets/README.md has the figures). The
forward program of a link returns its pullback too, a pytree of residuals, which the backward
program takes. Blocks of the same shape share their programs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from search_spaces import Conv, Linear, Network, Operator
from supernets.module import run_operator
from supernets.params import Array, Params
from supernets.slicing import operator_weights

Operators = tuple[Operator, ...]


@dataclass(frozen=True)
class Link:
    """Consecutive operators that read one value from outside.

    Attributes:
        prefix: Of its operators' names in the network, "" for the links before and after the blocks.
        operators: Named without the prefix; input 0 is what the link reads, i + 1 the output of operator i.
    """

    prefix: str
    operators: Operators

    def weights(self, params: Mapping[str, Array]) -> Params:
        """Its part of the supernet's weights, full width, by the names that its operators have."""
        owners = {self.prefix + op.name for op in self.operators}
        return {n.removeprefix(self.prefix): v for n, v in params.items() if n.rpartition(".")[0] in owners}


def cut(network: Network) -> list[Link]:
    """A network's links: what comes before the blocks, each block, and what comes after them.

    Raises:
        ValueError: if an operator reads a value of an earlier link other than its output.
    """
    found, start = [], 0
    prefixes = [f"{op.part}." if ".block" in op.part else "" for op in network]
    for prefix, group in groupby(zip(prefixes, network, strict=True), key=lambda pair: pair[0]):
        operators = []
        for _, op in group:
            if min(op.inputs) < start:
                raise ValueError(f"{op.name}: a link reads only the output of the link before it.")
            operators.append(replace(op, name=op.name.removeprefix(prefix), inputs=tuple(i - start for i in op.inputs)))
        found.append(Link(prefix, tuple(operators)))
        start += len(operators)
    return found


class Gradient(NamedTuple):
    """Of one subnet: the sum of the gradients so far, its loss and its logits `[n, classes]`."""

    total: Params
    loss: Array
    logits: Array


def gradient(params: Params, total: Params, network: Network, images: Array, target: Array, dropout: Array) -> Gradient:
    """Adds the gradient of a subnet's cross entropy to a sum of gradients.

    Args:
        params: The supernet's weights.
        total: The sum so far; its memory is used for the new sum.
        network: The subnet, of the images' size.
        images: Normalised images `[n, h, w, c]`.
        target: Class probabilities `[n, classes]`.
        dropout: Mask `[n, features]`, already scaled, before the classifier.
    """
    first, *middle, head = cut(network)
    weights = [link.weights(params) for link in (first, *middle, head)]
    x, pullback = _first_forward(weights[0], images, first.operators)
    pullbacks = [pullback]
    for link, w in zip(middle, weights[1:-1], strict=True):
        x, pullback = _forward(w, x, link.operators)
        pullbacks.append(pullback)
    found = dict(total)
    sums, g, loss, logits = _head(head.weights(total), weights[-1], x, target, dropout, head.operators)
    found.update(sums)
    for link, pullback in zip((first, *middle)[::-1], pullbacks[::-1], strict=True):
        sums, g = _backward(link.weights(total), pullback, g)
        found.update({link.prefix + name: value for name, value in sums.items()})
    return Gradient(found, loss, logits)


def programs() -> int:
    """Compiled programs so far, of all links."""
    return sum(f._cache_size() for f in (_first_forward, _forward, _backward, _head))  # type: ignore[attr-defined]


def _run(weights: Params, x: Array, operators: Operators, dropout: Array | None = None) -> Array:
    values = [x]
    for op in operators:
        inputs = [values[i] for i in op.inputs]
        fields = SimpleNamespace(**operator_weights(weights, op)) if isinstance(op, Conv | Linear) else None
        if dropout is not None and isinstance(op, Linear):
            inputs = [inputs[0].reshape(dropout.shape) * dropout]
        values.append(run_operator(op, fields, inputs, True))
    return values[-1]


@partial(jax.jit, static_argnames="operators")
def _first_forward(weights: Params, images: Array, operators: Operators) -> tuple[Array, Any]:
    return jax.vjp(lambda w: _run(w, images, operators), weights)


@partial(jax.jit, static_argnames="operators")
def _forward(weights: Params, x: Array, operators: Operators) -> tuple[Array, Any]:
    return jax.vjp(lambda w, x: _run(w, x, operators), weights, x)


@partial(jax.jit, donate_argnums=0)
def _backward(total: Params, pullback: Any, g: Array) -> tuple[Params, Array | None]:
    weights, *inputs = pullback(g)
    return jax.tree.map(jnp.add, total, weights), inputs[0] if inputs else None


@partial(jax.jit, static_argnames="operators", donate_argnums=0)
def _head(
    total: Params, weights: Params, x: Array, target: Array, dropout: Array, operators: Operators
) -> tuple[Params, Array, Array, Array]:
    def loss(weights: Params, x: Array) -> tuple[Array, Array]:
        logits = _run(weights, x, operators, dropout)
        return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean(), logits

    (value, logits), (grads, g) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(weights, x)
    return jax.tree.map(jnp.add, total, grads), g, value, logits
