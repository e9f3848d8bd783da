"""`Machine`: runs single operators through programs that are compiled once each."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from predictors.zero_cost import programs, scaled
from predictors.zero_cost.programs import Pass
from predictors.zero_cost.weights import Initial, kernel_shape
from search_spaces import Conv, Linear, Operator, Scale, Sum

Array = jax.Array


class Machine:
    """Compiled programs by operator.

    Args:
        threads: That compile at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._programs: dict[tuple[Any, ...], Any] = {}

    def prepare(self, operators: Iterable[Operator], passes: Iterable[tuple[Pass | None, int, bool]]) -> None:
        """Compiles in parallel what operators need.

        Args:
            operators: What will run.
            passes: Pass (None for synaptic flow), batch, and whether there is a way back.
        """
        passes = list(passes)
        wanted = {
            (way, how, op, batch)
            for op in {programs.signature(op) for op in operators}
            for how, batch, back in passes
            for way in (("forward", "backward") if back else ("forward",))
        }
        missing = sorted(wanted - self._programs.keys(), key=str)
        with ThreadPoolExecutor(self._threads) as pool:
            for key, program in zip(missing, pool.map(lambda key: _compile(*key), missing), strict=True):
                self._programs[key] = program

    def run(self, way: str, how: Pass | None, batch: int, initial: Initial, op: Operator, *arguments: Any) -> Any:
        """Result of an operator; `arguments` are what the program takes after kernel and bias."""
        key = (way, how, programs.signature(op), batch)
        if key not in self._programs:
            self._programs[key] = _compile(*key)
        return self._programs[key](*initial.kernel(op), *arguments)


def _compile(way: str, how: Pass | None, op: Operator, batch: int) -> Any:
    module: Any = programs if how is not None else scaled
    function = partial(getattr(module, way), op, *([] if how is None else [how]))
    kernel = spec(kernel_shape(op)) if isinstance(op, Conv | Linear) else None
    bias = spec((op.out_shape[0],)) if isinstance(op, Conv | Linear) and op.bias else None
    return jax.jit(function).lower(kernel, bias, *_arguments(way, how, op, batch)).compile()


def spec(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """An array of that shape, fp32."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _arguments(way: str, how: Pass | None, op: Operator, batch: int) -> tuple[Any, ...]:
    """Shapes of what a program takes after kernel and bias."""

    def bundle(shape: tuple[int, int, int], count: int) -> tuple[Any, ...]:
        return tuple(spec((batch, shape[1], shape[2], shape[0])) for _ in range(count))

    shapes = input_shapes(op)
    if how is None:
        ins = tuple((*bundle(shape, 1), spec(())) for shape in shapes)
        return (ins, (*bundle(op.out_shape, 1), spec(()))) if way == "backward" else (ins,)
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
