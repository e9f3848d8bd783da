"""Traces of the diagonal blocks of a Hessian, by Hutchinson's estimator (as in HAWQ-V2: Dong et al., NeurIPS 2020).

For v of random signs, E[v' H v] is the trace of H. The product H v is forward over reverse, at the price of a few
gradients. A probe is of one block: signs in all blocks at once would serve all of them, but what the other blocks
add to v_l' (H v)_l has mean zero only, and in a network it drowned the small traces.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from supernets.params import Array, Params


@dataclass(frozen=True)
class Trace:
    """An estimated trace.

    Attributes:
        mean: Over the probes.
        error: Its standard error.
        probes: Products of the Hessian with random signs.
    """

    mean: float
    error: float
    probes: int


def block_traces(
    loss: Callable[[Params], Array],
    point: Params,
    blocks: Mapping[str, Mapping[str, float]],
    *,
    seed: int = 0,
    probes: tuple[int, int] = (8, 32),
    tolerance: float = 0.05,
    on_block: Callable[[int], None] = lambda done: None,
) -> dict[str, Trace]:
    """tr(D H D) of the Hessian of a loss, for several diagonal matrices D: the scales of the arrays in a block.

    Twice the loss that random errors of these sizes add, to second order; with scales of 1, the trace itself.

    Args:
        loss: A twice differentiable function.
        point: Its argument, arrays by name.
        blocks: By name of the block, the scale of every array in it.
        seed: Of the signs.
        probes: Fewest and most of a block.
        tolerance: Enough when the standard error is within this share of the trace.
        on_block: Called with the number of blocks done.

    Returns:
        Traces by block.
    """

    @jax.jit
    def probe(point: Params, scales: Params, key: Array) -> Array:
        keys = dict(zip(point, jax.random.split(key, len(point)), strict=True))
        v = {name: scales[name] * jax.random.rademacher(keys[name], x.shape, x.dtype) for name, x in point.items()}
        _, product = jax.jvp(jax.grad(loss), (point,), (v,))
        return sum(((v[name] * product[name]).sum() for name in point), jnp.zeros(()))

    found = {}
    for done, (name, sizes) in enumerate(blocks.items(), 1):
        if unknown := sorted(set(sizes) - set(point)):
            raise ValueError(f"Block {name!r} has an array {unknown[0]!r} that the point lacks.")
        scales = {array: jnp.asarray(sizes.get(array, 0.0), x.dtype) for array, x in point.items()}
        key = jax.random.fold_in(jax.random.key(seed), done)
        values: list[float] = []
        while len(values) < probes[1]:
            values.append(float(probe(point, scales, jax.random.fold_in(key, len(values)))))
            if len(values) >= max(2, probes[0]) and _trace(values).error <= tolerance * abs(_trace(values).mean):
                break
        found[name] = _trace(values)
        on_block(done)
    return found


def _trace(values: list[float]) -> Trace:
    n = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    return Trace(float(np.mean(values)), error, n)
