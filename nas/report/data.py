"""What the report shows, gathered from a run folder as plain JSON values."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import RunError
from nas.intervals import LEVEL, wilson
from nas.report.anatomy import blocks, kernels
from nas.runs import Run
from search_spaces import Network

if TYPE_CHECKING:
    from latency_tables import LatencyTable


def report_data(folder: Path) -> dict[str, Any]:
    """Fronts of all searched devices with the layers of their networks, and the exported files.

    Raises:
        RunError: if nothing was searched yet.
        TableError: if a table of the run is damaged.
    """
    run = Run.open(folder)
    devices = run.searched_devices
    if not devices:
        raise RunError(f"Run {str(folder)!r} has no front to report; run `nas search {folder}` first.")
    documents = {name: run.read_front(name) for name in devices}
    tables = _tables(run)
    for name, document in documents.items():
        for entry in [*document["front"], *document["baselines"]]:
            _describe(entry, run, document, tables.get(name))
            entry["elsewhere"] = _on_every_device(entry["arch"], run, documents, tables)
    return {
        "run": run.name,
        "folder": str(folder),
        "level": LEVEL,
        "config": run.config,
        "devices": list(documents.values()),
        "exports": _cards(run.folder / "export"),
    }


def _tables(run: Run) -> dict[str, "LatencyTable"]:
    """The run's latency tables by device."""
    from latency_tables import LatencyTable

    return {path.stem: LatencyTable.read(path) for path in sorted((run.folder / "tables").glob("*.parquet"))}


def _describe(entry: dict[str, Any], run: Run, document: dict[str, Any], table: "LatencyTable | None") -> None:
    """Adds to an entry of a front: its parts, its kernels and the interval of its accuracy."""
    costs = {} if table is None else {key: kernel.cost_ms for key, kernel in table.kernels.items()}
    network = run.space.network(run.space.parse(entry["arch"]))
    entry["blocks"] = blocks(run.space, network, entry["arch"], costs)
    entry["kernels"] = kernels(network, costs)
    entry["interval"] = wilson(entry["accuracy"], document["validation_images"])


def _on_every_device(
    arch: str, run: Run, documents: dict[str, dict[str, Any]], tables: dict[str, "LatencyTable"]
) -> list[dict[str, Any]]:
    """One network on each device that was searched or has a table: predicted there, and measured where it was."""
    network = run.space.network(run.space.parse(arch))
    rows = []
    for device in dict.fromkeys([*documents, *tables]):
        document = documents.get(device, {})
        known = [
            e for kind in ("front", "baselines", "over_limit") for e in document.get(kind, ()) if e["arch"] == arch
        ]
        predicted = _predicted(network, tables.get(device))
        if known and predicted is None:
            predicted = known[0]["predicted_latency_ms"]
        rows.append(
            {"device": device, "measured_ms": known[0]["latency_ms"] if known else None, "predicted_ms": predicted}
        )
    return rows


def _predicted(network: Network, table: "LatencyTable | None") -> dict[str, float] | None:
    """What a table says, or None where there is none or it lacks a kernel."""
    from latency_tables import MissingKernelError

    if table is None:
        return None
    try:
        found = table.predict(network)
    except MissingKernelError:
        return None
    return {"median": found.median, "low": found.low, "high": found.high}


def _cards(folder: Path) -> list[dict[str, Any]]:
    cards = []
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(".report.json"):  # of `nas quantize`: about operators, no card
            continue
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            card["interval"] = wilson(card["accuracy"], card["test_images"])
            card["latency_ms"]["median"], card["name"], card["path"], card["max_abs_diff"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged ({error}); export that network again, or remove the file.") from error
        cards.append(card)
    return sorted(cards, key=lambda card: card["latency_ms"]["median"])
