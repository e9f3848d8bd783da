"""From supernet weights to a stand-alone network, and on to the layouts of ONNX."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from search_spaces import Conv, Linear, Network, Sum
from supernets.elastic import Stats
from supernets.module import NetworkModule
from supernets.params import Params
from supernets.quantised import steps
from supernets.slicing import kernel_scale, operator_weights


def extract(
    params: Mapping[str, Any], network: Network, stats: Stats | None = None
) -> tuple[NetworkModule, dict[str, np.ndarray]]:
    """The stand-alone network with the supernet's weights.

    Args:
        params: Weights of the supernet, see `supernets.params`.
        network: A network of the supernet's space.
        stats: Moments of the batch norms by operator name, see `supernets.calibrate`; without
            them the module must be called with `use_batch_statistics=True`.

    Returns:
        The module with its weights set, and the same weights by name: "stem.kernel", ...
    """
    tensors = slice_weights(params, network, stats)
    module = NetworkModule(network, rng=np.random.default_rng(0))
    module.assign(tensors)
    return module, tensors


def slice_weights(params: Mapping[str, Any], network: Network, stats: Stats | None = None) -> dict[str, np.ndarray]:
    """A network's weights out of the supernet's, by name; numpy only, so nothing is compiled."""
    arrays = {name: np.asarray(value) for name, value in params.items()}
    tensors: dict[str, np.ndarray] = {}
    for op in network:
        for field, value in operator_weights(arrays, op).items():
            tensors[f"{op.name}.{field}"] = value
        for field, value in steps(arrays, op).items():
            tensors[f"{op.name}.{field}"] = value
        if isinstance(op, Conv | Linear) and (scale := kernel_scale(arrays, op)) is not None:
            tensors[f"{op.name}.kernel_scale"] = scale
        if stats is not None and isinstance(op, Conv | Sum) and op.norm:
            mean, variance = stats[op.name]
            tensors[f"{op.name}.mean"] = np.asarray(mean)[: op.out_shape[0]]
            tensors[f"{op.name}.var"] = np.asarray(variance)[: op.out_shape[0]]
    return tensors


def inherited(params: Mapping[str, Any], network: Network) -> Params:
    """A network's own weights out of the supernet's, in the layout in which it is trained alone; steps included.

    Kernels that have steps are those on their grid.
    """
    found = slice_weights(params, network)
    for op in network:
        if isinstance(op, Conv) and op.depthwise:
            found[f"{op.name}.kernel"] = found[f"{op.name}.kernel"][:, :, 0]
            if (scale := found.pop(f"{op.name}.kernel_scale", None)) is not None:
                found[f"{op.name}.kernel_scale{op.kernel}"] = scale
    return {name: jnp.array(value) for name, value in found.items()}


def export_weights(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights in the layouts of ONNX, by name.

    Args:
        tensors: What `extract` returned, moments included.

    Returns:
        "{op}.weight" (convolution `[out, in / groups, k, k]`, linear `[out, in]`), "{op}.bias",
        "{op}.gamma", "{op}.beta", "{op}.mean", "{op}.var" where the operator has them.
    """
    found = {}
    for name, value in tensors.items():
        op, _, field = name.rpartition(".")
        array = np.asarray(value, dtype=np.float32)
        if field == "kernel":
            name, array = f"{op}.weight", array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        found[name] = np.ascontiguousarray(array)
    return found
