"""The block types of SpaceEvo's hyperspace (Wang et al., ICCV 2023) and one of ours, with kernels and expansions."""

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.mbconv import se_channels
from search_spaces.operators import Activation


@dataclass(frozen=True)
class BlockType:
    """A kind of block: its kernels, its expansions (percent; none where it has none), and how it is built.

    `build(b, name, x, out, kernel, percent, stride)` appends a block and returns its value.
    """

    name: str
    kernels: tuple[int, ...]
    percents: tuple[int, ...]
    build: Callable[[NetworkBuilder, str, int, int, int, int, int], int]


def _skip(b: NetworkBuilder, name: str, x: int, out: int, stride: int) -> int:
    """The input, through a 1 x 1 convolution where the shape changes: every block has a residual."""
    return x if stride == 1 and b.shape(x)[0] == out else b.conv(f"{name}.skip", x, out, stride=stride)


def _mbv1_dual(b: NetworkBuilder, name: str, x: int, out: int, kernel: int, percent: int, stride: int) -> int:
    y = b.depthwise(f"{name}.depthwise1", x, kernel=kernel, stride=stride, activation="relu")
    y = b.conv(f"{name}.pointwise1", y, out, activation="relu")
    y = b.depthwise(f"{name}.depthwise2", y, kernel=kernel, activation="relu")
    y = b.conv(f"{name}.pointwise2", y, out, activation="relu")
    if stride == 1 and b.shape(x)[0] == out:
        return b.sum(f"{name}.add", x, y)
    return b.conv(f"{name}.skip", x, out, stride=stride, residual=y)  # ONNX Runtime adds within this convolution


def _inverted(activation: Activation, squeeze_excite: bool) -> Callable[..., int]:
    def build(b: NetworkBuilder, name: str, x: int, out: int, kernel: int, percent: int, stride: int) -> int:
        skip = _skip(b, name, x, out, stride)
        hidden = make_divisible(b.shape(x)[0] * percent / 100)
        y = b.conv(f"{name}.expand", x, hidden, activation=activation)
        y = b.depthwise(f"{name}.depthwise", y, kernel=kernel, stride=stride, activation=activation)
        if squeeze_excite:
            y = b.squeeze_excite(f"{name}.se", y, se_channels(hidden))
        return b.conv(f"{name}.project", y, out, residual=skip)

    return build


def _residual(squeeze_excite: bool) -> Callable[..., int]:
    def build(b: NetworkBuilder, name: str, x: int, out: int, kernel: int, percent: int, stride: int) -> int:
        skip = _skip(b, name, x, out, stride)
        hidden = make_divisible(out * percent / 100)
        y = b.conv(f"{name}.reduce", x, hidden, activation="relu")
        y = b.conv(f"{name}.spatial", y, hidden, kernel=kernel, stride=stride, activation="relu")
        if squeeze_excite:
            y = b.squeeze_excite(f"{name}.se", y, make_divisible(b.shape(x)[0] // 4))
        return b.conv(f"{name}.expand", y, out, activation="relu", residual=skip)

    return build


def _fused(activation: Activation) -> Callable[..., int]:
    def build(b: NetworkBuilder, name: str, x: int, out: int, kernel: int, percent: int, stride: int) -> int:
        skip = _skip(b, name, x, out, stride)
        hidden = make_divisible(b.shape(x)[0] * percent / 100)
        y = b.conv(f"{name}.fused", x, hidden, kernel=kernel, stride=stride, activation=activation)
        return b.conv(f"{name}.project", y, out, residual=skip)

    return build


BLOCKS = (
    BlockType("mbv1_dual", (3, 5), (), _mbv1_dual),
    BlockType("mbv2", (3, 5), (400, 600, 800), _inverted("relu6", False)),
    BlockType("mbv3", (3, 5), (400, 600, 800), _inverted("hswish", True)),
    BlockType("resnet", (3, 5, 7), (50, 100, 150), _residual(False)),
    BlockType("resnet_se", (3, 5, 7), (50, 100, 150), _residual(True)),
    BlockType("fused_mbconv", (3, 5, 7), (100, 200, 300, 400), _fused("hswish")),
    # ours: in INT8 ONNX Runtime computes HardSwish in float, between two conversions
    BlockType("fused_mbconv_relu", (3, 5, 7), (100, 200, 300, 400), _fused("relu")),
)
PUBLISHED = tuple(range(6))  # positions of SpaceEvo's own
KINDS = {kind.name: i for i, kind in enumerate(BLOCKS)}  # positions by name
