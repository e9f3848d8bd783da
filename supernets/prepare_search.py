"""Compiling all programs of a differentiable search before its first step."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np

from supernets.arch_steps import Search
from supernets.mixed import gates, mixture
from supernets.params import Array, Params
from supernets.prepare import at_once, prepare, uniform_networks
from supernets.update import zeros_like


def prepare_search(
    search: Search,
    params: Params,
    place: Callable[[Array], Array],
    dtype: type,
    on_compiled: Callable[[int, int], None] | None,
) -> None:
    """Each candidate alone in all layers, so that several compile at once.

    Args:
        search: What its steps share.
        params: The supernet's weights.
        place: Puts a batch where the search will have it.
        dtype: Of the images.
        on_compiled: Called with how many of how many blocks, then candidates, are compiled.
    """
    space, batch, proxyless = search.space, search.config.weights.batch_size, search.config.method == "proxyless"
    spec, layers = space.spec, len(space.spec.layers)
    if proxyless:
        prepare(uniform_networks(space), params, batch, on_compiled, place=place, dtype=dtype)
    images = place(jnp.zeros((batch, spec.image_size, spec.image_size, spec.in_channels), dtype))
    target = place(jnp.full((batch, spec.num_classes), 1 / spec.num_classes, jnp.float32))

    def compile_candidate(j: int) -> None:
        one = search.plan.of_candidate(j)
        if proxyless:
            gates(params, one, [0] * layers, [[0]] * layers, images, target)
        else:
            mixture(params, zeros_like(params), one, [np.ones(2)] * layers, images, target)

    at_once([partial(compile_candidate, j) for j in range(int(space.cardinality.max()))], on_compiled)
