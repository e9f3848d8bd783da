"""Architectures as a line of text: written and read again, with what is wrong named."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.errors import ArchitectureError
from search_spaces.gene import Architecture, Gene

if TYPE_CHECKING:
    from search_spaces.space import Space

Layout = list[tuple[str, list[tuple[str, list[Gene]]]]]


def written(space: "Space", arch: Sequence[int] | np.ndarray, layout: Layout) -> str:
    """See `Space.to_text`."""
    values = space.decode(arch)
    groups = []
    for _, blocks in layout:
        parts = ("".join(f"{g.tag}{values[g.name]}" for g in genes if g.name in values) for _, genes in blocks)
        groups.append("-".join(part for part in parts if part))
    return "_".join(groups)


def read(space: "Space", text: str, layout: Layout) -> Architecture:
    """See `Space.parse`."""
    groups = text.strip().split("_")
    if len(groups) != len(layout):
        raise ArchitectureError(
            f"Architecture {text[:80]!r} has {len(groups)} parts joined by '_', {space.name} needs "
            f"{len(layout)}, like {space.to_text([0] * len(space.genes))!r}."
        )
    arch = np.zeros(len(space.genes), dtype=np.int64)
    for (group, blocks), part in zip(layout, groups, strict=True):
        items = part.split("-")
        for block, genes in blocks:
            on = space.active(arch)[0]
            wanted = [g for g in genes if on[space.index[g.name]]]
            if not wanted:
                continue
            item = items.pop(0) if items else ""
            match = re.fullmatch("".join(rf"{g.tag}(\d+)" for g in wanted), item)
            if match is None:
                example = "".join(f"{g.tag}{g.choices[0]}" for g in wanted)
                raise ArchitectureError(
                    f"Architecture {text[:80]!r}: {block} reads {item!r}, expected something like {example!r}."
                )
            for gene, value in zip(wanted, match.groups(), strict=True):
                arch[space.index[gene.name]] = gene.index_of(int(value))
        if items:
            raise ArchitectureError(f"Architecture {text[:80]!r}: {group} has {len(items)} blocks too many.")
    return space.check(arch.tolist())


def layout(genes: Sequence[Gene]) -> Layout:
    """Genes grouped by the first component of their name, then by all but the last."""
    return [
        (group, [(block, list(g)) for block, g in groupby(own, key=lambda gene: gene.name.rpartition(".")[0])])
        for group, own in ((k, list(v)) for k, v in groupby(genes, key=lambda gene: gene.name.partition(".")[0]))
    ]
