"""What the report shows, gathered from a run folder as plain JSON values."""

import json
from pathlib import Path
from typing import Any

from nas.errors import RunError
from nas.runs import Run
from search_spaces import Network, Space


def report_data(folder: Path) -> dict[str, Any]:
    """Fronts of all searched devices with the layers of their networks, and the exported files.

    Raises:
        RunError: if nothing was searched yet.
    """
    run = Run.open(folder)
    devices = run.searched_devices
    if not devices:
        raise RunError(f"Run {str(folder)!r} has no front to report; run `nas search {folder}` first.")
    return {
        "run": run.name,
        "folder": str(folder),
        "config": run.config,
        "devices": [_device(run, name) for name in devices],
        "exports": _cards(run.folder / "export"),
    }


def _device(run: Run, name: str) -> dict[str, Any]:
    document = run.read_front(name)
    costs = _kernel_costs(run, name)
    for entry in [*document["front"], *document["baselines"]]:
        entry["blocks"] = blocks(run.space, run.space.network(run.space.parse(entry["arch"])), entry["arch"], costs)
    return document


def _kernel_costs(run: Run, device: str) -> dict[str, float]:
    """Predicted milliseconds by kernel, empty if the table is not in the run."""
    from latency_tables import LatencyTable

    path = run.table(device)
    return {key: kernel.cost_ms for key, kernel in LatencyTable.read(path).kernels.items()} if path.is_file() else {}


def blocks(space: Space, network: Network, arch: str, costs: dict[str, float]) -> list[dict[str, Any]]:
    """A network part by part, skipped blocks included: genes, shape, MACs, parameters and predicted time.

    Args:
        space: Of the network.
        network: The network.
        arch: Its text.
        costs: Milliseconds by kernel.
    """
    values = space.decode(space.parse(arch))
    parts: dict[str, dict[str, Any]] = {}
    for op in network:
        part = parts.setdefault(op.part, {"name": op.part, "macs": 0, "params": 0, "ms": 0.0, "skipped": False})
        part["macs"] += op.macs
        part["params"] += op.params
        part["ms"] += costs.get(op.key, 0.0)
        part["shape"] = list(op.out_shape)
    owners = dict.fromkeys(g.name.rpartition(".")[0] for g in space.genes if ".block" in g.name)
    for owner in owners:
        if owner not in parts:
            parts[owner] = {"name": owner, "skipped": True}
        for gene in ("kernel", "expand"):
            parts[owner][gene] = values.get(f"{owner}.{gene}")
    body = [name for name in parts if name in owners]
    head = [name for name in parts if name not in owners]
    before = [n for n in head if n in ("stem", "first")]
    return [parts[n] for n in [*before, *sorted(body), *(n for n in head if n not in before)]]


def _cards(folder: Path) -> list[dict[str, Any]]:
    cards = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return sorted(cards, key=lambda card: card["latency_ms"]["median"])
