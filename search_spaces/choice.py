"""Spaces of layers with one block each out of a list: a fixed skeleton, one gene a layer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search_spaces.builder import NetworkBuilder, make_divisible
from search_spaces.errors import ArchitectureError, SpaceError
from search_spaces.gene import Architecture, Gene
from search_spaces.network import Network
from search_spaces.operators import Activation
from search_spaces.space import Space


@dataclass(frozen=True, slots=True)
class Candidate:
    """An inverted residual block: kernel of its depthwise filter, expansion, groups of its 1 x 1 convolutions.

    An expansion of 0 stands for the skip: the identity, or a 1 x 1 convolution where the shape changes.
    """

    name: str
    kernel: int = 0
    expand: int = 0
    groups: int = 1

    @property
    def skip(self) -> bool:
        """Whether it is the skip."""
        return self.expand == 0


_NAME = re.compile(r"k(\d+)e(\d+)(?:g(\d+))?")
SKIP = Candidate("skip")


def candidates(names: str) -> tuple[Candidate, ...]:
    """Candidates of a text like `skip k3e1g2 k5e6`."""
    found = []
    for name in names.split():
        match = _NAME.fullmatch(name)
        found.append(SKIP if match is None else Candidate(name, int(match[1]), int(match[2]), int(match[3] or 1)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ChoiceLayer:
    """A layer: its output channels, its stride, and the blocks to choose from, cheapest first."""

    channels: int
    stride: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class ChoiceSpec:
    """The fixed skeleton around the layers.

    Attributes:
        in_channels: Channels of the image.
        num_classes: Outputs.
        image_size: Height and width of the image in pixels.
        stem_channels: Outputs of the stem convolution (3 x 3).
        stem_stride: Its stride.
        activation: Of every convolution that has one.
        first_channels: Outputs of a fixed first block (3 x 3, not expanded); 0 for none.
        layers: The layers with a choice.
        final_channels: Outputs of the last 1 x 1 convolution before pooling.
        skip_activation: Of a skip that changes the shape.
    """

    in_channels: int
    num_classes: int
    image_size: int
    stem_channels: int
    stem_stride: int
    activation: Activation
    first_channels: int
    layers: tuple[ChoiceLayer, ...]
    final_channels: int
    skip_activation: Activation = "none"


class ChoiceSpace(Space):
    """A space over `ChoiceSpec`: gene "block1.op" is the block of the first layer, and so on.

    Moving a skip within a stage gives the same network again, but not the same weights of a
    supernet; the papers count all choices, and so does `size`.
    """

    few_blocks = True

    def __init__(self, name: str, spec: ChoiceSpec, options: dict[str, object]) -> None:
        for label, value, least in (
            ("num_classes", spec.num_classes, 1),
            ("in_channels", spec.in_channels, 1),
            ("image_size", spec.image_size, 8),
        ):
            if value < least:
                raise SpaceError(f"{label} (={value}) must be at least {least}.")
        if spec.stem_stride not in (1, 2):
            raise SpaceError(f"stem_stride (={spec.stem_stride}) must be 1 or 2.")
        self.name, self.spec, self.options = name, spec, options
        self.genes = tuple(
            Gene(f"block{i}.op", tuple(c.name for c in layer.candidates)) for i, layer in enumerate(spec.layers, 1)
        )

    @property
    def largest(self) -> np.ndarray:
        """Genotype of the costliest block in every layer, wherever it stands among the choices."""
        return np.array([np.argmax(macs) for macs in self._macs])

    @property
    def smallest(self) -> np.ndarray:
        """Genotype of the cheapest block in every layer."""
        return np.array([np.argmin(macs) for macs in self._macs])

    @cached_property
    def _macs(self) -> list[list[int]]:
        """MACs of the network by layer and by its choice there, all other choices being the first."""
        rows = np.eye(len(self.genes), dtype=np.int64)
        return [[self.network(c * row).macs for c in range(n)] for row, n in zip(rows, self.cardinality, strict=True)]

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The network of a genotype."""
        spec = self.spec
        b = NetworkBuilder(self.name, in_channels=spec.in_channels, size=spec.image_size)
        x = b.conv("stem", b.image, spec.stem_channels, kernel=3, stride=spec.stem_stride, activation=spec.activation)
        if spec.first_channels:
            hidden = spec.stem_channels
            x = b.mbconv("first", x, spec.first_channels, hidden=hidden, kernel=3, activation=spec.activation)
        for i, (choice, layer) in enumerate(zip(self.check(arch), spec.layers, strict=True), 1):
            name = f"block{i}.{layer.candidates[choice].name}"  # candidates of a layer share no weights
            x = _block(b, name, x, layer, layer.candidates[choice], spec)
        x = b.conv("final_expand", x, spec.final_channels, activation=spec.activation)
        b.linear("classifier", b.global_pool("pool", x), spec.num_classes)
        return b.build()

    def to_text(self, arch: Sequence[int] | np.ndarray) -> str:
        """The blocks in order, e.g. `skip_k3e3_k3e1`."""
        return "_".join(self.decode(arch).values())

    def parse(self, text: str) -> Architecture:
        """Genotype of what `to_text` wrote.

        Raises:
            ArchitectureError: naming the part that is malformed.
        """
        names = text.strip().split("_")
        if len(names) != len(self.genes):
            raise ArchitectureError(
                f"Architecture {text[:80]!r} has {len(names)} blocks joined by '_', {self.name} needs "
                f"{len(self.genes)}, like {self.to_text([0] * len(self.genes))!r}."
            )
        return self.encode({gene.name: name for gene, name in zip(self.genes, names, strict=True)})


def _block(b: NetworkBuilder, name: str, x: int, layer: ChoiceLayer, choice: Candidate, spec: ChoiceSpec) -> int:
    width = b.shape(x)[0]
    joins = layer.stride == 1 and width == layer.channels
    if choice.skip:
        if joins:
            return x
        return b.conv(name, x, layer.channels, stride=layer.stride, activation=spec.skip_activation)
    y, groups, activation = x, choice.groups, spec.activation
    if choice.expand > 1:
        y = b.conv(f"{name}.expand", y, width * choice.expand, groups=groups, activation=activation)
    if groups > 1:
        y = b.shuffle(f"{name}.shuffle", y, groups)
    y = b.depthwise(f"{name}.depthwise", y, kernel=choice.kernel, stride=layer.stride, activation=activation)
    return b.conv(f"{name}.project", y, layer.channels, groups=groups, residual=x if joins else None)


def stages(
    channels: Sequence[int],
    depths: Sequence[int],
    strides: Sequence[int],
    options: tuple[Candidate, ...],
    *,
    skip_everywhere: bool,
    in_channels: int,
) -> tuple[ChoiceLayer, ...]:
    """Layers stage by stage; the first of a stage has its stride.

    Args:
        channels: Outputs of every stage.
        depths: Layers of every stage.
        strides: Of every stage.
        options: The candidates, the skip first.
        skip_everywhere: Whether layers that change the shape may be skipped too, through a 1 x 1 convolution.
        in_channels: Of the first layer.
    """
    layers = []
    for width, depth, stride in zip(channels, depths, strides, strict=True):
        for i in range(depth):
            step = stride if i == 0 else 1
            allowed = options if skip_everywhere or (step == 1 and in_channels == width) else options[1:]
            layers.append(ChoiceLayer(width, step, allowed))
            in_channels = width
    return tuple(layers)


def scaled_channels(name: str, channels: Sequence[int], width: float, needed: int) -> tuple[int, ...]:
    """The channel counts times `width`, in multiples of 8 unless `width` is 1.

    Raises:
        SpaceError: if there are not `needed` positive ones, or the width is out of range.
    """
    if len(channels) != needed or min(channels) < 1:
        raise SpaceError(f"channels (={tuple(channels)}) of {name} must be {needed} numbers of at least 1.")
    if not 0.1 <= width <= 4:
        raise SpaceError(f"width (={width}) must be between 0.1 and 4.")
    return tuple(channels) if width == 1 else tuple(make_divisible(c * width) for c in channels)
