"""Published networks at 224 px and 1000 classes: baselines, and truth for counts."""

import re
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


_ROW = re.compile(r"k(\d)e(\d)c(\d+)(?:s(\d))?(?:g(\d))?")


def _rows(text: str) -> list[tuple[int, ...] | None]:
    """Blocks written `k5e6c32s2g1`: kernel, expansion, channels, stride (1), groups (1); `skip` is an identity."""
    matches = (None if row == "skip" else _ROW.fullmatch(row) for row in text.split())
    return [m and tuple(int(v or 1) for v in m.groups()) for m in matches]


# g: groups of the 1 x 1 convolutions (Wu et al., CVPR 2019;
# as in FBNet's own model zoo: a block that does not expand has no first 1 x 1 convolution). The zoo's convolutions
# also have a bias before batch norm, which has no effect and is left out.
_FBNET_A = """
    skip k3e3c24s2 k3e1c24 skip skip k5e6c32s2 k3e3c32 k5e1c32 k3e3c32 k5e6c64s2 k5e3c64 k5e1c64g2 k5e6c64
    k3e6c112 k5e1c112g2 k5e3c112 k3e1c112g2 k5e6c184s2 k5e6c184 k5e3c184 k5e6c184 k5e6c352
"""
_FBNET_B = """
    k3e1c16 k3e6c24s2 k5e1c24 k3e1c24 k3e1c24 k5e6c32s2 k5e3c32 k3e6c32 k5e6c32 k5e6c64s2 k5e6c64 skip k5e3c64
    k5e6c112 k3e1c112 k5e1c112 k5e3c112 k5e6c184s2 k5e1c184 k5e6c184 k5e6c184 k3e6c352
"""
_FBNET_C = """
    k3e1c16 k3e6c24s2 skip k3e1c24 k3e1c24 k5e6c32s2 k5e3c32 k5e6c32 k3e6c32 k5e6c64s2 k5e3c64 k5e6c64 k5e6c64
    k5e6c112 k5e6c112 k5e6c112 k5e3c112 k5e6c184s2 k5e6c184 k5e6c184 k5e6c184 k3e6c352
"""


def _fbnet(name: str, blocks: str, last: int) -> Network:
    b = _start(name)
    x = b.conv("stem", b.image, 16, kernel=3, stride=2, activation="relu")
    for i, row in enumerate(_rows(blocks), 1):
        if row is None:
            continue
        kernel, t, channels, stride, groups = row
        block, width, skip = f"block{i}", b.shape(x)[0], x
        if t > 1:
            x = b.conv(f"{block}.expand", x, width * t, groups=groups, activation="relu")
        if groups > 1:
            x = b.shuffle(f"{block}.shuffle", x, groups)
        x = b.depthwise(f"{block}.depthwise", x, kernel=kernel, stride=stride, activation="relu")
        joins = stride == 1 and width == channels
        x = b.conv(f"{block}.project", x, channels, groups=groups, residual=skip if joins else None)
    return _classify(b, b.conv("final_expand", x, last, activation="relu"))


def fbnet_a() -> Network:
    """FBNet-A: 244.5 M MACs."""
    return _fbnet("fbnet_a", _FBNET_A, 1504)


def fbnet_b() -> Network:
    """FBNet-B: 291.0 M MACs."""
    return _fbnet("fbnet_b", _FBNET_B, 1984)


def fbnet_c() -> Network:
    """FBNet-C: 378.1 M MACs."""
    return _fbnet("fbnet_c", _FBNET_C, 1984)


# (Cai et al., ICLR 2019)
_PROXYLESS_MOBILE = """
    k3e1c16 k5e3c32s2 k3e3c32 skip skip k7e3c40s2 k3e3c40 k5e3c40 k5e3c40 k7e6c80s2 k5e3c80 k5e3c80 k5e3c80
    k5e6c96 k5e3c96 k5e3c96 k5e3c96 k7e6c192s2 k7e6c192 k7e3c192 k7e3c192 k7e6c320
"""
_PROXYLESS_CPU = """
    k3e1c24 k3e6c32s2 k3e3c32 k3e3c32 k3e3c32 k3e6c48s2 k3e3c48 k3e3c48 k5e3c48 k3e6c88s2 skip skip k3e3c88
    k5e6c104 k3e3c104 k3e3c104 k3e3c104 k5e6c216s2 k5e3c216 k5e3c216 k3e3c216 k5e6c360
"""
_PROXYLESS_GPU = """
    k3e1c24 k5e3c32s2 skip skip skip k7e3c56s2 skip skip k3e3c56 k7e6c112s2 skip skip k5e3c112 k5e6c128 skip
    k3e3c128 k5e3c128 k7e6c256s2 k7e6c256 k7e6c256 k5e6c256 k7e6c432
"""


def _proxyless(name: str, blocks: str, stem: int, last: int) -> Network:
    b = _start(name)
    x = b.conv("stem", b.image, stem, kernel=3, stride=2, activation="relu6")
    for i, row in enumerate(_rows(blocks), 1):
        if row is not None:
            kernel, t, channels, stride, _ = row
            x = b.mbconv(f"block{i}", x, channels, hidden=b.shape(x)[0] * t, kernel=kernel, stride=stride)
    return _classify(b, b.conv("final_expand", x, last, activation="relu6"))


def proxyless_mobile() -> Network:
    """ProxylessNAS for a mobile phone."""
    return _proxyless("proxyless_mobile", _PROXYLESS_MOBILE, 32, 1280)


def proxyless_cpu() -> Network:
    """ProxylessNAS for a CPU."""
    return _proxyless("proxyless_cpu", _PROXYLESS_CPU, 40, 1432)


def proxyless_gpu() -> Network:
    """ProxylessNAS for a GPU."""
    return _proxyless("proxyless_gpu", _PROXYLESS_GPU, 40, 1728)


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
    for f in (
        mobilenet_v2,
        mobilenet_v3_large,
        mobilenet_v3_small,
        mnasnet_a1,
        mnasnet_b1,
        fbnet_a,
        fbnet_b,
        fbnet_c,
        proxyless_mobile,
        proxyless_cpu,
        proxyless_gpu,
        resnet50,
    )
}


def reference_network(name: str) -> Network:
    """The published network of that name at 224 px with 1000 classes.

    Raises:
        SpaceError: if the name is unknown.
    """
    if name not in REFERENCE_NETWORKS:
        raise SpaceError(f"Reference network {name!r} is unknown; choose one of: {', '.join(REFERENCE_NETWORKS)}.")
    return REFERENCE_NETWORKS[name]()
