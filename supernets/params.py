"""Weights as a flat dict: "stage1.block2.expand.kernel" -> array. What is trained, saved and extracted from."""

import jax
import numpy as np
from flax import nnx

from search_spaces import MBConvSpace
from supernets.elastic import Supernet

Array = jax.Array
Params = dict[str, Array]


def init_params(space: MBConvSpace, seed: int) -> Params:
    """Fresh weights of the supernet of a space."""
    return flatten(nnx.state(Supernet(space, rng=np.random.default_rng(seed)), nnx.Param))


def flatten(state: nnx.State) -> Params:
    """A state by dotted names."""
    return {".".join(map(str, path)): variable[...] for path, variable in nnx.to_flat_state(state)}


def supernet(space: MBConvSpace) -> nnx.GraphDef:
    """The supernet's structure without weights; see `bind`."""
    return nnx.split(nnx.eval_shape(lambda: Supernet(space, rng=np.random.default_rng(0))))[0]


def bind(graph: nnx.GraphDef, params: Params) -> Supernet:
    """The supernet with these weights; cheap, also inside a compiled function."""
    flat = [(tuple(name.split(".")), nnx.Param(value)) for name, value in sorted(params.items())]
    return nnx.merge(graph, nnx.from_flat_state(flat))
