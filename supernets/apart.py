"""Programs that every device runs on its own images, exchanging nothing."""

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from supernets.params import Params

AXIS = "batch"  # of the mesh of devices, see `supernets.placement`


class Kind(Enum):
    """How a tree of arrays lies on the devices."""

    WHOLE = "the same on each of them"
    BATCH = "divided over its first axis, that of the images"
    OWN = "each has its own; from outside, the devices are the first axis"


def on_each(
    mesh: Mesh | None, function: Callable[..., Sequence[Any]], given: Sequence[Kind], found: Sequence[Kind]
) -> Callable[..., Any]:
    """A function as every device runs it; the function itself without a mesh.

    Args:
        mesh: The devices.
        function: Of trees of arrays, returns as many trees as `found` has kinds.
        given: Kinds of its arguments.
        found: Of its results.
    """
    if mesh is None:
        return function

    def local(*arguments: Any) -> tuple[Any, ...]:
        inside = [_first(a) if kind is Kind.OWN else a for a, kind in zip(arguments, given, strict=True)]
        results = zip(function(*inside), found, strict=True)
        return tuple(jax.tree.map(lambda a: a[None], r) if kind is Kind.OWN else r for r, kind in results)

    specs = (tuple(map(_spec, kinds)) for kinds in (given, found))
    return jax.shard_map(local, mesh=mesh, in_specs=next(specs), out_specs=next(specs), check_vma=False)


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda a: a[0], tree)


def _spec(kind: Kind) -> PartitionSpec:
    return PartitionSpec() if kind is Kind.WHOLE else PartitionSpec(AXIS)


@partial(jax.jit, static_argnames="mesh")
def zeros_of_each(params: Params, mesh: Mesh) -> Params:
    """Where every device sums up gradients by itself."""
    zeros = {name: jnp.zeros((mesh.size, *p.shape), p.dtype) for name, p in params.items()}
    return jax.lax.with_sharding_constraint(zeros, NamedSharding(mesh, PartitionSpec(AXIS)))


@partial(jax.jit, static_argnames=("groups", "mesh"), donate_argnums=0)
def mean(total: Params, groups: int, mesh: Mesh | None) -> Params:
    """Sums of gradients over a batch's groups, divided by their number; with a mesh, this is where devices meet."""
    if mesh is None:
        return jax.tree.map(lambda t: t / groups, total)
    summed = jax.tree.map(lambda t: t.sum(axis=0) / groups, total)
    return jax.lax.with_sharding_constraint(summed, NamedSharding(mesh, PartitionSpec()))
