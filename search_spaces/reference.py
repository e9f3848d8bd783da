"""Published networks at 224 px and 1000 classes: baselines, and truth for counts."""

from collections.abc import Callable

from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.errors import SpaceError
from search_spaces.network import Network
from search_spaces.operators import Activation

# kernel, expanded channels, output channels, squeeze-excite, activation, stride (Howard et al., ICCV 2019)
_V3Row = tuple[int, int, int, bool, Activation, int]
_V3_LARGE: tuple[_V3Row, ...] = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hswish", 2),
    (3, 200, 80, False, "hswish", 1),
    (3, 184, 80, False, "hswish", 1),
    (3, 184, 80, False, "hswish", 1),
    (3, 480, 112, True, "hswish", 1),
    (3, 672, 112, True, "hswish", 1),
    (5, 672, 160, True, "hswish", 2),
    (5, 960, 160, True, "hswish", 1),
    (5, 960, 160, True, "hswish", 1),
)
_V3_SMALL: tuple[_V3Row, ...] = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hswish", 2),
    (5, 240, 40, True, "hswish", 1),
    (5, 240, 40, True, "hswish", 1),
    (5, 120, 48, True, "hswish", 1),
    (5, 144, 48, True, "hswish", 1),
    (5, 288, 96, True, "hswish", 2),
    (5, 576, 96, True, "hswish", 1),
    (5, 576, 96, True, "hswish", 1),
)


def _start(name: str) -> NetworkBuilder:
    return NetworkBuilder(name, in_channels=3, size=224)


def mobilenet_v2() -> Network:
    """MobileNetV2 1.0 (Sandler et al., CVPR 2018)."""
    b = _start("mobilenet_v2")
    x = b.conv("stem", b.image, 32, kernel=3, stride=2, activation="relu6")
    # expansion, channels, repeats, stride
    for s, (t, c, n, stride) in enumerate(
        ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)), 1
    ):
        for i in range(n):
            hidden = b.shape(x)[0] * t
            x = b.mbconv(f"stage{s}.block{i + 1}", x, c, hidden=hidden, kernel=3, stride=stride if i == 0 else 1)
    return _classify(b, b.conv("final_expand", x, 1280, activation="relu6"))


def _classify(b: NetworkBuilder, x: int) -> Network:
    b.linear("classifier", b.global_pool("pool", x), 1000)
    return b.build()


def _mobilenet_v3(name: str, rows: tuple[_V3Row, ...], last: int, feature: int) -> Network:
    b = _start(name)
    x = b.conv("stem", b.image, 16, kernel=3, stride=2, activation="hswish")
    for i, (kernel, hidden, channels, se, activation, stride) in enumerate(rows, 1):
        se_hidden = make_divisible(hidden // 4) if se else 0
        x = b.mbconv(
            f"block{i}",
            x,
            channels,
            hidden=hidden,
            kernel=kernel,
            stride=stride,
            activation=activation,
            se_hidden=se_hidden,
        )
    x = b.global_pool("pool", b.conv("final_expand", x, last, activation="hswish"))
    b.linear("classifier", b.linear("feature_mix", x, feature, activation="hswish"), 1000)
    return b.build()


def mobilenet_v3_large() -> Network:
    """MobileNetV3-Large 1.0 (Howard et al., ICCV 2019)."""
    return _mobilenet_v3("mobilenet_v3_large", _V3_LARGE, 960, 1280)


def mobilenet_v3_small() -> Network:
    """MobileNetV3-Small 1.0 (Howard et al., ICCV 2019)."""
    return _mobilenet_v3("mobilenet_v3_small", _V3_SMALL, 576, 1024)


# expansion, kernel, stride, channels, repeats, squeeze-excite (Tan et al., CVPR 2019, figure 7)
_MnasRow = tuple[int, int, int, int, int, bool]
_MNASNET_A1: tuple[_MnasRow, ...] = (
    (6, 3, 2, 24, 2, False),
    (3, 5, 2, 40, 3, True),
    (6, 3, 2, 80, 4, False),
    (6, 3, 1, 112, 2, True),
    (6, 5, 2, 160, 3, True),
    (6, 3, 1, 320, 1, False),
)
_MNASNET_B1: tuple[_MnasRow, ...] = (
    (3, 3, 2, 24, 3, False),
    (3, 5, 2, 40, 3, False),
    (6, 5, 2, 80, 3, False),
    (6, 3, 1, 96, 2, False),
    (6, 5, 2, 192, 4, False),
    (6, 3, 1, 320, 1, False),
)


def _mnasnet(name: str, rows: tuple[_MnasRow, ...]) -> Network:
    b = _start(name)
    x = b.conv("stem", b.image, 32, kernel=3, stride=2, activation="relu")
    x = b.mbconv("first", x, 16, hidden=32, kernel=3, activation="relu")
    for s, (t, kernel, stride, channels, repeats, se) in enumerate(rows, 1):
        for i in range(repeats):
            width = b.shape(x)[0]
            x = b.mbconv(
                f"stage{s}.block{i + 1}",
                x,
                channels,
                hidden=width * t,
                kernel=kernel,
                stride=stride if i == 0 else 1,
                activation="relu",
                se_hidden=width // 4 if se else 0,  # a quarter of the block's input, not of its hidden width
                se_gate="sigmoid",
            )
    return _classify(b, b.conv("final_expand", x, 1280, activation="relu"))


def mnasnet_a1() -> Network:
    """MnasNet-A1, with squeeze-excite (Tan et al., CVPR 2019)."""
    return _mnasnet("mnasnet_a1", _MNASNET_A1)


def mnasnet_b1() -> Network:
    """MnasNet-B1, without squeeze-excite (Tan et al., CVPR 2019)."""
    return _mnasnet("mnasnet_b1", _MNASNET_B1)


def resnet50() -> Network:
    """ResNet-50 with the stride in the 3 x 3 convolution, "v1.5" (He et al., CVPR 2016)."""
    b = _start("resnet50")
    x = b.conv("stem", b.image, 64, kernel=7, stride=2, activation="relu")
    x = b.pool("stem.pool", x, kernel=3, stride=2)
    for s, (width, repeats, stride) in enumerate(((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)), 1):
        for i in range(repeats):
            name, step = f"stage{s}.block{i + 1}", stride if i == 0 else 1
            skip = b.conv(f"{name}.skip", x, 4 * width, stride=step) if i == 0 else x
            y = b.conv(f"{name}.reduce", x, width, activation="relu")
            y = b.conv(f"{name}.spatial", y, width, kernel=3, stride=step, activation="relu")
            x = b.conv(f"{name}.expand", y, 4 * width, activation="relu", residual=skip)
    return _classify(b, x)


REFERENCE_NETWORKS: dict[str, Callable[[], Network]] = {
    f.__name__: f
    for f in (mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small, mnasnet_a1, mnasnet_b1, resnet50)
}


def reference_network(name: str) -> Network:
    """The published network of that name at 224 px with 1000 classes.

    Raises:
        SpaceError: if the name is unknown.
    """
    if name not in REFERENCE_NETWORKS:
        raise SpaceError(f"Reference network {name!r} is unknown; choose one of: {', '.join(REFERENCE_NETWORKS)}.")
    return REFERENCE_NETWORKS[name]()
