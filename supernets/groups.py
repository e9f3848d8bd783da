"""A batch in groups of images that are normalised apart."""

from functools import partial
from typing import Any

import jax
from jax.sharding import NamedSharding

from supernets import apart
from supernets.errors import TrainingError
from supernets.params import Params
from supernets.placement import Placement
from supernets.update import zeros_like


class Groups:
    """Batch norm over each of several groups of a batch's images ("ghost" batch norm, Hoffer et al., NeurIPS 2017).

    Groups know nothing of each other until their gradients are added up. Devices that hold one each exchange nothing
    before that; one device runs one after another, with the same result.

    Attributes:
        count: How many groups.
        mesh: The devices, where each holds groups of its own; None where all share the images' moments.
        parts: How many groups a device runs one after another.
    """

    def __init__(self, count: int, batch_size: int, place: Placement) -> None:
        if batch_size % count:
            raise TrainingError(f"batch_size (={batch_size}) must be a multiple of norm_groups (={count}).")
        if count > 1 and count % place.count:
            raise TrainingError(f"norm_groups (={count}) must be 1, or a multiple of the {place.count} devices.")
        self.count = count
        self.mesh = place.mesh if count > 1 else None
        self.parts = count // place.count if count > 1 else 1
        self._divided = place.divided if count > 1 else None

    def zeros(self, params: Params) -> Params:
        """Where gradients are summed up."""
        return zeros_like(params) if self.mesh is None else apart.zeros_of_each(params, self.mesh)

    def mean(self, total: Params) -> Params:
        """The gradient of the mean loss, from the groups' gradients summed up."""
        return apart.mean(total, self.count, self.mesh) if self.count > 1 else total

    def of(self, tree: Any) -> list[Any]:
        """A tree of arrays over the images, a tree for each part."""
        if self.parts == 1:
            return [tree]
        return [_part(tree, i, self.parts, self._divided) for i in range(self.parts)]


@partial(jax.jit, static_argnames=("i", "parts", "divided"))
def _part(tree: Any, i: int, parts: int, divided: NamedSharding | None) -> Any:
    """Every device's i-th part of its images."""
    devices = 1 if divided is None else divided.mesh.size

    def of(a: jax.Array) -> jax.Array:
        return a.reshape(devices, parts, -1, *a.shape[1:])[:, i].reshape(-1, *a.shape[1:])

    made = jax.tree.map(of, tree)
    return made if divided is None else jax.lax.with_sharding_constraint(made, divided)
