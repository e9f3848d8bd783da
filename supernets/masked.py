"""The gradient of a subnet by programs of the largest one, channels and taps that it lacks held at zero.

A chain of links at their true sizes (`supernets.chain`) needs a program for every pair of widths. A stage
whose widths are free has hundreds of those and each is drawn once or twice, so that compiling would
take all the time. Here a stage has one program for its first block and one for the others; it pays for
the largest network every time. Depth stays real: blocks that are not there do not run.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Conv, Network, Operator
from supernets.links import Link, Operators, cut
from supernets.params import Array, Params
from supernets.quantised import rounded_input, run_rounded, steps
from supernets.slicing import filters, kernel_sizes, operator_weights

MapLoss = Callable[[Array, Array], Array]  # student's and teacher's maps [n, h, w, c] -> scalar


def gradient(
    params: Params, total: Params, superset: Network, network: Network, x: Array, target: Array, loss: MapLoss
) -> tuple[Params, Array]:
    """Adds the gradient of a subnet's loss to a sum of gradients.

    Args:
        params: Weights of the superset.
        total: The sum so far; its memory is used for the new sum.
        superset: Every operator of the space at its largest.
        network: The subnet; an operator of the superset that it lacks within a block passes its input on.
        x: Input `[n, h, w, c]`; its type is that of activations and products.
        target: What the result is compared with, of its shape.
        loss: Of result and target.

    Returns:
        The new sum, and the loss.
    """
    *links, head = _links(superset, network)
    pullbacks = []
    for link, choices in links:
        x, pullback = _forward(link.weights(params), x, choices, link.operators)
        pullbacks.append(pullback)
    link, choices = head
    weights, sums = link.weights(params), link.weights(total)
    sums, g, value = _head(sums, weights, x, target, choices, link.operators, loss)
    found = dict(total) | {link.prefix + name: v for name, v in sums.items()}
    for (link, _), pullback in zip(links[::-1], pullbacks[::-1], strict=True):
        sums, g = _backward(link.weights(total), pullback, g)
        found.update({link.prefix + name: v for name, v in sums.items()})
    return found, value


def forward(params: Params, superset: Network, network: Network, x: Array) -> Array:
    """Result `[n, h, w, c]` of a subnet, normalised by the batch; arguments and programs are those of `gradient`."""
    for link, choices in _links(superset, network):
        x, _ = _forward(link.weights(params), x, choices, link.operators)
    return x


def _links(superset: Network, network: Network) -> list[tuple[Link, np.ndarray]]:
    """The superset's links of which the subnet has something, each with sizes int32 `[operators, 3]`."""
    own = {op.name: op for op in network}
    found = []
    for link in cut(superset):
        mine = [own.get(link.prefix + op.name) for op in link.operators]
        if any(mine):
            found.append((link, np.array([_sizes(op) for op in mine], np.int32)))
    return found


def _sizes(op: Operator | None) -> tuple[int, int, int]:
    """Channels, kernel size, and whether it is there."""
    return (0, 0, 0) if op is None else (op.out_shape[0], op.kernel if isinstance(op, Conv) else 1, 1)


def _run(weights: Params, x: Array, choices: Array, operators: Operators) -> Array:
    values = [x]
    for op, (channels, kernel, present) in zip(operators, choices, strict=True):
        rounding = steps(weights, op)
        inputs = rounded_input(rounding, op, [values[i] for i in op.inputs])
        y = run_rounded(op, _weights(weights, op, kernel, x.dtype), inputs, True, rounding)
        if isinstance(op, Conv):  # what has no weights makes zeros of zeros
            y = jnp.where(jnp.arange(y.shape[-1]) < channels, y, 0.0)
            if y.shape[:3] == inputs[0].shape[:3]:
                passed = sum(inputs[1:], _with_channels(inputs[0], y.shape[-1]))  # a skip without its convolution
                y = jnp.where(present == 1, y, passed)
        values.append(y)
    return values[-1]


def _weights(weights: Params, op: Operator, kernel: Array, dtype: Any) -> Any:
    """The operator's weights by field, its filter at the size wanted and zero around it, of the activations' type."""
    own = operator_weights(weights, op)
    if not own:
        return None
    if isinstance(op, Conv) and op.kernel > 1:
        if op.depthwise:
            found = filters(weights, op)
            padded = [_padded(found[k], op.kernel) for k in kernel_sizes(weights, op)]
            choice = jnp.argmax(jnp.array(kernel_sizes(weights, op)) == kernel)
            own["kernel"] = jnp.stack(padded)[choice][:, :, None]
        else:
            near = jnp.abs(jnp.arange(op.kernel) - op.kernel // 2) <= kernel // 2
            own["kernel"] = own["kernel"] * (near[:, None] & near)[:, :, None, None]
    for name in {"kernel", "bias"} & own.keys():
        own[name] = own[name].astype(dtype)
    return SimpleNamespace(**own)


def _padded(w: Array, size: int) -> Array:
    margin = (size - w.shape[0]) // 2
    return jnp.pad(w, ((margin, margin), (margin, margin), (0, 0)))


def _with_channels(x: Array, channels: int) -> Array:
    """The leading channels, or zeros behind them."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, max(0, channels - x.shape[-1]))))[..., :channels]


@partial(jax.jit, static_argnames="operators")
def _forward(weights: Params, x: Array, choices: Array, operators: Operators) -> tuple[Array, Any]:
    return jax.vjp(lambda w, x: _run(w, x, choices, operators), weights, x)


@partial(jax.jit, donate_argnums=0)
def _backward(total: Params, pullback: Any, g: Array) -> tuple[Params, Array]:
    weights, g = pullback(g)
    return jax.tree.map(jnp.add, total, weights), g


@partial(jax.jit, static_argnames=("operators", "loss"), donate_argnums=0)
def _head(
    total: Params, weights: Params, x: Array, target: Array, choices: Array, operators: Operators, loss: MapLoss
) -> tuple[Params, Array, Array]:
    def value_of(weights: Params, x: Array) -> Array:
        return loss(_run(weights, x, choices, operators), target)

    value, (grads, g) = jax.value_and_grad(value_of, argnums=(0, 1))(weights, x)
    return jax.tree.map(jnp.add, total, grads), g, value
