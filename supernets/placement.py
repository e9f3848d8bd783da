"""Where arrays live: one device, all devices of this host, or those of several hosts."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from supernets.apart import AXIS
from supernets.errors import TrainingError

Array = jax.Array

_AGREE = 20  # steps between which hosts ask each other; each question waits for the slowest


class Placement:
    """Batches are divided over the devices, everything else is on all of them; bound to them, be it one or many.

    JAX compiles anew for arrays that are bound to a device where they were not before, and the other way round.

    The compiled programs then exchange what they must: gradients are those of the whole batch, and
    so are the moments of batch norm, so that the number of devices does not change the result. A batch
    in groups exchanges gradients only (`supernets.groups`).

    Args:
        batch_size: Of the whole batch, over all hosts.
        devices: How many to use; None for one, or over several hosts for all of them.

    Attributes:
        count: How many devices are used.
        host: Which host this is, from 0.
        hosts: How many there are.
        mesh: The devices; None for one.
        divided: Sharding of a batch over its first axis; None on one device.
        whole: Sharding of what is on every device; None on one device.
    """

    def __init__(self, batch_size: int, devices: int | None = None) -> None:
        self.host, self.hosts = jax.process_index(), jax.process_count()
        count = devices or (jax.device_count() if self.hosts > 1 else 1)
        if count > jax.device_count():
            raise TrainingError(f"devices (={count}) must not exceed the {jax.device_count()} that JAX sees.")
        if self.hosts > 1 and count != jax.device_count():
            raise TrainingError(
                f"devices (={count}) must be all {jax.device_count()} of the {self.hosts} hosts; leave it out."
            )
        if batch_size % count:
            raise TrainingError(f"batch_size (={batch_size}) must be a multiple of the {count} devices.")
        self.count = count
        self.mesh = self.divided = self.whole = None
        if count > 1:
            self.mesh = Mesh(np.array(jax.devices()[:count]), (AXIS,))
            self.divided = NamedSharding(self.mesh, PartitionSpec(AXIS))
            self.whole = NamedSharding(self.mesh, PartitionSpec())

    def batch(self, array: Any) -> Any:
        """An array whose first axis is divided over the devices; every host passes the whole batch."""
        return jax.device_put(array, jax.devices()[0]) if self.divided is None else _spread(array, self.divided)

    def part(self, array: np.ndarray) -> Array:
        """A batch of which every host passes its own part only, in the order of the hosts."""
        if self.divided is None:
            return jax.device_put(array, jax.devices()[0])
        return jax.make_array_from_process_local_data(self.divided, array)

    def everywhere(self, tree: Any) -> Any:
        """A tree of arrays on every device; every host passes the same."""
        if self.whole is None:
            return jax.device_put(tree, jax.devices()[0])
        if self.hosts == 1:
            return jax.device_put(tree, self.whole)
        return jax.tree.map(partial(_spread, sharding=self.whole), tree)

    def agreed(self, step: int, wish: bool) -> bool:
        """Whether any host wishes it: several hosts must save, or stop, at the same step. Asked every few steps."""
        if self.hosts == 1:
            return wish
        if step % _AGREE:
            return False
        from jax.experimental.multihost_utils import process_allgather

        return bool(np.any(process_allgather(np.array(wish))))


def _spread(array: Any, sharding: NamedSharding) -> Any:
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return array  # made over all hosts already
    value = np.asarray(array)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def connect(address: str, hosts: int | None = None, host: int | None = None) -> int:
    """Joins a training over several hosts; to be called before anything else of JAX.

    Args:
        address: host:port of the first one, or "auto" on a cluster that JAX knows.
        hosts: How many there are.
        host: Which this is, from 0.

    Returns:
        Which this is.
    """
    if address == "auto":
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(coordinator_address=address, num_processes=hosts, process_id=host)
    return jax.process_index()
