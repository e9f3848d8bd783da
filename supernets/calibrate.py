"""Batch-norm moments of a subnet, from training images, in few compiled programs for all subnets."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from search_spaces import Architecture, MBConvSpace, Network, Space
from supernets.chain import moments
from supernets.elastic import Stats
from supernets.params import bind, supernet
from supernets.quantised import is_quantised

Array = jax.Array


class Calibrator:
    """Recalibrates the batch norms of any subnet of a supernet (OFA, section 4.1).

    The moments of a layer are the mean over batches of the batch mean and of the biased batch
    variance, each batch normalised by its own moments.

    Args:
        space: The space.
        params: The supernet's weights.
        batch_size: Images at once; a rest that fills no batch is left out.
    """

    def __init__(self, space: Space, params: Mapping[str, Any], *, batch_size: int = 250) -> None:
        elastic = isinstance(space, MBConvSpace) and not is_quantised(params)
        self._space, self._graph = space, supernet(space) if elastic else None  # type: ignore[arg-type]
        graph = self._graph
        self._params = {name: jnp.asarray(value) for name, value in params.items()}
        self._batch_size = batch_size

        def run(params: dict[str, Array], images: Array, genes: Array) -> Stats:
            assert graph is not None
            return bind(graph, params)(images, genes)[1]

        self._run = jax.jit(run)

    @property
    def programs(self) -> int:
        """Compiled programs so far of an elastic network: one a resolution, however many subnets."""
        return int(self._run._cache_size())  # type: ignore[attr-defined]

    def __call__(self, arch: Architecture, images: Array) -> Stats:
        """Moments by operator name, of the full width or of the subnet's; those of skipped blocks are zeros or absent.

        Args:
            arch: Canonical genotype.
            images: Normalised training images `[n, h, w, c]` of the genotype's resolution.
        """
        size = min(self._batch_size, len(images))
        genes = jnp.asarray(arch, jnp.int32)
        batches = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]
        if self._graph is None:
            network = self._space.network(arch)
            found = [moments(self._params, network, batch, self._space.free_widths) for batch in batches]
        else:
            found = [self._run(self._params, batch, genes) for batch in batches]
        return jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)


def network_moments(params: Mapping[str, Any], network: Network, images: Array, batch_size: int = 250) -> Stats:
    """Moments of one network's batch norms, by operator name: the mean over batches, as `Calibrator` has it."""
    size, arrays = min(batch_size, len(images)), {name: jnp.asarray(value) for name, value in params.items()}
    batches = [jnp.asarray(images[i : i + size]) for i in range(0, len(images) - size + 1, size)]
    found = [moments(arrays, network, batch) for batch in batches]
    return jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)
