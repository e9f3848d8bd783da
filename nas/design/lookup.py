"""Loss and latency of everything that a hyperspace's stages can be, as arrays; drawing a space's networks from them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search_spaces import Network, Operator
from search_spaces.hyperspace import Design, Hyperspace, block_choices
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import BLOCKS

Cost = Callable[[Operator], float]  # ms of an operator


@dataclass(frozen=True)
class StageLookup:
    """Networks of one stage and block type that were judged, of every pair of widths the fastest first.

    Attributes:
        loss: `[input widths, widths, rows]`.
        latency_ms: Of the stage's blocks, `[resolutions, input widths, widths, rows]`.
        judged: Which of the networks in the order in which they were judged, `[input widths, widths, rows]`.
    """

    loss: np.ndarray
    latency_ms: np.ndarray
    judged: np.ndarray

    @classmethod
    def of(cls, loss: np.ndarray, latency_ms: np.ndarray) -> "StageLookup":
        """From rows in any order, which the largest resolution decides."""
        order = np.argsort(latency_ms[-1], axis=-1, kind="stable")
        return cls(np.take_along_axis(loss, order, -1), np.take_along_axis(latency_ms, order[None], -1), order)


@dataclass(frozen=True)
class Lookup:
    """All stages, and what stands before and after them.

    Attributes:
        stages: By (stage from 1, block type).
        before_ms: Stem and stage 0, `[resolutions, stem widths, stage 0 widths, depths]`.
        after_ms: What follows the last stage and what every call costs, `[resolutions, last widths]`.
    """

    hyper: Hyperspace
    stages: dict[tuple[int, int], StageLookup]
    before_ms: np.ndarray
    after_ms: np.ndarray

    def draw(self, design: Design, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Loss and latency (ms) of `n` random networks of a space; the loss is the sum of its stages'.

        They are of every size, as those of `Space.sample_of_every_size`: the networks under a small limit, which
        independent choices hardly ever make, count as much as others.
        """
        lean = rng.uniform(-1, 1, n)

        def chosen(size: int) -> np.ndarray:
            end = np.where(lean > 0, size - 1, 0)
            return np.where(rng.random(n) < abs(lean), end, rng.integers(0, size, n))

        resolution, stem, width, depth = (chosen(size) for size in self.before_ms.shape)
        latency = self.before_ms[resolution, stem, width, depth]
        loss = np.zeros(n)
        for stage in range(1, len(STAGES) + 1):
            own = self.stages[stage, design[stage - 1]]
            window = np.array([self.hyper.widths[stage].index(c) for c in self.hyper.window_widths(design, stage)])
            before, width = width, window[chosen(len(window))]
            row = chosen(own.loss.shape[2])
            loss += own.loss[before, width, row]
            latency = latency + own.latency_ms[resolution, before, width, row]
        return loss, latency + self.after_ms[resolution, width]


def stage_latency(hyper: Hyperspace, stage: int, kind: int, archs: np.ndarray, cost: Cost) -> np.ndarray:
    """Latency of judged networks of a stage: of the kernels in its blocks.

    Args:
        hyper: The hyperspace.
        stage: From 1.
        kind: Block type, position in `BLOCKS`.
        archs: Genotypes of its `StageSpace`, `[input widths, widths, rows, genes]`.
        cost: Of an operator, ms.

    Returns:
        Milliseconds, `[resolutions, input widths, widths, rows]`.
    """
    block, depths = BLOCKS[kind], np.array(STAGES[stage - 1].depths)
    choices = block_choices(block)
    before, after = hyper.widths[stage - 1], hyper.widths[stage]
    per_block = 2 if block.percents else 1
    # genes: input width, width, depth, then kernel (and expansion) of every block
    genes = archs[..., 3:].reshape(*archs.shape[:3], -1, per_block)
    choice = genes[..., 0] * (len(block.percents) or 1) + (genes[..., 1] if per_block == 2 else 0)
    there = np.arange(choice.shape[-1]) < depths[archs[..., 2]][..., None]
    i, j = (np.arange(size)[:, None] for size in archs.shape[:2])
    found = np.empty((len(hyper.resolutions), *archs.shape[:3]))
    for r, resolution in enumerate(hyper.resolutions):
        first = np.array(
            [
                [[total(hyper.block(stage, block, resolution, a, c, *how), cost) for how in choices] for c in after]
                for a in before
            ]
        )
        later = np.array(
            [[total(hyper.repeated(stage, block, resolution, c, *how), cost) for how in choices] for c in after]
        )
        found[r] = first[i[:, None], j, choice[..., 0]]
        found[r] += (later[j[:, :, None], choice[..., 1:]] * there[..., 1:]).sum(axis=-1)
    return found


def total(network: Network, cost: Cost) -> float:
    """Sum of the costs of a network's operators."""
    return sum(cost(op) for op in network)


def outer_latency(hyper: Hyperspace, cost: Cost, constant_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """`before_ms` and `after_ms` of a `Lookup`."""
    n, outer, last = len(hyper.resolutions), hyper.widths[0], hyper.widths[-1]
    before, after = np.zeros((n, len(outer), len(outer), 2)), np.zeros((n, len(last)))
    for design in last_windows(hyper):
        space = hyper.space(design)
        names = [space.index[name] for name in ("resolution", "stem.width", "stage0.width", "stage0.depth")]
        column = space.index[f"stage{len(STAGES)}.width"]
        for r, s, w, d in np.ndindex(before.shape):
            x = np.zeros_like(space.cardinality)
            x[names] = r, s, w, d
            before[r, s, w, d] = sum(cost(op) for op in space.network(x) if op.part.startswith(("stem", "stage0")))
        for r in range(n):
            for j, channels in enumerate(space.genes[column].choices):
                x = np.zeros_like(space.cardinality)
                x[names[0]], x[column] = r, j
                ends = (op for op in space.network(x) if not op.part.startswith(("stem", "stage")))
                after[r, last.index(channels)] = constant_ms + sum(cost(op) for op in ends)
    return before, after


def last_windows(hyper: Hyperspace) -> list[Design]:
    """Spaces that together have every width of the last stage."""
    return [hyper.throughout(hyper.types[0])[:-1] + (window,) for window in hyper.windows[-1]]
