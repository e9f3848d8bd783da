"""The first steps of a quantised supernet: LSQ+'s min-max initialisation over a few of its networks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Conv, Linear, Network, Operator, Space, covering
from search_spaces.rounding import places, signed
from supernets.fake_quant import activation_scale, weight_scale
from supernets.links import Link, Operators, cut
from supernets.params import Array, Params
from supernets.prepare import at_once
from supernets.quantised import IMAGE, run_visited
from supernets.slicing import filters, kernel_sizes, operator_weights

_RANDOM = 2  # networks besides the largest and the smallest
Ranges = dict[str, tuple[Array, Array]]  # smallest and largest value by "{operator}.{place}"


def with_steps(params: Params, space: Space, images: Mapping[int, Array], *, seed: int = 0) -> Params:
    """Weights with first steps: those of the largest, the smallest and a few random networks of a space.

    Args:
        params: Trained weights of the space's supernet, without steps.
        space: The space.
        images: Normalised images `[n, h, w, c]` by resolution.
        seed: Of the random networks among those that are run.

    Returns:
        The weights, steps and offsets included.
    """
    return with_network_steps(params, _some_networks(space, images, seed), images)


def with_network_steps(params: Params, networks: Iterable[Network], images: Mapping[int, Array]) -> Params:
    """Weights with first steps: from the extremes of weights, and of activations of these networks on some images."""
    found: Ranges = {}
    known: dict[str, Operator] = {}
    networks = list(networks)
    _compile(params, networks, images)
    for network in networks:
        for name, (low, high) in ranges(params, network, images[network.size]).items():
            a, b = found.get(name, (low, high))
            found[name] = (jnp.minimum(a, low), jnp.maximum(b, high))
        known.update({op.name: op for op in network})
    made = dict(params)
    for name, (low, high) in found.items():
        operator, _, place = name.rpartition(".")
        made[f"{name}_scale"] = activation_scale(low, high)
        if place == IMAGE or signed(known[operator], place):
            made[f"{name}_offset"] = jnp.minimum(low, 0.0)
    for op in known.values():
        if isinstance(op, Conv | Linear):
            made |= _kernel_scales(params, op)
    return made


def _kernel_scales(params: Params, op: Conv | Linear) -> Params:
    kernel = params[f"{op.name}.kernel"]
    if isinstance(op, Conv) and op.depthwise:
        whole = replace(op, in_channels=kernel.shape[-1], out_channels=kernel.shape[-1], groups=kernel.shape[-1])
        sizes, found = kernel_sizes(params, op), filters(params, whole)
        return {f"{op.name}.kernel_scale{k}": weight_scale(found[k], (0, 1)) for k in sizes}
    return {f"{op.name}.kernel_scale": weight_scale(kernel, tuple(range(kernel.ndim - 1)))}


def _some_networks(space: Space, images: Mapping[int, Array], seed: int) -> list[Network]:
    """The largest, the smallest and a few random networks, and as many more as it takes to see every operator."""
    random = space.sample(np.random.default_rng(seed), _RANDOM)
    rows = [space.largest, space.smallest, *random]
    column = space.index.get("resolution")
    networks = []
    for i, row in enumerate(rows):
        x = np.array(row)
        if column is not None:  # sizes in turn, the largest network at the largest
            sizes = [space.genes[column].choices.index(size) for size in sorted(images, reverse=True)]
            x[column] = sizes[i % len(sizes)]
        networks.append(space.network(x))
    seen = {op.name for network in networks for op in network}
    for arch in covering(space):
        network = space.network(arch)
        names = {op.name for op in network}
        if names - seen and network.size in images:
            networks.append(network)
            seen |= names
    return networks


def _compile(params: Params, networks: list[Network], images: Mapping[int, Array]) -> None:
    """All programs of `ranges` at once: one after another they took most of a minute on a GPU."""
    tasks: dict[Any, Callable[[], Any]] = {}

    def run(link: Link, n: int, shape: tuple[int, ...], dtype: Any) -> Any:
        c, h, w = shape
        return jax.block_until_ready(_link_ranges(link.weights(params), jnp.zeros((n, h, w, c), dtype), link.operators))

    for network in networks:
        shape, given = network.shapes[0], images[network.size]
        for link in cut(network):
            sizes = tuple((name, array.shape) for name, array in link.weights(params).items())
            task = partial(run, link, len(given), shape, given.dtype)
            tasks.setdefault((link.operators, shape, len(given), sizes), task)
            shape = link.operators[-1].out_shape
    at_once(list(tasks.values()), None)


def ranges(params: Params, network: Network, images: Array) -> Ranges:
    """Smallest and largest value at every place, and of the image, normalised by the batch."""
    x, last = images, network.operators[-1].name
    found: Ranges = {f"{network.operators[0].name}.{IMAGE}": (images.min(), images.max())}
    for link in cut(network):
        x, own = _link_ranges(link.weights(params), x, link.operators)
        found |= {link.prefix + name: value for name, value in own.items()}
    return {name: value for name, value in found.items() if name.rpartition(".")[0] != last}


@partial(jax.jit, static_argnames="operators")
def _link_ranges(weights: Params, x: Array, operators: Operators) -> tuple[Array, Ranges]:
    values, found = [x], {}
    for op in operators:

        def visit(place: str, y: Array, op: Operator = op) -> Array:
            if place in places(op):
                found[f"{op.name}.{place}"] = (y.min(), y.max())
            return y

        fields = SimpleNamespace(**own) if (own := operator_weights(weights, op)) else None
        values.append(run_visited(op, fields, [values[i] for i in op.inputs], True, visit))
    return values[-1], found
