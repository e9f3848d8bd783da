"""`Machine`: runs the operators of several networks, through programs that are compiled once each.

On a CPU one network at a time is right. On a GPU a network of this size is all launch overhead,
so the same operator of several networks, which has the same weights, runs as one program over
"lanes".
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from predictors.zero_cost import programs, scaled
from predictors.zero_cost.programs import Pass
from predictors.zero_cost.schedule import Lane
from predictors.zero_cost.weights import Initial, kernel_shape
from search_spaces import Conv, Linear, Network, Operator, Scale, Sum

Array = jax.Array


class Machine:
    """Compiled programs by operator.

    Args:
        lanes: How many networks may share a call, descending.
        threads: That compile at once.
    """

    def __init__(self, lanes: Sequence[int], threads: int) -> None:
        self.lanes, self._threads = tuple(lanes), threads
        self._programs: dict[tuple[Any, ...], Any] = {}

    def prepare(self, groups: Iterable[tuple[Operator, int]], passes: Iterable[tuple[Pass | None, int, bool]]) -> None:
        """Compiles in parallel what the groups (an operator, number of lanes) need.

        Args:
            groups: What will run.
            passes: Pass (None for synaptic flow), batch, and whether there is a way back.
        """
        passes = list(passes)
        wanted = {
            (way, how, programs.signature(op), batch, lanes)
            for op, number in set(groups)
            for lanes in set(self._split(number))
            for how, batch, back in passes
            for way in (("forward", "backward") if back else ("forward",))
        }
        missing = sorted(wanted - self._programs.keys(), key=str)
        with ThreadPoolExecutor(self._threads) as pool:
            for key, program in zip(missing, pool.map(lambda key: _compile(*key), missing), strict=True):
                self._programs[key] = program

    def run(
        self,
        way: str,
        how: Pass | None,
        batch: int,
        initial: Initial,
        networks: Sequence[Network],
        group: Sequence[Lane],
        arguments: Sequence[tuple[Any, ...]],
    ) -> list[Any]:
        """One result a lane of a group; `arguments` are what the program takes after kernel and bias."""
        op = networks[group[0][0]].operators[group[0][1]]
        kernel, bias = initial.kernel(op)
        results: list[Any] = []
        arguments = list(arguments)
        for lanes in self._split(len(group)):
            arguments += arguments[-1:] * (len(results) + lanes - len(arguments))  # lanes to spare repeat the last
            key = (way, how, programs.signature(op), batch, lanes)
            if key not in self._programs:
                self._programs[key] = _compile(*key)
            results += self._programs[key](kernel, bias, *arguments[len(results) : len(results) + lanes])
        return results[: len(group)]

    def _split(self, number: int) -> list[int]:
        """Lanes of the calls that serve a group; the last may have lanes to spare."""
        parts = []
        for lanes in self.lanes:
            parts += [lanes] * (number // lanes)
            number %= lanes
        return parts + [self.lanes[-1]] * (number > 0)


def _lanes(function: Callable[..., Any], number: int, kernel: Any, bias: Any, *many: Any) -> tuple[Any, ...]:
    """Runs `function(kernel, bias, *rest)` for several `rest`."""
    if number == 1:
        return (function(kernel, bias, *many[0]),)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *many)
    result = jax.vmap(lambda rest: function(kernel, bias, *rest))(stacked)
    return tuple(jax.tree.map(lambda leaf, i=i: leaf[i], result) for i in range(number))


def _compile(way: str, how: Pass | None, op: Operator, batch: int, lanes: int) -> Any:
    module: Any = programs if how is not None else scaled
    function = partial(getattr(module, way), op, *([] if how is None else [how]))
    kernel = _spec(kernel_shape(op)) if isinstance(op, Conv | Linear) else None
    bias = _spec((op.out_shape[0],)) if isinstance(op, Conv | Linear) and op.bias else None
    arguments = _arguments(way, how, op, batch)
    return jax.jit(partial(_lanes, function, lanes)).lower(kernel, bias, *[arguments] * lanes).compile()


def _spec(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _arguments(way: str, how: Pass | None, op: Operator, batch: int) -> tuple[Any, ...]:
    """Shapes of what a program takes after kernel and bias, for one lane."""

    def bundle(shape: tuple[int, int, int], count: int) -> tuple[Any, ...]:
        return tuple(_spec((batch, shape[1], shape[2], shape[0])) for _ in range(count))

    shapes = input_shapes(op)
    if how is None:
        ins = tuple((*bundle(shape, 1), _spec(())) for shape in shapes)
        return (ins, (*bundle(op.out_shape, 1), _spec(()))) if way == "backward" else (ins,)
    ins = tuple(bundle(shape, how.streams + how.tangent) for shape in shapes)
    if way == "forward":
        return (ins,)
    products = bundle(op.out_shape, how.streams + how.tangent) if kernel_shape(op) else ()
    return ins, products, bundle(op.out_shape, how.cotangents)


def input_shapes(op: Operator) -> list[tuple[int, int, int]]:
    """Shapes (channels, height, width) of what an operator reads."""
    if isinstance(op, Linear):
        return [(op.in_channels, 1, 1)]
    if isinstance(op, Conv):
        return [(op.in_channels, op.size, op.size), op.out_shape][: len(op.inputs)]
    channels, size = getattr(op, "channels"), getattr(op, "size")  # noqa: B009 - every other kind has both
    if isinstance(op, Scale):
        return [(channels, size, size), (channels, 1, 1)]
    return [(channels, size, size)] * (len(op.inputs) if isinstance(op, Sum) else 1)
