"""What is measured for a hyperspace's latency table: networks that together hold every kernel of every space."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nas.design.evolution import random_design, uniform
from nas.design.lookup import last_windows
from search_spaces import Network
from search_spaces.hyperspace import Design, Hyperspace, block_choices
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import BLOCKS

if TYPE_CHECKING:
    from latency_tables import Device
    from latency_tables.profiling import Study

_TIMED, _HELD_OUT = 192, 48


@dataclass(frozen=True)
class _Place:
    """A block of the hyperspace: the values that make it appear in a network."""

    stage: int
    kind: int
    resolution: int
    before: int | None  # width before the stage; None for a block behind the first one
    width: int
    kernel: int
    percent: int


def hyper_study(hyper: Hyperspace, device: "Device", *, timed: int = _TIMED, seed: int = 0) -> "Study":
    """The study whose table knows every kernel of every space; `timed` random networks are measured whole."""
    from latency_tables.profiling import Study

    rng = np.random.default_rng([seed, 4])
    held_out = max(2, timed * _HELD_OUT // _TIMED)
    about = {
        "space": {"name": "spaceevo", "options": {**hyper.options, "types": list(hyper.types)}},
        "resolutions": list(hyper.resolutions),
        "timed": "every size, every other one of one block type",
        "fit": timed - held_out,
        "held_out": held_out,
        "seed": seed,
    }
    return Study(tuple(covering(hyper, seed)), tuple(_random_networks(hyper, timed, rng)), device, about)


def _random_networks(hyper: Hyperspace, n: int, rng: np.random.Generator) -> list[Network]:
    """The smallest and the largest network of a first space, then random ones that evolution may end at.

    Uniform draws are all of mixed block types and middling size. A table fitted on those alone took small networks of
    fused MBConvs for 1.4 times as slow as they are. So every other one is of one block type throughout, and there are
    all sizes.
    """
    first = hyper.space(random_design(hyper, rng))
    found = [first.network(first.smallest), first.network(first.largest)]
    for i in range(n):
        design = random_design(hyper, rng)
        if i % 2:
            design = uniform(hyper, hyper.types[i // 2 % len(hyper.types)], rng)
        space = hyper.space(design)
        found.append(space.network(space.sample_of_every_size(rng, 1)[0]))
    return found


def covering(hyper: Hyperspace, seed: int = 0) -> list[Network]:
    """Networks that together have every kernel of the hyperspace: each is made around a block with one that is new."""
    rng = np.random.default_rng([seed, 5])
    seen: set[str] = set()
    networks = []

    def keep(network: Network) -> None:
        networks.append(network)
        seen.update(network.kernels)

    for network in _outer_networks(hyper):
        if set(network.kernels) - seen:
            keep(network)
    for place in places(hyper):
        if set(_block(hyper, place).kernels) - seen:
            keep(_around(hyper, place, rng))
    return networks


def places(hyper: Hyperspace) -> Iterator[_Place]:
    """Yields every block that a space of the hyperspace can have."""
    for resolution, kind, stage in product(hyper.resolutions, hyper.types, range(1, len(STAGES) + 1)):
        for before, width in product((*hyper.widths[stage - 1], None), hyper.widths[stage]):
            for kernel, percent in block_choices(BLOCKS[kind]):
                yield _Place(stage, kind, resolution, before, width, kernel, percent)


def _block(hyper: Hyperspace, place: _Place) -> Network:
    stage, kind, how = place.stage, BLOCKS[place.kind], (place.kernel, place.percent)
    if place.before is None:
        return hyper.repeated(stage, kind, place.resolution, place.width, *how)
    return hyper.block(stage, kind, place.resolution, place.before, place.width, *how)


def _around(hyper: Hyperspace, place: _Place, rng: np.random.Generator) -> Network:
    """A random deep network with that block."""
    design = uniform(hyper, place.kind, rng)
    design = _with_width(hyper, design, place.stage, place.width)
    if place.before is not None and place.stage > 1:
        design = _with_width(hyper, design, place.stage - 1, place.before)
    space = hyper.space(design)
    x = space.sample(rng, 1)[0]
    for name, column in space.index.items():
        if name.endswith(".depth"):
            x[column] = space.cardinality[column] - 1
        elif name.endswith((".kernel", ".expand")):
            x[column] = rng.integers(space.cardinality[column])
    block = f"stage{place.stage}.block{1 if place.before is not None else 2}"
    values = {"resolution": place.resolution, f"stage{place.stage}.width": place.width, f"{block}.kernel": place.kernel}
    if f"{block}.expand" in space.index:
        values[f"{block}.expand"] = place.percent
    if place.before is not None:
        values[f"stage{place.stage - 1}.width"] = place.before
    for name, value in values.items():
        column = space.index[name]
        x[column] = space.genes[column].choices.index(value)
    return space.network(x)


def _with_width(hyper: Hyperspace, design: Design, stage: int, width: int) -> Design:
    """The space with a window of that stage which has the width, its own if it does."""
    own = len(STAGES) + stage - 1
    for window in (design[own], *hyper.windows[stage - 1]):
        found = (*design[:own], window, *design[own + 1 :])
        if width in hyper.window_widths(found, stage):
            return found
    raise AssertionError((stage, width))


def _outer_networks(hyper: Hyperspace) -> Iterator[Network]:
    """Yields networks with every stem, stage 0 and head."""
    outer = len(hyper.widths[0])
    for design in last_windows(hyper):
        space = hyper.space(design)
        last = len(space.genes[space.index[f"stage{len(STAGES)}.width"]].choices)
        for r, stem, width, j in product(range(len(hyper.resolutions)), range(outer), range(outer), range(last)):
            x = space.cardinality - 1
            for name, value in (("resolution", r), ("stem.width", stem), ("stage0.width", width)):
                x[space.index[name]] = value
            x[space.index[f"stage{len(STAGES)}.width"]] = j
            yield space.network(x)
