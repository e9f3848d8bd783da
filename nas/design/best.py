"""The best networks of a space by the lookup itself: exact, over every combination of judged stages."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nas.design.lookup import Lookup
from search_spaces import Space
from search_spaces.spaceevo import STAGES

if TYPE_CHECKING:
    from nas.design.scoring import Designed

Archs = Mapping[tuple[int, int], np.ndarray]  # genotypes judged, by stage (from 1) and block type, see `Distilled`


class Pick(NamedTuple):
    """A network of a lookup, at the largest resolution.

    Attributes:
        loss: Sum of its stages'.
        latency_ms: By the table.
        outer: Positions of the widths of stem and stage 0, and of stage 0's depth.
        stages: Of every stage the position of its width in the hyperspace, and its row in the lookup.
    """

    loss: float
    latency_ms: float
    outer: tuple[int, ...]
    stages: tuple[tuple[int, int], ...]


def best_under(
    lookup: Lookup, blocks: Sequence[int], limits_ms: Sequence[float], widths: Sequence[Sequence[int]] | None = None
) -> list[Pick]:
    """The network of least loss under each limit, each network once; the fastest, where none is under any limit.

    Args:
        lookup: Losses and latencies.
        blocks: Block type of every stage.
        limits_ms: The limits.
        widths: Positions, in the hyperspace, of the widths that each stage may have; by default all.
    """
    front = _front(lookup, blocks, widths or [range(len(w)) for w in lookup.hyper.widths[1:]])
    rows = {int(np.flatnonzero(front[:, 1] <= t)[-1]) for t in limits_ms if front[0, 1] <= t} or {0}
    return [_pick(front[i]) for i in sorted(rows)]


def genotype(space: Space, lookup: Lookup, blocks: Sequence[int], archs: Archs, pick: Pick) -> np.ndarray:
    """The genotype of a pick in a space of these blocks that has its widths."""
    hyper, width = lookup.hyper, pick.outer[1]
    values: dict[str, int] = {"resolution": len(hyper.resolutions) - 1}
    values |= dict(zip(("stem.width", "stage0.width", "stage0.depth"), pick.outer, strict=True))
    x = np.zeros_like(space.cardinality)
    for name, value in values.items():
        x[space.index[name]] = value
    for stage, (after, row) in enumerate(pick.stages, 1):
        kind, first = blocks[stage - 1], space.index[f"stage{stage}.width"]
        arch = archs[stage, kind][width, after, lookup.stages[stage, kind].judged[width, after, row]]
        x[first] = space.genes[first].choices.index(hyper.widths[stage][after])
        x[first + 1 : first + len(arch) - 1] = arch[2:]  # depth and blocks
        width = after
    return x


def designed_networks(designed: "Designed", limits_ms: Sequence[float]) -> list[tuple[str, Pick]]:
    """Of the space that was designed, the network of least loss under each limit, and the text of its genotype."""
    hyper, blocks, space = designed.hyper, designed.best[: len(STAGES)], designed.hyper.space(designed.best)
    stages = range(1, len(STAGES) + 1)
    widths = [[hyper.widths[s].index(c) for c in hyper.window_widths(designed.best, s)] for s in stages]
    archs = {place: found.archs for place, found in designed.judged.items()}
    picks = best_under(designed.lookup, blocks, limits_ms, widths)
    return [(space.to_text(genotype(space, designed.lookup, blocks, archs, pick)), pick) for pick in picks]


def _pick(row: np.ndarray) -> Pick:
    choices = [int(v) for v in row[2:]]
    pairs = tuple((choices[i], choices[i + 1]) for i in range(3, len(choices), 2))
    return Pick(float(row[0]), float(row[1]), tuple(choices[:3]), pairs)


def _front(lookup: Lookup, blocks: Sequence[int], widths: Sequence[Sequence[int]]) -> np.ndarray:
    """Loss, latency and choices of the networks that no other beats in both, the fastest first: `[n, 2 + choices]`."""
    before = lookup.before_ms[-1]
    outer = np.array(list(np.ndindex(before.shape)))
    rows = np.column_stack([np.zeros(len(outer)), before.ravel(), outer])
    ends = {width: _unbeaten(rows[outer[:, 1] == width]) for width in range(before.shape[1])}
    for stage, (kind, allowed) in enumerate(zip(blocks, widths, strict=True), 1):
        own = lookup.stages[stage, kind]
        ends = {
            after: _unbeaten(
                np.concatenate(
                    [
                        _joined(rows, own.loss[width, after], own.latency_ms[-1, width, after], after)
                        for width, rows in ends.items()
                    ]
                )
            )
            for after in allowed
        }
    for width, rows in ends.items():
        rows[:, 1] += lookup.after_ms[-1, width]
    return _unbeaten(np.concatenate([*ends.values()]))


def _joined(rows: np.ndarray, loss: np.ndarray, latency_ms: np.ndarray, after: int) -> np.ndarray:
    """Networks so far, each with every network `[rows]` of one more stage, which ends at a width."""
    n, r = len(rows), len(loss)
    found = np.column_stack([np.repeat(rows, r, axis=0), np.full(n * r, after), np.tile(np.arange(r), n)])
    found[:, 0] += np.tile(loss, n)
    found[:, 1] += np.tile(latency_ms, n)
    return found


def _unbeaten(rows: np.ndarray) -> np.ndarray:
    """Those of less loss than all that are faster, the fastest first."""
    rows = rows[np.lexsort((rows[:, 0], rows[:, 1]))]
    least = np.minimum.accumulate(rows[:, 0])
    return rows[np.r_[True, rows[1:, 0] < least[:-1]]]
