"""Weights for every network of any space: each operator name has one tensor, of which networks use the leading part."""

from collections.abc import Iterable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from search_spaces import Conv, Linear, MBConvSpace, Network, Operator, Space, Sum, covering
from supernets.params import Params, init_params

Weighted = Conv | Linear | Sum


def init_shared(space: Space, seed: int) -> Params:
    """Fresh weights for a space: of its elastic network, or else tensors as large as any of its networks needs."""
    if isinstance(space, MBConvSpace):
        return init_params(space, seed)
    # all kernels may be covered, and the largest of a block still be missing
    archs = [*covering(space), space.check(space.largest)]
    return init_networks((space.network(arch) for arch in archs), seed)


def init_networks(networks: Iterable[Network], seed: int) -> Params:
    """Fresh weights (He normal) for networks that share by name; smaller depthwise filters come out of the largest."""
    found: dict[str, Weighted] = {}
    kernels: dict[str, set[int]] = {}
    projected: set[str] = set()  # what adds to a convolution of its own block, and not to what the block reads
    for network in networks:
        projected |= {op.name for op in network if _adds_to_projection(network, op)}
        for op in network:
            if isinstance(op, Conv | Linear) or (isinstance(op, Sum) and op.norm):
                found[op.name] = _larger(found.get(op.name), op)
                kernels.setdefault(op.name, set()).add(getattr(op, "kernel", 1))
    rng = np.random.default_rng(seed)
    params: dict[str, np.ndarray] = {}
    for name, op in sorted(found.items()):
        params |= {
            f"{name}.{field}": value
            for field, value in _fresh(op, sorted(kernels[name]), name in projected, rng).items()
        }
    return {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}


def _larger(a: Weighted | None, b: Weighted) -> Weighted:
    """The operator whose tensors hold those of both."""
    if a is None or isinstance(a, Sum) or isinstance(b, Sum):
        return b
    values = {f: max(getattr(a, f), getattr(b, f)) for f in ("in_channels", "out_channels")}
    if isinstance(a, Conv) and isinstance(b, Conv):
        values["kernel"] = max(a.kernel, b.kernel)
        values["groups"] = values["in_channels"] if a.depthwise else a.groups
    return replace(a, **values)


def _adds_to_projection(network: Network, op: Operator) -> bool:
    return len(op.inputs) == 2 and op.inputs[1] > 0 and network.operators[op.inputs[1] - 1].part == op.part


def _fresh(op: Weighted, kernels: list[int], projected: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    fields: dict[str, np.ndarray] = {}
    if isinstance(op, Conv):
        shape: tuple[int, ...] = (op.kernel, op.kernel, op.in_channels // op.groups, op.out_channels)
        if op.depthwise:
            shape = (op.kernel, op.kernel, op.out_channels)
            fields |= {f"to{k}": np.eye(k * k) for k in kernels[:-1]}
        fan_in = op.kernel**2 * (op.in_channels // op.groups)
        fields["kernel"] = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    elif isinstance(op, Linear):
        fields["kernel"] = rng.standard_normal((op.in_channels, op.out_channels)) * np.sqrt(1 / op.in_channels)
    channels = op.out_shape[0]
    if isinstance(op, Conv | Sum) and op.norm:
        # beside an identity a branch starts at zero (Goyal et al. 2017), so that deep and shallow networks begin alike;
        # beside a projection it does not, as in Once-for-All: networks would begin as a chain of 1 x 1 convolutions
        starts_at_zero = isinstance(op, Conv) and len(op.inputs) == 2 and not projected
        fields |= {"gamma": np.zeros(channels) if starts_at_zero else np.ones(channels), "beta": np.zeros(channels)}
    if isinstance(op, Conv | Linear) and op.bias:
        fields["bias"] = np.zeros(channels)
    return fields
