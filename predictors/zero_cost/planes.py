"""The passes that proxies need: what travels through a network, with which weights, from which images to which end."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from predictors.zero_cost import programs, scaled
from predictors.zero_cost.programs import Pass
from predictors.zero_cost.weights import Initial
from search_spaces.operators import Shape

Array = jax.Array
_GRADIENTS = {"plain", "snip", "grad_norm", "grasp", "fisher", "zico"}
_JACOBIAN = {"jacov", "epe_nas"}
_MIX = 0.01  # Zen-NAS's perturbation


@dataclass(frozen=True, eq=False)
class Plane:
    """One pass over all networks.

    Attributes:
        name: Of the pass.
        how: What a bundle holds; None for synaptic flow.
        initial: The weights.
        image: Bundle of the images, or mantissa and scale.
        end: Cotangent of a network's result, made of that; None without a way back.
        last: What is wanted of the last map; None for nothing. Maps are then forgotten after their last reader.
    """

    name: str
    how: Pass | None
    initial: Initial
    image: tuple[Array, ...]
    end: Callable[[Any], Any] | None = None
    last: Callable[[Any], Array] | None = None

    @property
    def forward(self) -> Callable[..., Any]:
        """One lane's way forward, of operator, kernel, bias and inputs."""
        return scaled.forward if self.how is None else lambda op, *rest: programs.forward(op, self.how, *rest)  # type: ignore[arg-type]

    @property
    def backward(self) -> Callable[..., Any]:
        """One lane's way back."""
        if self.how is not None:
            return lambda op, *rest: programs.backward(op, self.how, *rest)  # type: ignore[arg-type]
        return lambda op, kernel, bias, ins, products, end: scaled.backward(op, kernel, bias, ins, end)

    def added(self, old: Any, new: Any, first: Array) -> Any:
        """Cotangents `[lanes, ...]` added to those that are there, or in the place of what is not theirs."""
        if self.how is None:
            both = jax.vmap(scaled.add)(old, new)
        else:
            both = jax.tree.map(jnp.add, old, new)
        return jax.tree.map(lambda a, b: jnp.where(first.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, both)

    def pool(self, size: int, shape: Shape, count: int | None = None) -> Any:
        """Arrays that hold `size` bundles of a shape; of `count` maps, as many as the image's by default.

        A map is a flat row: a pool with the axes of a map would be copied whole wherever the compiler
        likes another order of them. The maps of a bundle lie in one array, for one access where each of
        its own would cost as many.
        """
        flat = len(self.image[0]) * int(np.prod(shape))
        if self.how is None:
            return jax.ShapeDtypeStruct((size, flat), jnp.float32), jax.ShapeDtypeStruct((size,), jnp.float32)
        return jax.ShapeDtypeStruct((size, len(self.image) if count is None else count, flat), jnp.float32)

    def maps(self, rows: Any, shape: Shape) -> Any:
        """Rows of pools as bundles of maps `[lanes, n, h, w, c]`."""
        size = (len(self.image[0]), shape[1], shape[2], shape[0])
        if self.how is None:
            return rows[0].reshape(len(rows[0]), *size), rows[1]
        return tuple(rows[:, i].reshape(len(rows), *size) for i in range(rows.shape[1]))

    def rows(self, maps: Any) -> Any:
        """Bundles of maps `[lanes, ...]` as rows of pools; the reverse of `maps`."""
        if self.how is None:
            return maps[0].reshape(len(maps[0]), -1), maps[1]
        return jnp.stack([part.reshape(len(part), -1) for part in maps], axis=1)


def planes_for(needed: set[str], images: tuple[Array, ...], labels: Array, initial: Initial, seed: int) -> list[Plane]:
    """The passes of some proxies: "data", "zen", "flow" and "flow_bn", as far as they are needed.

    Args:
        needed: Names of the proxies.
        images: Batches `[n, h, w, c]`; zico needs two.
        labels: Classes `[batches, n]`.
        initial: The weights.
        seed: Of zen's weights and noise.
    """
    absolute, planes = Initial(initial.seed, "absolute"), []
    if needed & (_GRADIENTS | _JACOBIAN | {"nwot"}):
        how = Pass(
            streams=len(images),
            tangent="grasp" in needed,
            jacobian=bool(_JACOBIAN & needed),
            codes="nwot" in needed,
            weights=bool(_GRADIENTS & needed),
        )
        maps = (*images, jnp.zeros_like(images[0])) if how.tangent else images
        end = partial(_cotangents, how, labels) if needed & (_GRADIENTS | _JACOBIAN) else None
        planes.append(Plane("data", how, initial, maps, end))
    if "zen" in needed:
        x, noise = jax.random.normal(jax.random.key(seed), (2, *images[0].shape))
        how = Pass(streams=2, variances=True, weights=False)
        planes.append(Plane("zen", how, Initial(initial.seed, "gaussian"), (x, x + _MIX * noise), last=_change))
    ones = jnp.ones_like(images[0][:1])
    if "synflow" in needed:
        planes.append(Plane("flow", None, absolute, (ones, jnp.zeros(())), _unscaled))
    if "synflow_bn" in needed:
        planes.append(Plane("flow_bn", Pass(), absolute, (ones,), _ones))
    return planes


def _change(maps: tuple[Array, Array]) -> Array:
    return jnp.abs(maps[1] - maps[0]).sum(axis=(1, 2, 3)).mean()


def _ones(maps: tuple[Array, ...]) -> tuple[Array, ...]:
    return (jnp.ones_like(maps[0]),)


def _unscaled(maps: tuple[Array, Array]) -> tuple[Array, Array]:
    return jnp.ones_like(maps[0]), jnp.zeros_like(maps[1])


def _loss(logits: Array, labels: Array) -> Array:
    rows = jax.nn.log_softmax(logits.reshape(len(logits), -1))
    return -jnp.take_along_axis(rows, labels[:, None], axis=1).mean()


def _cotangents(how: Pass, labels: Array, logits: tuple[Array, ...]) -> tuple[Array, ...]:
    """Of the loss, stream by stream, its tangent, and of the summed logits."""
    found = []
    if how.weights:
        found = [jax.grad(_loss)(logits[i], labels[i]) for i in range(how.streams)]
        if how.tangent:
            found.append(jax.jvp(lambda x: jax.grad(_loss)(x, labels[0]), (logits[0],), (logits[how.streams],))[1])
    return (*found, jnp.ones_like(logits[0])) if how.jacobian else tuple(found)
