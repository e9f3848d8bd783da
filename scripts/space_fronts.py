"""Fronts at INT8 of several spaces: networks chosen where a GPU is, measured on the device that they are for."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from space_compare import joined, of_one, space_of
from space_supernets import is_designed

from latency_tables import Effort, LatencyTable, device_fingerprint, get_device, onnx_model
from latency_tables.in_float import in_float
from latency_tables.int8 import quantized_for_timing, recorded_network
from nas.console import progress, say
from nas.files import write_bytes, write_json
from nas.front import measure_networks
from nas.onnx_eval import accuracy, logits
from nas.pareto import pareto_front
from nas.quantised import rounded_logits
from nas.runs import Run
from nas.search.engine import search
from nas.search.factory import make_searcher
from nas.subnets import Subnets
from predictors import TableLatency
from search_spaces import Network
from supernets.data import load_dataset
from supernets.images import nchw, prepare

RECORD = "front.json"
KEPT = 8  # networks of a front
_NOT_KEPT = "some were not kept: accuracies as measured before, networks timed with other weights"


@dataclass(frozen=True)
class Choosing:
    """How networks are chosen.

    Attributes:
        evaluations: Of the search (EHVI), each the accuracy of a file on the validation images.
        seed: Of its random choices.
        most_ms: Latency that no network may have more of, so that all spaces look where they can be compared.
    """

    evaluations: int = 96
    seed: int = 0
    most_ms: float | None = None


def choose(run: Run, table: LatencyTable, folder: Path, how: Choosing) -> None:
    """Searches a quantised supernet by the table's latencies; files of the front go into a folder, with a record."""
    subnets = Subnets(run)
    evaluator, space, limits = subnets.evaluator(), run.space, {1: np.inf if how.most_ms is None else how.most_ms}
    latency = TableLatency(table, space).fit()

    def scores(X: np.ndarray) -> Iterator[tuple[float, float]]:
        for x in X:
            yield 100 - evaluator(x), float(latency.predict(x[None])[0])

    folder.mkdir(parents=True, exist_ok=True)
    with progress(f"choose {folder.name}") as update:
        found = search(
            space,
            scores,
            searcher=make_searcher("ehvi", space, seed=how.seed, known={1: latency.predict}, limits=limits),
            evaluations=how.evaluations,
            log=folder / "search.jsonl",
            on_progress=lambda done, total: update(done, total, ""),
        )
    order = pareto_front(found.Y)
    order = order[np.argsort(found.Y[order, 1])]
    rows: list[dict[str, Any]] = []
    for i in order[np.unique(np.linspace(0, len(order) - 1, KEPT).round().astype(int))]:
        x = found.X[i]
        network, name = space.network(x), f"{len(rows)}.onnx"
        weights, _ = rounded_logits(evaluator, x)
        write_bytes(folder / name, onnx_model(network, weights).SerializeToString())
        error, ms = map(float, found.Y[i])
        rows.append({"file": name, "arch": space.to_text(x), "size": network.size, "error": error, "table_ms": ms})
    record = {"space": run.config["space"], "seed": run.config["seed"], "choosing": asdict(how)}
    trained = {"train": Run.open(Path(run.config["quantised_from"])).config["train"], "quantised": run.config["train"]}
    write_json(folder / RECORD, record | trained | {"networks": rows})


def measured(
    folders: list[Path],
    data: str,
    device_name: str,
    seconds: float,
    beside: dict[str, Any] | None = None,
    floats: tuple[str, ...] = (),
) -> dict[str, Any]:
    """All chosen files timed in turns on a device, with their accuracies on the test images.

    Args:
        folders: With files and a record; none, to time all networks of `beside` anew.
        data: The images.
        device_name: Where files are timed.
        seconds: For how long.
        beside: What this wrote before, perhaps on another device: the accuracies of its networks stay (a design's only
            where there are no folders), and they are timed here among the files. Integers add up to the same
            everywhere, so files need not be kept. An accuracy stays that of the form that it was measured of. Networks
            of one space, seed and training become one front.
        floats: How names of operators begin that integers may make slower: every network is timed as it is and with
            these in float, and the faster form counts.
    """
    device, images = get_device(device_name), load_dataset(data)
    if beside and (of := (beside["data"], beside["conditions"]["precision"])) != (images.name, device.precision):
        raise SystemExit(f"--beside is of {' in '.join(of)}, not of {images.name} in {device.precision}.")
    fronts = [json.loads((folder / RECORD).read_text(encoding="utf-8")) | {"folder": folder.name} for folder in folders]
    own = [
        (folder / row["file"], row) for folder, front in zip(folders, fronts, strict=True) for row in front["networks"]
    ]
    forms = [_forms_of_file(path, floats) for path, _ in own]
    others = _others(beside, fronts) if beside else []
    forms += [_forms(network, floats) for front in others for network in _networks(front)]
    with progress(f"measure on {device.name}") as update:
        every = [form for each in forms for form in each]
        latencies = iter(measure_networks(every, device, update, effort=Effort(seconds=seconds)))
    tested: dict[int, np.ndarray] = {}
    rows = [row for front in fronts + others for row in front["networks"]]
    for row, each in zip(rows, forms, strict=True):
        times = [next(latencies).median_ms for _ in each]
        row["latency_ms"] = min(times)
        row |= {"in_float": bool(np.argmin(times))} if floats else {}
    for (_, row), each in zip(own, forms, strict=False):
        size = row["size"]
        if size not in tested:
            tested[size] = nchw(np.asarray(prepare(images.test_images, images.mean, images.std, size=size)))
        path = each[row.get("in_float", False)]
        row["test"] = accuracy(logits(path, tested[size]), images.test_labels)
    document = {"data": images.name, "conditions": device_fingerprint(device), "fronts": joined(fronts + others)}
    return document | ({"floats": list(floats)} if floats else {})


def _forms_of_file(path: Path, floats: tuple[str, ...]) -> list[Any]:
    """A file, and beside it another one with operators in float."""
    if not floats:
        return [path]
    model, other = onnx.load(path), path.with_suffix(".float.onnx")
    names = [op.name for op in recorded_network(model) if op.name.startswith(floats)]
    write_bytes(other, in_float(model, names).SerializeToString())
    return [path, other]


def _forms(network: Network, floats: tuple[str, ...]) -> list[Any]:
    """The same of a network, with other weights."""
    if not floats:
        return [network]
    rest = [op.name for op in network if not op.name.startswith(floats)]
    return [network, quantized_for_timing(onnx_model(network), "QDQ", rest)]


def _others(document: dict[str, Any], fronts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fronts of an earlier document, without the networks that `fronts` have.

    Left out whole are those that `fronts` has with another training, and designs where it has anything.
    """
    anew = {front["folder"]: of_one(front) for front in fronts}
    made = {(anew[front["folder"]], row["arch"]) for front in fronts for row in front["networks"]}
    found = []
    for front in document["fronts"]:
        if fronts and is_designed(front["folder"]):
            continue
        of = of_one(front)
        if anew.get(front["folder"], of) != of:
            say(f"{front['folder']} of before is left out: another space or training than now.")
            continue
        rows = [row for row in front["networks"] if (of, row["arch"]) not in made]
        made |= {(of, row["arch"]) for row in rows}
        # what was a file, and which form was faster, is of the earlier measurement
        rows = [{key: row[key] for key in row if key not in ("file", "in_float")} for row in rows]
        found += [front | {"files": _NOT_KEPT, "networks": rows}] if rows else []
    return found


def _networks(front: dict[str, Any]) -> list[Network]:
    space = space_of(front)
    return [space.network(space.parse(row["arch"])).live for row in front["networks"]]
