"""The gradient of a subnet as a chain of small compiled programs, one link a block.

A whole subnet as one program must either be compiled anew for every subnet or pay for the largest
one every time, with masks. A link is a block at one kernel size and width, compiled at its true
size: a few hundred links serve all subnets of a space (supernets/README.md has the figures). The
forward program of a link returns its pullback too, a pytree of residuals, which the backward
program takes. Blocks of the same shape share their programs.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from itertools import groupby
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Conv, Linear, MBConvSpace, Network, Operator, Sum
from supernets.depthwise import kernel_costs_nothing
from supernets.layers import COSTLY, Moments
from supernets.layers import moments as layer_moments
from supernets.losses import Loss, cross_entropy
from supernets.module import run_operator
from supernets.params import Array, Params
from supernets.quantised import rounded_input, run_rounded, steps
from supernets.slicing import filters, kernel_sizes, operator_weights

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

    def weights(self, params: Mapping[str, Array], owned: Mapping[str, list[str]]) -> Params:
        """Its part of the supernet's weights, full width, by the names that its operators have.

        Args:
            params: All weights.
            owned: Their names by operator, see `by_operator`.
        """
        names = (name for op in self.operators for name in owned.get(self.prefix + op.name, ()))
        return {name.removeprefix(self.prefix): params[name] for name in names}


def by_operator(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of weights by the operator that they belong to."""
    owned: dict[str, list[str]] = {}
    for name in names:
        owned.setdefault(name.rpartition(".")[0], []).append(name)
    return owned


@lru_cache(maxsize=1024)  # the largest and the smallest network are cut at every step of a sandwich
def cut(network: Network) -> tuple[Link, ...]:
    """A network's links: what comes before the blocks, each block, and what comes after them.

    Raises:
        ValueError: if an operator reads a value of an earlier link other than its output.
    """
    found, start = [], 0
    prefixes = [f"{op.part}." if op.part.rpartition(".")[2].startswith("block") else "" for op in network]
    for prefix, group in groupby(zip(prefixes, network, strict=True), key=lambda pair: pair[0]):
        operators = []
        for _, op in group:
            if min(op.inputs) < start:
                raise ValueError(f"{op.name}: a link reads only the output of the link before it.")
            operators.append(replace(op, name=op.name.removeprefix(prefix), inputs=tuple(i - start for i in op.inputs)))
        found.append(Link(prefix, tuple(operators)))
        start += len(operators)
    return tuple(found)


class Gradient(NamedTuple):
    """Of one subnet: the sum of the gradients so far, its loss and its logits `[n, classes]`."""

    total: Params
    loss: Array
    logits: Array


def gradient(
    params: Params,
    total: Params,
    network: Network,
    images: Array,
    target: Array,
    dropout: Array,
    loss: Loss = cross_entropy,
) -> Gradient:
    """Adds the gradient of a subnet's loss to a sum of gradients.

    Images of bfloat16 make the whole chain compute in bfloat16; batch norm's moments, weights,
    gradients and the loss are single precision.

    Args:
        params: The supernet's weights.
        total: The sum so far; its memory is used for the new sum.
        network: The subnet, of the images' size.
        images: Normalised images `[n, h, w, c]`.
        target: Class probabilities `[n, classes]`.
        dropout: Mask `[n, features]`, already scaled, before the classifier.
        loss: Of logits and target.
    """
    first, *middle, head = cut(network)
    owned = by_operator(params)
    x, pullback = _first_forward(first.weights(params, owned), images, first.operators)
    pullbacks = [pullback]
    for link in middle:
        weights = link.weights(params, owned)
        operators, choices = _any_kernel(link.operators, weights)
        x, pullback = _forward(weights, x, choices, operators)
        pullbacks.append(pullback)
    found = dict(total)
    sums, g, value, logits = _head(
        head.weights(total, owned), head.weights(params, owned), x, target, dropout, head.operators, loss
    )
    found.update(sums)
    for link, pullback in zip((first, *middle)[::-1], pullbacks[::-1], strict=True):
        sums, g = _backward(link.weights(total, owned), pullback, g)
        found.update({link.prefix + name: value for name, value in sums.items()})
    return Gradient(found, value, logits)


def forward(params: Params, network: Network, images: Array, given: dict[str, Moments] | None = None) -> Array:
    """Logits `[n, classes]` of a subnet in single precision, normalised by the batch or by the moments given."""
    (x,) = deque(outputs(params, network, images, given), maxlen=1)
    return x.reshape(len(images), -1).astype(jnp.float32)


def outputs(
    params: Params, network: Network, images: Array, given: dict[str, Moments] | None = None
) -> Iterator[Array]:
    """Yields what every link of a subnet makes, in order; what is not asked for is not computed."""
    owned, x = by_operator(params), images
    for link in cut(network):
        weights = link.weights(params, owned)
        operators, choices = _any_kernel(link.operators, weights)
        own = None
        if given is not None:
            names = (op.name for op in link.operators)
            own = {name: given[link.prefix + name] for name in names if link.prefix + name in given}
        x = _apply(weights, x, choices, operators, own)
        yield x


def moments(params: Params, network: Network, images: Array) -> dict[str, Moments]:
    """Moments of every batch norm of a subnet over a batch, by operator name."""
    owned, x, found = by_operator(params), images, {}
    for link in cut(network):
        weights = link.weights(params, owned)
        operators, choices = _any_kernel(link.operators, weights)
        x, stats = _measure(weights, x, choices, operators)
        found.update({link.prefix + name: value for name, value in stats.items()})
    return found


def prepare(
    space: MBConvSpace,
    params: Params,
    batch_size: int,
    on_network: Callable[[int, int], None] | None = None,
    *,
    place: Callable[[Array], Array] = lambda batch: batch,
    dtype: jnp.dtype | type = jnp.float32,
) -> None:
    """Compiles every link of a space, several at once.

    The links of the uniform networks, one for each pair of kernel size and expansion, are those of
    every subnet.

    Args:
        space: The space.
        params: Weights of its supernet.
        batch_size: Images a step.
        on_network: Called with the number of networks done, and of all.
        place: Puts a batch where the training will have it.
        dtype: Of the images.
    """
    spec = space.spec
    target = place(jnp.full((batch_size, spec.num_classes), 1 / spec.num_classes))
    dropout = place(jnp.ones((batch_size, spec.feature_channels)))

    def compile_links(network: Network) -> None:
        total = {name: jnp.zeros_like(value) for name, value in params.items()}
        images = place(jnp.zeros((batch_size, network.size, network.size, spec.in_channels), dtype))
        jax.block_until_ready(gradient(params, total, network, images, target, dropout))

    networks = [network for r in range(len(spec.resolutions)) for network in uniform_networks(space, r)]
    # compiling leaves the interpreter free; neighbours in the list share few links, so little is compiled twice.
    # Each thread keeps a network's residuals: with 16 at once the 80 GB of an H100 were not enough (batch 1024, 32 px)
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores if jax.default_backend() == "cpu" else min(cores, _NETWORKS_AT_ONCE)) as pool:
        for done, _ in enumerate(pool.map(compile_links, networks), 1):
            if on_network:
                on_network(done, len(networks))


_NETWORKS_AT_ONCE = 4


def uniform_networks(space: MBConvSpace, resolution: int) -> list[Network]:
    """The deepest networks with one kernel and one expansion choice throughout, largest first."""
    rows = []
    choices = max(space.cardinality[space.index[name]] for name in space.index if name.endswith((".kernel", ".expand")))
    for kernel, expand in reversed(list(np.ndindex(choices, choices))):
        x = space.cardinality - 1
        for name, column in space.index.items():
            if name.endswith((".kernel", ".expand")):
                x[column] = min(kernel if name.endswith(".kernel") else expand, x[column])
        x[space.index["resolution"]] = resolution
        rows.append(x)
    return [space.network(x) for x in np.unique(np.array(rows), axis=0)[::-1]]


def programs() -> int:
    """Compiled programs so far, of all links."""
    return sum(f._cache_size() for f in (_first_forward, _forward, _backward, _head))  # type: ignore[attr-defined]


def _any_kernel(operators: Operators, weights: Params) -> tuple[Operators, dict[str, Array]]:
    """The operators with the largest depthwise kernels, where that costs nothing, and the kernel choices instead.

    One program then serves all kernel sizes of a block.
    """
    found, choices = [], {}
    for op in operators:
        if isinstance(op, Conv) and op.depthwise and kernel_costs_nothing(op.size):
            sizes = kernel_sizes(weights, op)
            choices[op.name] = _scalar(sizes.index(op.kernel))
            op = replace(op, kernel=sizes[-1])
        found.append(op)
    return tuple(found), choices


def _run(
    weights: Params,
    x: Array,
    operators: Operators,
    choices: dict[str, Array],
    dropout: Array | None = None,
    stats: dict[str, Moments] | None = None,
    given: dict[str, Moments] | None = None,
) -> Array:
    values = [x]
    for op in operators:
        rounding = steps(weights, op)
        inputs = rounded_input(rounding, op, [values[i] for i in op.inputs])
        fields = None
        if own := operator_weights(weights, op):
            if op.name in choices and isinstance(op, Conv):
                padded = [_pad(w, op.kernel) for _, w in sorted(filters(weights, op).items())]
                own["kernel"] = jnp.stack(padded)[choices[op.name]][:, :, None]
            for name in {"kernel", "bias"} & own.keys():
                own[name] = own[name].astype(x.dtype)
            if given is not None and op.name in given:
                own["mean"], own["var"] = given[op.name]
            fields = SimpleNamespace(**own)
        if dropout is not None and isinstance(op, Linear) and op is operators[-1]:
            inputs = [inputs[0].reshape(dropout.shape) * dropout.astype(x.dtype)]
        if stats is not None and isinstance(op, Conv | Sum) and op.norm:
            stats[op.name] = _before_norm(op, fields, inputs)
        values.append(run_rounded(op, fields, inputs, given is None, rounding))
    return values[-1]


def _before_norm(op: Conv | Sum, fields: Any, inputs: list[Array]) -> Moments:
    """Moments of what an operator normalises; the compiler joins this with the operator itself."""
    bare = replace(op, norm=False, activation="none", inputs=op.inputs[:1] if isinstance(op, Conv) else op.inputs)
    return layer_moments(run_operator(bare, fields, inputs[:1] if isinstance(op, Conv) else inputs, True))


@cache
def _scalar(value: int) -> Array:
    """On the device once, not at every call."""
    return jnp.int32(value)


def _pad(w: Array, size: int) -> Array:
    margin = (size - w.shape[0]) // 2
    return jnp.pad(w, ((margin, margin), (margin, margin), (0, 0)))


@partial(jax.jit, static_argnames="operators")
def _first_forward(weights: Params, images: Array, operators: Operators) -> tuple[Array, Any]:
    return jax.vjp(_kept(lambda w: _run(w, images, operators, {})), weights)


@partial(jax.jit, static_argnames="operators")
def _apply(
    weights: Params, x: Array, choices: dict[str, Array], operators: Operators, given: dict[str, Moments] | None = None
) -> Array:
    return _run(weights, x, operators, choices, given=given)


@partial(jax.jit, static_argnames="operators")
def _measure(
    weights: Params, x: Array, choices: dict[str, Array], operators: Operators
) -> tuple[Array, dict[str, Moments]]:
    stats: dict[str, Moments] = {}
    return _run(weights, x, operators, choices, stats=stats), stats


@partial(jax.jit, static_argnames="operators")
def _forward(weights: Params, x: Array, choices: dict[str, Array], operators: Operators) -> tuple[Array, Any]:
    return jax.vjp(_kept(lambda w, x: _run(w, x, operators, choices)), weights, x)


def _kept(run: Callable[..., Array]) -> Callable[..., Array]:
    """The same, whose pullback keeps what is dear to compute again; norms and activations the backward program repeats.

    What a program returns is written to memory: all residuals of a block in bfloat16 are six times its products.
    """
    return jax.checkpoint(run, prevent_cse=False, policy=jax.checkpoint_policies.save_only_these_names(*COSTLY))


@partial(jax.jit, donate_argnums=0)
def _backward(total: Params, pullback: Any, g: Array) -> tuple[Params, Array | None]:
    weights, *inputs = pullback(g)
    return jax.tree.map(jnp.add, total, weights), inputs[0] if inputs else None


@partial(jax.jit, static_argnames=("operators", "loss"), donate_argnums=0)
def _head(
    total: Params, weights: Params, x: Array, target: Array, dropout: Array, operators: Operators, loss: Loss
) -> tuple[Params, Array, Array, Array]:
    def value_of(weights: Params, x: Array) -> tuple[Array, Array]:
        logits = _run(weights, x, operators, {}, dropout).astype(jnp.float32)
        return loss(logits, target), logits

    (value, logits), (grads, g) = jax.value_and_grad(value_of, argnums=(0, 1), has_aux=True)(weights, x)
    return jax.tree.map(jnp.add, total, grads), g, value, logits
