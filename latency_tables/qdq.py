"""Learned rounding as QuantizeLinear and DequantizeLinear nodes: what a quantised supernet trained is what ships."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from latency_tables.errors import WeightsError
from search_spaces import Conv, Linear, Operator
from search_spaces.rounding import largest_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH_NORM_EPSILON = 1e-5
_LEVELS = 255  # of unsigned activations
_WEIGHT_LEVELS = 64  # to either side; 7 bits, see `int8.Quantisation`
_FLOOR = np.float32(1e-7 / 255)
_BIAS_LEVELS = 1 << 30  # a bias is a 32-bit sum's start; the sum needs the rest


class Nodes(Protocol):
    """The graph under construction, as far as it is needed here."""

    def node(self, kind: str, inputs: "Sequence[str]", output: str, **attributes: object) -> str: ...
    def constant(self, name: str, array: np.ndarray) -> str: ...


class Rounding:
    """Appends the roundings of a network, by the steps among its weights; none, if there are no steps.

    Steps are "{op}.{place}_scale" and "{op}.{place}_offset" (scalars; places of `search_spaces.rounding`, and
    "image" with the operator that reads it) and "{op}.kernel_scale" (`[out]`, of the kernel before batch norm is
    folded in). Folding multiplies a channel and its step by the same number, so the integers stay.

    Args:
        arrays: The weights by name.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._steps: dict[str, tuple[np.float32, np.uint8]] = {}  # of tensors that are on a grid

    @property
    def active(self) -> bool:
        """Whether there are steps at all."""
        return any(name.endswith("_scale") for name in self._arrays)

    def step(self, op: Operator, place: str) -> tuple[np.float32, np.uint8] | None:
        """Scale and zero point at a place, as training has them; None where it does not round."""
        if f"{op.name}.{place}_scale" not in self._arrays:
            return None
        scale = np.float32(np.asarray(self._arrays[f"{op.name}.{place}_scale"]).item())
        scale = max(min(scale, np.float32(largest_scale(op, place, _LEVELS))), _FLOOR)
        offset = np.float32(np.asarray(self._arrays.get(f"{op.name}.{place}_offset", 0.0)).item())
        return scale, np.uint8(np.clip(np.round(-offset / scale), 0, _LEVELS))

    def at(self, graph: Nodes, op: Operator, place: str, tensor: str) -> str:
        """The tensor rounded as a place says; the tensor itself where it is not rounded."""
        step = self.step(op, place)
        return tensor if step is None else self._append(graph, tensor, step)

    def like(self, graph: Nodes, tensor: str, source: str) -> str:
        """A tensor of the values of another one, rounded by the same step: kernels on integers need it said."""
        return self._append(graph, tensor, self._steps[source]) if source in self._steps else tensor

    def implies(self, op: Operator, activation: str) -> bool:
        """Whether rounding an operator's output already clips as an activation does."""
        step = self.step(op, "out")
        return step is not None and step[1] == 0 and activation in ("relu", "relu6")

    def kernel(
        self, graph: Nodes, op: Conv | Linear, tensor: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> list[str]:
        """Constants of a kernel and its bias: integers with their steps where the operator rounds, else as they are.

        Args:
            graph: Where they go.
            op: The operator.
            tensor: What it reads.
            weight: `[out, ...]`, batch norm folded in.
            bias: `[out]`.
        """
        names = f"{op.name}.weight", f"{op.name}.bias"
        if f"{op.name}.kernel_scale" not in self._arrays:
            return [graph.constant(n, a) for n, a in zip(names, (weight, bias), strict=True) if a is not None]
        if tensor not in self._steps:
            raise WeightsError(f"Operator {op.name!r} has a rounded kernel but reads {tensor!r}, which is not rounded.")
        step = float(self._steps[tensor][0])
        scale = self._folded(op)
        if bias is not None:  # of a channel that is nearly nothing but its bias
            scale = np.maximum(scale, np.abs(bias) / (step * _BIAS_LEVELS))
        scale = scale.astype(np.float32).astype(np.float64)
        rounded = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
        found = [self._integers(graph, names[0], np.clip(rounded, -_WEIGHT_LEVELS, _WEIGHT_LEVELS), scale, np.int8)]
        if bias is not None:
            found.append(self._integers(graph, names[1], np.round(bias / (step * scale)), step * scale, np.int32))
        return found

    def _folded(self, op: Conv | Linear) -> np.ndarray:
        scale = np.maximum(np.asarray(self._arrays[f"{op.name}.kernel_scale"], np.float64), _FLOOR)
        if isinstance(op, Conv) and op.norm:
            gamma, var = (np.asarray(self._arrays[f"{op.name}.{field}"], np.float64) for field in ("gamma", "var"))
            scale = np.maximum(scale * np.abs(gamma) / np.sqrt(var + BATCH_NORM_EPSILON), np.finfo(np.float32).tiny)
        return scale

    def _integers(self, graph: Nodes, name: str, values: np.ndarray, scale: np.ndarray, kind: type) -> str:
        constants = [
            graph.constant(f"{name}_quantized", values.astype(kind)),
            graph.constant(f"{name}_scale", scale.astype(np.float32)),
            graph.constant(f"{name}_zero_point", np.zeros(len(scale), kind)),
        ]
        return graph.node("DequantizeLinear", constants, f"{name}_DequantizeLinear_Output", axis=0)

    def _append(self, graph: Nodes, tensor: str, step: tuple[np.float32, np.uint8]) -> str:
        scale = graph.constant(f"{tensor}_scale", np.array(step[0], np.float32))
        zero = graph.constant(f"{tensor}_zero_point", np.array(step[1], np.uint8))
        integers = graph.node("QuantizeLinear", [tensor, scale, zero], f"{tensor}_QuantizeLinear_Output")
        made = graph.node("DequantizeLinear", [integers, scale, zero], f"{tensor}_DequantizeLinear_Output")
        self._steps[made] = step
        return made
