"""The Once-for-All ResNet-50 space (Cai et al., ICLR 2020; the released OFA-ResNet50)."""

from collections.abc import Iterable, Sequence

import numpy as np

from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.errors import SpaceError
from search_spaces.gene import Gene
from search_spaces.mbconv import distinct
from search_spaces.network import Network
from search_spaces.ofa_mbv3 import RESOLUTIONS
from search_spaces.space import Space

WIDTHS = (65, 80, 100)  # percent of the channels
EXPANDS = (20, 25, 35)  # percent of a stage's channels, inside its blocks
_STEM = 64
# channels, stride, depths
_STAGES = ((256, 1, (2, 3, 4)), (512, 2, (2, 3, 4)), (1024, 2, (4, 5, 6)), (2048, 2, (2, 3, 4)))


class OFAResNet50Space(Space):
    """Depth and width of the stem and of every stage, expansion of every block; see `ofa_resnet50`."""

    blockwise = False  # widths of neighbouring stages decide the shape of the block between them
    few_blocks = True

    def __init__(self, resolutions: tuple[int, ...], num_classes: int, options: dict[str, object]) -> None:
        self.name, self.num_classes, self.options = "ofa_resnet50", num_classes, options
        self.in_channels = int(str(options["in_channels"]))
        self.stem_stride = int(str(options["stem_stride"]))
        genes = [
            Gene("resolution", resolutions),
            Gene("stem.middle", WIDTHS),
            Gene("stem.width", WIDTHS),
            Gene("stem.depth", (0, 1)),
        ]
        for s, (_, _, depths) in enumerate(_STAGES, 1):
            genes += [Gene(f"stage{s}.width", WIDTHS), Gene(f"stage{s}.depth", depths)]
            for b in range(1, max(depths) + 1):
                requires = (f"stage{s}.depth", min(d for d in depths if d >= b))
                genes.append(Gene(f"stage{s}.block{b}.expand", EXPANDS, requires))
        self.genes = tuple(genes)

    def part_columns(self, part: str) -> list[int]:
        """The genes that decide the operators of a part: of its own stage, and the widths it reads."""
        head, _, block = part.partition(".")
        if head == "stem":
            names = ["resolution", "stem.middle", "stem.width", "stem.depth"]
        elif head.startswith("stage"):
            before = "stem" if head == "stage1" else f"stage{int(head[5:]) - 1}"
            names = ["resolution", f"{head}.width", f"{head}.depth", f"{head}.{block}.expand"]
            names += [f"{before}.width"] if block == "block1" else []
        else:
            names = ["resolution", f"stage{len(_STAGES)}.width"]
        return [self.index[name] for name in names]

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""
        values = self.decode(arch)
        b = NetworkBuilder(self.name, in_channels=self.in_channels, size=values["resolution"])

        def scaled(channels: int, percent: int) -> int:
            return make_divisible(channels * percent / 100)

        middle = make_divisible(scaled(_STEM, values["stem.middle"]) // 2)
        x = b.conv("stem.conv1", b.image, middle, kernel=3, stride=self.stem_stride, activation="relu")
        if values["stem.depth"]:
            y = b.conv("stem.conv2", x, middle, kernel=3, activation="relu")
            x = b.sum("stem.add", y, x)
        x = b.conv("stem.conv3", x, scaled(_STEM, values["stem.width"]), kernel=3, activation="relu")
        x = b.pool("stem.pool", x, kernel=3, stride=2)
        for s, (channels, stride, _) in enumerate(_STAGES, 1):
            out = scaled(channels, values[f"stage{s}.width"])
            for i in range(1, values[f"stage{s}.depth"] + 1):
                hidden = make_divisible(round(out * values[f"stage{s}.block{i}.expand"] / 100))
                x = _bottleneck(b, f"stage{s}.block{i}", x, hidden, out, stride if i == 1 else 1)
        b.linear("classifier", b.global_pool("pool", x), self.num_classes)
        return b.build()


def _bottleneck(b: NetworkBuilder, name: str, x: int, hidden: int, out: int, stride: int) -> int:
    """Bottleneck with the stride in the 3 x 3 convolution and an averaging shortcut (ResNet-D)."""
    skip = x
    if stride > 1 or b.shape(x)[0] != out:
        if stride > 1:
            skip = b.pool(f"{name}.pool", skip, kernel=stride, stride=stride, reduce="mean")
        skip = b.conv(f"{name}.skip", skip, out)
    y = b.conv(f"{name}.reduce", x, hidden, activation="relu")
    y = b.conv(f"{name}.spatial", y, hidden, kernel=3, stride=stride, activation="relu")
    return b.conv(f"{name}.expand", y, out, activation="relu", residual=skip)


def ofa_resnet50(
    *,
    num_classes: int = 1000,
    resolutions: int | Iterable[int] = RESOLUTIONS,
    stem_stride: int = 2,
    in_channels: int = 3,
) -> OFAResNet50Space:
    """Bottleneck stages of 2-4, 2-4, 4-6 and 2-4 blocks, widths 65/80/100 %, expansion 20/25/35 %, 128..224 step 4.

    The member with 3, 4, 6, 3 blocks, full width and expansion 25 is ResNet-50-D.

    Args:
        num_classes: Outputs.
        resolutions: Image sizes in pixels to choose from; one number for a single size.
        stem_stride: 2 as published, or 1.
        in_channels: 3 for colour, 1 for grey pictures.
    """
    sizes = distinct(resolutions)
    if not sizes or min(sizes) < 16 * stem_stride:
        raise SpaceError(f"resolutions (={sizes}) must be at least {16 * stem_stride} px.")
    if num_classes < 1 or in_channels < 1:
        raise SpaceError(f"num_classes (={num_classes}) and in_channels (={in_channels}) must be at least 1.")
    if stem_stride not in (1, 2):
        raise SpaceError(f"stem_stride (={stem_stride}) must be 1 or 2.")
    options: dict[str, object] = {
        "num_classes": num_classes,
        "resolutions": list(sizes),
        "stem_stride": stem_stride,
        "in_channels": in_channels,
    }
    return OFAResNet50Space(sizes, num_classes, options)
