"""Layers with a choice of blocks, run block by block: weighted sums of all, and one path of them.

What a step keeps is the input of every layer. Blocks run one at a time, forward and, recomputed,
backward, so that the memory is that of one path however many candidates there are.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import ChoiceSpace
from supernets.links import Link, Operators, cut
from supernets.losses import cross_entropy
from supernets.params import Array, Params
from supernets.programs import apply, head, run
from supernets.update import zeros_like

NEXT_TO_NOTHING = 1e-3  # bfloat16 has not three digits: what weighs less hardly changes a sum


class Plan(NamedTuple):
    """A choice space as links: what comes before and after, and the candidates of every layer (None: identity)."""

    first: Link
    layers: tuple[tuple[Link | None, ...], ...]
    head: Link
    keeps_shape: tuple[bool, ...]  # whether a layer adds its input

    def of_candidate(self, j: int) -> "Plan":
        """With one candidate twice in every layer: the j-th, or the last where there are fewer."""
        return self._replace(layers=tuple((layer[min(j, len(layer) - 1)],) * 2 for layer in self.layers))


def plan(space: ChoiceSpace) -> Plan:
    """The links of a space."""
    most = int(space.cardinality.max())
    found: list[dict[str, Link]] = []
    for j in range(most):
        network = space.network(np.minimum(j, space.cardinality - 1))
        first, *blocks, head = cut(network)
        found.append({link.prefix: link for link in blocks})
    layers = tuple(
        tuple(found[j].get(f"block{i}.") for j in range(count)) for i, count in enumerate(space.cardinality, 1)
    )
    channels, keeps = space.spec.first_channels or space.spec.stem_channels, []
    for layer in space.spec.layers:
        keeps.append(layer.stride == 1 and layer.channels == channels)
        channels = layer.channels
    return Plan(first, layers, head, tuple(keeps))


class Mixture(NamedTuple):
    """Of a weighted sum of all paths: gradients of weights and of the mixing weights; loss and logits.

    Nothing of it is waited for.
    """

    total: Params
    mixing: list[list[Array]]
    loss: Array
    logits: Array


def mixture(
    params: Params, total: Params, p: Plan, mixing: Sequence[np.ndarray], images: Array, target: Array
) -> Mixture:
    """Gradients through x' = sum_i m_i o_i(x), every block with its residual (Wu et al., FBNet, CVPR 2019).

    Blocks of a weight below `NEXT_TO_NOTHING` are left out, and their m's gradient is 0: the softmax multiplies it by
    that weight again. When the temperature has fallen, that is most of them.

    Args:
        params: The supernet's weights.
        total: The sum of gradients so far; its memory is used.
        p: The space.
        mixing: m of every layer, `[candidates]`.
        images: Normalised images `[n, h, w, c]`.
        target: Class probabilities `[n, classes]`, scaled as the loss is.
    """
    found = dict(total)
    x = apply(p.first.weights(params), images, {}, p.first.operators)
    inputs = [x]
    for layer, m in zip(p.layers, mixing, strict=True):
        x = _weighted(params, layer, m, x)
        inputs.append(x)
    ones = jnp.ones((len(images), p.head.operators[-1].in_channels))  # type: ignore[attr-defined]
    weights = p.head.weights(params)
    sums, g, loss, logits = head(p.head.weights(found), weights, x, target, ones, p.head.operators, cross_entropy, None)
    found.update(sums)
    inputs.pop()
    nothing, gradients = zeros_like(loss), list[list[Array]]()
    for i in range(len(p.layers))[::-1]:
        x, own = inputs.pop(), list[Array]()
        dx = zeros_like(x)
        for link, weight in zip(p.layers[i], mixing[i].astype(np.float32), strict=True):
            if weight < NEXT_TO_NOTHING:
                dot = nothing
            elif link is None:
                dx, dot = _pull_identity(dx, x, g, weight)
            else:
                about = link.weights(params), x, g, weight, link.operators
                sums, dx, dot = _pull(link.weights(found), dx, *about)
                found.update({link.prefix + name: value for name, value in sums.items()})
            own.append(dot)
        gradients.append(own)
        g = dx
    weights = p.first.weights(params)
    about = weights, images, g, np.float32(1), p.first.operators
    sums, _, _ = _pull(p.first.weights(found), zeros_like(images), *about)
    found.update(sums)
    return Mixture(found, gradients[::-1], loss, logits)


def path_logits(params: Params, p: Plan, path: Sequence[int], images: Array) -> Array:
    """Logits `[n, classes]` of one path, by the programs of a mixture: its other candidates are not run.

    Args:
        params: The supernet's weights.
        p: The space.
        path: A candidate of every layer.
        images: Normalised images `[n, h, w, c]`; batch norms take their moments from them.
    """
    x = apply(p.first.weights(params), images, {}, p.first.operators)
    for layer, k in zip(p.layers, path, strict=True):
        x = _weighted(params, layer, np.eye(len(layer))[k], x)
    return apply(p.head.weights(params), x, {}, p.head.operators).reshape(len(images), -1)


def _weighted(params: Params, layer: tuple[Link | None, ...], m: np.ndarray, x: Array) -> Array:
    """sum_i m_i o_i(x) of a layer, every block with its residual; what weighs next to nothing is not run."""
    y = _zeros(x, shape=next((link.operators[-1].out_shape for link in layer if link), None))
    for link, weight in zip(layer, m.astype(np.float32), strict=True):
        if weight < NEXT_TO_NOTHING:
            continue
        y = _add_made(y, link.weights(params), x, weight, link.operators) if link else _add_scaled(y, x, weight)
    return y


def read(rows: Sequence[Sequence[Array]], loss: Array) -> tuple[list[np.ndarray], float]:
    """Rows of scalars and a loss, in one copy from the device: a copy takes as long for one as for hundreds."""
    *flat, value = np.asarray(_stacked([*chain.from_iterable(rows), loss]), np.float64)
    rest = iter(flat)
    return [np.array([next(rest) for _ in row]) for row in rows], float(value)


# -- programs ----------------------------------------------------------------------------------


@jax.jit
def _stacked(values: list[Array]) -> Array:
    return jnp.stack(values)


@partial(jax.jit, static_argnames="shape", keep_unused=True)  # on the device of x
def _zeros(x: Array, *, shape: tuple[int, int, int] | None) -> Array:
    """Of the type of x and, for a shape (c, h, w), of its batch; of its own shape without one."""
    if shape is None:
        return jnp.zeros_like(x)
    c, h, w = shape
    return jnp.zeros((len(x), h, w, c), x.dtype)


@partial(jax.jit, static_argnames="operators", donate_argnums=0)
def _add_made(y: Array, weights: Params, x: Array, m: Array | np.float32, operators: Operators) -> Array:
    o = run(weights, x, operators, {})
    return y + (m * o).astype(o.dtype)


@partial(jax.jit, donate_argnums=0)
def _add_scaled(y: Array, o: Array, m: Array | np.float32) -> Array:
    return y + (m * o).astype(o.dtype)


@partial(jax.jit, static_argnames="operators", donate_argnums=(0, 1))
def _pull(
    total: Params, dx: Array, weights: Params, x: Array, g: Array, m: Array | np.float32, operators: Operators
) -> tuple[Params, Array, Array]:
    """Sums with a block's own gradients, of its weights and of its input, scaled by m; <g, o(x)>."""
    o, pullback = jax.vjp(lambda w, x: run(w, x, operators, {}), weights, x)
    dw, own = pullback((m * g).astype(o.dtype))
    return jax.tree.map(jnp.add, total, dw), dx + own, _dot(g, o)


@partial(jax.jit, donate_argnums=0)
def _pull_identity(dx: Array, x: Array, g: Array, m: Array | np.float32) -> tuple[Array, Array]:
    return dx + (m * g).astype(g.dtype), _dot(g, x)


def _dot(g: Array, o: Array) -> Array:
    return jnp.vdot(g.astype(jnp.float32), o.astype(jnp.float32))
