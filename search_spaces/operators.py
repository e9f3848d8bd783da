"""Fused operators: the records a `Network` is made of.

One record is what ONNX Runtime runs as one kernel, for instance convolution + folded batch
norm + residual addition + activation, so that measured times add up. Shapes are resolved:
a record knows everything that decides its cost. Feature maps are square.
"""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal, get_args

Activation = Literal["none", "relu", "relu6", "hswish", "hsigmoid", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True, slots=True)
class Operator:
    """Base of all operators.

    Attributes:
        name: Path of the operator in its network, e.g. "stage1.block2.expand". Weights are
            looked up by it.
        inputs: Indices of the values read. Value 0 is the image, value i + 1 is the output of
            operator i.
    """

    kind: ClassVar[str] = ""

    name: str
    inputs: tuple[int, ...]

    @property
    def part(self) -> str:
        """The block that the operator belongs to: "stage1.block2", "stem", ..."""
        head, _, rest = self.name.partition(".")
        second = rest.partition(".")[0]
        return f"{head}.{second}" if second.startswith("block") else head

    @property
    def out_shape(self) -> Shape:
        """Shape of the output for one image."""
        raise NotImplementedError

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and matrix products for one image; all else counts 0."""
        return 0

    @property
    def params(self) -> int:
        """Trainable parameters, batch norm's scale and shift included."""
        return 0

    @property
    def weight_elements(self) -> int:
        """Numbers stored for inference, after batch norm is folded into weight and bias."""
        return 0

    @property
    def key(self) -> str:
        """Name of the kernel in a latency table: everything that decides its time, nothing else."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Conv(Operator):
    """Convolution, padding k // 2, then batch norm or bias, then an optional addition, then activation.

    A second input, where present, is the residual that is added before the activation.
    """

    kind: ClassVar[str] = "conv"

    in_channels: int
    out_channels: int
    size: int  # input height = width
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    activation: Activation = "none"
    norm: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{self.name}: in_channels (={self.in_channels}) and out_channels (={self.out_channels}) "
                f"must be divisible by groups (={self.groups})."
            )
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"{self.name}: activation (={self.activation!r}) must be one of {ACTIVATIONS}.")

    @property
    def depthwise(self) -> bool:
        """Whether every channel is filtered on its own."""
        return self.groups == self.in_channels == self.out_channels and self.groups > 1

    @property
    def out_size(self) -> int:
        return -(-self.size // self.stride)

    @property
    def out_shape(self) -> Shape:
        return (self.out_channels, self.out_size, self.out_size)

    @property
    def _kernel_elements(self) -> int:
        return self.out_channels * (self.in_channels // self.groups) * self.kernel**2

    @property
    def macs(self) -> int:
        return self._kernel_elements * self.out_size**2

    @property
    def params(self) -> int:
        return self._kernel_elements + self.out_channels * (2 * self.norm + self.bias)

    @property
    def weight_elements(self) -> int:
        return self._kernel_elements + self.out_channels * (self.norm or self.bias)

    @property
    def key(self) -> str:
        kind = "dw" if self.depthwise else "conv"
        groups = f"_g{self.groups}" if not self.depthwise and self.groups > 1 else ""
        add = "_add" if len(self.inputs) == 2 else ""
        return (
            f"{kind}_i{self.in_channels}_o{self.out_channels}_k{self.kernel}_s{self.stride}{groups}"
            f"_h{self.size}{add}_{self.activation}"
        )


@dataclass(frozen=True, slots=True)
class Linear(Operator):
    """Matrix product over the channels of a 1 x 1 map, plus bias, then activation."""

    kind: ClassVar[str] = "linear"

    in_channels: int
    out_channels: int
    activation: Activation = "none"
    bias: bool = True

    @property
    def out_shape(self) -> Shape:
        return (self.out_channels, 1, 1)

    @property
    def macs(self) -> int:
        return self.in_channels * self.out_channels

    @property
    def params(self) -> int:
        return self.macs + self.out_channels * self.bias

    @property
    def weight_elements(self) -> int:
        return self.params

    @property
    def key(self) -> str:
        return f"linear_i{self.in_channels}_o{self.out_channels}_{self.activation}"


@dataclass(frozen=True, slots=True)
class Pool(Operator):
    """Maximum or average over k x k windows, padding (k - 1) // 2 (which an average does not count).

    At the far edges there is `far_padding`, larger where the last window would not fit (ceiling mode).
    """

    kind: ClassVar[str] = "pool"

    channels: int
    size: int
    kernel: int
    stride: int
    reduce: Literal["max", "mean"] = "max"

    @property
    def padding(self) -> int:
        """Pixels before the first row and column."""
        return (self.kernel - 1) // 2

    @property
    def far_padding(self) -> int:
        """Pixels after the last row and column."""
        needed = (self.out_shape[1] - 1) * self.stride + self.kernel - self.size - self.padding
        return max(self.padding, needed)

    @property
    def out_shape(self) -> Shape:
        out = -(-self.size // self.stride)
        return (self.channels, out, out)

    @property
    def key(self) -> str:
        return f"pool_{self.reduce}_c{self.channels}_k{self.kernel}_s{self.stride}_h{self.size}"


@dataclass(frozen=True, slots=True)
class GlobalPool(Operator):
    """Average over the whole map."""

    kind: ClassVar[str] = "globalpool"

    channels: int
    size: int

    @property
    def out_shape(self) -> Shape:
        return (self.channels, 1, 1)

    @property
    def key(self) -> str:
        return f"globalpool_c{self.channels}_h{self.size}"


@dataclass(frozen=True, slots=True)
class Scale(Operator):
    """Product of a map (first input) and one number a channel (second input): the end of squeeze-excite."""

    kind: ClassVar[str] = "scale"

    channels: int
    size: int

    @property
    def out_shape(self) -> Shape:
        return (self.channels, self.size, self.size)

    @property
    def key(self) -> str:
        return f"scale_c{self.channels}_h{self.size}"


@dataclass(frozen=True, slots=True)
class Shuffle(Operator):
    """Channel shuffle between the groups of two grouped convolutions (ShuffleNet; FBNet's g2 blocks)."""

    kind: ClassVar[str] = "shuffle"

    channels: int
    size: int
    groups: int

    @property
    def out_shape(self) -> Shape:
        return (self.channels, self.size, self.size)

    @property
    def key(self) -> str:
        return f"shuffle_c{self.channels}_h{self.size}_g{self.groups}"


@dataclass(frozen=True, slots=True)
class Sum(Operator):
    """Sum of one or more maps of one shape, then batch norm, then activation; both optional.

    With one input it is a batch norm or an activation of its own, where no convolution is there
    to fuse it into (pre-activation networks).
    """

    kind: ClassVar[str] = "sum"

    channels: int
    size: int
    activation: Activation = "none"
    norm: bool = False

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"{self.name}: activation (={self.activation!r}) must be one of {ACTIVATIONS}.")

    @property
    def out_shape(self) -> Shape:
        return (self.channels, self.size, self.size)

    @property
    def params(self) -> int:
        return 2 * self.channels * self.norm

    @property
    def weight_elements(self) -> int:
        return self.params

    @property
    def key(self) -> str:
        norm = "_norm" if self.norm else ""
        return f"sum{len(self.inputs)}_c{self.channels}_h{self.size}{norm}_{self.activation}"


@dataclass(frozen=True, slots=True)
class Zero(Operator):
    """A map of zeros shaped like its input: a node that no edge of a cell reaches."""

    kind: ClassVar[str] = "zero"

    channels: int
    size: int

    @property
    def out_shape(self) -> Shape:
        return (self.channels, self.size, self.size)

    @property
    def key(self) -> str:
        return f"zero_c{self.channels}_h{self.size}"


KINDS: dict[str, type[Operator]] = {op.kind: op for op in (Conv, Linear, Pool, GlobalPool, Scale, Shuffle, Sum, Zero)}


def stored_bytes(op: Operator, bits: int) -> float:
    """Bytes of an operator's weights in a file: float, or integers with 32-bit biases and a step a channel."""
    if bits == 32 or not isinstance(op, Conv | Linear):
        return 4.0 * op.weight_elements
    channels = op.out_shape[0]
    biases = channels if isinstance(op, Linear) and op.bias or isinstance(op, Conv) and (op.norm or op.bias) else 0
    return float(op.weight_elements - biases + 4 * biases + 5 * channels)


def operator_text(op: Operator) -> str:
    """One operator as text, e.g. `conv(stem;0;in_channels=3,out_channels=16,size=224,...)`; defaults are left out."""
    values = [
        f"{f.name}={int(v) if isinstance(v, bool) else v}"
        for f in fields(op)
        if f.name not in ("name", "inputs") and (v := getattr(op, f.name)) != f.default
    ]
    return f"{op.kind}({op.name};{','.join(map(str, op.inputs))};{','.join(values)})"
