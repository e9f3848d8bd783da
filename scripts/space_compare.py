"""Fronts of several spaces that were measured: which belong together, against each other, and as a picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from space_supernets import is_designed

from nas.pareto import pareto_front
from search_spaces import Space, get_space


def joined(fronts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fronts of one space, seed and training as one, from the fastest to the slowest; the shortest name is its own."""
    found: dict[str, dict[str, Any]] = {}
    for front in fronts:
        first = found.setdefault(of_one(front), front | {"networks": []})
        first |= {"files": front["files"]} if "files" in front else {}
        first["folder"] = min(first["folder"], front["folder"], key=len)
        first["networks"] = sorted(first["networks"] + front["networks"], key=lambda row: float(row["latency_ms"]))
    return [*found.values()]


def of_one(front: dict[str, Any]) -> str:
    """What networks of a front have in common: space, seed and training, and whether the space was designed."""
    space = space_of(front)  # as options may be spelled out or not
    alone = {key: value for key, value in front.get("alone", {}).items() if key != "networks"}
    kept = {"space": space.name, "options": space.options, "alone": alone, "designed": is_designed(front["folder"])}
    return json.dumps(kept | {key: front.get(key) for key in ("seed", "train", "quantised")}, sort_keys=True)


def space_of(front: dict[str, Any]) -> Space:
    """The space that a front's networks are of."""
    return get_space(front["space"]["name"], **front["space"]["options"])


def compared(fronts: list[dict[str, Any]], ours: str) -> dict[str, dict[str, list[float | None]]]:
    """The designed space against the others, for every seed.

    How much faster: for each of the other space's networks that no other of its seed beats in both, the fastest of
    ours that is as accurate. How much more accurate: for each latency, of either, from the fastest to the slowest
    network of the other space, the most accurate network that is not slower, of ours and of theirs; at other latencies
    it was not looked for. The largest of these ratios and differences (points), None where there is none.

    Args:
        fronts: As `measured` has them.
        ours: Folder of the designed space, before the seed.
    """
    found: dict[str, dict[str, list[float | None]]] = {}
    by_name = {front["folder"]: points(front) for front in fronts}
    for name, theirs in by_name.items():
        space, _, seed = name.rpartition("-")
        own = by_name.get(f"{ours}-{seed}")
        if space == ours or own is None:
            continue
        unbeaten = theirs[pareto_front(theirs * (-1, 1))]
        faster = [ms / own[own[:, 0] >= test, 1].min() for test, ms in unbeaten if (own[:, 0] >= test).any()]
        first, last = max(own[:, 1].min(), theirs[:, 1].min()), theirs[:, 1].max()
        limits = [t for t in (*own[:, 1], *theirs[:, 1]) if first <= t <= last]
        better = [_best_within(own, t) - _best_within(theirs, t) for t in limits]
        row = found.setdefault(space, {"times_faster": [], "points_better": []})
        row["times_faster"].append(max(map(float, faster), default=None))
        row["points_better"].append(max(better, default=None))
    return found


def _best_within(front: np.ndarray, ms: float) -> float:
    """Accuracy of the most accurate network that is not slower."""
    return float(front[front[:, 1] <= ms, 0].max())


def points(front: dict[str, Any]) -> np.ndarray:
    """Test accuracy (percent) and measured latency (ms) of a front's networks, `[n, 2]`."""
    return np.array([(row["test"], row["latency_ms"]) for row in front["networks"]], dtype=np.float64)


def picture(document: dict[str, Any], out: Path) -> None:
    """The fronts of all spaces, a mark for each seed; the ending of `out` decides the format."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    names = list(dict.fromkeys(front["folder"].rpartition("-")[0] for front in document["fronts"]))
    for front in document["fronts"]:
        name, _, seed = front["folder"].rpartition("-")
        accuracy, ms = points(front).T
        label = name if seed == "0" else None
        axes.plot(ms, accuracy, marker="osd^v"[int(seed) % 5], ms=5, lw=1, color=f"C{names.index(name)}", label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.4, 2, 2.8, 4, 5.6, 8)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel(f"INT8 latency (ms), {document['conditions']['cpu'].replace('(R)', '')}, 1 thread")
    axes.set_ylabel(f"test accuracy (%), {document['data']}")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.savefig(out, dpi=150)
    plt.close(figure)
