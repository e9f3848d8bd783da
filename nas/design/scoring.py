"""The Q-T score of a hyperspace's spaces, from distilled stages and a latency table."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nas.design.blocks import read_all
from nas.design.lookup import Lookup, StageLookup, outer_latency, stage_latency
from nas.errors import RunError, UserError
from predictors.space_quality import quality
from search_spaces.hyperspace import Design, Hyperspace
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import KINDS

if TYPE_CHECKING:
    from latency_tables import LatencyTable
    from supernets.distill import Distilled

RECORD = "design.json"


@dataclass(frozen=True)
class Goal:
    """What a space is designed for.

    Attributes:
        limits_ms: Latencies under which its networks are to be accurate.
        share: Of networks under a limit that is enough, see `predictors.space_quality`.
        exponent: How much fewer count.
        draws: Networks drawn from a space for its score.
    """

    limits_ms: tuple[float, ...]
    share: float = 0.08
    exponent: float = 0.01
    draws: int = 100_000

    def __post_init__(self) -> None:
        if not self.limits_ms or min(self.limits_ms) <= 0:
            raise UserError(f"--limits (={self.limits_ms}) must be latencies above 0 ms joined by commas.")


def cost_by(table: "LatencyTable") -> Callable[[Any], float]:
    return lambda op: float(table.costs(op)[0])


def lookup_of(
    hyper: Hyperspace,
    judged: "dict[tuple[int, int], Distilled]",
    table: "LatencyTable",
    added: Mapping[int, float] | None = None,
) -> Lookup:
    """What spaces are scored by.

    Args:
        hyper: The hyperspace.
        judged: Its distilled stages.
        table: Latencies of its kernels.
        added: To the losses of each block type, see `nas.design.anchors`.
    """
    cost = cost_by(table)
    stages = {
        (s, k): StageLookup.of(found.losses + (added or {}).get(k, 0.0), stage_latency(hyper, s, k, found.archs, cost))
        for (s, k), found in judged.items()
    }
    return Lookup(hyper, stages, *outer_latency(hyper, cost, table.constant_ms))


def scorer(lookup: Lookup, goal: Goal, seed: int) -> Callable[[Design], float]:
    """The Q-T score of a space, the same whenever it is asked."""

    def score(design: Design) -> float:
        loss, latency = lookup.draw(design, goal.draws, np.random.default_rng([seed, *design]))
        return quality(loss, latency, goal.limits_ms, share=goal.share, exponent=goal.exponent)

    return score


class Designed(NamedTuple):
    """What a folder was designed in.

    Attributes:
        hyper: The hyperspace.
        judged: Its distilled stages.
        lookup: Losses, with what anchors add, and latencies.
        score: Of a space.
        limits_ms: Latencies that it was designed for.
        best: The space that was chosen.
    """

    hyper: Hyperspace
    judged: "dict[tuple[int, int], Distilled]"
    lookup: Lookup
    score: Callable[[Design], float]
    limits_ms: tuple[float, ...]
    best: Design


def finished(folder: Path) -> dict[str, Any]:
    """The document of a folder of `nas design-space`.

    Raises:
        RunError: if the folder is not finished.
    """
    if not (folder / RECORD).is_file():
        raise RunError(f"{str(folder)!r} has no {RECORD}; run `nas design-space --out {folder}` to its end.")
    document: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return document


def hyper_of(document: dict[str, Any]) -> Hyperspace:
    """The hyperspace of a design."""
    made = dict(document["hyperspace"])
    types, sizes = tuple(KINDS[name] for name in made.pop("types")), tuple(made.pop("resolutions"))
    return Hyperspace(types=types, resolutions=sizes, **made)


def added_by(anchors: dict[str, Any] | None) -> dict[int, float]:
    """What a design's anchors, if it has any, add to the losses of each block type."""
    return {KINDS[name]: value for name, value in (anchors or {"added": {}})["added"].items()}


def opened(folder: Path, table: Path | None = None) -> Designed:
    """What a folder of `nas design-space` was designed in.

    Args:
        folder: Of `nas design-space`.
        table: Of latencies; by default the one in the folder.

    Raises:
        RunError: if the folder is not finished.
    """
    from latency_tables import LatencyTable

    document = finished(folder)
    hyper = hyper_of(document)
    goal = Goal(**(document["goal"] | {"limits_ms": tuple(document["goal"]["limits_ms"])}))
    measured = LatencyTable.read(table or folder / "tables" / f"{document['device']}.parquet")
    judged = read_all(folder / "blocks", hyper)
    if missing := len(hyper.types) * len(STAGES) - len(judged):
        raise RunError(
            f"{str(folder / 'blocks')!r} lacks {missing} stages; run `nas design-space --out {folder}` again."
        )
    lookup = lookup_of(hyper, judged, measured, added_by(document.get("anchors")))
    options = document["space"]["options"]
    best = tuple(map(int, options["blocks"] + options["windows"]))
    return Designed(hyper, judged, lookup, scorer(lookup, goal, document["evolution"]["seed"]), goal.limits_ms, best)
