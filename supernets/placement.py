"""Where arrays live: one device, all devices of this host, or those of several hosts."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from supernets.errors import TrainingError

Array = jax.Array


class Placement:
    """Batches are divided over the devices, everything else is on all of them.

    The compiled programs then exchange what they must: gradients are those of the whole batch, and
    so are the moments of batch norm, so that the number of devices does not change the result.

    Args:
        batch_size: Of the whole batch, over all hosts.
        devices: How many to use; None for all where they divide the batch.
    """

    def __init__(self, batch_size: int, devices: int | None = None) -> None:
        count = devices or jax.device_count()
        if count > jax.device_count():
            raise TrainingError(f"devices (={count}) must not exceed the {jax.device_count()} that JAX sees.")
        if batch_size % count:
            raise TrainingError(f"batch_size (={batch_size}) must be a multiple of the {count} devices.")
        self.count = count
        self._batch = self._all = None
        if count > 1:
            mesh = Mesh(np.array(jax.devices()[:count]), ("batch",))
            self._batch = NamedSharding(mesh, PartitionSpec("batch"))
            self._all = NamedSharding(mesh, PartitionSpec())

    def batch(self, array: Any) -> Any:
        """An array whose first axis is divided over the devices; every host passes the whole batch."""
        if self._batch is None:
            return array
        value = np.asarray(array)
        return jax.make_array_from_callback(value.shape, self._batch, lambda index: value[index])

    def everywhere(self, tree: Any) -> Any:
        """A tree of arrays on every device."""
        return tree if self._all is None else jax.device_put(tree, self._all)


def connect(address: str | None, hosts: int | None = None, host: int | None = None) -> None:
    """Joins a training over several hosts; to be called before anything else of JAX.

    Args:
        address: host:port of the first one, or "auto" on a cluster that JAX knows; None for a single host.
        hosts: How many there are.
        host: Which this is, from 0.
    """
    if address is None:
        return
    if address == "auto":
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(coordinator_address=address, num_processes=hosts, process_id=host)
