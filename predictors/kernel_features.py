"""What a latency-table key says about a kernel: configuration, MACs, bytes, and features of them."""

import re
from dataclasses import dataclass

import numpy as np

_KEY = re.compile(
    r"(?P<op>[a-z]+)(?:_(?P<reduce>max|mean))?(?P<numbers>(?:_[a-z]\d+)*)(?P<add>_add)?(?:_(?P<act>\w+))?"
)
ACTIVATIONS = ("none", "relu", "relu6", "hswish", "hsigmoid", "sigmoid")
_BYTES = 4  # of a number; other precisions only rescale bandwidth, which is fitted


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """A kernel, read from its key.

    Attributes:
        op: "conv", "dw", "linear", "pool", "globalpool", "scale" or "shuffle".
        inputs: Channels read.
        outputs: Channels written.
        kernel: Side of the filter.
        stride: Of the filter.
        groups: Of the channels.
        size: Input height = width.
        add: Whether a residual is added.
        activation: Last activation.
    """

    op: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    size: int = 1
    add: bool = False
    activation: str = "none"

    @classmethod
    def parse(cls, key: str) -> "KernelConfig":
        """Reads a key.

        Raises:
            ValueError: if it is none.
        """
        match = _KEY.fullmatch(key)
        numbers = {n[0]: int(n[1:]) for n in match["numbers"].split("_")[1:]} if match else {}
        if match is None or not ({"i", "o"} <= set(numbers) or "c" in numbers):
            raise ValueError(f"{key[:80]!r} is no key of a kernel.")
        inputs, outputs = numbers.get("i", numbers.get("c", 0)), numbers.get("o", numbers.get("c", 0))
        groups = inputs if match["op"] == "dw" else numbers.get("g", 1)
        size, kernel = numbers.get("h", 1), numbers.get("k", 1)
        if match["op"] == "globalpool":
            kernel = size
        rest = (match["add"] is not None, match["act"] or "none")
        return cls(match["op"], inputs, outputs, kernel, numbers.get("s", 1), groups, size, *rest)

    @property
    def kind(self) -> str:
        """Kernels of a kind share a model: the runtime serves them by the same code."""
        if self.op != "conv":
            return self.op
        if self.size == 1:
            return "vector"  # squeeze-excite and heads: a matrix times a vector
        if self.groups > 1:
            return "grouped"
        return "pointwise" if self.kernel == 1 else "dense"

    @property
    def out_size(self) -> int:
        return 1 if self.op == "globalpool" else -(-self.size // self.stride)

    @property
    def macs(self) -> int:
        """Multiply-accumulates; for kernels without weights the elements they look at."""
        positions = self.out_size**2
        if self.op in ("conv", "dw", "linear"):
            return self.outputs * (self.inputs // self.groups) * self.kernel**2 * positions
        return self.outputs * positions * self.kernel**2

    @property
    def bytes(self) -> int:
        """Read and written: activations, residual, weights."""
        weights = self.outputs * (self.inputs // self.groups) * self.kernel**2
        if self.op not in ("conv", "dw", "linear"):
            weights = 0
        maps = self.inputs * self.size**2 + self.outputs * self.out_size**2 * (2 if self.add else 1)
        return _BYTES * (maps + weights)

    @property
    def features(self) -> np.ndarray:
        """Numbers that a regression looks at, log2 where they multiply, `[17]`."""
        numbers = (self.inputs, self.outputs, self.kernel, self.stride, self.groups, self.out_size)
        flags = (self.inputs % 16 == 0, self.outputs % 16 == 0, self.outputs % 8 == 0, self.add)
        acts = [2.0 * (self.activation == a) for a in ACTIVATIONS[:4]]
        acts.append(2.0 * (self.activation in ACTIVATIONS[4:]))
        logs = np.log2([*numbers, max(self.macs, 1), self.bytes])
        return np.concatenate([logs, np.array(flags, dtype=np.float64) * 2, acts])
