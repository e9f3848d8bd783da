"""Joining a training's hosts."""

from nas.errors import UserError


def join_hosts(hosts: str | None) -> int:
    """Joins the other hosts, if there are any, before anything else of JAX.

    Args:
        hosts: Of `nas train --hosts`: the first one's address, their number and which this is, or auto; None if alone.

    Returns:
        Which one this is, from 0.

    Raises:
        UserError: if it is none of these.
    """
    from nas.jax_setup import threads_for_virtual_devices

    threads_for_virtual_devices()
    if hosts is None:
        return 0
    from supernets.placement import connect

    address, *numbers = hosts.split(",")
    if address != "auto" and (len(numbers) != 2 or not all(n.isdigit() for n in numbers)):
        raise UserError(f"--hosts (={hosts!r}) must be host:port,COUNT,INDEX, e.g. 10.0.0.1:1234,2,0, or auto.")
    return connect(address, *map(int, numbers))
