"""Who measures on a device: this process, an SSH connection, a Ray cluster, or a bundle carried by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nas.errors import UserError

if TYPE_CHECKING:
    from latency_tables import Device, Executor


@contextmanager
def executor_for(device: "Device", ray_address: str | None = None) -> "Iterator[Executor]":
    """The executor of a device.

    Raises:
        UserError: if the device can only be reached by hand.
        DeviceError: if its precision is not offered here.
    """
    from latency_tables import LocalExecutor
    from latency_tables.timed import require_half

    if device.where == "local":
        if device.precision == "fp16":
            require_half(device.provider)
        yield LocalExecutor()
    elif device.where.startswith("ssh://"):
        from nas.remote import SshExecutor

        yield SshExecutor()
    elif device.where == "ray":
        from nas.ray_measuring import RayExecutor
        from nas.workers import start_ray

        ray = start_ray(0, ray_address)
        try:
            yield RayExecutor(ray)
        finally:
            ray.shutdown()
    else:
        raise UserError(
            f"Device {device.name!r} is measured by hand: `nas profile ... --bundle FILE.zip`, run it there with "
            "`python3 FILE.zip`, then `nas profile ... --import FILE.results.zip`."
        )
