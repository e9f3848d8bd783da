"""A quantised subnet as the integers of its file say: batch norm folded, biases rounded, steps of activations kept.

Training rounds kernels before batch norm and leaves biases alone. In a file the bias of a convolution is a
whole number of (step of its input) x (step of its kernel); this is the same network, for JAX to run.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from search_spaces import Conv, Linear, Network
from search_spaces.rounding import largest_scale, places
from supernets.fake_quant import ACTIVATION_LEVELS, FLOOR
from supernets.layers import BN_EPSILON
from supernets.params import Params
from supernets.quantised import IMAGE

_BIAS_LEVELS = 1 << 30


def folded(tensors: Mapping[str, np.ndarray], network: Network) -> tuple[Params, Network]:
    """Weights and network without batch norm, for `chain.forward`.

    Args:
        tensors: What `slice_weights` gives for a quantised supernet, moments included.
        network: The subnet.

    Returns:
        Its weights in the layout in which a network is trained alone, and the network with biases for norms.
    """
    found: dict[str, Any] = {
        n: v for n, v in tensors.items() if n.endswith((*_suffixes("scale"), *_suffixes("offset")))
    }
    operators, grids = [], {0: _step(tensors, network.operators[0], IMAGE)}
    for i, op in enumerate(network):
        grids[i + 1] = _step(tensors, op, "out") if places(op) else grids[op.inputs[0]]
        if isinstance(op, Conv | Linear):
            kernel = np.asarray(tensors[f"{op.name}.kernel"], np.float64)
            bias = np.asarray(tensors.get(f"{op.name}.bias", np.zeros(op.out_channels)), np.float64)
            scale = np.maximum(np.asarray(tensors[f"{op.name}.kernel_scale"], np.float64), FLOOR)
            if isinstance(op, Conv) and op.norm:
                gamma, beta, mean, var = (
                    np.asarray(tensors[f"{op.name}.{f}"], np.float64) for f in ("gamma", "beta", "mean", "var")
                )
                factor = gamma / np.sqrt(var + BN_EPSILON)
                kernel, scale, bias = kernel * factor, scale * np.abs(factor), beta + (bias - mean) * factor
            step = grids[op.inputs[0]]
            scale = np.maximum(scale, np.maximum(np.abs(bias) / (step * _BIAS_LEVELS), np.finfo(np.float32).tiny))
            found[f"{op.name}.kernel"] = np.round(kernel / scale) * scale
            found[f"{op.name}.bias"] = np.round(bias / (step * scale)) * step * scale
            if isinstance(op, Conv):
                op = replace(op, norm=False, bias=True)
                if op.depthwise:
                    found[f"{op.name}.kernel"] = found[f"{op.name}.kernel"][:, :, 0]
        operators.append(op)
    arrays = {name: jnp.asarray(value, jnp.float32) for name, value in found.items()}
    return arrays, replace(network, operators=tuple(operators))


def _suffixes(part: str) -> tuple[str, ...]:
    return tuple(f".{place}_{part}" for place in (IMAGE, "conv", "linear", "out"))


def _step(tensors: Mapping[str, np.ndarray], op: Any, place: str) -> float:
    """The step of a place; without one, as for the logits, none is needed."""
    scale = tensors.get(f"{op.name}.{place}_scale")
    return float("nan") if scale is None else max(min(float(scale), largest_scale(op, place, ACTIVATION_LEVELS)), FLOOR)
