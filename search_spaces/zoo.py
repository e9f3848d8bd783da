"""Random networks in the manner of published ones: what a general latency predictor learns from.

Four families (MobileNetV2, MobileNetV3, ResNet, FBNet with grouped convolutions and shuffles),
every width, depth, kernel, expansion and resolution drawn at random. No network of a paper is
among them except by accident.
"""

from collections.abc import Callable

import numpy as np

from search_spaces.builder import NetworkBuilder
from search_spaces.network import Network
from search_spaces.operators import Activation

RESOLUTIONS = (128, 160, 192, 224)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of seven stages, after a stem of stride 2
_WIDTHS = (16, 24, 40, 72, 104, 176, 272)  # typical channels of those
_FEATURES = (576, 960, 1280, 1504, 1984, 2048)


def random_network(rng: np.random.Generator, resolutions: tuple[int, ...] = RESOLUTIONS) -> Network:
    """A network of a random family."""
    family = _FAMILIES[int(rng.integers(len(_FAMILIES)))]
    b = NetworkBuilder("zoo", in_channels=3, size=int(rng.choice(resolutions)))
    x = family(b, rng)
    x = b.global_pool("pool", x)
    b.linear("classifier", x, 1000)
    return b.build()


def _width(rng: np.random.Generator, typical: int) -> int:
    """A channel count near a typical one, a multiple of 8, often of 16 as in published networks."""
    value = typical * float(np.exp(rng.normal(0, 0.35)))
    step = 16 if rng.random() < 0.5 else 8
    return max(step, round(value / step) * step)


def _mobile(b: NetworkBuilder, rng: np.random.Generator, *, modern: bool) -> int:
    """MobileNetV2's blocks, or with `modern` V3's: squeeze-excite and h-swish in some stages."""
    plain: Activation = "relu" if modern or rng.random() < 0.3 else "relu6"
    late: Activation = "hswish" if modern else plain
    x = b.conv("stem", b.image, _width(rng, 28), kernel=3, stride=2, activation=late)
    for s, (stride, typical) in enumerate(zip(_STRIDES, _WIDTHS, strict=True), 1):
        channels, activation = _width(rng, typical), plain if s < 4 else late
        excited = rng.random() < (0.5 if modern else 0.15)
        for block in range(1, int(rng.integers(1, 4)) + 1):
            width = b.shape(x)[0]
            expand = 1 if s == 1 else int(rng.choice((2, 3, 4, 6)))
            hidden = max(8, round(width * expand / 8) * 8) if expand > 1 else width
            x = b.mbconv(
                f"stage{s}.block{block}",
                x,
                channels,
                hidden=hidden,
                kernel=int(rng.choice((3, 5, 7), p=(0.5, 0.35, 0.15))),
                stride=stride if block == 1 else 1,
                activation=activation,
                se_hidden=max(8, hidden // 32 * 8) if excited else 0,
                se_gate="hsigmoid" if modern else "sigmoid",
            )
    return b.conv("final_expand", x, int(rng.choice(_FEATURES)), activation=late)


def _fbnet(b: NetworkBuilder, rng: np.random.Generator) -> int:
    """FBNet's blocks: expansions from 1, grouped 1 x 1 convolutions with shuffles."""
    x = b.conv("stem", b.image, 16, kernel=3, stride=2, activation="relu")
    for s, (stride, typical) in enumerate(zip(_STRIDES, _WIDTHS, strict=True), 1):
        channels = _width(rng, typical)
        for block in range(1, int(rng.integers(1, 4)) + 1):
            name, skip, step = f"stage{s}.block{block}", x, stride if block == 1 else 1
            width, expand = b.shape(x)[0], int(rng.choice((1, 1, 3, 6)))
            groups = 2 if expand == 1 and rng.random() < 0.4 else 1
            if expand > 1 or groups > 1:
                x = b.conv(f"{name}.expand", x, width * expand, groups=groups, activation="relu")
            if groups > 1:
                x = b.shuffle(f"{name}.shuffle", x, groups)
            x = b.depthwise(f"{name}.depthwise", x, kernel=int(rng.choice((3, 5))), stride=step, activation="relu")
            joins = step == 1 and width == channels
            x = b.conv(f"{name}.project", x, channels, groups=groups, residual=skip if joins else None)
    return b.conv("final_expand", x, int(rng.choice(_FEATURES)), activation="relu")


def _resnet(b: NetworkBuilder, rng: np.random.Generator) -> int:
    """ResNet's basic or bottleneck blocks, of random width and depth."""
    bottleneck, scale = rng.random() < 0.7, float(np.exp(rng.uniform(np.log(0.3), np.log(1.3))))
    x = b.conv("stem", b.image, _width(rng, round(64 * scale)), kernel=7, stride=2, activation="relu")
    x = b.pool("stem.pool", x, kernel=3, stride=2)
    for s, (typical, stride) in enumerate(((64, 1), (128, 2), (256, 2), (512, 2)), 1):
        width = _width(rng, round(typical * scale))
        out = width * (4 if bottleneck else 1)
        for block in range(1, int(rng.integers(1, 4)) + 1):
            name, step = f"stage{s}.block{block}", stride if block == 1 else 1
            joins = step == 1 and b.shape(x)[0] == out
            skip = x if joins else b.conv(f"{name}.skip", x, out, stride=step)
            if bottleneck:
                y = b.conv(f"{name}.reduce", x, width, activation="relu")
                y = b.conv(f"{name}.spatial", y, width, kernel=3, stride=step, activation="relu")
                x = b.conv(f"{name}.expand", y, out, activation="relu", residual=skip)
            else:
                y = b.conv(f"{name}.first", x, width, kernel=3, stride=step, activation="relu")
                x = b.conv(f"{name}.second", y, out, kernel=3, activation="relu", residual=skip)
    return x


_FAMILIES: tuple[Callable[[NetworkBuilder, np.random.Generator], int], ...] = (
    lambda b, rng: _mobile(b, rng, modern=False),
    lambda b, rng: _mobile(b, rng, modern=True),
    _fbnet,
    _resnet,
)
