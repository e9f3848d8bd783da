"""The MnasNet space (Tan et al., CVPR 2019): seven stages, each with one kind of layer, repeated."""

from collections.abc import Sequence

import numpy as np

from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.choice import scaled_channels
from search_spaces.errors import ArchitectureError, SpaceError
from search_spaces.gene import Architecture, Gene
from search_spaces.network import Network
from search_spaces.space import Space

CHANNELS = (32, 16, 24, 32, 64, 96, 160, 320, 1280)  # stem, seven stages, final: MobileNetV2's
DEPTHS = (1, 2, 3, 4, 3, 3, 1)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
CONVS = ("sep", "mb3", "mb6", "conv")  # depthwise separable; inverted residuals; plain
_EXPAND = {"mb3": 3, "mb6": 6}


class MnasNetSpace(Space):
    """Per stage: convolution, kernel, squeeze-excite, skip, filters, depth; see `mnasnet`."""

    blockwise = False  # a stage's filters decide the shape of the next one's first block

    def __init__(self, channels: tuple[int, ...], image_size: int, options: dict[str, object]) -> None:
        self.name, self.options, self.channels, self.image_size = "mnasnet", options, channels, image_size
        genes = []
        for s, depth in enumerate(DEPTHS, 1):
            genes += [
                Gene(f"stage{s}.conv", CONVS),
                Gene(f"stage{s}.kernel", (3, 5)),
                Gene(f"stage{s}.se", (0, 25)),
                Gene(f"stage{s}.skip", ("none", "identity", "pool")),
                Gene(f"stage{s}.width", (75, 100, 125)),
                Gene(f"stage{s}.depth", tuple(d for d in (depth - 1, depth, depth + 1) if d)),
            ]
        self.genes = tuple(genes)

    def part_columns(self, part: str) -> list[int]:
        """The genes that decide a part: its stage's, and the filters of the stage before."""
        head, _, _ = part.partition(".")
        if head.startswith("stage"):
            s = int(head[5:])
            before = [self.index[f"stage{s - 1}.width"]] if s > 1 else []
            return [i for name, i in self.index.items() if name.startswith(f"{head}.")] + before
        return [self.index[f"stage{len(DEPTHS)}.width"]]

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""
        values = self.decode(arch)
        stem, *middle, final = self.channels
        options = self.options
        b = NetworkBuilder(self.name, in_channels=int(str(options["in_channels"])), size=self.image_size)
        stride = int(str(options["stem_stride"]))
        x = b.conv("stem", b.image, stem, kernel=3, stride=stride, activation="relu")
        for s, (channels, stride) in enumerate(zip(middle, STRIDES, strict=True), 1):
            own = {gene: values[f"stage{s}.{gene}"] for gene in ("conv", "kernel", "se", "skip", "width", "depth")}
            out = channels if own["width"] == 100 else make_divisible(channels * own["width"] / 100)
            for i in range(own["depth"]):
                x = _layer(b, f"stage{s}.block{i + 1}", x, out, stride if i == 0 else 1, own)
        x = b.conv("final_expand", x, final, activation="relu")
        b.linear("classifier", b.global_pool("pool", x), int(str(options["num_classes"])))
        return b.build()

    def to_text(self, arch: Sequence[int] | np.ndarray) -> str:
        """A stage after the other, e.g. `mb3-k5-se25-identity-w100-d3_...`."""
        values = self.decode(arch)
        return "_".join(
            "{}-k{}-se{}-{}-w{}-d{}".format(*(values[g.name] for g in self.genes if g.name.startswith(f"stage{s}.")))
            for s in range(1, len(DEPTHS) + 1)
        )

    def parse(self, text: str) -> Architecture:
        """Genotype of what `to_text` wrote.

        Raises:
            ArchitectureError: naming the part that is malformed.
        """
        stages = text.strip().split("_")
        if len(stages) != len(DEPTHS):
            raise ArchitectureError(
                f"Architecture {text[:80]!r} has {len(stages)} stages joined by '_', mnasnet needs {len(DEPTHS)}."
            )
        values: dict[str, object] = {}
        for s, stage in enumerate(stages, 1):
            parts, prefixes = stage.split("-"), ("", "k", "se", "", "w", "d")
            genes = [g for g in self.genes if g.name.startswith(f"stage{s}.")]
            known = [{f"{p}{c}": c for c in gene.choices} for p, gene in zip(prefixes, genes, strict=True)]
            if len(parts) != len(genes) or any(t not in k for t, k in zip(parts, known, strict=False)):
                raise ArchitectureError(
                    f"Architecture {text[:80]!r}: stage {s} reads {stage!r}, "
                    f"expected something like 'mb3-k3-se0-identity-w100-d{genes[-1].choices[0]}'."
                )
            values |= {gene.name: k[t] for gene, k, t in zip(genes, known, parts, strict=True)}
        return self.encode(values)


def _layer(b: NetworkBuilder, name: str, x: int, out: int, stride: int, own: dict) -> int:
    """One layer of a stage; squeeze-excite works on a quarter of the input's channels."""
    width, kernel = b.shape(x)[0], own["kernel"]
    joins = stride == 1 and width == out
    skip = pooled = None
    if own["skip"] != "none" and joins:
        skip = x
    elif own["skip"] == "pool":
        pooled = b.pool(f"{name}.pool", x, kernel=stride, stride=stride, reduce="mean") if stride > 1 else x
    se = max(1, width // 4) if own["se"] else 0
    if own["conv"] == "conv" and se:
        y = b.conv(name + ".conv", x, out, kernel=kernel, stride=stride, activation="relu")
        y = b.squeeze_excite(f"{name}.se", y, se, gate="sigmoid")
        if pooled is not None:  # the projection is the one that fuses the addition
            return b.conv(f"{name}.skip", pooled, out, residual=y)
        return y if skip is None else b.sum(f"{name}.add", y, skip)
    if pooled is not None:
        skip = b.conv(f"{name}.skip", pooled, out)
    if own["conv"] == "conv":
        return b.conv(name + ".conv", x, out, kernel=kernel, stride=stride, activation="relu", residual=skip)
    y = x
    if own["conv"] in _EXPAND:
        y = b.conv(f"{name}.expand", y, width * _EXPAND[own["conv"]], activation="relu")
    y = b.depthwise(f"{name}.depthwise", y, kernel=kernel, stride=stride, activation="relu")
    if se:
        y = b.squeeze_excite(f"{name}.se", y, se, gate="sigmoid")
    return b.conv(f"{name}.project", y, out, residual=skip)


def mnasnet(
    *,
    num_classes: int = 1000,
    image_size: int = 224,
    width: float = 1.0,
    channels: Sequence[int] = CHANNELS,
    stem_stride: int = 2,
    in_channels: int = 3,
) -> MnasNetSpace:
    """Seven stages: separable, inverted residual (3, 6) or plain convolutions, kernel 3/5, squeeze-excite, skip.

    A stage's filters are 75, 100 or 125 % of its base, its depth one less or more than its base. The
    base is MobileNetV2's. MnasNet-A1 and B1 are members where their channels are the base:
    32,16,24,40,80,112,160,320,1280 and 32,16,24,40,80,96,192,320,1280. Of the three skips the paper
    only gives the names: here "identity" adds the input where the shape stays, and "pool" adds it
    elsewhere too, averaged and projected.

    Args:
        num_classes: Outputs.
        image_size: Height and width in pixels.
        width: Multiplies every channel count, rounded to multiples of 8.
        channels: Of the stem, the seven stages and the last convolution.
        stem_stride: 2 as published, or 1 for small pictures.
        in_channels: 3 for colour, 1 for grey pictures.
    """
    scaled = scaled_channels("mnasnet", channels, width, len(CHANNELS))
    for label, value, least in (
        ("num_classes", num_classes, 1),
        ("in_channels", in_channels, 1),
        ("image_size", image_size, 8),
    ):
        if value < least:
            raise SpaceError(f"{label} (={value}) must be at least {least}.")
    if stem_stride not in (1, 2):
        raise SpaceError(f"stem_stride (={stem_stride}) must be 1 or 2.")
    options: dict[str, object] = {
        "num_classes": num_classes,
        "image_size": image_size,
        "width": width,
        "channels": list(channels),
        "stem_stride": stem_stride,
        "in_channels": in_channels,
    }
    return MnasNetSpace(scaled, image_size, options)
