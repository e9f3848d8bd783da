"""The gradient of every gate of one path (Cai et al., ProxylessNAS, ICLR 2019).

As in a mixture, blocks run one at a time; the candidates that are not of the path run forward only.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from supernets.any_kernel import any_kernel
from supernets.links import Link, Operators
from supernets.losses import cross_entropy
from supernets.mixed import Plan, read
from supernets.params import Array, Params
from supernets.programs import backward, forward, run
from supernets.update import zeros_like


class Gates(NamedTuple):
    """Of one path: the gradient of the loss by every gate, `[layers]` arrays `[candidates]`; loss and logits."""

    gradient: list[np.ndarray]
    loss: float
    logits: Array


def gates(
    params: Params, p: Plan, path: Sequence[int], wanted: Sequence[Sequence[int]], images: Array, target: Array
) -> Gates:
    """BinaryConnect's gradient of binary gates: <dL/dy, o_j(x)> (Cai et al., ProxylessNAS, ICLR 2019).

    o_j is a block without its residual, so that the gate of a skip has gradient 0.

    Args:
        params: The supernet's weights.
        p: The space.
        path: The active candidate of every layer.
        wanted: The candidates of every layer whose gates are asked for; others get 0.
        images: Normalised images `[n, h, w, c]`.
        target: Class probabilities `[n, classes]`.
    """

    def made(link: Link, x: Array, *, first: bool = False) -> tuple[Array, list[Array]]:
        weights = link.weights(params)
        operators, choices = any_kernel(link.operators, weights)
        return forward(weights, x, choices, operators=operators, first=first, files=None, mesh=None)

    def pulled(link: Link, x: Array, g: Array) -> Array:
        """The gradient of what a block reads, by the programs of the weight steps: none is compiled for it."""
        weights = link.weights(params)
        operators, choices = any_kernel(link.operators, weights)
        about = {"operators": operators, "first": False, "files": None, "mesh": None}
        _, found = backward(zeros_like(weights), weights, x, choices, made(link, x)[1], g, **about)
        assert found is not None
        return found

    x, _ = made(p.first, images, first=True)
    inputs = [x]
    for layer, k in zip(p.layers, path, strict=True):
        link = layer[k]
        x = x if link is None else made(link, x)[0]
        inputs.append(x)
    loss, g, logits = _head_only(p.head.weights(params), x, target, p.head.operators)
    nothing, found = zeros_like(loss), list[list[Array]]()  # no number of the host's: programs tell the two apart
    for i in range(len(p.layers))[::-1]:
        layer, x = p.layers[i], inputs[i]
        own = [nothing] * len(layer)
        for j in wanted[i]:
            link = layer[j]
            if link is not None:
                own[j] = _gate(link.weights(params), x, g, link.operators, p.keeps_shape[i])
        found.append(own)
        link = layer[path[i]]
        if link is not None and i > 0:
            g = pulled(link, x, g)
        inputs.pop()
    # read at the end: the device does not wait for the host between layers
    gradient, value = read(found[::-1], loss)
    return Gates(gradient, value, logits)


@partial(jax.jit, static_argnames="operators")
def _head_only(weights: Params, x: Array, target: Array, operators: Operators) -> tuple[Array, Array, Array]:
    def value_of(x: Array) -> tuple[Array, Array]:
        logits = run(weights, x, operators, {}).reshape(len(target), -1).astype(jnp.float32)
        return cross_entropy(logits, target), logits

    (value, logits), g = jax.value_and_grad(value_of, has_aux=True)(x)
    return value, g, logits


@partial(jax.jit, static_argnames=("operators", "residual"))
def _gate(weights: Params, x: Array, g: Array, operators: Operators, residual: bool) -> Array:
    o = run(weights, x, operators, {})
    return jnp.vdot(g.astype(jnp.float32), ((o - x) if residual else o).astype(jnp.float32))
