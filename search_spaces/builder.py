"""`NetworkBuilder`: writes a `Network` operator by operator and keeps track of shapes."""

from typing import Literal

from search_spaces.errors import ArchitectureError
from search_spaces.network import Network
from search_spaces.operators import (
    Activation,
    Conv,
    GlobalPool,
    Linear,
    Operator,
    Pool,
    Scale,
    Shape,
    Shuffle,
    Sum,
    Zero,
)


def make_divisible(value: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, never more than 10 % below `value` (MobileNet's rounding rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class NetworkBuilder:
    """Appends operators; every method returns the index of the value it made.

    Example:
        >>> b = NetworkBuilder("tiny", in_channels=3, size=8)
        >>> x = b.conv("stem", b.image, 16, kernel=3, stride=2, activation="relu")
        >>> x = b.linear("classifier", b.global_pool("pool", x), 10)
        >>> b.build().macs
        7072
    """

    image = 0

    def __init__(self, name: str, *, in_channels: int, size: int) -> None:
        self._name, self._in_channels, self._size = name, in_channels, size
        self._shapes: list[Shape] = [(in_channels, size, size)]
        self._operators: list[Operator] = []

    def shape(self, value: int) -> Shape:
        """Shape (channels, height, width) of a value."""
        return self._shapes[value]

    def conv(
        self,
        name: str,
        x: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "none",
        norm: bool = True,
        bias: bool = False,
        residual: int | None = None,
    ) -> int:
        """Convolution with batch norm (or bias); `residual` is a value added before the activation."""
        channels, size, _ = self.shape(x)
        inputs = (x,) if residual is None else (x, residual)
        op = Conv(name, inputs, channels, out_channels, size, kernel, stride, groups, activation, norm, bias)
        if residual is not None and self.shape(residual) != op.out_shape:
            raise ArchitectureError(f"{name}: residual of shape {self.shape(residual)} cannot join {op.out_shape}.")
        return self._append(op)

    def depthwise(self, name: str, x: int, *, kernel: int, stride: int = 1, activation: Activation = "none") -> int:
        """Depthwise convolution with batch norm."""
        channels = self.shape(x)[0]
        return self.conv(
            name, x, channels, kernel=kernel, stride=stride, groups=channels, activation=activation, norm=True
        )

    def linear(self, name: str, x: int, out_channels: int, *, activation: Activation = "none") -> int:
        """Fully connected layer with bias on a 1 x 1 map."""
        return self._append(Linear(name, (x,), self.shape(x)[0], out_channels, activation))

    def pool(self, name: str, x: int, *, kernel: int, stride: int, reduce: Literal["max", "mean"] = "max") -> int:
        """Maximum or average over k x k windows."""
        channels, size, _ = self.shape(x)
        return self._append(Pool(name, (x,), channels, size, kernel, stride, reduce))

    def sum(self, name: str, *inputs: int, activation: Activation = "none", norm: bool = False) -> int:
        """Sum of maps of one shape, then batch norm, then activation."""
        shapes = {self.shape(x) for x in inputs}
        if len(shapes) != 1:
            raise ArchitectureError(f"{name}: maps of shapes {sorted(shapes)} cannot be summed; they must be equal.")
        channels, size, _ = shapes.pop()
        return self._append(Sum(name, inputs, channels, size, activation, norm))

    def zero(self, name: str, x: int) -> int:
        """Zeros of the shape of `x`."""
        channels, size, _ = self.shape(x)
        return self._append(Zero(name, (x,), channels, size))

    def global_pool(self, name: str, x: int) -> int:
        """Average over the whole map."""
        channels, size, _ = self.shape(x)
        return self._append(GlobalPool(name, (x,), channels, size))

    def shuffle(self, name: str, x: int, groups: int) -> int:
        """Channel shuffle."""
        channels, size, _ = self.shape(x)
        return self._append(Shuffle(name, (x,), channels, size, groups))

    def squeeze_excite(self, name: str, x: int, hidden: int, *, gate: Activation = "hsigmoid") -> int:
        """Squeeze-and-excitation: pool, two 1 x 1 convolutions with bias, product."""
        channels, size, _ = self.shape(x)
        y = self.global_pool(f"{name}.pool", x)
        y = self.conv(f"{name}.reduce", y, hidden, activation="relu", norm=False, bias=True)
        y = self.conv(f"{name}.expand", y, channels, activation=gate, norm=False, bias=True)
        return self._append(Scale(f"{name}.scale", (x, y), channels, size))

    def mbconv(
        self,
        name: str,
        x: int,
        out_channels: int,
        *,
        hidden: int,
        kernel: int,
        stride: int = 1,
        activation: Activation = "relu6",
        se_hidden: int = 0,
        se_gate: Activation = "hsigmoid",
        expand: bool | None = None,
        residual: bool = True,
    ) -> int:
        """Inverted residual block (MobileNetV2, V3): expand, depthwise, squeeze-excite, project.

        Args:
            name: Prefix of the operators' names.
            x: Input value.
            out_channels: Channels of the result.
            hidden: Channels between expansion and projection.
            kernel: Side of the depthwise filter.
            stride: Of the depthwise filter.
            activation: After expansion and depthwise filter.
            se_hidden: Channels inside squeeze-excite; 0 for none.
            se_gate: Last activation of squeeze-excite.
            expand: Whether the expanding convolution exists; by default where it changes the width.
            residual: Add the input where the shapes allow it.
        """
        channels = self.shape(x)[0]
        y = x
        if expand or (expand is None and hidden != channels):
            y = self.conv(f"{name}.expand", y, hidden, activation=activation)
        y = self.depthwise(f"{name}.depthwise", y, kernel=kernel, stride=stride, activation=activation)
        if se_hidden:
            y = self.squeeze_excite(f"{name}.se", y, se_hidden, gate=se_gate)
        joins = residual and stride == 1 and channels == out_channels
        return self.conv(f"{name}.project", y, out_channels, residual=x if joins else None)

    def build(self) -> Network:
        """The finished network."""
        return Network(self._name, self._in_channels, self._size, tuple(self._operators))

    def _append(self, op: Operator) -> int:
        self._operators.append(op)
        self._shapes.append(op.out_shape)
        return len(self._shapes) - 1
