"""Compiling all programs of a differentiable search before its first step."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np

from supernets.arch_steps import Search
from supernets.mixed import mixture
from supernets.params import Params
from supernets.path_gates import gates
from supernets.placement import Placement
from supernets.prepare import AT_ONCE, at_once, prepare, uniform_networks
from supernets.update import zeros_like


def prepare_search(
    search: Search,
    params: Params,
    place: Placement,
    dtype: type,
    on_compiled: Callable[[int, int], None] | None,
) -> None:
    """Each candidate alone in all layers, so that several compile at once.

    Args:
        search: What its steps share.
        params: The supernet's weights, where the search will have them.
        place: Where the search has its batches.
        dtype: Of the images.
        on_compiled: Called with how many of how many blocks, then candidates, are compiled.
    """
    space, batch, proxyless = search.space, search.config.weights.batch_size, search.config.method == "proxyless"
    spec, layers = space.spec, len(space.spec.layers)
    if proxyless:
        prepare(uniform_networks(space), params, batch, on_compiled, place=place, dtype=dtype)
    images = place.batch(jnp.zeros((batch, spec.image_size, spec.image_size, spec.in_channels), dtype))
    target = place.batch(jnp.full((batch, spec.num_classes), 1 / spec.num_classes, jnp.float32))

    def compile_candidate(j: int) -> None:
        one = search.plan.of_candidate(j)
        if proxyless:
            gates(params, one, [0] * layers, [[0]] * layers, images, target)
        else:
            mixture(params, zeros_like(params), one, [np.ones(2)] * layers, images, target)

    # one after the other on several devices, see OneAtATime: here running compiles
    threads = AT_ONCE if place.count == 1 else 1
    at_once([partial(compile_candidate, j) for j in range(int(space.cardinality.max()))], on_compiled, threads)
