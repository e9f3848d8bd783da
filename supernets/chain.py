"""The gradient of a subnet as a chain of small compiled programs, one link a block.

A whole subnet as one program must either be compiled anew for every subnet or pay for the largest
one every time, with masks. A link is a block at one kernel size and width, compiled at its true
size: a few hundred links serve all subnets of a space (supernets/README.md has the figures).
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from search_spaces import Network
from supernets import programs
from supernets.frames import fitted
from supernets.layers import Moments
from supernets.links import cut
from supernets.losses import Loss, cross_entropy
from supernets.params import Array, Params
from supernets.program_files import ProgramFiles


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
    files: ProgramFiles | None = None,
    mesh: Mesh | None = None,
    masked: bool = False,
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
        files: Where programs are kept, on one device.
        mesh: Devices that each normalise their own images (`supernets.apart`); sum and loss are then one of each.
        masked: Whether one program serves all widths (`supernets.frames`).
    """
    *links, head = cut(network)
    x, passed = images, []
    for i, link in enumerate(links):
        weights = link.weights(params)
        operators, choices = fitted(link, weights, masked=masked)
        about = {"operators": operators, "first": i == 0, "files": files, "mesh": mesh}
        y, made = programs.forward(weights, x, choices, **about)
        passed.append((link, about, (weights, x, choices, made)))
        x = y
    found = dict(total)
    weights = head.weights(params)
    operators, _ = fitted(head, weights, masked=masked, last=True)
    sums, g, value, logits = programs.head(head.weights(total), weights, x, target, dropout, operators, loss, mesh)
    found.update(sums)
    while passed:  # what a link kept goes with it
        link, about, kept = passed.pop()
        sums, g = programs.backward(link.weights(total), *kept, g, **about)
        found.update({link.prefix + name: value for name, value in sums.items()})
    return Gradient(found, value, logits)


def forward(
    params: Params,
    network: Network,
    images: Array,
    given: dict[str, Moments] | None = None,
    mesh: Mesh | None = None,
    masked: bool = False,
) -> Array:
    """Logits `[n, classes]` of a subnet in single precision, normalised by the batch or by the moments given.

    `mesh` and `masked` are as of `gradient`; moments given have the widths of the programs.
    """
    (x,) = deque(outputs(params, network, images, given, mesh, masked), maxlen=1)
    return x.reshape(len(images), -1).astype(jnp.float32)


def outputs(
    params: Params,
    network: Network,
    images: Array,
    given: dict[str, Moments] | None = None,
    mesh: Mesh | None = None,
    masked: bool = False,
) -> Iterator[Array]:
    """Yields what every link of a subnet makes, in order; what is not asked for is not computed."""
    x = images
    links = cut(network)
    for link in links:
        weights = link.weights(params)
        operators, choices = fitted(link, weights, masked=masked, last=link is links[-1])
        own = None
        if given is not None:
            names = (op.name for op in link.operators)
            own = {name: given[link.prefix + name] for name in names if link.prefix + name in given}
        x = programs.apply(weights, x, choices, operators, own, mesh)
        yield x


def moments(params: Params, network: Network, images: Array, masked: bool = False) -> dict[str, Moments]:
    """Moments of every batch norm of a subnet over a batch, by operator name.

    `masked` is as of `gradient`: the subnet's own channels are then the leading ones.
    """
    x, found = images, {}
    links = cut(network)
    for link in links:
        weights = link.weights(params)
        operators, choices = fitted(link, weights, masked=masked, last=link is links[-1])
        x, stats = programs.measure(weights, x, choices, operators)
        found.update({link.prefix + name: value for name, value in stats.items()})
    return found
