"""`Network`: one concrete network as a tuple of fused operators, with exact costs."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property

from search_spaces.errors import ArchitectureError
from search_spaces.operators import KINDS, Operator, Shape, operator_text

_HEADER = re.compile(r"([\w.-]+)@(\d+)x(\d+):")
_OPERATOR = re.compile(r"(\w+)\(([\w.]+);([\d,]+);([\w=,]*)\)")


@dataclass(frozen=True)
class Network:
    """A directed acyclic graph of fused operators in execution order.

    Value 0 is the image `[in_channels, size, size]`; value i + 1 is the output of operator i;
    the last value is the result.

    Attributes:
        name: What it is called in messages and files.
        in_channels: Channels of the image.
        size: Height and width of the image in pixels.
        operators: The fused operators, each reading only earlier values.
    """

    name: str
    in_channels: int
    size: int
    operators: tuple[Operator, ...]

    def __iter__(self) -> Iterator[Operator]:
        return iter(self.operators)

    @cached_property
    def live(self) -> "Network":
        """The network without the operators that its result does not depend on: what a runtime runs."""
        needed = {len(self.operators)}
        for i in range(len(self.operators), 0, -1):
            if i in needed:
                needed.update(self.operators[i - 1].inputs)
        kept = sorted(needed | {0})
        if len(kept) == len(self.operators) + 1:
            return self
        index = {old: new for new, old in enumerate(kept)}
        operators = (
            replace(op, inputs=tuple(index[v] for v in op.inputs)) for op in (self.operators[v - 1] for v in kept[1:])
        )
        return replace(self, operators=tuple(operators))

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape (channels, height, width) of every value, the image first."""
        return ((self.in_channels, self.size, self.size), *(op.out_shape for op in self.operators))

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates for one image: convolutions and matrix products, nothing else."""
        return sum(op.macs for op in self.operators)

    @cached_property
    def params(self) -> int:
        """Trainable parameters, batch norm's scale and shift included, running statistics not."""
        return sum(op.params for op in self.operators)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of fp32 weights in the deployed file, batch norm folded."""
        return 4 * sum(op.weight_elements for op in self.operators)

    @cached_property
    def peak_memory(self) -> int:
        """Largest number of bytes of fp32 activations alive at once, for one image.

        A value lives from the operator that makes it to the last one that reads it; while an
        operator runs, its inputs and its output are both alive.
        """
        elements = [c * h * w for c, h, w in self.shapes]
        last_use = list(range(len(elements)))  # a value that nobody reads dies where it is made
        for i, op in enumerate(self.operators):
            for value in op.inputs:
                last_use[value] = i + 1
        last_use[-1] = len(elements)
        alive = peak = elements[0]
        for i in range(1, len(elements)):
            alive += elements[i]
            peak = max(peak, alive)
            alive -= sum(elements[v] for v in {*self.operators[i - 1].inputs, i} if last_use[v] <= i)
        return 4 * peak

    @cached_property
    def kernels(self) -> tuple[str, ...]:
        """Latency-table key of every live operator, in execution order (a key appears as often as it runs)."""
        return tuple(op.key for op in self.live)

    @cached_property
    def num_classes(self) -> int:
        """Length of the result."""
        return self.shapes[-1][0]

    @cached_property
    def text(self) -> str:
        """The whole network in one line; `Network.parse` reads it back."""
        return f"{self.name}@{self.in_channels}x{self.size}: " + " ".join(map(operator_text, self.operators))

    @classmethod
    def parse(cls, text: str) -> "Network":
        """Reads what `text` wrote.

        Raises:
            ArchitectureError: if the text is malformed or its shapes do not fit together.
        """
        head, *rest = text.strip().split(" ")
        header = _HEADER.fullmatch(head)
        if header is None:
            raise ArchitectureError(f"Network text must begin like `name@3x224:`, got {head[:60]!r}.")
        name, channels, size = header[1], int(header[2]), int(header[3])
        return cls(name, channels, size, tuple(map(_parse_operator, rest))).check()

    def check(self) -> "Network":
        """Returns itself if every operator reads earlier values of the shape it expects.

        Raises:
            ArchitectureError: naming the first operator that does not fit.
        """
        names: set[str] = set()
        for i, op in enumerate(self.operators):
            if op.name in names:
                raise ArchitectureError(f"Operator name {op.name!r} appears twice in network {self.name!r}.")
            names.add(op.name)
            if not op.inputs or max(op.inputs) > i:
                raise ArchitectureError(f"Operator {op.name!r} reads value {op.inputs}, only 0..{i} exist there.")
            shape = self.shapes[op.inputs[0]]
            expected = (getattr(op, "in_channels", None) or getattr(op, "channels", 0), getattr(op, "size", 1))
            if shape[:2] != expected:
                raise ArchitectureError(
                    f"Operator {op.name!r} expects {expected[0]} channels at {expected[1]} px, "
                    f"its input has {shape[0]} at {shape[1]} px."
                )
        return self


def _parse_operator(text: str) -> Operator:
    match = _OPERATOR.fullmatch(text)
    kind = KINDS.get(match[1]) if match else None
    if match is None or kind is None:
        raise ArchitectureError(f"{text[:80]!r} is no operator; expected kind(name;inputs;field=value,...).")
    types = {f.name: f for f in fields(kind) if f.name not in ("name", "inputs")}
    values: dict[str, int | bool | str] = {}
    for item in filter(None, match[4].split(",")):
        field, _, value = item.partition("=")
        if field not in types:
            raise ArchitectureError(f"Operator {match[2]!r} has no field {field!r}; {match[1]} has {sorted(types)}.")
        if types[field].type is bool:
            values[field] = value == "1"
        elif types[field].type is int and not value.isdigit():
            raise ArchitectureError(f"Operator {match[2]!r}: {field} (={value!r}) must be a whole number.")
        else:
            values[field] = int(value) if types[field].type is int else value
    missing = [f for f in types if types[f].default is MISSING and f not in values]
    if missing:
        raise ArchitectureError(f"Operator {match[2]!r} lacks {missing}.")
    try:
        return kind(match[2], tuple(int(i) for i in match[3].split(",") if i), **values)
    except (ValueError, ZeroDivisionError) as error:
        raise ArchitectureError(f"Operator {match[2]!r}: {error}") from error
