"""An exported file as a function of JAX: of its weights, and of small changes to the values between its operators."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from search_spaces import Conv, Linear, Network, Operator, Sum
from supernets.layers import BN_EPSILON
from supernets.losses import cross_entropy
from supernets.module import run_operator
from supernets.params import Array, Params

IMAGE = "image"  # the value that the first operators read
Loss = Callable[[Params], Array]


def divergence_of_file(
    network: Network, constants: Mapping[str, np.ndarray], images: np.ndarray
) -> tuple[Loss, Params, Callable[[np.ndarray], np.ndarray]]:
    """How far a changed network's answers are from those of the file: mean cross entropy with the file's own answers.

    At the file itself the gradient is zero, so that a change costs half its square by the Hessian, whatever the
    labels are; and the Hessian is Fisher's matrix, which has no negative eigenvalues.

    Args:
        network: What the file holds.
        constants: Of the file, by name (`latency_tables.rounding_errors.constants`).
        images: `[n, c, h, w]`.

    Returns:
        The loss; where it is to be differentiated: kernels as "{op.name}.kernel", and zeros that are added to
        the values, as "{op.name}" and "image"; and the logits of any images.
    """
    x = jnp.asarray(images.transpose(0, 2, 3, 1))
    bare, fields = zip(*(_folded(op, constants) for op in network), strict=True)

    def run(point: Mapping[str, Array], images: Array) -> Array:
        values = [images + point.get(IMAGE, 0.0)]
        for op, own in zip(bare, fields, strict=True):
            kernel = point.get(f"{op.name}.kernel", own.get("kernel"))
            weights = SimpleNamespace(**own | ({} if kernel is None else {"kernel": kernel}))
            y = run_operator(op, weights, [values[i] for i in op.inputs], False)
            values.append(y + point.get(op.name, 0.0))
        return values[-1].reshape(len(images), -1)

    outputs = jax.jit(lambda images: run({}, images))
    answers = jax.nn.softmax(outputs(x))
    point = {f"{op.name}.kernel": own["kernel"] for op, own in zip(bare, fields, strict=True) if "kernel" in own}
    shapes = zip([IMAGE, *(op.name for op in network)], network.shapes, strict=True)
    point |= {name: jnp.zeros((len(x), h, w, c)) for name, (c, h, w) in shapes}
    point[network.operators[-1].name] = _zeros_of_result(network, len(x))
    return (
        lambda point: cross_entropy(run(point, x), answers),
        point,
        lambda images: np.asarray(outputs(jnp.asarray(images.transpose(0, 2, 3, 1)))),
    )


def _zeros_of_result(network: Network, n: int) -> Array:
    """A matrix product leaves no map: its result is `[n, classes]`."""
    c, h, w = network.shapes[-1]
    return jnp.zeros((n, c) if isinstance(network.operators[-1], Linear) else (n, h, w, c))


def _folded(op: Operator, constants: Mapping[str, np.ndarray]) -> tuple[Operator, dict[str, Any]]:
    """An operator as its file has it, batch norm folded, with its arrays in the layouts of Flax."""
    if isinstance(op, Conv | Linear):
        kernel, bias = constants[f"{op.name}.weight"], constants.get(f"{op.name}.bias")
        own = {"kernel": jnp.asarray(kernel.transpose(2, 3, 1, 0) if isinstance(op, Conv) else kernel.T)}
        if bias is not None:
            own["bias"] = jnp.asarray(bias)
        biased = replace(op, bias=bias is not None)
        return (replace(biased, norm=False) if isinstance(biased, Conv) else biased), own
    if isinstance(op, Sum) and op.norm:
        moments = {"mean": jnp.zeros(op.channels), "var": jnp.full(op.channels, 1 - BN_EPSILON)}
        scale, shift = (jnp.asarray(constants[f"{op.name}.{part}"]).ravel() for part in ("scale", "shift"))
        return op, {"gamma": scale, "beta": shift, **moments}
    return op, {}
