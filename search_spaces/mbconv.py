"""Spaces of inverted residual blocks: stages whose depth, kernels and expansions are free."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.errors import SpaceError
from search_spaces.gene import Gene
from search_spaces.network import Network
from search_spaces.operators import Activation
from search_spaces.space import Space


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of MBConv blocks; its first block has the stride."""

    channels: int
    stride: int
    activation: Activation
    squeeze_excite: bool
    depths: tuple[int, ...] = (2, 3, 4)
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[int, ...] = (3, 4, 6)


@dataclass(frozen=True, slots=True)
class MBConvSpec:
    """The fixed skeleton around the free blocks; supernets are built from it.

    Attributes:
        in_channels: Channels of the image.
        num_classes: Outputs.
        resolutions: Image sizes to choose from, ascending.
        stem_channels: Outputs of the stem convolution (3 x 3).
        stem_stride: Its stride.
        stem_activation: Its activation.
        first_channels: Outputs of the fixed first block (3 x 3, not expanded).
        stages: The elastic stages.
        final_channels: Outputs of the last 1 x 1 convolution before pooling.
        feature_channels: Outputs of the 1 x 1 convolution (no norm, no bias) after pooling; 0 for none.
        head_activation: Activation of those two.
        first_activation: Of the fixed first block.
    """

    in_channels: int
    num_classes: int
    resolutions: tuple[int, ...]
    stem_channels: int
    stem_stride: int
    stem_activation: Activation
    first_channels: int
    stages: tuple[Stage, ...]
    final_channels: int
    feature_channels: int
    head_activation: Activation
    first_activation: Activation = "relu"

    @property
    def features(self) -> int:
        """What the classifier reads."""
        return self.feature_channels or self.final_channels


def distinct(resolutions: int | Iterable[int]) -> tuple[int, ...]:
    """One size or several, ascending."""
    return (resolutions,) if isinstance(resolutions, int) else tuple(sorted(set(resolutions)))


def elastic_options(
    width: float, num_classes: int, resolutions: Sequence[int], stem_stride: int, in_channels: int
) -> dict[str, object]:
    """The options that the published elastic spaces have in common; what only they check is checked here.

    Raises:
        SpaceError: if the width is out of range.
    """
    if not 0.1 <= width <= 4:
        raise SpaceError(f"width (={width}) must be between 0.1 and 4.")
    return {
        "width": width,
        "num_classes": num_classes,
        "resolutions": list(resolutions),
        "stem_stride": stem_stride,
        "in_channels": in_channels,
    }


def hidden_channels(in_channels: int, expand: int) -> int:
    """Width inside a block."""
    return make_divisible(round(in_channels * expand))


def se_channels(hidden: int) -> int:
    """Width inside the squeeze-excite of a block (MobileNetV3: a quarter, in multiples of 8)."""
    return make_divisible(hidden // 4)


class MBConvSpace(Space):
    """A space over `MBConvSpec`: genes are resolution, and depth, kernels and expansions of every stage."""

    few_blocks = True

    def __init__(self, name: str, spec: MBConvSpec, options: dict[str, object]) -> None:
        if not spec.resolutions or min(spec.resolutions) < 8 or list(spec.resolutions) != sorted(set(spec.resolutions)):
            raise SpaceError(f"resolutions (={spec.resolutions}) must be distinct, ascending and at least 8 px.")
        for label, value in (("num_classes", spec.num_classes), ("in_channels", spec.in_channels)):
            if value < 1:
                raise SpaceError(f"{label} (={value}) must be at least 1.")
        if spec.stem_stride not in (1, 2):
            raise SpaceError(f"stem_stride (={spec.stem_stride}) must be 1 or 2.")
        self.name, self.spec, self.options = name, spec, options
        genes = [Gene("resolution", spec.resolutions)]
        for s, stage in enumerate(spec.stages, 1):
            depth = Gene(f"stage{s}.depth", stage.depths)
            genes.append(depth)
            for b in range(1, max(stage.depths) + 1):
                requires = (depth.name, min(d for d in stage.depths if d >= b))
                genes.append(Gene(f"stage{s}.block{b}.kernel", stage.kernels, requires))
                genes.append(Gene(f"stage{s}.block{b}.expand", stage.expands, requires))
        self.genes = tuple(genes)

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""
        values, spec = self.decode(arch), self.spec
        b = NetworkBuilder(self.name, in_channels=spec.in_channels, size=values["resolution"])
        x = b.conv(
            "stem", b.image, spec.stem_channels, kernel=3, stride=spec.stem_stride, activation=spec.stem_activation
        )
        hidden = spec.stem_channels
        x = b.mbconv("first", x, spec.first_channels, hidden=hidden, kernel=3, activation=spec.first_activation)
        for s, stage in enumerate(spec.stages, 1):
            for block in range(1, values[f"stage{s}.depth"] + 1):
                name = f"stage{s}.block{block}"
                hidden = hidden_channels(b.shape(x)[0], values[f"{name}.expand"])
                x = b.mbconv(
                    name,
                    x,
                    stage.channels,
                    hidden=hidden,
                    kernel=values[f"{name}.kernel"],
                    stride=stage.stride if block == 1 else 1,
                    activation=stage.activation,
                    se_hidden=se_channels(hidden) if stage.squeeze_excite else 0,
                    expand=True,
                )
        x = b.conv("final_expand", x, spec.final_channels, activation=spec.head_activation)
        x = b.global_pool("pool", x)
        if spec.feature_channels:
            x = b.conv("feature_mix", x, spec.feature_channels, activation=spec.head_activation, norm=False)
        b.linear("classifier", x, spec.num_classes)
        return b.build()
