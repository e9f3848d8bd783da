"""Which part of the supernet's weights an operator uses."""

from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces import Conv, Linear, Operator, Sum
from supernets.elastic import smaller_filters
from supernets.fake_quant import rounded_kernel


def operator_weights(params: Mapping[str, Any], op: Operator) -> dict[str, Any]:
    """Weights of one operator by field: the leading channels that its shape says.

    A depthwise filter goes through the kernel transformation first; kernels that have steps are rounded.

    Args:
        params: Weights by name, of JAX or numpy, and so are the results.
        op: Whose name is found in them.

    Returns:
        "kernel" (`[k, k, in / groups, out]` or `[in, out]`), and "gamma" and "beta", or "bias"; nothing
        for an operator without weights.
    """
    channels, found = op.out_shape[0], {}
    if isinstance(op, Conv | Linear):
        found["kernel"] = _kernel(params, op)
    if isinstance(op, Conv | Sum) and op.norm:
        found |= {field: params[f"{op.name}.{field}"][:channels] for field in ("gamma", "beta")}
    elif isinstance(op, Conv | Linear) and op.bias:
        found["bias"] = params[f"{op.name}.bias"][:channels]
    return found


def _kernel(params: Mapping[str, Any], op: Conv | Linear) -> Any:
    kernel = params[f"{op.name}.kernel"]
    if kernel.shape[-1] < op.out_channels:
        raise ValueError(f"{op.name}: {op.key} does not fit into weights of {kernel.shape[-1]} channels.")
    if isinstance(op, Linear):
        return _rounded(params, op, kernel[: op.in_channels, : op.out_channels])
    if op.depthwise:
        return filters(params, op)[op.kernel][:, :, None]
    if kernel.ndim == 2:
        kernel = kernel[None, None]
    if min(kernel.shape[0] - op.kernel, kernel.shape[-2] * op.groups - op.in_channels) < 0:
        raise ValueError(f"{op.name}: {op.key} does not fit into weights of shape {tuple(kernel.shape)}.")
    edge = (kernel.shape[0] - op.kernel) // 2  # a smaller filter is the centre of a larger one
    kernel = kernel[edge : edge + op.kernel, edge : edge + op.kernel]
    return _rounded(params, op, kernel[:, :, : op.in_channels // op.groups, : op.out_channels])


def filters(params: Mapping[str, Any], op: Conv) -> dict[int, Any]:
    """Every depthwise filter `[k, k, c]` that the operator could have, by size."""
    matrices = {k: params[f"{op.name}.to{k}"] for k in smaller_sizes(params, op)}
    found = smaller_filters(params[f"{op.name}.kernel"][..., : op.out_channels], matrices)
    return {k: _rounded(params, op, w, str(k)) for k, w in found.items()}


def kernel_scale(params: Mapping[str, Any], op: Conv | Linear) -> Any:
    """Steps `[out]` that an operator's kernel is rounded by, or None where it is not."""
    size = str(op.kernel) if isinstance(op, Conv) and op.depthwise else ""
    scale = params.get(f"{op.name}.kernel_scale{size}")
    return None if scale is None else scale[: op.out_channels]


def _rounded(params: Mapping[str, Any], op: Conv | Linear, kernel: Any, size: str = "") -> Any:
    """The kernel on the grid of its steps, where it has some."""
    scale = params.get(f"{op.name}.kernel_scale{size}")
    return kernel if scale is None else rounded_kernel(kernel, scale[: op.out_channels])


def kernel_sizes(params: Mapping[str, Any], op: Conv) -> list[int]:
    """Sizes that an operator's depthwise filter could have, ascending."""
    return [*smaller_sizes(params, op), params[f"{op.name}.kernel"].shape[0]]


def smaller_sizes(names: Iterable[str], op: Conv) -> list[int]:
    """Of these, all but the largest, by the names of weights."""
    prefix = f"{op.name}.to"
    return sorted(int(name.removeprefix(prefix)) for name in names if name.startswith(prefix))
