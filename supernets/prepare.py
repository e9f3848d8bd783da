"""Compiling all programs of a space before the first step."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import MBConvSpace, Network
from supernets.chain import gradient
from supernets.params import Array, Params
from supernets.program_files import ProgramFiles
from supernets.update import zeros_like


def prepare(
    space: MBConvSpace,
    params: Params,
    batch_size: int,
    on_network: Callable[[int, int], None] | None = None,
    *,
    place: Callable[[Array], Array] = lambda batch: batch,
    dtype: jnp.dtype | type = jnp.float32,
    files: ProgramFiles | None = None,
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
        files: Where programs are kept, on one device.
    """
    spec = space.spec
    # all as in a training: an array that JAX takes for less certain in type or place would be compiled for anew
    target = place(jnp.full((batch_size, spec.num_classes), 1 / spec.num_classes, jnp.float32))
    dropout = place(jnp.ones((batch_size, spec.feature_channels)))

    def compile_links(network: Network) -> None:
        total = zeros_like(params)
        images = place(jnp.zeros((batch_size, network.size, network.size, spec.in_channels), dtype))
        jax.block_until_ready(gradient(params, total, network, images, target, dropout, files=files))

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
