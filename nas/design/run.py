"""Designing a space step by step: teacher, latency tables, distilled stages, evolution, what is written."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.console import progress, say
from nas.design.anchors import AnchorTrainer, anchors_of, fit, recorded, train_anchors
from nas.design.distillers import distil_all
from nas.design.evolution import EvolutionConfig, choices, evolve
from nas.design.lookup import Lookup, stage_latency
from nas.design.reuse import Earlier
from nas.design.score_log import ScoreLog
from nas.design.scoring import RECORD, Goal, added_by, cost_by, lookup_of, scorer
from nas.errors import RunError, UserError
from nas.files import writable_folder, write_json
from predictors.space_quality import parts
from search_spaces.hyperspace import Design, Hyperspace
from search_spaces.space_file import SPACE_FILE
from search_spaces.spaceevo import STAGES
from search_spaces.spaceevo_blocks import BLOCKS

if TYPE_CHECKING:
    from latency_tables import Device, LatencyTable
    from supernets.distill import DistillConfig

FORMAT = 1


def design_space(
    folder: Path,
    teacher: Path,
    hyper: Hyperspace,
    tables: "tuple[LatencyTable, LatencyTable | None]",
    goal: Goal,
    distillation: "DistillConfig",
    evolution: EvolutionConfig,
    processes: int = 1,
    anchor_epochs: int = 0,
    earlier: Earlier | None = None,
) -> dict[str, Any]:
    """Designs a space and writes it, with all that led to it, into a folder; what is there already is not done again.

    Args:
        folder: Where.
        teacher: Folder of the run whose network teaches.
        hyper: What is designed in.
        tables: Latencies of the hyperspace in the wanted precision, and in fp32 to compare with.
        goal: The limits.
        distillation: How stages are distilled.
        evolution: How spaces are searched.
        processes: Stages distilled at once, and anchors trained, a process each.
        anchor_epochs: Of the networks that set block types against each other; 0 for none.
        earlier: A design whose stages were copied into the folder; its anchors, if there are any, are taken.

    Returns:
        The document that is written to `design.json`.

    Raises:
        RunError: if the folder was begun with another teacher, hyperspace or distillation.
        UserError: if no network of any space is under a limit.
    """
    writable_folder(folder)
    asked = {
        **_origin(teacher, hyper, distillation),
        "device": tables[0].metadata["conditions"]["device"],
        "goal": asdict(goal),
        "drawn": "every size",  # a log of scores of uniform draws is another
        "evolution": asdict(evolution),
    }
    begin(folder, teacher, hyper, distillation)
    judged = distil_all(folder / "blocks", teacher, hyper, distillation, processes)
    say("latencies of all blocks")
    lookup = lookup_of(hyper, judged, tables[0])
    _check_limits(lookup, goal, distillation.seed)
    if earlier and earlier.anchors:
        asked["anchors"] = earlier.anchors
        lookup = lookup_of(hyper, judged, tables[0], added_by(earlier.anchors))
    elif anchor_epochs:
        int8 = str(tables[0].metadata["conditions"]["precision"]).startswith("int8")
        trainer = AnchorTrainer(folder / "anchors", teacher, hyper, anchor_epochs, int8)
        anchors = anchors_of(lookup, {place: found.archs for place, found in judged.items()}, goal.limits_ms)
        measured = train_anchors(trainer, anchors, processes)
        found = fit(anchors, measured)
        lookup = lookup_of(hyper, judged, tables[0], found.added)
        asked["anchors"] = recorded(anchor_epochs, anchors, measured, found)
    log = ScoreLog(_log_path(folder, asked), asked)
    score = scorer(lookup, goal, evolution.seed)
    with progress("evolution") as update:

        def logged(design: Design) -> float:
            found = log(design, score)
            update(log.scored, min(evolution.spaces, hyper.size), f"best score {log.best:.4g}")
            return found

        history = evolve(hyper, evolution, logged)
    best, value = max(history, key=lambda entry: entry[1])
    space = hyper.space(best)
    document = asked | ({"from": str(earlier.folder)} if earlier else {})
    document |= {
        "space": {"name": space.name, "options": space.options},
        "score": value,
        "limits": _limits(lookup, best, goal, evolution.seed),
        "curve": [entry[1] for entry in history],
        "alternatives": _alternatives(hyper, best, score),
        "speedup": _speedups(hyper, judged, lookup, tables[1]),
        "losses": {BLOCKS[k].name: [float(np.median(judged[s, k].losses)) for s in _stages()] for k in hyper.types},
    }
    write_json(folder / RECORD, document)
    write_json(folder / SPACE_FILE, document["space"])
    return document


def _stages() -> range:
    return range(1, len(STAGES) + 1)


def _log_path(folder: Path, asked: dict[str, Any]) -> Path:
    """Another device or other limits have a log of their own, and share what was distilled."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return folder / f"evolution-{digest[:8]}.jsonl"


def begin(folder: Path, teacher: Path, hyper: Hyperspace, distillation: "DistillConfig") -> None:
    """Records what a folder's stages are of and how they are distilled.

    Raises:
        RunError: if the folder was begun with another teacher, hyperspace or distillation.
    """
    _begin(folder / "options.json", _origin(teacher, hyper, distillation))


def _origin(teacher: Path, hyper: Hyperspace, distillation: "DistillConfig") -> dict[str, Any]:
    made = {**hyper.options, "types": [BLOCKS[t].name for t in hyper.types]}
    return {"format": FORMAT, "teacher": str(teacher), "hyperspace": made, "distillation": asdict(distillation)}


def _begin(path: Path, asked: dict[str, Any]) -> None:
    """Records the options, or refuses other ones than those that a folder was begun with."""
    asked = json.loads(json.dumps(asked))
    if not path.is_file():
        write_json(path, asked)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    # a folder from before there was some option of the hyperspace was begun with its default
    found["hyperspace"] = Hyperspace().options | found.get("hyperspace", {})
    for key, value in asked.items():
        if found.get(key) != value:
            raise RunError(
                f"{str(path.parent)!r} was begun with {key}={found.get(key)!r}, now it is {value!r}; "
                "use the same options to continue, or another --out."
            )


def _check_limits(lookup: Lookup, goal: Goal, seed: int) -> None:
    """Refuses limits that nothing keeps, before hours of evolution."""
    rng, hyper = np.random.default_rng([seed, 7]), lookup.hyper
    fastest = np.inf
    for kind in hyper.types:
        fastest = min(fastest, float(lookup.draw(hyper.throughout(kind), goal.draws, rng)[1].min()))
    if max(goal.limits_ms) < fastest:
        raise UserError(
            f"--limits (={','.join(f'{t:g}' for t in goal.limits_ms)}) are all below the fastest network of these "
            f"spaces, {fastest:.3g} ms; give larger ones."
        )


def _limits(lookup: Lookup, design: Design, goal: Goal, seed: int) -> list[dict[str, float]]:
    loss, latency = lookup.draw(design, goal.draws, np.random.default_rng([seed, *design]))
    found = parts(loss, latency, goal.limits_ms, goal.share, goal.exponent)
    return [
        {"limit_ms": limit, "share": float((latency <= limit).mean()), "penalty": penalty, "loss": q}
        for limit, (penalty, q) in zip(goal.limits_ms, found, strict=True)
    ]


def _alternatives(hyper: Hyperspace, best: Design, score: Callable[[Design], float]) -> list[dict[str, Any]]:
    """For every stage, the score with each other block type, and with each other window, in place of the chosen one."""
    n, found = len(STAGES), []
    for s in _stages():
        block, window = (
            {c: score((*best[:at], c, *best[at + 1 :])) for c in choices(hyper)[at]} for at in (s - 1, n + s - 1)
        )
        widths = {c: hyper.window_widths((*best[: n + s - 1], c, *best[n + s :]), s) for c in window}
        found.append(
            {
                "stage": s,
                "block": BLOCKS[best[s - 1]].name,
                "blocks": {BLOCKS[k].name: value for k, value in block.items()},
                "widths": list(widths[best[n + s - 1]]),
                "windows": [{"widths": list(widths[c]), "score": value} for c, value in window.items()],
            }
        )
    return found


def _speedups(
    hyper: Hyperspace, judged: dict[tuple[int, int], Any], lookup: Lookup, plain: "LatencyTable | None"
) -> dict[str, list[float]] | None:
    """fp32 over INT8 latency of every block type by stage: of the sums over all networks judged."""
    if plain is None:
        return None
    cost = cost_by(plain)
    found = {}
    for k in hyper.types:
        sums = [stage_latency(hyper, s, k, judged[s, k].archs, cost).sum() for s in _stages()]
        found[BLOCKS[k].name] = [
            float(a / lookup.stages[s, k].latency_ms.sum()) for a, s in zip(sums, _stages(), strict=True)
        ]
    return found


def in_precision(device: "Device", precision: str) -> "Device":
    """The device with networks in another precision; the built-in ones keep their names."""
    if device.precision == precision:
        return device
    base = device.name.removesuffix(f"-{device.precision}")
    return replace(device, name=base if precision == "fp32" else f"{base}-{precision}", precision=precision)
