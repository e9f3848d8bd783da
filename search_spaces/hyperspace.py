"""SpaceEvo's hyperspace: all its spaces, and each stage of one block type as a small space of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product

import numpy as np

from search_spaces.builder import NetworkBuilder
from search_spaces.gene import Gene
from search_spaces.network import Network
from search_spaces.operators import Operator
from search_spaces.space import Space
from search_spaces.spaceevo import (
    ACTIVATIONS,
    FEATURES,
    OUTER,
    RESOLUTIONS,
    STAGES,
    STRIDES,
    SpaceEvoSpace,
    head,
    scaled,
    spaceevo,
)
from search_spaces.spaceevo_blocks import BLOCKS, PUBLISHED, BlockType

Design = tuple[int, ...]  # a space: the block type of every stage, then the window of every stage


@dataclass(frozen=True)
class Hyperspace:
    """The spaces that `spaceevo` makes with these options, which it explains.

    Attributes:
        types: Block types allowed, positions in `BLOCKS`; by default the published ones.
    """

    width: float = 1.0
    num_classes: int = 1000
    resolutions: tuple[int, ...] = RESOLUTIONS
    stem_stride: int = 2
    strides: str = STRIDES
    in_channels: int = 3
    activation: str = ACTIVATIONS[0]
    features: int = FEATURES
    types: tuple[int, ...] = PUBLISHED

    @cached_property
    def options(self) -> dict[str, object]:
        """Those of `spaceevo` that all its spaces have."""
        names = ("width", "num_classes", "stem_stride", "strides", "in_channels", "activation", "features")
        return {name: getattr(self, name) for name in names} | {"resolutions": list(self.resolutions)}

    @cached_property
    def widths(self) -> tuple[tuple[int, ...], ...]:
        """Every channel count that a stage can have, of stage 0 first."""
        found = [scaled(OUTER, self.width)]
        for stage in STAGES:
            every = {c for w in range(stage.windows) for c in scaled(stage.widths(w), self.width)}
            found.append(tuple(sorted(every)))
        return tuple(found)

    @cached_property
    def windows(self) -> tuple[tuple[int, ...], ...]:
        """Windows of every stage; of those with the same widths, which small multipliers make, only the first."""
        return tuple(
            tuple({scaled(stage.widths(w), self.width): w for w in reversed(range(stage.windows))}.values())[::-1]
            for stage in STAGES
        )

    @property
    def size(self) -> int:
        """How many spaces there are."""
        return len(self.types) ** len(STAGES) * int(np.prod([len(w) for w in self.windows]))

    def throughout(self, kind: int) -> Design:
        """Its space of one block type in every stage and the narrowest windows."""
        return (kind,) * len(STAGES) + tuple(windows[0] for windows in self.windows)

    def space(self, design: Design) -> SpaceEvoSpace:
        """One of its spaces."""
        n = len(STAGES)
        blocks, windows = ("".join(map(str, part)) for part in (design[:n], design[n:]))
        return spaceevo(blocks=blocks, windows=windows, **self.options)  # type: ignore[arg-type]

    def widest(self, design: Design) -> SpaceEvoSpace:
        """Its spaces of these block types as one, with every width; a superset of each, not one of them."""
        kinds = [BLOCKS[k] for k in design[: len(STAGES)]]
        options = self.space(design).options
        return SpaceEvoSpace(kinds, self.widths[1:], self.widths[0], head(self.width, self.features), options)

    def window_widths(self, design: Design, stage: int) -> tuple[int, ...]:
        """Channel counts of a stage, from 1, in one of its spaces."""
        return scaled(STAGES[stage - 1].widths(design[len(STAGES) + stage - 1]), self.width)

    def size_before(self, stage: int, resolution: int) -> int:
        """Height and width, pixels, of what a stage, from 1, reads."""
        size = -(-resolution // self.stem_stride)
        for earlier in range(1, stage):
            size = -(-size // self.stride(earlier))
        return size

    def stride(self, stage: int) -> int:
        """Of the first block of a stage, from 1."""
        return int(self.strides[stage - 1])

    def block(
        self, stage: int, kind: BlockType, resolution: int, channels: int, out: int, kernel: int, percent: int
    ) -> Network:
        """The first block of a stage on its own."""
        b = NetworkBuilder("block", in_channels=channels, size=self.size_before(stage, resolution))
        kind.build(b, "block", b.image, out, kernel, percent, self.stride(stage))
        return b.build()

    def repeated(
        self, stage: int, kind: BlockType, resolution: int, channels: int, kernel: int, percent: int
    ) -> Network:
        """A block behind the first one of a stage, on its own."""
        b = NetworkBuilder("block", in_channels=channels, size=self.size_before(stage + 1, resolution))
        kind.build(b, "block", b.image, channels, kernel, percent, 1)
        return b.build()


class StageSpace(Space):
    """One stage of one block type between two projections, at every width: what is distilled.

    The image is what a teacher's stage reads; the result has the shape of what it makes.

    Args:
        hyper: The hyperspace.
        stage: From 1.
        kind: The block type.
        channels: The teacher's, before and after its stage.
        resolution: Of the whole network's image, pixels.
    """

    blockwise = False

    def __init__(
        self, hyper: Hyperspace, stage: int, kind: BlockType, channels: tuple[int, int], resolution: int
    ) -> None:
        self.name, self.kind, self.stage = f"stage{stage}-{kind.name}", kind, stage
        self._channels, self._size = channels, hyper.size_before(stage, resolution)
        self._stride = hyper.stride(stage)
        self.options = {"stage": stage, "kind": kind.name, "channels": list(channels), "size": self._size}
        self._prefix, macro = f"stage{stage}", STAGES[stage - 1]
        genes = [Gene("input.width", hyper.widths[stage - 1]), Gene(f"{self._prefix}.width", hyper.widths[stage])]
        genes.append(Gene(f"{self._prefix}.depth", macro.depths))
        for i in range(1, max(macro.depths) + 1):
            requires = (f"{self._prefix}.depth", min(d for d in macro.depths if d >= i))
            genes.append(Gene(f"{self._prefix}.block{i}.kernel", kind.kernels, requires))
            if kind.percents:
                genes.append(Gene(f"{self._prefix}.block{i}.expand", kind.percents, requires))
        self.genes = tuple(genes)

    def part_columns(self, part: str) -> list[int]:
        """The genes that decide the operators of a part: its own, and the widths."""
        names = ["input.width", f"{self._prefix}.width", f"{self._prefix}.depth", f"{part}.kernel", f"{part}.expand"]
        return [self.index[name] for name in names if name in self.index]

    def network(self, arch: Sequence[int] | np.ndarray) -> Network:
        """The projections and the blocks between them."""
        values, stride = self.decode(arch), self._stride
        before, after = self._channels
        b = NetworkBuilder(self.name, in_channels=before, size=self._size)
        x = b.conv("project_in", b.image, values["input.width"])
        for i in range(1, values[f"{self._prefix}.depth"] + 1):
            name = f"{self._prefix}.block{i}"
            how = values[f"{name}.kernel"], values.get(f"{name}.expand", 100)
            x = self.kind.build(b, name, x, values[f"{self._prefix}.width"], *how, stride if i == 1 else 1)
        b.conv("project_out", x, after, norm=False, bias=True)
        return b.build()

    @cached_property
    def superset(self) -> Network:
        """Every operator that a network of it has, each at its largest: the first block's skip convolution included."""
        largest = self.cardinality - 1
        smaller = [largest * (np.arange(len(largest)) != column) for column in (0, 1)]
        networks = [self.network(x) for x in (largest, *smaller)]
        known: dict[str, list[Operator]] = {}
        for op in (op for network in networks for op in network):
            known.setdefault(op.name, []).append(op)
        whole = max(networks, key=lambda network: len(network.operators))
        return replace(whole, operators=tuple(_largest(op, known[op.name]) for op in whole))


_SIZES = ("in_channels", "out_channels", "channels", "kernel", "groups")


def _largest(op: Operator, same: Sequence[Operator]) -> Operator:
    """An operator with the largest sizes of those of its name."""
    return replace(op, **{f.name: max(getattr(o, f.name) for o in same) for f in fields(op) if f.name in _SIZES})


def block_choices(kind: BlockType) -> list[tuple[int, int]]:
    """Pairs of kernel size and expansion (percent) of a block type."""
    return list(product(kind.kernels, kind.percents or (100,)))
