"""SpaceEvo's hyperspace (Wang et al., ICCV 2023): a block type and a window of widths a stage make a space."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.errors import SpaceError
from search_spaces.gene import Gene
from search_spaces.mbconv import distinct
from search_spaces.network import Network
from search_spaces.operators import Activation
from search_spaces.space import Space
from search_spaces.spaceevo_blocks import BLOCKS, BlockType

RESOLUTIONS = (160, 176, 192, 208, 224)
STEP = 16  # between widths: what an AVX-512 or VNNI kernel processes at once
OUTER = (16, 32)  # widths of the stem and of stage 0
_FINAL, FEATURES = 1280, 1920
ACTIVATIONS: tuple[Activation, ...] = ("hswish", "relu")  # of the stem and the head; the first as published


@dataclass(frozen=True, slots=True)
class MacroStage:
    """A stage whose block type and window are free: widths from `first` to `last`, of which a window is a slice."""

    first: int
    last: int
    window: int
    depths: tuple[int, ...]
    stride: int

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return (self.last - self.first) // STEP + 2 - self.window

    def widths(self, choice: int) -> tuple[int, ...]:
        """The channel counts in a window."""
        start = self.first + STEP * choice
        return tuple(range(start, start + STEP * self.window, STEP))


# the release's macro-architecture for ONNX Runtime ("onnxw")
STAGES = (
    MacroStage(32, 64, 2, (2, 3, 4), 2),
    MacroStage(32, 96, 2, (2, 3, 4), 2),
    MacroStage(64, 144, 3, (2, 3, 4, 5, 6), 2),
    MacroStage(112, 192, 3, (2, 3, 4, 5, 6), 1),
    MacroStage(192, 304, 5, (2, 3, 4, 5, 6), 2),
    MacroStage(304, 448, 7, (1, 2), 1),
)
STRIDES = "".join(str(stage.stride) for stage in STAGES)


class SpaceEvoSpace(Space):
    """One space of the hyperspace; see `spaceevo`."""

    blockwise = False  # the width of a stage decides the shape of the next one's first block
    free_widths = True

    def __init__(
        self,
        blocks: Sequence[BlockType],
        widths: Sequence[tuple[int, ...]],
        outer: tuple[int, ...],
        head: tuple[int, int],
        options: dict[str, object],
    ) -> None:
        self.name, self.options, self._blocks, self._head = "spaceevo", options, tuple(blocks), head
        self._strides = [int(digit) for digit in str(options.get("strides", STRIDES))]
        resolutions = options["resolutions"]
        assert isinstance(resolutions, list)
        genes = [
            Gene("resolution", tuple(resolutions)),
            Gene("stem.width", outer),
            Gene("stage0.width", outer),
            Gene("stage0.depth", (1, 2)),
        ]
        for s, (stage, kind, choices) in enumerate(zip(STAGES, blocks, widths, strict=True), 1):
            genes += [Gene(f"stage{s}.width", choices), Gene(f"stage{s}.depth", stage.depths)]
            for i in range(1, max(stage.depths) + 1):
                requires = (f"stage{s}.depth", min(d for d in stage.depths if d >= i))
                genes.append(Gene(f"stage{s}.block{i}.kernel", kind.kernels, requires))
                if kind.percents:
                    genes.append(Gene(f"stage{s}.block{i}.expand", kind.percents, requires))
        self.genes = tuple(genes)

    def part_columns(self, part: str) -> list[int]:
        """The genes that decide the operators of a part: its own, its stage's, and the width before it."""
        head, _, block = part.partition(".")
        names = ["resolution"]
        if head == "stem":
            names.append("stem.width")
        elif head.startswith("stage"):
            s = int(head.removeprefix("stage"))
            own = [f"{head}.{block}.kernel", f"{head}.{block}.expand"]
            names += [f"{head}.width", f"{head}.depth", *(name for name in own if name in self.index)]
            names += [f"stage{s - 1}.width" if s else "stem.width"] if block == "block1" else []
        else:
            names.append(f"stage{len(STAGES)}.width")
        return [self.index[name] for name in names]

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""
        values, options = self.decode(arch), self.options
        b = NetworkBuilder(self.name, in_channels=int(str(options["in_channels"])), size=values["resolution"])
        stride = int(str(options["stem_stride"]))
        activation = next(a for a in ACTIVATIONS if a == options["activation"])
        x = b.conv("stem", b.image, values["stem.width"], kernel=3, stride=stride, activation=activation)
        for i in range(1, values["stage0.depth"] + 1):
            x = BLOCKS[3].build(b, f"stage0.block{i}", x, values["stage0.width"], 3, 50, 1)
        for s, (kind, strided) in enumerate(zip(self._blocks, self._strides, strict=True), 1):
            for i in range(1, values[f"stage{s}.depth"] + 1):
                name = f"stage{s}.block{i}"
                kernel, percent = values[f"{name}.kernel"], values.get(f"{name}.expand", 100)
                x = kind.build(b, name, x, values[f"stage{s}.width"], kernel, percent, strided if i == 1 else 1)
        final, features = self._head
        x = b.conv("final_expand", x, final, activation=activation)
        x = b.global_pool("pool", x)
        if features:
            x = b.conv("feature_mix", x, features, activation=activation, norm=False)
        b.linear("classifier", x, int(str(options["num_classes"])))
        return b.build()


def spaceevo(
    *,
    blocks: str = "151122",
    windows: str = "023231",
    width: float = 1.0,
    num_classes: int = 1000,
    resolutions: int | Iterable[int] = RESOLUTIONS,
    stem_stride: int = 2,
    strides: str = STRIDES,
    in_channels: int = 3,
    activation: str = ACTIVATIONS[0],
    features: int = FEATURES,
) -> SpaceEvoSpace:
    """Six stages, each of one block type and one window of widths; the default is the published one for VNNI.

    Two things differ from the release: all blocks of a stage have one width (there each has its
    own), and the fused blocks have HardSwish for Swish. `activation` and `features` are ours: in INT8, ONNX Runtime
    computes HardSwish in float between two conversions, and with few classes the last but one layer, whose weights
    are read for a single position, is a large part of a small network's time.

    Args:
        blocks: A digit a stage: 0 MobileNetV1 dual, 1 MobileNetV2, 2 MobileNetV3, 3 residual bottleneck, 4 that with
            squeeze-excite, 5 fused MBConv, 6 (ours) that with ReLU.
        windows: A digit a stage: which slice of its widths, from 0.
        width: Multiplies all channel counts; then multiples of 8 instead of 16.
        num_classes: Outputs.
        resolutions: Image sizes in pixels to choose from; one number for a single size.
        stem_stride: 2 as published, or 1.
        strides: A digit a stage, 1 or 2: how far apart the positions are at which its first block is computed.
        in_channels: 3 for colour, 1 for grey pictures.
        activation: Of the stem and the head, "hswish" as published or "relu".
        features: Channels of the layer between pooling and the classifier, times `width`; 0 for no such layer.
    """
    blocks, windows = str(blocks).zfill(len(STAGES)), str(windows).zfill(len(STAGES))  # -o windows=023231 is a number
    for name, digits, limits in (
        ("blocks", blocks, [len(BLOCKS)] * len(STAGES)),
        ("windows", windows, [stage.windows for stage in STAGES]),
    ):
        good = len(digits) == len(limits) and digits.isdigit()
        if not good or any(int(d) >= limit for d, limit in zip(digits, limits, strict=True)):
            highest = "".join(str(limit - 1) for limit in limits)
            raise SpaceError(f"{name} (={digits!r}) must be {len(STAGES)} digits, at most {highest} digit by digit.")
    sizes = distinct(resolutions)
    if not sizes or min(sizes) < 8:
        raise SpaceError(f"resolutions (={sizes}) must be at least 8 px.")
    if num_classes < 1 or in_channels < 1:
        raise SpaceError(f"num_classes (={num_classes}) and in_channels (={in_channels}) must be at least 1.")
    if stem_stride not in (1, 2) or not 0.1 <= width <= 4:
        raise SpaceError(f"stem_stride (={stem_stride}) must be 1 or 2 and width (={width}) between 0.1 and 4.")
    strides = str(strides)
    if len(strides) != len(STAGES) or set(strides) - {"1", "2"}:
        raise SpaceError(f"strides (={strides!r}) must be {len(STAGES)} digits, 1 or 2.")
    if activation not in ACTIVATIONS:
        raise SpaceError(f"activation (={activation!r}) must be one of: {', '.join(ACTIVATIONS)}.")
    if features < 0:
        raise SpaceError(f"features (={features}) must be at least 0, which leaves the layer out.")

    options: dict[str, object] = {
        "blocks": blocks,
        "windows": windows,
        "width": width,
        "num_classes": num_classes,
        "resolutions": list(sizes),
        "stem_stride": stem_stride,
        "in_channels": in_channels,
        "activation": activation,
        "features": features,
    }
    if strides != STRIDES:  # left out where it is as published: runs from before there was a choice open as they did
        options["strides"] = strides
    chosen = [BLOCKS[int(digit)] for digit in blocks]
    widths = [scaled(stage.widths(int(digit)), width) for stage, digit in zip(STAGES, windows, strict=True)]
    return SpaceEvoSpace(chosen, widths, scaled(OUTER, width), head(width, features), options)


def head(width: float, features: int) -> tuple[int, int]:
    """Channels of the two convolutions before the classifier, 0 for no second one."""
    return scaled((_FINAL,), width)[0], scaled((features,), width)[0] if features else 0


def scaled(channels: Sequence[int], width: float) -> tuple[int, ...]:
    """Channel counts times the width multiplier: as they are at 1, else multiples of 8, each once."""
    return tuple(channels) if width == 1 else tuple(sorted({make_divisible(c * width) for c in channels}))
