"""Networks of a mixed front as files: exactly the precision that was searched, checked and measured again."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.console import progress
from nas.deploy import write_companions
from nas.errors import RunError
from nas.export import card_of, file_name
from nas.files import writable_folder, write_json
from nas.front import measure_networks
from nas.lock import locked
from nas.mixed_search import mixed_front
from nas.onnx_eval import logits
from nas.pick import pick
from nas.precision.files import MixedEvaluator
from nas.runs import Run
from search_spaces.errors import ArchitectureError
from search_spaces.mixed import MixedSpace


def export_mixed(folder: Path, wishes: list[str], device_name: str) -> list[dict[str, Any]]:
    """Exports networks of a run's mixed front: ONNX file, card, both in `export/`.

    Args:
        folder: The run.
        wishes: What to take, see `nas.pick`.
        device_name: Whose front, and where to measure.

    Returns:
        The cards, in the order of the wishes.

    Raises:
        UserError: if nothing fits a wish.
        RunError: if there is no such front.
    """
    run = Run.open(folder)
    with locked(run.folder, "nas export", part="export"):
        return _exported(run, wishes, device_name)


def _exported(run: Run, wishes: list[str], device_name: str) -> list[dict[str, Any]]:
    from latency_tables import get_device
    from nas.subnets import Subnets, flax_logits

    device, space = get_device(device_name), MixedSpace(run.space)
    document = read_mixed(run, space, device.name)
    chosen = [(f"mixed-{wish}", pick(document["front"], wish)) for wish in wishes]
    out, subnets = writable_folder(run.folder / "export"), Subnets(run)
    evaluator = MixedEvaluator(space, subnets.evaluator())
    cards = []
    with progress("export") as update:
        for done, (name, entry) in enumerate(chosen):
            update(done, len(chosen), name)
            x = np.array(space.parse(entry["arch"]))
            size = space.network(x).size
            path = evaluator.write(x, out / f"{file_name(name)}.onnx", batch=device.batch)
            module, _ = evaluator.subnets.extracted(space.architectures(x)[0])
            outputs = subnets.test_outputs(partial(logits, path), size)
            reference = subnets.test_outputs(flax_logits(module), size)
            card = card_of(run, name, entry, path, outputs, reference, subnets.data.test_labels)
            image = {"image_size": subnets.data.image_size, "channels": subnets.data.channels}
            cards.append(card | {"precision": "mixed", "input": {"size": size, "batch": device.batch, **image}})
    with progress(f"measure on {device.name}") as update:
        latencies = measure_networks([Path(card["path"]) for card in cards], device, update)
    limit = document["limit_ms"]
    for card, latency in zip(cards, latencies, strict=True):
        card["latency_ms"] = {"median": latency.median_ms, "p10": latency.p10_ms, "p90": latency.p90_ms}
        card |= {"latency_runs": latency.runs, "conditions": document["conditions"], "limit_ms": limit}
        card["meets_limit"] = None if limit is None else latency.median_ms <= limit
        write_json(Path(card["path"]).with_suffix(".json"), card)
        write_companions(card)
    return cards


def read_mixed(run: Run, space: MixedSpace, device: str) -> dict[str, Any]:
    """What a mixed search found on a device.

    Raises:
        RunError: if there was none, or its file is damaged.
    """
    path = mixed_front(run, device)
    again = f"run `nas search {run.folder} --device {device} --precision mixed`"
    if not path.is_file():
        raise RunError(f"Run {str(run.folder)!r} has no mixed front for device {device!r}; {again}.")
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for entry in document["front"]:
            space.parse(entry["arch"])
            float(entry["latency_ms"]["median"]) + float(entry["accuracy"]) + entry["macs"] + entry["params"]
        document["limit_ms"], document["conditions"]["device"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ArchitectureError) as error:
        raise RunError(f"{path} is damaged ({error}); {again} again.") from error
    return document
