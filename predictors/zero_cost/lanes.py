"""One compiled program an operator and way, over the lanes of a call: reads and writes slots of pools in place."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from predictors.zero_cost.machine import input_shapes, spec
from predictors.zero_cost.planes import Plane
from predictors.zero_cost.scaled import NOTHING
from predictors.zero_cost.weights import kernel_shape
from search_spaces import Conv, Operator
from search_spaces.operators import Shape

Array = jax.Array
State = dict[str, Any]  # pools and tables by plane, kind and shape
TABLE = "//"  # in the keys of tables of results
# Choosing algorithms takes long; it pays for convolutions on the way forward: cuDNN guesses one 30 times slower there.
_GUESSED: dict[str, Any] = {"xla_gpu_autotune_level": 0}
_CHOSEN: dict[str, Any] = {"xla_gpu_autotune_level": 4, "xla_gpu_enable_triton_gemm": False}


def maps_kind(plane: Plane) -> str:
    """Which slots a plane's maps have."""
    return "passing" if plane.end is None else "kept"


def key_of(plane: Plane, kind: str, shape: Shape) -> str:
    """Where the pool of a plane's maps of a shape lies in the state."""
    return f"{plane.name}/{kind}/{shape}"


def table_key(plane: Plane, name: str) -> str:
    """Where a plane's table of results lies in the state."""
    return f"{plane.name}{TABLE}{name}"


def compile_program(planes: Sequence[Plane], specs: State, way: str, op: Operator, lanes: int) -> tuple[Any, list[str]]:
    """Program of an operator, and which parts of the state it takes and returns."""
    function, rows = {"forward": (_forward, 2 * len(op.inputs) + 6), "backward": (_backward, 3 * len(op.inputs) + 3)}[
        way
    ]
    keys = [key for key in _touched(planes, way, op) if key in specs]
    kernel = spec(kernel_shape(op)) if kernel_shape(op) else None
    bias = spec((op.out_shape[0],)) if getattr(op, "bias", False) else None
    index = jax.ShapeDtypeStruct((rows, lanes), jnp.int32)
    lowered = jax.jit(partial(function, tuple(planes), op), donate_argnums=0).lower(
        {key: specs[key] for key in keys}, ((kernel, bias),) * len(planes), index
    )
    options = _CHOSEN if way == "forward" and isinstance(op, Conv) and op.kernel > 1 else _GUESSED
    return lowered.compile(options if jax.default_backend() == "gpu" else None), keys


def _touched(planes: Sequence[Plane], way: str, op: Operator) -> list[str]:
    shapes = dict.fromkeys([*input_shapes(op), op.out_shape])
    found = []
    for plane in planes:
        if way == "backward" and plane.end is None:
            continue
        found += [key_of(plane, maps_kind(plane), shape) for shape in shapes]
        found.append(key_of(plane, "products", op.out_shape))
        tables = ("sums", "flows") if way == "backward" else ("code", "variances")
        found += [table_key(plane, name) for name in tables]
        if way == "backward":
            found += [key_of(plane, "cotangents", shape) for shape in shapes]
    return found


def _gather(plane: Plane, pools: Any, slots: Array, shape: Shape) -> Any:
    """Maps of every lane; a map that is nowhere is zero."""

    def rows(pool: Array) -> Array:
        return pool.at[slots].get(mode="fill", fill_value=NOTHING if pool.ndim == 1 else 0.0)

    return plane.maps(jax.tree.map(rows, pools), shape)


def _scatter(plane: Plane, pools: Any, slots: Array, maps: Any) -> Any:
    """Writes the maps of every lane; one that belongs nowhere is dropped."""
    return jax.tree.map(lambda pool, new: _written(pool, slots, new), pools, plane.rows(maps))


def _written(table: Array, rows: Array, new: Array) -> Array:
    return table.at[rows].set(new, mode="drop", unique_indices=True)


def _forward(planes: Sequence[Plane], op: Operator, state: State, kernels: Any, index: Array) -> State:
    k = len(op.inputs)
    product, row, network, weight = index[2 * k + 2 :]
    for plane, (kernel, bias) in zip(planes, kernels, strict=True):
        slots = index[: k + 1] if plane.end is not None else index[k + 1 : 2 * k + 2]
        ins = tuple(
            _gather(plane, state[key_of(plane, maps_kind(plane), shape)], slots[j], shape)
            for j, shape in enumerate(input_shapes(op))
        )
        result = jax.vmap(partial(plane.forward, op, kernel, bias))(ins)
        out = result if plane.how is None else result.out
        key = key_of(plane, maps_kind(plane), op.out_shape)
        state[key] = _scatter(plane, state[key], slots[k], out)
        if plane.how is None:
            continue
        if result.products and plane.end is not None:
            key = key_of(plane, "products", op.out_shape)
            state[key] = _scatter(plane, state[key], product, result.products)
        if result.code is not None:
            key, times = table_key(plane, "code"), weight[:, None, None].astype(jnp.float32)
            state[key] = state[key].at[network].add(times * result.code, mode="drop", unique_indices=True)
        if result.variance is not None:
            key = table_key(plane, "variances")
            state[key] = _written(state[key], row, result.variance)
    return state


def _backward(planes: Sequence[Plane], op: Operator, state: State, kernels: Any, index: Array) -> State:
    k, shapes = len(op.inputs), input_shapes(op)
    product, row, end = index[k : k + 3]
    for plane, (kernel, bias) in zip(planes, kernels, strict=True):
        if plane.end is None:
            continue
        ins = tuple(
            _gather(plane, state[key_of(plane, "kept", shape)], index[j], shape) for j, shape in enumerate(shapes)
        )
        made = state.get(key_of(plane, "products", op.out_shape)) if kernel_shape(op) else None
        products = () if made is None else _gather(plane, made, product, op.out_shape)
        cotangents = _gather(plane, state[key_of(plane, "cotangents", op.out_shape)], end, op.out_shape)
        inputs, sums = jax.vmap(partial(plane.backward, op, kernel, bias))(ins, products, cotangents)
        inputs += (cotangents,) * (k - len(inputs))
        for j, (shape, new) in enumerate(zip(shapes, inputs, strict=True)):
            key, slots, first = key_of(plane, "cotangents", shape), index[k + 3 + j], index[2 * k + 3 + j] > 0
            sums_there = plane.added(_gather(plane, state[key], slots, shape), new, first)
            state[key] = _scatter(plane, state[key], slots, sums_there)
        if sums is not None:
            key = table_key(plane, "flows" if plane.how is None else "sums")
            state[key] = _written(state[key], row, sums if plane.how is None else jnp.stack(sums, axis=-1))
    return state


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def start(plane: Plane, shape: Shape, maps: Any, cotangents: Any, results: Array, ends: Array) -> Any:
    """Writes the cotangents of the networks' results."""
    assert plane.end is not None
    return _scatter(plane, cotangents, ends, jax.vmap(plane.end)(_gather(plane, maps, results, shape)))


@partial(jax.jit, static_argnums=(0, 1))
def last(plane: Plane, shape: Shape, maps: Any, slot: Array) -> Array:
    """What the plane wants of a network's last map."""
    assert plane.last is not None
    return jax.vmap(plane.last)(_gather(plane, maps, slot, shape))[0]


@partial(jax.jit, static_argnums=(0, 1))
def take(plane: Plane, shape: Shape, pool: Array, slots: Array) -> Array:
    """The last map of some bundles `[lanes, n, h, w, c]`; nan where there is none."""
    return plane.maps(pool.at[slots, -1:].get(mode="fill", fill_value=jnp.nan), shape)[0]
